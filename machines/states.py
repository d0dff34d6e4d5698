"""A machine's state in the words every page uses: what was seen, what is under way, what went wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum

from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from hosts.models import Job
from machines.models import Machine
from ui import words
from ui.registry import Mark


class Rank(IntEnum):
    """The order of a list: trouble first."""

    TROUBLE = 0
    WAITS = 1
    WORKING = 2
    STOPPED = 3
    RUNNING = 4


@dataclass(frozen=True, kw_only=True)
class Doing:
    """One kind of job in words: as a noun ("start"), while it runs ("starting")."""

    noun: str
    now: str


DOINGS = {
    "machine.create": Doing(noun="creation", now="being created"),
    "machine.stages": Doing(noun="stages", now="going through its stages again"),
    "machine.start": Doing(noun="start", now="starting"),
    "machine.stop": Doing(noun="stop", now="stopping"),
    "machine.pause": Doing(noun="pause", now="being paused"),
    "machine.resume": Doing(noun="resume", now="going on"),
    "machine.reboot": Doing(noun="restart", now="restarting"),
    "machine.key": Doing(noun="change of SSH keys", now="getting its SSH keys"),
    "machine.password": Doing(noun="root password", now="getting a root password"),
    "machine.reinstall": Doing(noun="reinstallation", now="being reinstalled"),
    "snapshot.take": Doing(noun="snapshot", now="being kept as a snapshot"),
    "snapshot.restore": Doing(noun="return to a snapshot", now="going back to a snapshot"),
    "snapshot.delete": Doing(noun="removal of a snapshot", now="losing a snapshot"),
    "snapshot.expire": Doing(noun="removal of an expired snapshot", now="losing an expired snapshot"),
    "machine.limits": Doing(noun="change of limits", now="getting its limits"),
    "machine.change": Doing(noun="change", now="being changed"),
    "machine.adopt": Doing(noun="adoption", now="being adopted"),
    "machine.drift": Doing(noun="settling of differences", now="being put back as wished"),
    "machine.check": Doing(noun="filesystem check", now="having its filesystem checked"),
    "machine.rescue": Doing(noun="rescue", now="being rescued"),
    "machine.delete": Doing(noun="deletion", now="being deleted"),
}


def doing(job: Job) -> Doing:
    """The job in words; a kind nobody described is called by its title."""
    return DOINGS.get(job.kind, Doing(noun=job.title, now=job.title))


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A state as it stands on a page: its mark (the class of `.st`), its word, a second line, its place in a list."""

    mark: Mark
    word: str
    sub: str = ""
    rank: Rank

    @property
    def digest(self) -> str:
        """Tells whether a page that is open still says the same."""
        return hashlib.sha256(f"{self.mark}\0{self.word}\0{self.sub}".encode()).hexdigest()[:12]


def notable_jobs(ids: Collection[int] | None = None) -> dict[int, Job]:
    """By machine: its open job, or its last one where that did not end well. One query.

    `ids` limits it to those machines.
    """
    later = Job.objects.filter(target_kind="machine", target_id=OuterRef("target_id"), pk__gt=OuterRef("pk")).exclude(
        state=Job.State.CANCELLED
    )
    jobs = Job.objects.filter(Q(state__in=Job.OPEN) | Q(Q(state__in=Job.RESUMABLE), ~Exists(later)))
    jobs = jobs.filter(target_kind="machine")
    if ids is not None:
        jobs = jobs.filter(target_id__in=ids)
    return {job.target_id: job for job in jobs.select_related("actor").order_by("pk")}


def left_trouble(job: Job) -> bool:
    """Whether a job that ended leaves its machine in trouble: not one that was refused before it changed anything."""
    if job.state == Job.State.REFUSED:
        return job.attempt > 0 or job.kind == "machine.create"
    return job.state in (Job.State.FAILED, Job.State.DRIFTED)


