"""The next change: what it opens and closes, whom it touches, and applying it on trial."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from accounts.doors import UserRequest, actor_of, page
from dom0.errors import Refused
from firewall import exporter, own_rules, rows, services, trials
from firewall import render as rendered
from firewall.forms import ApplyForm
from firewall.kinds import KIND
from firewall.models import Watched
from firewall.shown_changes import heaps
from firewall.views.about import host_of, known_host
from hosts.models import Host, Job
from ui.htmx import answer, wants

PARTS = {"raw": "firewall/_raw.html", "check": "firewall/_check.html"}


@page("firewall.view")
def changes(request: UserRequest) -> HttpResponse:
    """What would be different, in words and as rules."""
    host = host_of(request)
    if host is None:
        return render(request, "firewall/changes.html", {"host": None})
    if wants(request) == "check":
        return answer(request, "", PARTS, {"host": host, "check": _check(host)})
    if wants(request) == "raw":
        return answer(request, "", PARTS, {"raw": services.pending(host).raw})
    return _changes(request, host, None)


def _changes(request: UserRequest, host: Host, refused: Refused | None, form: ApplyForm | None = None) -> HttpResponse:
    pending = services.pending(host)
    jobs = Job.objects.filter(kind=KIND, host=host)
    context = {
        "host": host,
        "pending": pending,
        "heaps": heaps(pending.changes),
        "raw": pending.raw if "raw" in request.GET else (),
        "blocking": [p for p in pending.problems if p.blocks],
        "odd": [p for p in pending.problems if not p.blocks],
        "form": form or ApplyForm(initial={"seen": pending.digest, "confirm_within": trials.CONFIRM_WITHIN_S}),
        "job": jobs.filter(state__in=Job.OPEN).first(),
        "last": jobs.exclude(state__in=Job.OPEN).order_by("-pk").first(),
        "trial": trials.on_trial(host),
        "closed": trials.closed(host),
        "check": _check(host),
        "watched": Watched.objects.filter(host=host).first(),
        "refused": refused,
        "touched": pending.touched,
    }
    return answer(request, "firewall/changes.html", PARTS, context, status=409 if refused else 422 if form else 200)


@dataclass(frozen=True, kw_only=True)
class Check:
    """The last time the wishes were tried as they are: its job, and what it said of the host's guards."""

    job: Job
    guards: str
    guarded: bool


def _check(host: Host) -> Check | None:
    job = Job.objects.filter(kind=own_rules.KIND, host=host, args__rules=[]).order_by("-pk").first()
    if job is None:
        return None
    said = dict(job.steps.filter(stage__in=("guard", "no guard")).values_list("stage", "title"))
    return Check(job=job, guards=next(iter(said.values()), ""), guarded="guard" in said)


@page("firewall.try", methods=("POST",))
def check(request: UserRequest) -> HttpResponse:
    """Have the host load the wishes in a scratch namespace and look at its guards; nothing is changed."""
    host = known_host(request)
    try:
        trials.wishes_try(actor_of(request), host)
    except Refused as error:
        return _changes(request, host, error)
    return redirect(f"{reverse('firewall:changes')}?host={host.name}#chk")


@page("firewall.apply", methods=("POST",))
def apply(request: UserRequest) -> HttpResponse:
    """Make a revision of all wishes and try it on the host: the difference was looked at just before."""
    host = known_host(request)
    form = ApplyForm(request.POST)
    try:
        if "seen" in form.errors:
            raise Refused("Nothing says which difference you looked at.", note="Look at this one, then apply it.")
        if not form.is_valid():
            return _changes(request, host, None, form)
        trials.revision_apply(actor_of(request), host, **form.cleaned_data, approved=True)
    except Refused as error:
        return _changes(request, host, error)
    return redirect("firewall:trial")


@page("firewall.view")
def dump(request: UserRequest) -> HttpResponse:
    """The wishes as the seed's rule file, followed by the commands they become."""
    site = rows.site_of(known_host(request))
    parts = [exporter.rule_file(site), "# The same as commands", *(f"# {line}" for line in rendered.commands(site)), ""]
    return HttpResponse("\n".join(parts), content_type="text/plain; charset=utf-8")
