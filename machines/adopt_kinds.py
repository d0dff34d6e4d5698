"""The job kinds `machine.adopt` (a machine that is there is looked after) and `machine.drift` (it is put back)."""

from __future__ import annotations

from django.utils import timezone

from dom0.host import HostConfig
from dom0.probe import Scope
from hosts.kinds import Kind, register
from hosts.models import Job
from machines import plan_adopt
from machines.kinds import locks_of, spec_of_job
from machines.models import Expected, Machine


def register_kinds() -> None:
    """Make both known; called once at start-up."""
    register(
        Kind(
            name="machine.adopt",
            queue="work",
            approval="own",
            scope=_scope,
            plan=lambda job, state, config: plan_adopt.plan_adopt(spec_of_job(job, config), state),
            locks=locks_of,
            done=_adopted,
            failed=_not_adopted,
        )
    )
    register(
        Kind(
            name="machine.drift",
            queue="work",
            approval="own",
            scope=_scope,
            plan=lambda job, state, config: plan_adopt.plan_settle(spec_of_job(job, config), state),
            locks=locks_of,
            done=_settled,
        )
    )


def _scope(job: Job, config: HostConfig) -> Scope:
    return Scope(**plan_adopt.looked_at(spec_of_job(job, config)))  # type: ignore[arg-type]


def _adopted(job: Job) -> None:
    machine = Machine.objects.filter(pk=job.target_id).first()
    if machine is None:
        return
    now = timezone.now()
    Expected.objects.filter(host=machine.host_id, address=machine.address).delete()
    Machine.objects.filter(pk=machine.pk).update(built_at=now, observed=machine.wanted, observed_at=now, since=now)
    host = machine.host
    host.figures["unknown"] = [one for one in host.figures.get("unknown", ()) if one["uuid"] != str(machine.uuid)]
    host.save(update_fields=["figures"])


def _not_adopted(job: Job) -> None:
    """One that was never adopted is as unknown as before: nothing of it was changed, or only what knows its address."""
    job = Job.objects.get(pk=job.pk)
    if not job.attempt and job.state in (Job.State.CANCELLED, Job.State.REFUSED):
        Machine.objects.filter(pk=job.target_id, built_at=None).delete()


def _settled(job: Job) -> None:
    Machine.objects.filter(pk=job.target_id).update(drift={}, ignored_drift="")
