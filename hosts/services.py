"""A job's life on the panel's side: asked for, approved, cancelled, gone on with, sent."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.utils import timezone

from accounts.models import User
from audit import log
from audit.log import Actor, Thing
from dom0.errors import Refused, StalePlan
from hosts.kinds import kind_of
from hosts.models import Host, Job, JobSecret, JobStep
from hosts.visibility import may_approve, may_mend

logger = logging.getLogger(__name__)


def step_digest(stage: str, title: str, shown: str) -> str:
    """What tells one step from another, for going on without a second approval."""
    return hashlib.sha256(f"{stage}\0{title}\0{shown}".encode()).hexdigest()[:16]


def job_create(
    actor: Actor,
    kind: str,
    *,
    host: Host,
    title: str,
    target: Thing,
    reason: str = "",
    args: Mapping[str, Any] | None = None,
    secrets: Mapping[str, str] | None = None,
    approved: bool = False,
) -> Job:
    """Ask for a job, in the caller's transaction; its id goes to the worker on commit.

    `approved` is for a door where the same person has just confirmed (the command line's --yes, the demo): the
    job then runs whatever plan it gets at its first planning. Raises Refused while another job of the same
    target is open.
    """
    kind_of(kind)
    if actor.id is None:
        raise Refused("Only a person can ask for a job.", note="Sign in, or say who with --as.")
    _refuse_second(target)
    job = Job.objects.create(
        kind=kind,
        host=host,
        title=title,
        target_kind=target.kind,
        target_id=int(target.id),
        target_text=target.text,
        args=dict(args or {}),
        actor_id=actor.id,
        actor_session=actor.session,
        actor_address=actor.address,
        reason=reason,
        approver_id=actor.id if approved else None,
        approved_at=timezone.now() if approved else None,
    )
    JobSecret.objects.bulk_create(JobSecret(job=job, name=k, value=v) for k, v in (secrets or {}).items())
    log.record(actor, kind, target, why=reason, job=job.pk, data={"asked": dict(args or {})})
    transaction.on_commit(lambda: job_send(job))
    return job


def job_approve(actor: Actor, job: Job, digest: str) -> None:
    """Approve exactly the plan with that digest. Raises PermissionDenied, StalePlan, Refused."""
    _check(may_approve, actor, job)
    with transaction.atomic():
        job = Job.objects.select_for_update().get(pk=job.pk)
        if job.state != Job.State.PLANNED:
            raise Refused(f"Job {job.pk} is {job.get_state_display()}, not waiting for approval.")
        if digest != job.digest:
            raise StalePlan("The plan has changed since you saw it.", note="Look at the new one, then approve it.")
        steps = [step_digest(s.stage, s.title, s.shown) for s in job.steps.filter(state=JobStep.State.TODO)]
        Job.objects.filter(pk=job.pk).update(
            state=Job.State.APPROVED,
            approver_id=actor.id,
            approved_digest=digest,
            approved_steps=sorted({*job.approved_steps, *steps}),
            approved_at=timezone.now(),
            first_step_at=None,
        )
        log.record(actor, "job.approve", thing_of(job), job=job.pk, data={"plan": digest})
        transaction.on_commit(lambda: job_send(job))


def job_cancel(actor: Actor, job: Job) -> None:
    """Cancel a job that has not begun to change anything. Raises PermissionDenied; Refused once it runs or ended."""
    _check(may_mend, actor, job)
    with transaction.atomic():
        changed = Job.objects.filter(pk=job.pk, state__in=(Job.State.PLANNING, Job.State.PLANNED)).update(
            state=Job.State.CANCELLED, ended=timezone.now()
        )
        if not changed:
            raise Refused(f"Job {job.pk} can't be cancelled any more.", note="Wait for its end, then undo it.")
        JobSecret.objects.filter(job=job).delete()
        kind_of(job.kind).failed(job)
        log.record(actor, "job.cancel", thing_of(job), job=job.pk)


def job_go_on(actor: Actor, job: Job) -> None:
    """Plan a job that stopped again; where every step left was approved before, it runs at once.

    Raises PermissionDenied, Refused.
    """
    _check(may_mend, actor, job)
    with transaction.atomic():
        if job.state in Job.RESUMABLE:
            _refuse_second(thing_of(job))
            _refuse_overtaken(job)
        changed = Job.objects.filter(pk=job.pk, state__in=Job.RESUMABLE).update(
            state=Job.State.PLANNING, message="", note="", ended=None, queued=None
        )
        if not changed:
            raise Refused(f"Job {job.pk} has not stopped half-way; there is nothing to go on with.")
        log.record(actor, "job.go_on", thing_of(job), job=job.pk)
        transaction.on_commit(lambda: job_send(job))


def _refuse_second(target: Thing) -> None:
    """One job a target at a time. Raises Refused while another is open."""
    other = Job.objects.filter(target_kind=target.kind, target_id=int(target.id), state__in=Job.OPEN).first()
    if other is not None:
        raise Refused(
            f"Job {other.pk} ({other.title}) is still open for {target.text}.",
            note="Wait for its end, or cancel it on its page.",
        )


def _refuse_overtaken(job: Job) -> None:
    """Raises Refused where another job has destroyed something of the same target since this one stopped.

    What was approved then was approved for what was there then; and its booking would go back to before the other.
    Only jobs somebody approved count, not what the watcher does by itself.
    """
    others = JobStep.objects.filter(job__target_kind=job.target_kind, job__target_id=job.target_id)
    since = (
        others.exclude(job=job)
        .exclude(destroys="")
        .filter(started__gt=job.ended or job.created, job__approver__isnull=False)
    )
    if step := since.select_related("job").last():
        raise Refused(
            f"Job {step.job.pk} ({step.job.title}) has changed {job.target_text}: what this job was to "
            "go on with was removed or overwritten since.",
            note="Nothing was changed. Ask for it anew, if it should still be so.",
        )


def _check(rule: Callable[[User, Job], bool], actor: Actor, job: Job) -> None:
    if not rule(User.objects.get(username=actor.name), job):
        raise PermissionDenied(f"That is not {actor.name}'s to do with job {job.pk}.")


def job_send(job: Job) -> bool:
    """Hand the id to the host's queue. A broker that is away loses nothing: the sweep sends again."""
    from kombu.exceptions import KombuError

    from hosts.tasks import run

    queue = f"dom0.{job.host.name}.{kind_of(job.kind).queue}"
    try:
        run.apply_async((job.pk,), queue=queue, ignore_result=True)
    except (KombuError, OSError) as error:
        logger.warning("job %s waits: the broker does not answer (%s)", job.pk, error)
        return False
    Job.objects.filter(pk=job.pk).update(queued=timezone.now())
    return True


def thing_of(job: Job) -> Thing:
    """The job's target as the audit log names it."""
    return Thing(kind=job.target_kind, id=str(job.target_id), text=job.target_text)


def actor_of_job(job: Job) -> Actor:
    """Who asked for the job, from where."""
    user: User = job.actor
    return Actor(id=user.pk, name=user.get_username(), session=job.actor_session, address=job.actor_address)
