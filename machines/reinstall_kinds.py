"""The job kind of a reinstall."""

from __future__ import annotations

from dom0.host import HostConfig
from dom0.probe import Scope
from hosts.kinds import Kind, register
from hosts.models import Job
from machines import generations, plan, promises
from machines.kinds import locks_of
from machines.plan_reinstall import plan_reinstall
from machines.specs import MachineSpec


def register_kinds() -> None:
    """Make the kind known; called once at start-up."""
    register(
        Kind(
            name="machine.reinstall",
            queue="work",
            approval="own",
            scope=looked_at,
            plan=lambda job, state, config: plan_reinstall(spec_of(job, config), state),
            locks=locks_of,
            done=generations.ended_well,
            failed=generations.unsettle,
        )
    )


def spec_of(job: Job, config: HostConfig) -> MachineSpec:
    """The machine with its new root, admitted after those that were asked for before. Raises Refused."""
    return promises.kept_of(generations.spec_of_wish(job, config), job)


def looked_at(job: Job, config: HostConfig) -> Scope:
    return Scope(**plan.looked_at(generations.spec_of_wish(job, config)))  # type: ignore[arg-type]
