"""The worker's side of a job (DESIGN §3): claim, lock, probe, plan, check, run, look again.

A job id may arrive twice, late or never; the database and the kernel's locks decide, not the broker.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Iterator

from django.db import DatabaseError, transaction
from django.utils import timezone

from audit import log
from dom0 import execute, files, host, probe, runner
from dom0.errors import CommandFailed, FriduError, Refused
from dom0.host import HostConfig
from dom0.plan import Already, Plan
from dom0.state import State
from dom0.steps import Step
from hosts.kinds import Kind, kind_of
from hosts.models import Job, JobSecret, JobStep
from hosts.services import actor_of_job, step_digest, thing_of
from hosts.visibility import may_still

logger = logging.getLogger(__name__)
S = Job.State
LIVE_LINES = 20


def run(job_id: int) -> None:
    """Plan or carry out job `job_id`; returns at once where it is not this host's, not claimable, or claimed."""
    config = host.load()
    job = Job.objects.select_related("host", "actor").filter(pk=job_id, host__name=config.name).first()
    if job is None:
        return
    with files.lock(lock_path(config, job.pk), wait=False) as mine:
        if mine and _claim(job, config):
            _carry(job, kind_of(job.kind), config)


def lock_path(config: HostConfig, job_id: int) -> str:
    """The file whose kernel lock says that a live worker has the job."""
    return f"{config.run}/locks/job-{job_id}.lock"


def _claim(job: Job, config: HostConfig) -> bool:
    claimed = Job.objects.filter(pk=job.pk, state__in=Job.CLAIMABLE).update(
        worker=config.name, claimed_at=timezone.now()
    )
    job.refresh_from_db()
    return bool(claimed)


def _carry(job: Job, kind: Kind, config: HostConfig) -> None:
    """Everything that can go wrong ends here, as a state of the job and an entry in the log."""
    try:
        if not may_still(job):
            raise Refused(f"{job.actor.get_username()} may not do this any more.", note="Nothing was changed.")
        with _locks(kind.locks(job), config):
            plan, state = _plan(job, kind, config)
            if not plan.steps:
                close(job, kind, S.DONE if job.attempt else S.NOTHING)
            elif _approved(job, kind, plan):
                _run(job, plan, state, config)
                left = kind.plan(job, probe.probe(config, kind.scope(job, config)), config)
                close(job, kind, S.DRIFTED if left.steps else S.DONE, _left(left))
    except Refused as error:
        close(job, kind, S.REFUSED, error.message, error.note)
    except (FriduError, OSError) as error:
        close(job, kind, S.FAILED, str(error), "Mend the cause, then go on, or undo.")
    except Exception:
        logger.exception("job %s", job.pk)
        close(
            job,
            kind,
            S.FAILED,
            f"Fridu itself failed; its log says more under job {job.pk}.",
            "Tell the operators.",
        )


@contextlib.contextmanager
def _locks(names: tuple[str, ...], config: HostConfig) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for name in names:
            stack.enter_context(files.lock(f"{config.run}/locks/{name}.lock"))
        yield


def _plan(job: Job, kind: Kind, config: HostConfig) -> tuple[Plan, State]:
    state = probe.probe(config, kind.scope(job, config))
    plan = kind.plan(job, state, config)
    with transaction.atomic():
        job.steps.exclude(state=JobStep.State.DONE).delete()
        had = list(job.steps.all())
        stages = {step.stage for step in had}
        items = [i for i in plan.items if isinstance(i, Step) or i.stage not in stages]
        first = max((step.number for step in had), default=0) + 1
        JobStep.objects.bulk_create(_row(job, n, i) for n, i in enumerate(items, start=first))
        Job.objects.filter(pk=job.pk).update(digest=plan.digest)
    job.digest = plan.digest
    return plan, state


def _row(job: Job, number: int, item: Step | Already) -> JobStep:
    row = JobStep(job=job, number=number, attempt=job.attempt + 1, stage=item.stage, title=item.title)
    if isinstance(item, Already):
        row.state = JobStep.State.ALREADY
    else:
        row.shown, row.destroys, row.about_s = item.shown, item.destroys, item.about_s
    return row


