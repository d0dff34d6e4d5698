"""Entries kept for machines of a former box: what the panel can honestly hold of a machine it does not run.

Name, address and MAC are nobody else's; a job has the zone's DHCP, DNS and the firewall's membership know them, so
that the guest goes on working where it always did. Running it is its old hypervisor's business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from netaddr import IPAddress

from accounts.doors import check
from audit import log
from audit.log import Actor, Thing
from dom0.errors import Refused
from hosts.models import Host, Job
from hosts.services import job_create
from machines.addresses import VIF_PREFIX, vif_of
from machines.models import Expected, Machine
from zones.models import Zone

KIND = "machine.expect"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What is to be kept. `mac` may be empty: then the guest gets no lease, but nobody else gets its address."""

    name: str
    address: str
    mac: str
    zone: str
    source: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


def entries_keep(
    actor: Actor, host: Host, entries: Sequence[Entry], *, reason: str = "", approved: bool = False
) -> Job | None:
    """Keep entries, and ask for the job that tells the host; None where all of them are kept already.

    All or none. Raises Refused where one is somebody's already or in no zone, PermissionDenied.
    """
    check(actor, KIND)
    with transaction.atomic():
        host = Host.objects.select_for_update().get(pk=host.pk)
        made = [row for entry in entries if (row := _kept(host, entry))]
        if not made:
            return None
        log.record(actor, KIND, _thing(host), why=reason, data={"kept": [_plain(row) for row in made]})
        return _ask(actor, host, f"Tell the host of {_count(made)}", reason, approved, [])


def entry_remove(actor: Actor, entry: Expected, *, reason: str = "", approved: bool = False) -> Job:
    """Keep an entry no longer; the host forgets it with the job. Raises Refused, PermissionDenied."""
    check(actor, KIND)
    with transaction.atomic():
        gone = [] if _machine_of(entry) else [_plain(entry)]
        host, name = entry.host, entry.name
        log.record(actor, KIND, _thing(host), why=reason, data={"removed": _plain(entry)})
        entry.delete()
        return _ask(actor, host, f"Have the host forget {name} of the former box", reason, approved, gone)


def known_of(host: Host) -> dict[str, tuple[str, str]]:
    """Names in small letters → address and MAC, of machines and of kept entries."""
    rows = [*Machine.objects.filter(host=host), *Expected.objects.filter(host=host)]
    return {row.name.lower(): (row.address, row.mac) for row in rows}


def _kept(host: Host, entry: Entry) -> Expected | None:
    """A new row; None where it is there. Raises Refused."""
    same = Expected.objects.filter(host=host, name__iexact=entry.name).first()
    if same and (same.address, same.mac) == (entry.address, entry.mac):
        return None
    if Machine.objects.filter(host=host, name__iexact=entry.name, address=entry.address).exists():
        return None
    zone = Zone.objects.filter(host=host, name=entry.zone).first()
    if zone is None or IPAddress(entry.address) not in zone.network:
        raise _refused(f"{entry.name} has {entry.address}, which is not in zone {entry.zone}.")
    row = Expected(
        host=host,
        zone=zone,
        name=entry.name,
        address=entry.address,
        mac=entry.mac,
        vif=vif_of(entry.address, host.facts.get("vif_prefix", VIF_PREFIX)),
        facts=dict(entry.facts),
        source=entry.source,
    )
    taken = Machine.objects.filter(host=host)
    for holder in (taken.filter(address=row.address).first(), taken.filter(mac=row.mac).first() if row.mac else None):
        if holder:
            raise _refused(f"{holder.name} has {row.address} or {row.mac} already, so {row.name} can't.")
    if Machine.objects.filter(host=host, name__iexact=row.name).exists() or same:
        raise _refused(f"There is a {row.name} already, with another address or MAC.")
    try:
        row.full_clean()
    except ValidationError as error:
        raise _refused(f"{row.name}: {' '.join(error.messages)}") from error
    row.save()
    return row


def _refused(sentence: str) -> Refused:
    return Refused(sentence, note="Nothing was saved. Mend the files, then read them again.")


def _machine_of(entry: Expected) -> Machine | None:
    return Machine.objects.filter(host=entry.host, address=entry.address).first()


def _ask(actor: Actor, host: Host, title: str, reason: str, approved: bool, gone: list[dict[str, str]]) -> Job:
    return job_create(
        actor, KIND, host=host, title=title, target=_thing(host), reason=reason, args={"gone": gone}, approved=approved
    )


def _thing(host: Host) -> Thing:
    return Thing(kind="kept entries", id=str(host.pk), text=f"kept entries of {host.name}")


def _plain(row: Expected) -> dict[str, str]:
    entry = Entry(name=row.name, address=row.address, mac=row.mac, zone=row.zone.name)
    told = asdict(entry)
    return {**{key: str(told[key]) for key in ("name", "address", "mac", "zone")}, "vif": row.vif}


def _count(made: Sequence[Expected]) -> str:
    return made[0].name if len(made) == 1 else f"{len(made)} machines of the former box"
