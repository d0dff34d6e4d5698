"""Machines move along when their zone's subnet changes (zones.moving): address, membership, lease and name.

MAC and interface stay, so what runs goes on; it hears of its new address when it asks DHCP again.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator

from django.urls import reverse
from netaddr import IPAddress

from dom0.host import HostConfig
from dom0.plan import Draft
from dom0.state import State
from hosts.models import Job
from machines import kinds, settle
from machines.changing import KIND, unsettled
from machines.models import Machine
from machines.specs import MachineSpec
from zones.models import Zone
from zones.moving import Follower, Look, Move, Moved

WHEN = "runs: gets it when it is restarted, or by itself within the hour, when its lease ends"


def shows(move: Move) -> Iterator[Moved]:
    """Every machine of the zone, from which address to which."""
    rows = list(Machine.objects.filter(zone=move.zone))
    rows.sort(key=lambda machine: IPAddress(machine.address))
    busy = {
        job.target_id: job
        for job in Job.objects.filter(
            target_kind="machine", target_id__in=[row.pk for row in rows], state__in=Job.OPEN, kind__in=UNSETTLED
        )
    }
    half_way = {job.target_id: job for job in unsettled(move.zone.host) if not job.is_open}
    for machine in rows:
        after = move.place(machine.address)
        runs = machine.observed == Machine.Observed.RUNNING and after != machine.address
        yield Moved(
            kind="machine",
            name=machine.name,
            before=machine.address,
            after=after,
            note=WHEN if runs else "",
            conflict=_conflict(move, machine, after, busy.get(machine.pk) or half_way.get(machine.pk)),
            url=reverse("machines:detail", args=(machine.pk,)),
        )


#: While one of these waits or works, what the host has of the machine is half made.
UNSETTLED = ("machine.create", "machine.delete", KIND)


def _conflict(move: Move, machine: Machine, after: str, job: Job | None) -> str:
    if unfit := move.conflict(machine.address):
        return unfit
    holder = Machine.objects.filter(host=machine.host_id, address=after).exclude(pk=machine.pk).first()
    if holder is not None:
        return f"{holder.name} has {after}."
    if job and not job.is_open:
        return f"job {job.pk} ({job.title}) stopped half-way; go on with it, or undo it."
    return f"job {job.pk} ({job.title}) is still open; wait for its end, or cancel it." if job else ""


def follows(move: Move) -> None:
    """Write down where each machine is now."""
    for machine in Machine.objects.filter(zone=move.zone):
        after = move.place(machine.address)
        if after and after != machine.address:
            Machine.objects.filter(pk=machine.pk).update(address=after)


def locks(zone: Zone) -> tuple[str, ...]:
    """One lock a machine: no other job of it works meanwhile."""
    return tuple(
        f"machine-{pk}" for pk in Machine.objects.filter(zone=zone).order_by("pk").values_list("pk", flat=True)
    )


def looks_at(zone: Zone, config: HostConfig) -> Look:
    """The files and set elements of every machine of the zone."""
    return settle.looks_at(_specs(zone, None, config))


def settles(zone: Zone, move: Move | None, config: HostConfig, draft: Draft) -> None:
    """Plan that the host knows each machine where it is now; of one that was never made there is nothing to settle."""
    for spec in _specs(zone, move, config):
        if _known(spec, draft.state):
            settle.settle(spec, draft)


def _known(spec: MachineSpec, state: State) -> bool:
    return any(path in state.files for path in settle.looked_at(spec)["files"])


def _specs(zone: Zone, move: Move | None, config: HostConfig) -> Iterable[MachineSpec]:
    """The zone's machines as planners read them, in the zone as wished."""
    for row in Machine.objects.filter(zone=zone.pk).select_related("image", "host", "owner").order_by("pk"):
        machine = copy.copy(row)
        machine.zone = zone
        machine.address = (move.place(row.address) if move else row.address) or row.address
        yield kinds.spec_of(machine, config)


FOLLOWER = Follower(shows=shows, follows=follows, locks=locks, looks_at=looks_at, settles=settles)
