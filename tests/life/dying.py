"""Workers that die at a chosen moment of a chosen step, on lxc and on Xen.

Each worker is a fork of the process that asks, so a death costs a fork and not a start of Django.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any

import django

from audit.log import Actor
from dom0 import execute
from dom0.host import HostConfig
from dom0.steps import Step
from hosts import sweep, work
from hosts.models import Job
from hosts.services import job_approve, job_go_on

BEFORE, AMID, AFTER = "before", "amid", "after"
MOMENTS = (BEFORE, AMID, AFTER)
USUAL_S = 0.05
When = Callable[[str, int], str]  # a step, its number in this attempt: the moment to die at, "" for none


def called(step: Step) -> str:
    """The step in one line, the same in every attempt."""
    return f"{step.stage}: {step.shown.splitlines()[0]}"


def dies(
    job: Job, when: When, took: Mapping[str, float], chance: random.Random, usual_s: float = USUAL_S
) -> tuple[str, str] | None:
    """Have a worker take the job and be killed where `when` says; at which step and moment, None: it came to an end.

    `took`: seconds each step lasts, so that it dies in its midst; `usual_s` for others.
    """
    theirs, ours = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(theirs)
        _work(job, when, ours)
    os.close(ours)
    with os.fdopen(theirs) as said:
        moment, _, name = said.readline().strip().partition(" ")
        if moment == AMID:
            time.sleep(0.6 * chance.random() * took.get(name, usual_s))
        elif moment == AFTER:
            said.readline()
        if moment:
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) == bool(moment), (name, status)
    return (name, moment) if moment else None


def _work(job: Job, when: When, ours: int) -> None:
    """In the child: tell which step it is at and when that ends, and go no further."""
    django.db.connections.close_all()
    perform, number = execute.perform, itertools.count()

    def performed(step: Step, *rest: Any) -> Any:
        moment = when(called(step), next(number))
        if not moment:
            return perform(step, *rest)
        os.write(ours, f"{moment} {called(step)}\n".encode())
        if moment == BEFORE:
            time.sleep(600)
        outcome = perform(step, *rest)
        os.write(ours, b"ended\n")
        time.sleep(600)
        return outcome

    execute.perform = performed
    try:
        work.run(job.pk)
    finally:
        os._exit(0)


def goes_on(job: Job, actor: Actor, config: HostConfig) -> None:
    """What the sweep makes of it, then a person who says *Go on*."""
    sweep.sweep(config)
    job.refresh_from_db()
    assert job.state == Job.State.FAILED, (job.state, job.message)
    job_go_on(actor, job)


def approved(job: Job, actor: Actor) -> bool:
    """Approve the plan that waits, where it is another than was approved; whether one did wait."""
    job.refresh_from_db()
    if job.state != Job.State.PLANNED:
        return False
    job_approve(actor, job, job.digest)
    return True
