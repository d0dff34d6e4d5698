"""The job kinds of pausing and going on."""

from __future__ import annotations

from django.utils import timezone

from hosts.kinds import Kind, register
from hosts.models import Job
from machines import plan_run
from machines.kinds import locks_of, scope_of, spec_of_job
from machines.models import Machine

FOUND = {"machine.pause": Machine.Observed.PAUSED, "machine.resume": Machine.Observed.RUNNING}


def register_kinds() -> None:
    """Make them known; called once at start-up."""
    for name, planner in (("machine.pause", plan_run.plan_pause), ("machine.resume", plan_run.plan_resume)):
        register(
            Kind(
                name=name,
                queue="power",
                approval="none",
                scope=scope_of,
                plan=lambda job, state, config, planner=planner: planner(spec_of_job(job, config), state),  # type: ignore[misc]
                locks=locks_of,
                done=_booked,
            )
        )


def _booked(job: Job) -> None:
    """What the job has just looked at, for the page, before the watcher's next round."""
    now, found = timezone.now(), FOUND[job.kind]
    rows = Machine.objects.filter(pk=job.target_id)
    rows.exclude(observed=found).update(observed=found, since=now)
    rows.update(observed_at=now)
