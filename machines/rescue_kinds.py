"""The job kind `machine.rescue`: into the rescue image, or (args "end") back out of it."""

from __future__ import annotations

from django.utils import timezone

from dom0.errors import Refused
from dom0.host import HostConfig
from dom0.plan import Plan
from dom0.probe import Scope
from dom0.state import State
from hosts.kinds import Kind, register
from hosts.models import Job
from machines import plan_rescue
from machines.kinds import locks_of, spec_of_job
from machines.models import Image, Machine


def register_kinds() -> None:
    """Make machine.rescue known; called once at start-up."""
    register(
        Kind(
            name="machine.rescue",
            queue="work",
            approval="own",
            scope=lambda job, config: Scope(**plan_rescue.looked_at(spec_of_job(job, config))),  # type: ignore[arg-type]
            plan=_plan,
            locks=locks_of,
            done=_done,
            failed=_not_done,
        )
    )


def _plan(job: Job, state: State, config: HostConfig) -> Plan:
    if job.args.get("over"):
        raise Refused(
            f"The wish of job {job.pk} is over.", note="Nothing was changed. Ask for it anew on its rescue page."
        )
    spec = spec_of_job(job, config)
    if not job.args.get("end"):
        return plan_rescue.plan_rescue(spec, state)
    return plan_rescue.plan_end(spec, state, former=job.args["family"], run=bool(job.args["run"]))


def _done(job: Job) -> None:
    now = timezone.now()
    runs = not job.args.get("end") or job.args["run"]
    found = Machine.Observed.RUNNING if runs else Machine.Observed.STOPPED
    Machine.objects.filter(pk=job.target_id).update(observed=found, observed_at=now, since=now)


def _not_done(job: Job) -> None:
    """A wish that was taken back before anything was done is none."""
    job = Job.objects.get(pk=job.pk)
    if job.attempt or job.args.get("over") or job.state not in (Job.State.CANCELLED, Job.State.REFUSED):
        return
    was: dict[str, object] = {"rescue": None, "wanted": job.args.get("wanted", Machine.Wanted.RUNNING)}
    if job.args.get("end"):
        was = {"rescue": Image.objects.filter(pk=job.args["image_id"]).first()}
    Machine.objects.filter(pk=job.target_id).update(**was)
    # It is taken back once: whatever is wished later is another job's.
    Job.objects.filter(pk=job.pk).update(args={**job.args, "over": True})
