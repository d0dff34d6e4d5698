"""The job kind of a reinstall."""

from __future__ import annotations

from dom0.host import HostConfig
from dom0.probe import Scope
from hosts.kinds import Kind, register
from hosts.models import Job
from machines import generations, plan
from machines.kinds import locks_of
from machines.plan_reinstall import plan_reinstall


def register_kinds() -> None:
    """Make the kind known; called once at start-up."""
    register(
        Kind(
            name="machine.reinstall",
            queue="work",
            approval="own",
            scope=looked_at,
            plan=lambda job, state, config: plan_reinstall(generations.spec_of_wish(job, config), state),
            locks=locks_of,
            done=generations.ended_well,
            failed=generations.unsettle,
        )
    )


def looked_at(job: Job, config: HostConfig) -> Scope:
    return Scope(**plan.looked_at(generations.spec_of_wish(job, config)))  # type: ignore[arg-type]
