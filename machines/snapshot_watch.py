"""What each round does about snapshots: books how full they are, widens one in time, has expired ones removed.

Nothing is dropped before its time: one that fills is given more room while its group has some, and where it has none a
person is told at 80 percent. One that ran full all the same says so and waits to be deleted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, cast

from django.db.models import Q
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from accounts.access import Role
from accounts.models import User
from audit.log import Actor, Thing
from dom0.errors import Refused
from dom0.lvm import room_for_all
from dom0.state import State, Volume
from hosts.models import Host, Job
from hosts.services import job_create
from machines import services
from machines.models import Machine, Snapshot
from ui.registry import Attention

MIB = 1 << 20
WIDEN_AT = 70.0  # percent
TELL_AT = 80.0
FULL = 100.0
AGAIN = timedelta(hours=1)  # after a job that didn't end well
LIMIT = 6


def book(host: Host, state: State) -> None:
    """Book what `state` says of the host's snapshots, and ask for what is due."""
    kept = list(Snapshot.objects.filter(machine__host=host).select_related("machine", "taken_by"))
    for each in kept:
        found = state.volumes.get(name_of(each))
        if found is not None:
            _see(each, found)
            _widen(each, found, state)
    now = timezone.now()
    for each in kept:
        if each.expires is not None and each.expires <= now and each.taken_at and not each.deleting:
            _expire(each)


def name_of(kept: Snapshot) -> str:
    """The volume that holds it, as dom0.volumes knows it."""
    machine = kept.machine
    where = f"{machine.volume_group}/" if machine.volume_group else ""
    return f"{where}{machine.name}-root.{kept.label}"


def _see(kept: Snapshot, found: Volume) -> None:
    size, percent = found.room_bytes // MIB, round(found.percent, 1)
    if (kept.size_mib, kept.percent) != (size, percent):
        kept.size_mib, kept.percent = size, percent
        kept.save(update_fields=["size_mib", "percent"])


def _widen(kept: Snapshot, found: Volume, state: State) -> None:
    """Twice the room, in a job about the snapshot itself: one that waits about its machine must not hold it up."""
    group = state.places.get(kept.machine.volume_group)
    if group is None or not WIDEN_AT <= found.percent < FULL:
        return
    room = min(2 * found.room_bytes, room_for_all(kept.machine.root_mib * MIB, group.extent_bytes))
    if not found.room_bytes < room <= found.room_bytes + group.free_bytes:
        return
    target = Thing(kind="snapshot", id=str(kept.pk), text=f"snapshot {kept.label} of {kept.machine.name}")
    args = {"machine": kept.machine_id, "snapshot": kept.pk, "label": kept.label, "room_mib": room // MIB}
    title = f"Give the {target.text} room for {room // MIB} MB of changes"
    _ask(kept, "snapshot.grow", target, title, f"It is {found.percent:.0f} % full.", args)


def _expire(kept: Snapshot) -> None:
    target = services.thing_of(kept.machine)
    args = {"snapshot": kept.pk, "label": kept.label}
    ended = timezone.localtime(kept.expires)
    title = f"Remove the expired snapshot {kept.label} of {kept.machine.name}"
    _ask(kept, "snapshot.expire", target, title, f"It expired on {ended:%Y-%m-%d} at {ended:%H:%M}.", args)


def _ask(kept: Snapshot, kind: str, target: Thing, title: str, reason: str, args: dict[str, Any]) -> None:
    """In the name of whoever took it; nothing while another job is open, or one like it has just gone wrong."""
    who = _in_whose_name(kept, kind)
    lately = Job.objects.filter(kind=kind, args__snapshot=kept.pk, ended__gt=timezone.now() - AGAIN)
    if who is None or lately.filter(state__in=Job.RESUMABLE).exists():
        return
    with contextlib.suppress(Refused):
        actor = Actor(id=who.pk, name=who.get_username())
        job_create(actor, kind, host=kept.machine.host, title=title, target=target, reason=reason, args=args)


def _in_whose_name(kept: Snapshot, action: str) -> User | None:
    """Whoever took it, as long as it is theirs to do; otherwise the first operator."""
    user = kept.taken_by
    if Machine.objects.visible_to(user, action).filter(pk=kept.machine_id).exists():
        return user
    return User.objects.filter(role=Role.OPERATOR, is_active=True).order_by("pk").first()


def needs(request: HttpRequest) -> Iterator[Attention]:
    """Snapshots that fill and can't be widened, and those that ran full."""
    user = cast(User, request.user)
    if not user.is_operator:
        return
    filling = Snapshot.objects.filter(percent__gte=TELL_AT, deleting=False).select_related("machine")
    for kept in filling.order_by("-percent")[:LIMIT]:
        full = kept.percent >= FULL
        yield Attention(
            state="bad" if full else "wait",
            title=f"The snapshot {kept.label} of {kept.machine.name} "
            + ("ran full" if full else f"is {kept.percent:.0f} % full"),
            text="What changed since can't be brought back: delete it."
            if full
            else f"It is widened while {kept.machine.volume_group} has room. Delete a snapshot, or free some there.",
            url=reverse("machines:snapshots", args=(kept.machine_id,)),
        )


def jobs_of(user: User, action: str) -> Q:
    """The jobs about a snapshot on whose machine `user` may do `action`."""
    seen = Machine.objects.visible_to(user, action).order_by().values("pk")
    return Q(target_id__in=Snapshot.objects.filter(machine__in=seen).values("pk"))