def shown(machine: Machine, job: Job | None, now: datetime | None = None) -> Shown:
    """How `machine` stands, given its notable job."""
    now = now or timezone.now()
    if job is not None and job.is_open:
        return _under_way(job)
    if machine.observed == Machine.Observed.MISSING and machine.built_at is not None:
        since = f"not on the host since {_clock(machine.since)}" if machine.since else "not on the host"
        return Shown(mark="miss", word="missing", sub=since, rank=Rank.TROUBLE)
    if job is not None and left_trouble(job):
        return _went_wrong(machine, job, now)
    if machine.built_at is None:
        return Shown(mark="off", word="not created yet", sub="its creation has not run", rank=Rank.TROUBLE)
    return _as_seen(machine, now)


def _under_way(job: Job) -> Shown:
    words_ = doing(job)
    if job.state == Job.State.PLANNED:
        sub = f"{words_.noun} asked for by {job.actor.get_username()}"
        return Shown(mark="wait", word="waits for approval", sub=sub, rank=Rank.WAITS)
    if job.state == Job.State.RUNNING:
        return Shown(mark="busy", word=words_.now, sub=f"job {job.pk} runs", rank=Rank.WORKING)
    return Shown(mark="busy", word=f"{words_.noun} asked for", sub="waits for the worker", rank=Rank.WORKING)


def _went_wrong(machine: Machine, job: Job, now: datetime) -> Shown:
    noun, when = doing(job).noun, words.ago(job.ended, now) if job.ended else ""
    if job.state == Job.State.DRIFTED:
        return Shown(mark="wait", word="drifted", sub=f"differs after its {noun}, {when}", rank=Rank.TROUBLE)
    what = "refused" if job.state == Job.State.REFUSED else "failed"
    seen = f"; {machine.get_observed_display()}" if machine.built_at is not None else ""
    return Shown(mark="bad", word=f"{noun} {what}", sub=f"{when}{seen}", rank=Rank.TROUBLE)


def _as_seen(machine: Machine, now: datetime) -> Shown:
    seen, wanted = machine.observed, machine.wanted
    lasted = lasting(now - machine.since) if machine.since else ""
    if seen in (Machine.Observed.RUNNING, Machine.Observed.PAUSED) and seen != wanted:
        meant = "run" if wanted == Machine.Wanted.RUNNING else f"be {machine.get_wanted_display()}"
        return Shown(mark="wait", word=str(seen), sub=f"though it is meant to {meant}", rank=Rank.TROUBLE)
    if seen == Machine.Observed.CRASHED:
        left = "; what is left of it is kept" if machine.on_crash == Machine.OnCrash.PRESERVE else ""
        sub = f"since {_clock(machine.since)}{left}" if machine.since else left.removeprefix("; ")
        return Shown(mark="bad", word="crashed", sub=sub, rank=Rank.TROUBLE)
    if seen == Machine.Observed.STOPPED and wanted == Machine.Wanted.PAUSED:
        return Shown(mark="wait", word="stopped", sub="it was paused; its memory is gone", rank=Rank.TROUBLE)
    if seen == Machine.Observed.RUNNING:
        return Shown(mark="run", word=f"running {lasted}".strip(), rank=Rank.RUNNING)
    if seen == Machine.Observed.STOPPED and wanted == Machine.Wanted.RUNNING:
        since = f", since {_clock(machine.since)}" if machine.since else ""
        return Shown(mark="wait", word="stopped by itself", sub=f"meant to run{since}", rank=Rank.TROUBLE)
    if seen == Machine.Observed.STOPPED:
        sub = f"since {_clock(machine.since)}" if machine.since else ""
        return Shown(mark="off", word="stopped", sub=sub, rank=Rank.STOPPED)
    if seen == Machine.Observed.PAUSED:
        return Shown(mark="off", word=f"paused {lasted}".strip(), rank=Rank.STOPPED)
    return Shown(mark="old", word=machine.get_observed_display(), rank=Rank.STOPPED)


def lasting(span: timedelta) -> str:
    """How long something has been so: "for 12 minutes", "for 41 days"."""
    return f"for {words.lasting(span.total_seconds())}"


def _clock(when: datetime | None) -> str:
    if when is None:
        return ""
    local = timezone.localtime(when)
    today = timezone.localtime().date()
    return f"{local:%H:%M}" if local.date() == today else f"{local.day} {local:%B}"
