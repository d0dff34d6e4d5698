"""The zone's job kinds: rows become a spec, the planner does the rest."""

from __future__ import annotations

from django.core.exceptions import ValidationError

from audit.log import Actor
from dom0.dnsmasq import Files
from dom0.errors import Refused
from dom0.host import HostConfig
from dom0.plan import Plan
from dom0.probe import Scope
from dom0.state import State
from hosts.kinds import Kind, register
from hosts.models import Job
from zones import moving, plan, services
from zones.checks import check_zone
from zones.models import ExternalAddress, Zone
from zones.specs import ZoneSpec


def register_kinds() -> None:
    """Make zone.create, zone.change and zone.delete known; called once at start-up."""
    for name, undo in (("zone.create", _undo), ("zone.change", _undo_change)):
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
                undoable=lambda job: job.kind == "zone.create" or "change" in job.args,
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
        lease_first=zone.lease_first or "",
        lease_last=zone.lease_last or "",
        in_kbit=zone.in_kbit or 0,
        out_kbit=zone.out_kbit or 0,
    )


def _row(job: Job) -> Zone:
    zone = Zone.objects.select_related("host", "external").filter(pk=job.target_id).first()
    if zone is None:
        raise Refused(f"Zone {job.target_text} is no more.", note="Create it anew if you still want it.")
    return zone


def _zone(job: Job) -> Zone:
    """The zone as the job wishes it; its row has that when the job has ended well."""
    try:
        return services.wished(_row(job), job.args.get("change", {}))
    except ExternalAddress.DoesNotExist as error:
        raise Refused("The external address it shall go out by is no more.", note="Choose another one.") from error


def _spec(job: Job, config: HostConfig) -> ZoneSpec:
    spec = spec_of(_zone(job), config)
    if not spec.bridge.startswith(config.bridge_prefix):
        raise Refused(
            f"Bridges of zones on {config.name} begin with {config.bridge_prefix}; {spec.bridge} does not.",
            note=f"Change the zone's bridge, for example to {config.bridge_prefix}{_zone(job).number}.",
        )
    if spec.bridge in [nic.name for nic in config.nics]:
        raise Refused(
            f"{spec.bridge} is a card of {config.name}, and cards stay as they are.", note="Use another name."
        )
    return spec


def _scope(job: Job, config: HostConfig) -> Scope:
    looked = plan.looked_at(_spec(job, config))
    for room, names in moving.looked_at(_zone(job), config).items():
        looked[room] = (*looked.get(room, ()), *names)
    return Scope(**looked)  # type: ignore[arg-type]


def _present(job: Job, state: State, config: HostConfig) -> Plan:
    zone = _zone(job)
    move = moving.move_of(_row(job), zone)
    if move:
        check_zone_again(zone)
        moving.refuse_conflicts(move)
    return plan.present(_spec(job, config), state, lambda draft: moving.settle(zone, move, config, draft))


def check_zone_again(zone: Zone) -> None:
    """What was fine when it was asked for may not be by now. Raises Refused."""
    try:
        check_zone(zone)
    except ValidationError as error:
        raise Refused(" ".join(error.messages), note="Nothing was changed. Ask for another subnet.") from error


def _absent(job: Job, state: State, config: HostConfig) -> Plan:
    services.refuse_inhabited(_row(job))
    return plan.absent(_spec(job, config), state)


def _locks(job: Job) -> tuple[str, ...]:
    zone = Zone.objects.filter(pk=job.target_id).first()
    return (*(moving.locks(zone) if zone and job.kind == "zone.change" else ()), "net")


def _applied(job: Job) -> None:
    services.zone_changed(_row(job), job.args.get("change", {}))


def _deleted(job: Job) -> None:
    services.zone_forget(_row(job))


def _undo(actor: Actor, job: Job) -> Job:
    return services.zone_delete(actor, _row(job), reason=f"undo of job {job.pk}")


def _undo_change(actor: Actor, job: Job) -> Job:
    """Until the job has ended well the row is as before, and applying it leads back."""
    zone, why = _row(job), f"undo of job {job.pk}"
    if job.state not in (Job.State.DONE, Job.State.NOTHING):
        return services.zone_apply(actor, zone, reason=why)
    former = services.wished(zone, job.args["former"])
    return services.zone_change(
        actor, zone, reason=why, **{field: getattr(former, field) for field in job.args["former"]}
    )
