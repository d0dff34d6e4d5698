"""The job kinds of a creation: all of it, and stages of it once more."""

from __future__ import annotations

from django.utils import timezone

from audit.log import Actor
from dom0.host import HostConfig
from dom0.plan import Plan
from dom0.probe import Scope
from dom0.state import State
from hosts.kinds import Kind, register
from hosts.models import Job
from machines import generations, modes, plan, promises, services
from machines.kinds import locks_of, machine_of, spec_of_job
from machines.models import Expected, Machine
from machines.modes import Modes
from machines.plan_create import plan_create
from machines.specs import MachineSpec


def register_kinds() -> None:
    """Make the kinds known; called once at start-up."""
    register(
        Kind(
            name="machine.create",
            queue="work",
            approval="own",
            scope=_scope,
            plan=_plan,
            locks=locks_of,
            done=_created,
            failed=_not_created,
            undo=_undo_create,
        )
    )
    register(
        Kind(
            name="machine.stages",
            queue="work",
            approval="own",
            scope=_scope,
            plan=_plan,
            locks=locks_of,
            done=_created,
            failed=_not_done,
        )
    )


def _spec(job: Job, config: HostConfig) -> MachineSpec:
    if "generation" not in job.args:
        return spec_of_job(job, config)
    return promises.kept_of(generations.spec_of_wish(job, config), job)


def _modes(job: Job) -> Modes:
    return modes.read(job.args.get("stages", {}))


def _scope(job: Job, config: HostConfig) -> Scope:
    return Scope(**plan.looked_at(_spec(job, config)))  # type: ignore[arg-type]


def _plan(job: Job, state: State, config: HostConfig) -> Plan:
    return plan_create(_spec(job, config), state, _modes(job), f"job-{job.pk}")


def _created(job: Job) -> None:
    """Book how far it is: a machine is finished once it can be started."""
    now, modes_ = timezone.now(), _modes(job)
    machine = Machine.objects.filter(pk=job.target_id).first()
    if machine is None:
        return
    if "generation" in job.args:
        generations.settle(job)
    changes: dict[str, object] = {}
    if modes_.finishes:
        # What was kept for it is it now.
        Expected.objects.filter(host=machine.host_id, address=machine.address).delete()
        changes["built_at"] = machine.built_at or now
    elif modes_.loses:
        changes["built_at"] = None
    if modes_.does("start"):
        changes |= {"observed": Machine.Observed.RUNNING, "observed_at": now, "since": now}
    elif modes_.finishes and machine.built_at is None:
        changes |= {"observed": Machine.Observed.STOPPED, "observed_at": now, "since": now}
    Machine.objects.filter(pk=machine.pk).update(**changes)


def _not_created(job: Job) -> None:
    """A wish that was taken back before anything was done goes with its job."""
    job = Job.objects.get(pk=job.pk)
    if job.state == Job.State.CANCELLED and not job.attempt:
        Machine.objects.filter(pk=job.target_id, built_at=None).delete()


def _not_done(job: Job) -> None:
    if "generation" in job.args:
        generations.unsettle(job)


def _undo_create(actor: Actor, job: Job) -> Job:
    return services.machine_delete(actor, machine_of(job), reason=f"undo of job {job.pk}")
