"""The job kind of a machine's limits."""

from __future__ import annotations

from dataclasses import replace

from audit.log import Actor
from dom0.host import HostConfig
from dom0.plan import Plan
from dom0.state import State
from hosts.kinds import Kind, register
from hosts.models import Job
from machines import limits_services
from machines.kinds import locks_of, machine_of, scope_of, spec_of_job
from machines.models import Machine
from machines.plan_limits import plan_limits


def register_kinds() -> None:
    """Make machine.limits known; called once at start-up."""
    register(
        Kind(
            name="machine.limits",
            queue="work",
            approval="own",
            scope=scope_of,
            plan=_plan,
            locks=locks_of,
            done=_done,
            undo=_undo,
            undoable=lambda job: bool(job.args.get("former")),
        )
    )


def _plan(job: Job, state: State, config: HostConfig) -> Plan:
    wanted = limits_services.limits_of(machine_of(job), job.args.get("change"))
    return plan_limits(replace(spec_of_job(job, config), limits=wanted), state)


def _done(job: Job) -> None:
    """The change is the wish now: with every start from here on."""
    if change := job.args.get("change"):
        Machine.objects.filter(pk=job.target_id).update(**change)


def _undo(actor: Actor, job: Job) -> Job:
    """Until the job has ended well the row is as before: its limits asked for once more lead back."""
    ended = job.state in (Job.State.DONE, Job.State.NOTHING)
    former = job.args["former"] if ended else {}
    return limits_services.machine_limits(actor, machine_of(job), reason=f"undo of job {job.pk}", **former)
