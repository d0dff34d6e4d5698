"""Jobs that wait for a person, and hosts nobody has heard of lately."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from django.db.models import Exists, F, Func, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from hosts.models import Host, Job
from hosts.visibility import jobs_visible_to, may_approve
from ui import words
from ui.registry import Attention

S = Job.State
LIMIT = 6


def stopped(jobs: QuerySet[Job]) -> QuerySet[Job]:
    """Jobs that stopped half-way, unless a later one of the same target exists: that one speaks for it."""
    later = Job.objects.filter(
        target_kind=OuterRef("target_kind"), target_id=OuterRef("target_id"), pk__gt=OuterRef("pk")
    ).exclude(state=S.CANCELLED)
    half_way = Q(state__in=(S.FAILED, S.DRIFTED)) | Q(state=S.REFUSED, attempt__gt=0)
    return jobs.filter(half_way).exclude(Exists(later))


def counted(hosts: QuerySet[Host]) -> QuerySet[Host]:
    """Hosts with `waiting` and `stopped`, the counters of the navigation (jobs of all hosts), in the same query."""
    return hosts.annotate(
        waiting=Subquery(_number(Job.objects.filter(state=S.PLANNED))),
        stopped=Subquery(_number(stopped(Job.objects.all()))),
    )


def _number(jobs: QuerySet[Job]) -> QuerySet[Any, Any]:
    # Func, not Count: an aggregate would bring a GROUP BY, and no row at all where there is nothing to count.
    number = Func(F("pk"), function="COUNT", output_field=IntegerField())
    return jobs.order_by().annotate(number=number).values("number")


def jobs_for(request: HttpRequest) -> Iterator[Attention]:
    """Plans the viewer can approve, and what stopped half-way."""
    user = cast(User, request.user)
    seen = jobs_visible_to(user)
    for job in stopped(seen).order_by("-id")[:LIMIT]:
        yield Attention(
            state="bad",
            title=f"Job {job.pk} {job.get_state_display()}: {job.title}",
            text=f"{job.message or 'It stopped half-way.'} {job.note}".strip(),
            url=reverse("hosts:job", args=(job.pk,)),
        )
    for job in seen.filter(state=S.PLANNED).select_related("actor").order_by("-id")[:LIMIT]:
        if may_approve(user, job):
            yield Attention(
                state="wait",
                title=f"Job {job.pk} waits for approval: {job.title}",
                text=f"Asked by {job.actor.get_username()}" + (f": “{job.reason}”." if job.reason else "."),
                url=reverse("hosts:job", args=(job.pk,)),
                button="See the plan",
            )


def hosts_for(request: HttpRequest) -> Iterator[Attention]:
    """Hosts whose watcher is silent; only for those who see hosts."""
    if not cast(User, request.user).is_operator:
        return
    for host in Host.objects.all():
        if not host.fresh:
            when = words.ago(host.seen_at, timezone.now()) if host.seen_at else "never"
            yield Attention(
                state="old",
                title=f"{host.name} does not answer",
                text=f"Last seen {when}. What you see is from then; changes wait until its worker is back.",
                url=reverse("hosts:list"),
            )
