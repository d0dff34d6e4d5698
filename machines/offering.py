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
    seen = Machine.Observed
    busy = Job.objects.filter(target_kind="machine", state__in=Job.OPEN).values("target_id")
    built = Machine.objects.visible_to(user).exclude(built_at=None).exclude(pk__in=busy).select_related("zone")
    fell = Q(observed=seen.STOPPED, wanted=Machine.Wanted.RUNNING)
    rows = built.filter(fell | Q(observed__in=(seen.MISSING, seen.CRASHED)) | ~Q(drift={})).order_by("-since", "name")
    told = [trouble for machine in rows[: 4 * LIMIT] if (trouble := _trouble(machine))]
    for state in ("miss", "bad", "wait"):
        yield from [trouble for trouble in told if trouble.state == state][:LIMIT]


def _trouble(machine: Machine) -> Attention | None:
    """What is wrong with a machine on its host, the worst of it; None where that is ignored."""
    page = reverse("machines:detail", args=(machine.pk,))
    if machine.observed == Machine.Observed.MISSING:
        text = f"{machine.address} in {machine.zone.name}. Your wish stands; what was found differs."
        return Attention(state="miss", title=f"{machine.name} is missing on the host", text=text, url=page)
    if machine.observed == Machine.Observed.CRASHED:
        text = "Its own kernel gave up, says the hypervisor."
        return Attention(state="bad", title=f"{machine.name} crashed", text=text, url=page)
    if machine.drift and machine.drift["digest"] != machine.ignored_drift:
        text = (
            f"Not as wished: {', '.join(item['what'] for item in machine.drift['items'])}. Somebody changed it there."
        )
        page = reverse("machines:drift", args=(machine.pk,))
        return Attention(state="wait", title=f"{machine.name} differs on the host", text=text, url=page)
    if machine.observed == Machine.Observed.STOPPED and machine.wanted == Machine.Wanted.RUNNING:
        text = "Somebody shut it down from inside, or it crashed. It is meant to run."
        return Attention(state="wait", title=f"{machine.name} stopped by itself", text=text, url=page)
    return None


def _strangers() -> Iterator[Attention]:
    """Machines on a host that are not in the panel."""
    for host in Host.objects.all():
        if names := [one["name"] for one in host.figures.get("unknown", ())]:
            some = ", ".join(names[:4]) + (" …" if len(names) > 4 else "")
            count = f"{len(names)} machines on {host} are" if len(names) > 1 else f"A machine on {host} is"
            yield Attention(
                state="wait",
                title=f"{count} not in the panel",
                text=f"{some}: nobody looks after {'them' if names[1:] else 'it'} here.",
                url=reverse("machines:unknown"),
            )


def jobs_of(user: User, action: str) -> Q:
    """The jobs on whose machine `user` may do `action`."""
    return Q(target_id__in=Machine.objects.visible_to(user, action).order_by().values("pk"))
