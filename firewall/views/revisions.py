"""The revisions made so far: the list, one of them, the difference between any two, and applying one again."""

from __future__ import annotations

from typing import Any

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from accounts.doors import UserRequest, actor_of, page
from dom0.errors import Refused
from firewall import affected, applied, rows, trials, words
from firewall import render as rendered
from firewall.forms import AgainForm, CompareForm
from firewall.models import Revision
from firewall.shown_changes import heaps
from firewall.specs import Site
from firewall.views.about import host_of, known_host
from hosts.models import Host

#: As many revisions as one may choose from; the older ones compare from their own page.
CHOICES = 200
WISHED = 0


@page("firewall.view")
def revisions(request: UserRequest) -> HttpResponse:
    """Every revision, newest first, with what it changed."""
    host = host_of(request)
    if host is None:
        return render(request, "firewall/revisions.html", {"host": None})
    found = Revision.objects.filter(host=host).select_related("author").defer("site", "files")
    live = found.filter(state=Revision.State.LIVE).first()
    context = {
        "host": host,
        "page_obj": Paginator(found, 50).get_page(request.GET.get("page")),
        "form": CompareForm(numbers=_numbers(host), initial={"before": live.number if live else WISHED}),
        "closed": live is None and trials.closed(host),
    }
    return render(request, "firewall/revisions.html", context)


def _numbers(host: Host, *more: int) -> list[tuple[int, str]]:
    """What one may compare: the newest revisions, `more`, and what is wished now."""
    found = Revision.objects.filter(host=host)
    near = list(found.values_list("number", "state")[:CHOICES])
    far = found.filter(number__in=set(more) - {number for number, _ in near}).values_list("number", "state")
    labels = dict(Revision.State.choices)
    return [(WISHED, "what is wished now"), *((n, f"{n}, {labels[state]}") for n, state in (*near, *far))]


@page("firewall.view")
def revision(request: UserRequest, pk: int) -> HttpResponse:
    """One revision: its words, its files, the commands to type by hand."""
    shown = _get(pk)
    host = shown.host
    near = Revision.objects.filter(host=host).defer("site", "files")
    context = {
        "revision": shown,
        "files": shown.files.items(),
        "commands": "\n".join(rendered.commands(rows.site_in(shown))),
        "moments": applied.moments(shown),
        "before": near.filter(number__lt=shown.number).first(),
        "live": near.filter(state=Revision.State.LIVE).first(),
    }
    return render(request, "firewall/revision.html", context)


def _get(pk: int) -> Revision:
    return get_object_or_404(Revision.objects.select_related("author", "host"), pk=pk)


@page("firewall.view")
def compare(request: UserRequest) -> HttpResponse:
    """The difference between two revisions, or to what is wished now, in words and as rules."""
    host = known_host(request)
    asked = [int(n) for key in ("before", "after") if (n := request.GET.get(key, "")).isdecimal() and len(n) < 8]
    live = rows.live_revision(host)
    start = {"before": live.number if live else WISHED, "after": WISHED}
    form = CompareForm(request.GET or None, numbers=_numbers(host, *asked), initial=start)
    context: dict[str, Any] = {"host": host, "form": form}
    if form.is_valid():
        before, after = form.cleaned_data["before"], form.cleaned_data["after"]
        context |= _difference(host, _site(host, before), _site(host, after))
        context |= {"before": _called(before), "after": _called(after)}
    return render(request, "firewall/compare.html", context, status=422 if form.errors else 200)


def _site(host: Host, number: int) -> Site:
    if number == WISHED:
        return rows.site_of(host)
    return rows.site_in(Revision.objects.filter(host=host, number=number).first())


def _called(number: int) -> str:
    return f"revision {number}" if number else "what is wished now"


def _difference(host: Host, before: Site, after: Site) -> dict[str, Any]:
    names = rows.machine_names(host)
    changes = words.difference(before, after, names=names)
    return {
        "counts": words.counts(changes),
        "heaps": heaps(changes),
        "touched": affected.touched(before, after, names),
        "raw": rendered.raw_difference(rendered.files(before), rendered.files(after)),
    }


@page("firewall.apply", methods=("GET", "POST"))
def again(request: UserRequest, pk: int) -> HttpResponse:
    """What would be different with a former revision; then put it on trial again. The wishes stay as they are."""
    former = _get(pk)
    host = former.host
    form = AgainForm(
        request.POST if request.method == "POST" else None, initial={"confirm_within": trials.CONFIRM_WITHIN_S}
    )
    refused: Refused | None = None
    if form.is_valid():
        why = form.cleaned_data["why"] or f"again revision {former.number}"
        within = form.cleaned_data["confirm_within"]
        try:
            trials.revision_apply(actor_of(request), host, why=why, again=former, approved=True, confirm_within=within)
            return redirect("firewall:trial")
        except Refused as error:
            refused = error
    live = rows.live_revision(host)
    context = {"revision": former, "live": live, "form": form, "refused": refused, "host": host}
    context |= _difference(host, rows.site_in(live), rows.site_in(former))
    return render(request, "firewall/again.html", context, status=409 if refused else 422 if form.errors else 200)
