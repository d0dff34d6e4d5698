"""Mends what the broker forgot and what a dead worker left; run by the watcher on each dom0."""

from __future__ import annotations

import logging
import time
from datetime import timedelta

from django.db.models import Q
from django.utils import timezone

from dom0 import files
from dom0.host import HostConfig
from hosts import hearing, work
from hosts.kinds import kind_of
from hosts.models import Job, JobSecret
from hosts.services import job_send

logger = logging.getLogger(__name__)
RESEND = timedelta(seconds=10)
UNHEARD_S = 30.0
KEEP_SECRETS = timedelta(days=1)
_unheard: dict[int, float] = {}  # job: since when this watcher sees it waiting while its worker does nothing


def sweep(config: HostConfig) -> None:
    """Send again every claimable job nobody works on; close every running job whose worker is gone."""
    late = timezone.now() - RESEND
    waiting = Q(state__in=Job.CLAIMABLE) & (Q(queued=None) | Q(queued__lt=late))
    for job in Job.objects.select_related("host").filter(waiting, host__name=config.name).order_by("id"):
        if _nobody_has(job, config):
            job_send(job)
    _end_deaf(config)
    for job in Job.objects.select_related("host", "actor").filter(state=Job.State.RUNNING, host__name=config.name):
        _close_if_orphan(job, config)
    JobSecret.objects.filter(job__ended__lt=timezone.now() - KEEP_SECRETS).delete()


def _end_deaf(config: HostConfig) -> None:
    """End a worker that takes no job though it was sent one again and again; its service manager starts a new one."""
    working = list(Job.objects.select_related("host").filter(state__in=Job.WORKING, host__name=config.name))
    had = {kind_of(job.kind).queue for job in working if not _nobody_has(job, config)}
    waiting = {job.pk: kind_of(job.kind).queue for job in working if job.state in Job.CLAIMABLE}
    now = time.monotonic()
    since = {pk: _unheard.get(pk, now) for pk, queue in waiting.items() if queue not in had}
    _unheard.clear()
    _unheard.update(since)
    for queue in {waiting[pk] for pk, seen in since.items() if now - seen > UNHEARD_S}:
        if hearing.end(config, queue, older_than_s=UNHEARD_S):
            logger.error("the worker of %s took no job for %d s: ended, to be started anew", queue, UNHEARD_S)


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
