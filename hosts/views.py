"""Jobs and hosts in the browser. Every change is a POST to one service."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from accounts.doors import UserRequest, actor_of, page
from dom0.errors import Refused, StalePlan
from hosts import facts, services
from hosts.attention import stopped
from hosts.forms import ApproveForm
from hosts.kinds import kind_of
from hosts.models import Host, Job
from hosts.show import JobPage, job_mark
from hosts.visibility import jobs_visible_to, may_approve, may_mend
from ui.htmx import answer, wants

PER_PAGE = 25
S = Job.State
FILTERS: dict[str, tuple[str, dict[str, Any]]] = {
    "": ("All", {}),
    "open": ("Open", {"state__in": Job.OPEN}),
    "waiting": ("Wait for approval", {"state": S.PLANNED}),
    "stopped": ("Stopped half-way", {}),
    "ended": ("Ended well", {"state__in": (S.DONE, S.NOTHING)}),
}


def _job(request: UserRequest, pk: int, action: str = "job.view") -> Job:
    jobs = jobs_visible_to(request.user, action).select_related("actor", "approver", "host")
    return get_object_or_404(jobs, pk=pk)


@page("job.view")
def jobs(request: UserRequest) -> HttpResponse:
    """The jobs the viewer may see, newest first, by state."""
    chosen = request.GET.get("state", "")
    chosen = chosen if chosen in FILTERS else ""
    found = jobs_visible_to(request.user).filter(**FILTERS[chosen][1])
    if chosen == "stopped":
        found = stopped(found)
    rows = Paginator(found.select_related("actor").order_by("-id"), PER_PAGE).get_page(request.GET.get("page"))
    for row in rows:
        row.mark = job_mark(row.state)  # type: ignore[attr-defined]
    sift = [(key, label, key == chosen) for key, (label, _) in FILTERS.items()]
    context = {"jobs": rows, "sift": sift, "chosen": chosen}
    return answer(request, "hosts/jobs.html", {"rows": "hosts/_jobs.html"}, context)


@page("job.view")
def job(request: UserRequest, pk: int) -> HttpResponse:
    """One job, in whatever state it is; its section asks again by itself while it works."""
    shown = JobPage(request.user, _job(request, pk))
    if wants(request) == "job" and request.GET.get("seen") == shown.seen:
        return HttpResponse(status=204)
    return _show(request, shown)


def _show(
    request: UserRequest, shown: JobPage, form: ApproveForm | None = None, refused: Refused | None = None
) -> HttpResponse:
    if form is None and shown.can_approve:
        form = ApproveForm(user=request.user, job=shown.job, destroys=bool(shown.destroys))
    context = {"page": shown, "job": shown.job, "form": form, "refused": refused}
    status = 409 if refused else 422 if form and form.errors else 200
    return answer(
        request,
        "hosts/job.html",
        {"job": "hosts/_job.html", "job-word": "hosts/_job_word.html"},
        context,
        status=status,
    )


@page("job.approve", methods=("POST",))
def job_approve(request: UserRequest, pk: int) -> HttpResponse:
    """Approve exactly the plan that was on show."""
    job = _job(request, pk)
    if not may_approve(request.user, job):
        raise PermissionDenied("Only who asked for it, and for the network an operator, approves a plan.")
    shown = JobPage(request.user, job)
    form = ApproveForm(request.POST, user=request.user, job=job, destroys=bool(shown.destroys))
    if job.state == S.PLANNED and not form.is_valid():
        return _show(request, shown, form)
    try:
        services.job_approve(actor_of(request), job, request.POST.get("digest", ""))
    except StalePlan as error:
        messages.warning(request, f"{error.message} {error.note}")
    except Refused as error:
        return _show(request, shown, refused=error)
    return redirect("hosts:job", pk)


@page("job.cancel", methods=("POST",))
def job_cancel(request: UserRequest, pk: int) -> HttpResponse:
    """Cancel a job that has changed nothing yet."""
    job = _mendable(request, pk)
    try:
        services.job_cancel(actor_of(request), job)
    except Refused as error:
        return _show(request, JobPage(request.user, job), refused=error)
    return redirect("hosts:job", pk)


@page("job.approve", methods=("POST",))
def job_go_on(request: UserRequest, pk: int) -> HttpResponse:
    """Plan a job that stopped again."""
    job = _mendable(request, pk)
    try:
        services.job_go_on(actor_of(request), job)
    except Refused as error:
        return _show(request, JobPage(request.user, job), refused=error)
    return redirect("hosts:job", pk)


@page("job.approve", methods=("POST",))
def job_undo(request: UserRequest, pk: int) -> HttpResponse:
    """Ask for the job that goes back; its plan is shown before anything happens."""
    job = _mendable(request, pk)
    shown = JobPage(request.user, job)
    try:
        undo = kind_of(job.kind).undo if shown.can_undo else None
        if undo is None:
            raise Refused(f"Job {job.pk} can't be undone.", note="Ask for what should be so instead.")
        back = undo(actor_of(request), job)
    except Refused as error:
        return _show(request, shown, refused=error)
    return redirect("hosts:job", back.pk)


def _mendable(request: UserRequest, pk: int) -> Job:
    job = _job(request, pk)
    if not may_mend(request.user, job):
        raise PermissionDenied("Only an operator, or who asked for the job, moves it on.")
    return job


@page("host.view")
def hosts(request: UserRequest) -> HttpResponse:
    """The hosts, with what their workers report."""
    known = [(host, facts.lines(host)) for host in Host.objects.all()]
    return render(request, "hosts/list.html", {"hosts": known})
