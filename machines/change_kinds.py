"""The job kind of a machine's change: what it was and is to be stands in the job, the row follows at its end."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.utils import timezone

from dom0.errors import Refused
from dom0.host import HostConfig
from dom0.plan import Plan
from dom0.probe import Scope
from dom0.state import State
from hosts.kinds import Kind, register
from hosts.models import Job, JobStep
from machines import change_checks, change_services, plan_change
from machines.change_services import wished
from machines.changing import KIND
from machines.kinds import locks_of, machine_of, spec_of
from machines.models import Machine
from machines.specs import MachineSpec


def register_kinds() -> None:
    """Make machine.change known; called once at start-up."""
    register(
        Kind(
            name=KIND,
            queue="work",
            approval="own",
            scope=_scope,
            plan=_plan,
            locks=locks_of,
            done=_changed,
            undo=lambda actor, job: change_services.undo(actor, job, machine_of(job)),
            undoable=lambda job: bool(job.args.get("former")),
        )
    )


def _specs(job: Job, config: HostConfig) -> tuple[MachineSpec, MachineSpec]:
    """As it was, and as it is to be."""
    row = machine_of(job)
    was, after = (wished(row, job.args[side]) for side in ("former", "change"))
    return spec_of(was, config), spec_of(after, config)


def _scope(job: Job, config: HostConfig) -> Scope:
    return Scope(**plan_change.looked_at(*_specs(job, config)))  # type: ignore[arg-type]


def _plan(job: Job, state: State, config: HostConfig) -> Plan:
    row = machine_of(job)
    _check_again(row, job)
    on = row.wanted == Machine.Wanted.RUNNING
    return plan_change.plan_change(*_specs(job, config), state, on=on, back=bool(job.args.get("back")))


def _check_again(row: Machine, job: Job) -> None:
    """What was free when it was asked for may not be by now. Raises Refused."""
    change = job.args["change"]
    try:
        fields = frozenset({"name", "zone", "address"} & change.keys())
        change_checks.check(row, wished(row, change), fields, back=bool(job.args.get("back")))
    except ValidationError as error:
        raise Refused(" ".join(error.messages), note="Nothing was changed. Ask for another change.") from error


def _changed(job: Job) -> None:
    row = machine_of(job)
    change_services.machine_changed(row, job)
    done = job.steps.filter(state=JobStep.State.DONE)
    if done.filter(stage="start").exists():
        now = timezone.now()
        Machine.objects.filter(pk=row.pk).update(observed=Machine.Observed.RUNNING, observed_at=now, since=now)
    elif done.filter(stage="stop").exists():
        now = timezone.now()
        Machine.objects.filter(pk=row.pk).update(observed=Machine.Observed.STOPPED, observed_at=now, since=now)
