"""Follows a job on the terminal: its plan, the question, its stages, its end."""

from __future__ import annotations

import time

from accounts.models import User
from dom0.errors import Refused, StalePlan
from fridu_site.cli.call import Call
from fridu_site.cli.ways import forced, way_on
from hosts.models import Job, JobStep
from hosts.services import job_approve, job_cancel
from hosts.visibility import may_approve
from ui import words

POLL_S = 0.1
# How the seed's script called them; the others are written as they are.
STAGES = {
    "lvmcreate": "LvmCreate",
    "fscreate": "CreateFileSystem",
    "installroot": "InstallRoot",
    "tuneroot": "TuneRoot",
    "updateether": "UpdateEther",
    "createvmconf": "CreateVmConf",
}
GOOD = (Job.State.DONE, Job.State.NOTHING)


def follow(call: Call, job: Job) -> int:
    """Watch the job to its end, asking where it waits for approval; returns the exit code."""
    told: set[int] = set()
    warned = False
    try:
        while True:
            job.refresh_from_db()
            _tell_steps(call, job, told)
            if job.state == Job.State.PLANNED:
                if (code := _approve(call, job)) is not None:
                    return code
            elif not job.is_open:
                return _end(call, job)
            elif not warned and not job.host.fresh:
                warned = True
                call.say(f"The worker on {job.host} does not answer; job {job.pk} waits for it.")
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        call.say(f"\nJob {job.pk} is on its own now. See what becomes of it: fridu job {job.pk}")
        return 1


def _tell_steps(call: Call, job: Job, told: set[int]) -> None:
    ended = (JobStep.State.DONE, JobStep.State.ALREADY, JobStep.State.FAILED)
    if not call.typed.verbose or job.state not in (Job.State.RUNNING, *Job.RESUMABLE, *GOOD):
        return
    for step in job.steps.filter(state__in=ended).exclude(number__in=told).order_by("number"):
        told.add(step.number)
        call.say(f".. {stage(step)} {step.title.rstrip('.')}{_how(step)}")


def stage(step: JobStep) -> str:
    """The stage as the seed's listing wrote it."""
    return STAGES.get(step.stage, step.stage[:1].upper() + step.stage[1:])


def _how(step: JobStep) -> str:
    if step.state == JobStep.State.ALREADY:
        return ", already so"
    took = f" ({words.took(step.took_s)})" if step.took_s is not None else ""
    return f": FAILED{took}" if step.state == JobStep.State.FAILED else took


def _approve(call: Call, job: Job) -> int | None:
    """Approve the plan on show, or end: None to go on following, else the exit code."""
    show_plan(call, job)
    if not may_approve(User.objects.get(pk=call.user.pk), job):
        call.say(f"Job {job.pk} waits for an operator's approval.")
        return 1
    if not call.typed.yes:
        if call.ask is None:
            call.say(way_on(job))
            return 1
        if call.ask("Do it? [y/N] ").strip().lower() not in ("y", "yes"):
            job_cancel(call.actor, job)
            call.say(f"Job {job.pk} is cancelled; nothing was done.")
            return 1
    try:
        job_approve(call.actor, job, job.digest)
    except StalePlan:
        call.say("The plan has changed meanwhile. This is the new one.")
    return None


def show_plan(call: Call, job: Job) -> None:
    """The plan: each step with the exact commands, what it destroys in capitals."""
    if job.message:
        call.say(job.message)
    call.say(f"Job {job.pk}: {job.title}. The plan:")
    for step in job.steps.order_by("number"):
        already = ", already so" if step.state == JobStep.State.ALREADY else ""
        call.say(f"{step.number:>3}. {stage(step)} {step.title.rstrip('.')}{already}")
        if step.destroys:
            call.say(f"     DESTROYS {step.destroys}")
        for line in step.shown.splitlines():
            call.say(f"       {line}")


def _end(call: Call, job: Job) -> int:
    """Say how it ended. Raises Refused with the job's own words where it did not end well."""
    if job.state == Job.State.CANCELLED:
        call.say(f"Job {job.pk} was cancelled; nothing was done.")
        return 1
    if job.state not in GOOD:
        failed = job.steps.filter(state=JobStep.State.FAILED).first()
        where = f"at {failed.stage}: " if failed else ""
        note = f"{job.note} {forced(job)}".strip()
        raise JobStopped(f"{where}{job.message} (job {job.pk})", note=note)
    call.say("--")
    if job.state == Job.State.NOTHING:
        call.say(f"{job.title}: already so, nothing was done. Job {job.pk}.")
        return 0
    took = (job.ended - job.first_step_at).total_seconds() if job.ended and job.first_step_at else 0.0
    address = job.args.get("address") if job.kind == "machine.create" else None
    done = f"{job.target_text} is ready: {address}" if address else f"{job.title}: done"
    call.say(f"{done}. Job {job.pk}, {words.took(took)}.")
    return 0


class JobStopped(Refused):
    """The job ended otherwise than wished; the worker has written that into the log."""
