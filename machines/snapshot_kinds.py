"""The snapshots' job kinds: one is taken, brought back, given more room, removed, or goes because its time is over."""

from __future__ import annotations

from dataclasses import replace

from django.utils import timezone

from dom0.errors import Refused
from dom0.host import HostConfig
from dom0.plan import Plan
from dom0.probe import Scope
from dom0.state import State
from hosts.kinds import Kind, register
from hosts.models import Job
from machines import generations, plan, plan_snapshot
from machines.kinds import locks_of, scope_of, spec_of, spec_of_job
from machines.models import Machine, Snapshot
from machines.reinstall_kinds import looked_at
from machines.reinstall_kinds import spec_of as spec_to_be
from machines.specs import MachineSpec


def register_kinds() -> None:
    """Make the snapshots' kinds known; called once at start-up."""
    register(
        Kind(
            name="snapshot.take",
            queue="work",
            approval="none",
            scope=scope_of,
            plan=_take,
            locks=locks_of,
            done=_taken,
            failed=_not_taken,
        )
    )
    register(
        Kind(
            name="snapshot.restore",
            queue="work",
            approval="own",
            scope=looked_at,
            plan=_restore,
            locks=locks_of,
            done=generations.ended_well,
            failed=generations.unsettle,
        )
    )
    for name in ("delete", "expire"):
        register(
            Kind(
                name=f"snapshot.{name}",
                queue="work",
                approval="own" if name == "delete" else "none",
                scope=scope_of,
                plan=lambda job, state, config: plan_snapshot.plan_remove(
                    spec_of_job(job, config), state, job.args["label"]
                ),
                locks=locks_of,
                done=_removed,
                failed=_not_removed,
            )
        )
    register(
        Kind(
            name="snapshot.grow",
            queue="work",
            approval="none",
            scope=lambda job, config: Scope(**plan.looked_at(_spec_of_kept(job, config))),  # type: ignore[arg-type]
            plan=lambda job, state, config: plan_snapshot.plan_grow(
                _spec_of_kept(job, config), state, job.args["label"], int(job.args["room_mib"])
            ),
            locks=lambda job: (f"machine-{job.args['machine']}",),
        )
    )


def _take(job: Job, state: State, config: HostConfig) -> Plan:
    args = job.args
    if not Snapshot.objects.filter(pk=args["snapshot"]).exists():
        raise Refused(
            f"The snapshot {args['label']} is not wished any more.", note="Take it anew if you still want it."
        )
    return plan_snapshot.plan_take(spec_of_job(job, config), state, args["label"], int(args["room_mib"]))


def _taken(job: Job) -> None:
    Snapshot.objects.filter(pk=job.args["snapshot"], taken_at=None).update(taken_at=timezone.now(), deleting=False)


def _not_taken(job: Job) -> None:
    """One that was called off, or refused before the host was touched, is not wished any more."""
    job = Job.objects.get(pk=job.pk)
    if not job.attempt:
        Snapshot.objects.filter(pk=job.args["snapshot"], taken_at=None).delete()


def _restore(job: Job, state: State, config: HostConfig) -> Plan:
    run = job.args["wanted"] == Machine.Wanted.RUNNING
    spec, called = spec_to_be(job, config), job.args.get("called", {})
    was = replace(
        spec,
        name=called.get("name") or spec.name,
        zone=replace(spec.zone, domain=called.get("domain", spec.zone.domain)),
    )
    return plan_snapshot.plan_restore(spec, state, job.args["label"], run=run, was=was)


def _removed(job: Job) -> None:
    Snapshot.objects.filter(pk=job.args["snapshot"]).delete()


def _not_removed(job: Job) -> None:
    """One of which nothing was removed yet is as it was."""
    if not Job.objects.get(pk=job.pk).attempt:
        Snapshot.objects.filter(pk=job.args["snapshot"]).update(deleting=False)


def _spec_of_kept(job: Job, config: HostConfig) -> MachineSpec:
    machine = Machine.objects.select_related("zone", "image", "host", "owner").filter(pk=job.args["machine"]).first()
    if machine is None:
        raise Refused("The snapshot's machine is no more.", note="Nothing was changed.")
    return spec_of(machine, config)
