"""The next change: what it opens and closes, applying it; and the revisions made so far."""

from __future__ import annotations

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from accounts.doors import UserRequest, actor_of, page
from dom0.errors import Refused
from firewall import exporter, rows, services, trials
from firewall import render as rendered
from firewall.forms import ApplyForm
from firewall.kinds import KIND
from firewall.models import Revision
from firewall.views.about import host_of, known_host
from hosts.models import Host, Job


@page("firewall.view")
def changes(request: UserRequest) -> HttpResponse:
    """What would be different, in words and as rules."""
    host = host_of(request)
    if host is None:
        return render(request, "firewall/changes.html", {"host": None})
    return _changes(request, host, None)


def _changes(request: UserRequest, host: Host, refused: Refused | None, form: ApplyForm | None = None) -> HttpResponse:
    pending = services.pending(host)
    context = {
        "host": host,
        "pending": pending,
        "blocking": [p for p in pending.problems if p.blocks],
        "odd": [p for p in pending.problems if not p.blocks],
        "form": form or ApplyForm(initial={"seen": pending.digest}),
        "job": Job.objects.filter(kind=KIND, host=host, state__in=Job.OPEN).first(),
        "last": Job.objects.filter(kind=KIND, host=host).exclude(state__in=Job.OPEN).first(),
        "refused": refused,
    }
    return render(request, "firewall/changes.html", context, status=409 if refused else 422 if form else 200)


@page("firewall.apply", methods=("POST",))
def apply(request: UserRequest) -> HttpResponse:
    """Make a revision of all wishes and put it on the host: the difference was looked at just before."""
    host = known_host(request)
    form = ApplyForm(request.POST)
    try:
        if "seen" in form.errors:
            raise Refused("Nothing says which difference you looked at.", note="Look at this one, then apply it.")
        if not form.is_valid():
            return _changes(request, host, None, form)
        job = trials.revision_apply(
            actor_of(request), host, why=form.cleaned_data["why"], seen=form.cleaned_data["seen"], approved=True
        )
    except Refused as error:
        return _changes(request, host, error)
    return redirect("hosts:job", job.pk)


@page("firewall.view")
def revisions(request: UserRequest) -> HttpResponse:
    """Every revision, newest first, with what it changed."""
    host = host_of(request)
    found = Revision.objects.filter(host=host).select_related("author").defer("site", "files")
    context = {"host": host, "page_obj": Paginator(found, 50).get_page(request.GET.get("page"))}
    return render(request, "firewall/revisions.html", context)


@page("firewall.view")
def revision(request: UserRequest, pk: int) -> HttpResponse:
    """One revision: its words, its files, the commands to type by hand."""
    return _revision(request, _get(pk), None)


def _get(pk: int) -> Revision:
    return get_object_or_404(Revision.objects.select_related("author", "host"), pk=pk)


def _revision(request: UserRequest, shown: Revision, refused: Refused | None) -> HttpResponse:
    site = rows.site_in(shown)
    context = {
        "revision": shown,
        "files": shown.files.items(),
        "commands": "\n".join(rendered.commands(site)),
        "job": Job.objects.filter(kind=KIND, args__revision=shown.pk).first(),
        "refused": refused,
    }
    return render(request, "firewall/revision.html", context, status=409 if refused else 200)


@page("firewall.apply", methods=("POST",))
def again(request: UserRequest, pk: int) -> HttpResponse:
    """Put a former revision on the host again; the wishes stay as they are."""
    former = _get(pk)
    try:
        job = trials.revision_apply(actor_of(request), former.host, why=f"again revision {former.number}", again=former)
    except Refused as error:
        return _revision(request, former, error)
    return redirect("hosts:job", job.pk)


@page("firewall.view")
def dump(request: UserRequest) -> HttpResponse:
    """The wishes as the seed's rule file, followed by the commands they become."""
    site = rows.site_of(known_host(request))
    parts = [exporter.rule_file(site), "# The same as commands", *(f"# {line}" for line in rendered.commands(site)), ""]
    return HttpResponse("\n".join(parts), content_type="text/plain; charset=utf-8")
