"""What machines bring to pages that speak of everything: search hits, what needs a person, who sees their jobs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from django.db.models import Q
from django.http import HttpRequest
from django.urls import reverse

from accounts.models import User
from hosts.models import Host, Job
from machines.models import Machine
from ui.registry import Attention, Found

HITS = 10
LIMIT = 6


def find(request: HttpRequest, words: str) -> Iterator[Found]:
    """Machines by name, address, MAC or owner; an exact name or address alone, so that Enter leads there."""
    seen = Machine.objects.visible_to(cast(User, request.user)).select_related("zone", "owner")
    # iexact compares text: PostgreSQL refuses to take just any word for an address.
    exact = list(seen.filter(Q(name__iexact=words) | Q(address__iexact=words))[:2])
    loose = Q(name__icontains=words) | Q(address__icontains=words) | Q(mac__iexact=words) | Q(owner__name__iexact=words)
    for machine in exact if len(exact) == 1 else seen.filter(loose).order_by("name")[:HITS]:
        yield Found(
            title=machine.name,
            sub=f"machine, {machine.address} in {machine.zone.name}, of {machine.owner.name}",
            url=reverse("machines:detail", args=(machine.pk,)),
        )


def needs(request: HttpRequest) -> Iterator[Attention]:
    """Machines missing on the host, and those that stopped by themselves; with an open job that speaks for them."""
    user = cast(User, request.user)
    if not user.is_operator:
        return
    yield from _strangers()
    busy = Job.objects.filter(target_kind="machine", state__in=Job.OPEN).values("target_id")
    built = Machine.objects.visible_to(user).exclude(built_at=None).exclude(pk__in=busy).select_related("zone")
    for machine in built.filter(observed=Machine.Observed.MISSING).order_by("-since")[:LIMIT]:
        yield Attention(
            state="miss",
            title=f"{machine.name} is missing on the host",
            text=f"{machine.address} in {machine.zone.name}. Your wish stands; what was found differs.",
            url=reverse("machines:detail", args=(machine.pk,)),
        )
    for machine in built.exclude(drift={}).exclude(observed=Machine.Observed.MISSING).order_by("name")[:LIMIT]:
        if machine.drift["digest"] != machine.ignored_drift:
            what = ", ".join(item["what"] for item in machine.drift["items"])
            yield Attention(
                state="wait",
                title=f"{machine.name} differs on the host",
                text=f"Not as wished: {what}. Somebody changed it there.",
                url=reverse("machines:drift", args=(machine.pk,)),
            )
    for machine in built.filter(observed=Machine.Observed.CRASHED).order_by("-since")[:LIMIT]:
        yield Attention(
            state="bad",
            title=f"{machine.name} crashed",
            text="Its own kernel gave up, says the hypervisor.",
            url=reverse("machines:detail", args=(machine.pk,)),
        )
    fell = built.filter(observed=Machine.Observed.STOPPED, wanted=Machine.Wanted.RUNNING)
    for machine in fell.order_by("-since")[:LIMIT]:
        yield Attention(
            state="wait",
            title=f"{machine.name} stopped by itself",
            text="Somebody shut it down from inside, or it crashed. It is meant to run.",
            url=reverse("machines:detail", args=(machine.pk,)),
        )


def _strangers() -> Iterator[Attention]:
    """Machines on a host that are not in the panel."""
    for host in Host.objects.all():
        if names := [one["name"] for one in host.figures.get("unknown", ())]:
            count = f"{len(names)} machines on {host} are" if len(names) > 1 else f"A machine on {host} is"
            yield Attention(
                state="wait",
                title=f"{count} not in the panel",
                text=f"{', '.join(names[:4])}{' …' if len(names) > 4 else ''}: nobody looks after it here.",
                url=reverse("machines:unknown"),
            )


def jobs_of(user: User, action: str) -> Q:
    """The jobs on whose machine `user` may do `action`."""
    return Q(target_id__in=Machine.objects.visible_to(user, action).order_by().values("pk"))
