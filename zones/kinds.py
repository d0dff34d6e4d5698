"""The zone's job kinds: rows become a spec, the planner does the rest."""

from __future__ import annotations

from django.utils import timezone

from audit.log import Actor
from dom0.dnsmasq import Files
from dom0.errors import Refused
from dom0.host import HostConfig
from dom0.plan import Plan
from dom0.probe import Scope
from dom0.state import State
from hosts.kinds import Kind, register
from hosts.models import Job
from zones import plan, services
from zones.models import Zone
from zones.specs import ZoneSpec


def register_kinds() -> None:
    """Make zone.create, zone.change and zone.delete known; called once at start-up."""
    for name in ("zone.create", "zone.change"):
        undo = _undo if name == "zone.create" else None
        register(
            Kind(
                name=name,
                queue="net",
                approval="operator",
                scope=_scope,
                plan=_present,
                locks=_locks,
                done=_applied,
                undo=undo,
            )
        )
    register(
        Kind(
            name="zone.delete",
            queue="net",
            approval="operator",
            scope=_scope,
            plan=_absent,
            locks=_locks,
            done=_deleted,
        )
    )


def spec_of(zone: Zone, config: HostConfig) -> ZoneSpec:
    """The zone as the planner reads it."""
    return ZoneSpec(
        host=config.name,
        name=zone.name,
        bridge=zone.bridge,
        gateway=zone.gateway,
        prefix=zone.prefix,
        isolated=zone.external_id is None,
        domain=zone.domain,
        files=Files(state=config.state, run=config.run, zone=zone.name),
        vpn_network=config.vpn_network,
    )


def _zone(job: Job) -> Zone:
    zone = Zone.objects.filter(pk=job.target_id).first()
    if zone is None:
        raise Refused(f"Zone {job.target_text} is no more.", note="Create it anew if you still want it.")
    return zone


def _spec(job: Job, config: HostConfig) -> ZoneSpec:
    spec = spec_of(_zone(job), config)
    if not spec.bridge.startswith(config.bridge_prefix):
        raise Refused(
            f"Bridges of zones on {config.name} begin with {config.bridge_prefix}; {spec.bridge} does not.",
            note=f"Change the zone's bridge, for example to {config.bridge_prefix}{_zone(job).number}.",
        )
    return spec


def _scope(job: Job, config: HostConfig) -> Scope:
    return Scope(**plan.looked_at(_spec(job, config)))  # type: ignore[arg-type]


def _present(job: Job, state: State, config: HostConfig) -> Plan:
    return plan.present(_spec(job, config), state)


def _absent(job: Job, state: State, config: HostConfig) -> Plan:
    services.refuse_inhabited(_zone(job))
    return plan.absent(_spec(job, config), state)


def _locks(job: Job) -> tuple[str, ...]:
    return ("net",)


def _applied(job: Job) -> None:
    Zone.objects.filter(pk=job.target_id).update(applied_at=timezone.now())


def _deleted(job: Job) -> None:
    services.zone_forget(_zone(job))


def _undo(actor: Actor, job: Job) -> Job:
    return services.zone_delete(actor, _zone(job), reason=f"undo of job {job.pk}")
