"""A revision on trial: the countdown, keeping it, returning from it; and closing everything but SSH."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from accounts.doors import UserRequest, actor_of, page
from dom0.errors import Refused
from firewall import affected, rows, trials, words
from firewall.forms import KeepForm, StopForm
from firewall.models import Revision
from firewall.shown_changes import heaps
from firewall.trial_scene import Scene, scene
from firewall.tryouts import tryouts
from firewall.views.about import host_of, known_host
from ui.htmx import answer, wants

PARTS = {"trial": "firewall/_trial.html", "on-trial": "firewall/_banner.html"}


@page("firewall.view")
def trial(request: UserRequest) -> HttpResponse:
    """Where the apply is, how long there is to decide and what to try; afterwards how it ended."""
    host = host_of(request)
    if host is None:
        return render(request, "firewall/trial.html", {"host": None})
    return _trial(request, scene(host))


def _trial(request: UserRequest, shown: Scene, refused: Refused | None = None) -> HttpResponse:
    context: dict[str, Any] = {"host": shown.host, "scene": shown, "trial": shown.trial, "refused": refused}
    # The page looks again at its state alone, until that is another: what stands below speaks of the same moment.
    before = request.GET.get("stage", shown.stage)
    further = not wants(request) or (wants(request) == "trial" and before != shown.stage)
    if further and shown.revision and shown.stage != "restoring" and (shown.moves or shown.wanted):
        context |= _difference(request, shown, shown.revision)
    context["further"] = further and bool(wants(request))
    return answer(request, "firewall/trial.html", PARTS, context, status=409 if refused else 200)


def _difference(request: UserRequest, shown: Scene, revision: Revision) -> dict[str, Any]:
    before, after = rows.site_in(shown.live), rows.site_in(revision)
    names = rows.machine_names(shown.host)
    changes = words.difference(before, after, names=names)
    asks = shown.stage in ("applying", "deciding")  # before and after that there is nothing to try
    return {
        "counts": words.counts(changes),
        "heaps": heaps(changes),
        "touched": affected.touched(before, after, names),
        "tryouts": tryouts(before, after, request.user.get_username()) if asks else (),
        "asks": asks,
    }


@page("firewall.confirm", methods=("POST",))
def keep(request: UserRequest) -> HttpResponse:
    """Keep the revision on trial: this very request came in by the new rules."""
    form = KeepForm(request.POST)
    if not form.is_valid():
        return _which(request)
    revision = _asked(form)
    try:
        trials.revision_confirm(actor_of(request), revision, form.cleaned_data["nonce"])
    except Refused as error:
        return _trial(request, scene(revision.host), error)
    return _to_trial(revision)


@page("firewall.return", methods=("POST",))
def take_back(request: UserRequest) -> HttpResponse:
    """Return to the revision before at once."""
    form = KeepForm(request.POST)
    if not form.is_valid():
        return _which(request)
    revision = _asked(form)
    try:
        trials.revision_return(actor_of(request), revision)
    except Refused as error:
        return _trial(request, scene(revision.host), error)
    return _to_trial(revision)


def _which(request: UserRequest) -> HttpResponse:
    said = Refused("Nothing says which revision is meant.", note="Decide on this page.")
    return _trial(request, scene(known_host(request)), said)


def _asked(form: KeepForm) -> Revision:
    found = Revision.objects.select_related("host").defer("site", "files")
    return get_object_or_404(found, pk=form.cleaned_data["revision"])


def _to_trial(revision: Revision) -> HttpResponse:
    response = redirect("firewall:trial")
    response["Location"] += f"?host={revision.host.name}"
    return response


@page("firewall.stop", methods=("GET", "POST"))
def stop(request: UserRequest) -> HttpResponse:
    """Close everything but SSH, now: what that cuts is said first."""
    host = known_host(request)
    form = StopForm(request.POST or None)
    refused: Refused | None = None
    if form.is_valid():
        try:
            job = trials.firewall_stop(actor_of(request), host, form.cleaned_data["why"])
            return redirect("hosts:job", job.pk)
        except Refused as error:
            refused = error
    context = {
        "host": host,
        "form": form,
        "refused": refused,
        "live": rows.live_revision(host),
        "closed": trials.closed(host),
        "ssh": host.facts.get("admin_ssh_port", 22),
    }
    return render(request, "firewall/stop.html", context, status=409 if refused else 422 if form.errors else 200)
