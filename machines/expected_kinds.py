"""The job kind `machine.expect`: the host's DHCP, DNS and membership know the kept entries, and no removed one."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import OuterRef, QuerySet
from django.utils import timezone

from dom0.host import HostConfig
from dom0.plan import Draft, Plan
from dom0.probe import Scope
from dom0.state import State
from hosts.kinds import Kind, register
from hosts.models import Job
from machines.expected import KIND
from machines.kinds import place_of
from machines.models import Expected, Machine
from machines.specs import EntrySpec, ZoneSpec
from machines.stages import dhcp, leave_network, updateether
from zones.models import Zone


def register_kinds() -> None:
    """Make machine.expect known; called once at start-up."""
    register(
        Kind(
            name=KIND,
            queue="work",
            approval="own",
            scope=_scope,
            plan=lambda job, state, config: plan(_wished(job, config), _gone(job, config), state),
            locks=lambda job: (),
            done=_noted,
        )
    )


def _scope(job: Job, config: HostConfig) -> Scope:
    files, keys = looked_at((*_wished(job, config), *_gone(job, config)))
    return Scope(files=files, members=keys)


def looked_at(specs: Sequence[EntrySpec]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The files and the set elements the plan needs to see."""
    files = [path for spec in specs for path in (*(file.path for file in dhcp(spec)), spec.members_file)]
    return tuple(files), tuple(m.key for spec in specs for m in spec.members)


def plan(wished: Sequence[EntrySpec], gone: Sequence[EntrySpec], state: State) -> Plan:
    """The steps after which each wished entry is known, and none that is gone. Pure."""
    draft = Draft(state)
    for spec in gone:
        leave_network(spec, draft)
    for spec in wished:
        updateether(spec, draft)
    return draft.plan()


def _wished(job: Job, config: HostConfig) -> list[EntrySpec]:
    # Without a MAC there is nothing DHCP or the firewall could know it by; a machine made meanwhile has its own jobs.
    rows = untaken(Expected.objects.filter(host=job.host_id)).exclude(mac="").select_related("zone")
    return [entry_spec(config, r.zone, r.name, r.address, r.mac, r.vif) for r in rows]


def _gone(job: Job, config: HostConfig) -> list[EntrySpec]:
    zones = {zone.name: zone for zone in Zone.objects.filter(host=job.host_id)}
    taken = {*Machine.objects.filter(host=job.host_id).values_list("name", flat=True)}
    taken |= {*Expected.objects.filter(host=job.host_id).values_list("name", flat=True)}
    return [
        entry_spec(config, zones[g["zone"]], g["name"], g["address"], g["mac"], g["vif"])
        for g in job.args.get("gone", ())
        if g["mac"] and g["zone"] in zones and g["name"] not in taken
    ]


def untaken(rows: QuerySet[Expected]) -> QuerySet[Expected]:
    """Those of one host at whose address no machine was made meanwhile."""
    return rows.exclude(address__in=Machine.objects.filter(host=OuterRef("host")).values("address"))


def entry_spec(config: HostConfig, zone: Zone, name: str, address: str, mac: str, vif: str) -> EntrySpec:
    """What the host is to know of a kept entry."""
    return EntrySpec(
        place=place_of(config),
        zone=ZoneSpec(name=zone.name, bridge=zone.bridge, gateway=zone.gateway, domain=zone.domain),
        name=name,
        address=address,
        mac=mac,
        vif=vif,
    )


def _noted(job: Job) -> None:
    Expected.objects.filter(host=job.host_id, noted_at=None).exclude(mac="").update(noted_at=timezone.now())
