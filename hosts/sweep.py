"""Mends what the broker forgot and what a dead worker left; run by the watcher on each dom0."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import Q
from django.utils import timezone

from dom0 import files
from dom0.host import HostConfig
from hosts import work
from hosts.kinds import kind_of
from hosts.models import Job, JobSecret
from hosts.services import job_send

RESEND = timedelta(seconds=10)
KEEP_SECRETS = timedelta(days=1)


def sweep(config: HostConfig) -> None:
    """Send again every claimable job nobody works on; close every running job whose worker is gone."""
    late = timezone.now() - RESEND
    waiting = Q(state__in=Job.CLAIMABLE) & (Q(queued=None) | Q(queued__lt=late))
    for job in Job.objects.select_related("host").filter(waiting, host__name=config.name).order_by("id"):
        if _nobody_has(job, config):
            job_send(job)
    for job in Job.objects.select_related("host", "actor").filter(state=Job.State.RUNNING, host__name=config.name):
        _close_if_orphan(job, config)
    JobSecret.objects.filter(job__ended__lt=timezone.now() - KEEP_SECRETS).delete()


def _nobody_has(job: Job, config: HostConfig) -> bool:
    with files.lock(work.lock_path(config, job.pk), wait=False) as free:
        return free


def _close_if_orphan(job: Job, config: HostConfig) -> None:
    with files.lock(work.lock_path(config, job.pk), wait=False) as free:
        job.refresh_from_db()
        if free and job.state == Job.State.RUNNING:
            step = job.steps.filter(state="now").first()
            where = f" during {step.stage}" if step else ""
            if step:
                step.state, step.ended = "failed", timezone.now()
                step.output = "The worker ended here."
                step.save(update_fields=["state", "ended", "output"])
            work.close(
                job,
                kind_of(job.kind),
                Job.State.FAILED,
                f"The worker was killed{where}.",
                "Go on looks at what is there and does what is left.",
            )