def _approved(job: Job, kind: Kind, plan: Plan) -> bool:
    """Whether this very plan may run; otherwise the job waits, showing it."""
    steps = sorted({step_digest(s.stage, s.title, s.shown) for s in plan.steps})
    beforehand = job.approver_id is not None and not job.approved_digest
    if kind.approval == "none" or beforehand:
        Job.objects.filter(pk=job.pk).update(approved_digest=plan.digest, approved_steps=steps)
        return True
    if plan.digest == job.approved_digest or (job.attempt and set(steps) <= set(job.approved_steps)):
        return True
    stale = job.state == S.APPROVED
    Job.objects.filter(pk=job.pk).update(
        state=S.PLANNED,
        message="The host has changed since you approved; nothing was done. This is the new plan." if stale else "",
    )
    return False


def _run(job: Job, plan: Plan, predicted: State, config: HostConfig) -> None:
    Job.objects.filter(pk=job.pk).update(state=S.RUNNING, attempt=job.attempt + 1)
    job.refresh_from_db()
    secrets = dict(job.secrets.values_list("name", "value"))
    for row, step in zip(job.steps.filter(state=JobStep.State.TODO), plan.steps, strict=True):
        _step(job, row, step)
        try:
            with runner.heard_by(_Live(row)):
                outcome = execute.perform(step, config, predicted, secrets)
        except (FriduError, OSError) as error:
            _stopped(row, error)
            raise
        predicted = step.after(predicted)
        row.state, row.output, row.code, row.ended = (
            JobStep.State.DONE,
            outcome.output,
            outcome.code,
            timezone.now(),
        )
        row.save(update_fields=["state", "output", "code", "ended"])


class _Live:
    """Writes what a running step says into its row, for whoever looks; the end of the step writes the whole."""

    def __init__(self, row: JobStep) -> None:
        self.pk, self.last = row.pk, ""

    def __call__(self, said: str) -> None:
        text = "\n".join(said.replace("\0", "").splitlines()[-LIVE_LINES:])
        if text == self.last:
            return
        self.last = text
        try:
            JobStep.objects.filter(pk=self.pk, state=JobStep.State.NOW).update(output=text)
        except DatabaseError:  # the work itself goes on: its end is written, or says why not
            logger.warning("step %s: its output so far can't be written", self.pk, exc_info=True)


def _step(job: Job, row: JobStep, step: Step) -> None:
    if row.shown != step.shown:
        raise Refused(f"Step {row.number} is not what the page shows.", note="Nothing was done. Plan it again.")
    row.state, row.started = JobStep.State.NOW, timezone.now()
    row.save(update_fields=["state", "started"])
    if job.first_step_at is None:
        job.first_step_at = row.started
        Job.objects.filter(pk=job.pk).update(first_step_at=row.started)


def _stopped(row: JobStep, error: Exception) -> None:
    row.state, row.ended, row.output = JobStep.State.FAILED, timezone.now(), str(error)
    if isinstance(error, CommandFailed):
        row.code, row.output = error.code, error.stdout + error.stderr
    row.save(update_fields=["state", "ended", "output", "code"])


def _left(plan: Plan) -> str:
    return "" if not plan.steps else f"After the last step the host still differs: {plan.steps[0].title}."


def close(job: Job, kind: Kind, state: str, message: str = "", note: str = "") -> None:
    """Close the job: state, booking, secrets and the log's entry in one transaction."""
    good = state in (S.DONE, S.NOTHING)
    with transaction.atomic():
        job.refresh_from_db()
        job.state, job.message, job.note, job.ended = S(state), message, note, timezone.now()
        job.save(update_fields=["state", "message", "note", "ended"])
        if good:
            JobSecret.objects.filter(job=job).delete()
            kind.done(job)
        else:
            kind.failed(job)
        outcome = {S.DONE: "done", S.NOTHING: "nothing", S.REFUSED: "refused"}.get(S(state), "failed")
        log.record(
            actor_of_job(job),
            job.kind,
            thing_of(job),
            outcome=outcome,
            why=job.reason,
            job=job.pk,
            data={"state": state, "message": message, "commands": _commands(job)},
        )


def _commands(job: Job) -> list[dict[str, object]]:
    return [
        {
            "stage": step.stage,
            "command": step.shown[:4000],
            "state": step.state,
            "code": step.code,
            "output": hashlib.sha256(step.output.encode()).hexdigest(),
        }
        for step in job.steps.exclude(state__in=(JobStep.State.TODO, JobStep.State.ALREADY))
    ]
