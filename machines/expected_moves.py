"""Entries kept for machines of a former box move along when their zone's subnet changes (zones.moving).

What the host tells and lets through follows; the guest itself is another's to run and asks DHCP by itself, or has its
address written down inside.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from netaddr import IPAddress

from dom0.host import HostConfig
from dom0.plan import Draft
from hosts.models import Job
from machines import settle
from machines.expected import KIND
from machines.expected_kinds import entry_spec, untaken
from machines.models import Expected
from machines.specs import EntrySpec
from zones.models import Zone
from zones.moving import Follower, Look, Move, Moved

WHEN = "run by another: gets it when its lease ends, or from you where it is written down inside the machine"
NO_MAC = "kept without a MAC, so nobody tells it: change it inside the machine"


def shows(move: Move) -> Iterator[Moved]:
    """Every kept entry of the zone that no machine has taken over, from which address to which."""
    job = Job.objects.filter(kind=KIND, host=move.zone.host_id, state__in=Job.OPEN).first()
    for entry in sorted(_rows(move.zone), key=lambda entry: IPAddress(entry.address)):
        after = move.place(entry.address)
        note = WHEN if entry.mac else NO_MAC
        yield Moved(
            kind="kept entry",
            name=entry.name,
            before=entry.address,
            after=after,
            note=note if after != entry.address else "",
            conflict=_conflict(move, entry, after, job),
        )


def _conflict(move: Move, entry: Expected, after: str, job: Job | None) -> str:
    if not after:
        return f"{entry.address} has no place in {move.new}."
    if after == move.zone.gateway:
        return f"{after} would be the gateway's. Use another gateway."
    return f"job {job.pk} ({job.title}) is still open; wait for its end, or cancel it." if job else ""


def follows(move: Move) -> None:
    """Write down where each entry is now, those a machine has taken over too."""
    for entry in Expected.objects.filter(zone=move.zone):
        after = move.place(entry.address)
        if after and after != entry.address:
            Expected.objects.filter(pk=entry.pk).update(address=after)


def looks_at(zone: Zone, config: HostConfig) -> Look:
    """The files and set elements of every entry of the zone the host may know."""
    return settle.looks_at(_specs(zone, None, config))


def settles(zone: Zone, move: Move | None, config: HostConfig, draft: Draft) -> None:
    """Plan that the host knows each entry where it is now; one it was never told of has a job of its own for that."""
    for spec in _specs(zone, move, config):
        if any(path in draft.state.files for path in settle.looked_at(spec)["files"]):
            settle.settle(spec, draft)


def _rows(zone: Zone) -> Iterable[Expected]:
    return untaken(Expected.objects.filter(zone=zone.pk))


def _specs(zone: Zone, move: Move | None, config: HostConfig) -> Iterator[EntrySpec]:
    for row in _rows(zone):
        if row.mac:
            address = (move.place(row.address) if move else row.address) or row.address
            yield entry_spec(config, zone, row.name, address, row.mac, row.vif)


FOLLOWER = Follower(shows=shows, follows=follows, looks_at=looks_at, settles=settles)
