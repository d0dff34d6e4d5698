"""A job as its page shows it: before, what will happen; during, what happens; after, what happened."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

from django.utils import timezone

from accounts.models import User
from hosts.kinds import kind_of
from hosts.models import Job, JobStep
from hosts.visibility import may_approve, may_mend, may_see_target
from ui import words
from ui.links import link

S = Job.State
T = JobStep.State

# class of the list item, sign in its circle, word for who does not see the sign
_LOOKS: dict[str, tuple[str, str, str]] = {
    T.TODO: ("todo-", "", "waits: "),
    T.NOW: ("now", "", "runs: "),
    T.DONE: ("done", "✓", "done: "),
    T.ALREADY: ("done", "✓", "already so: "),
    T.FAILED: ("fail", "!", "failed: "),
}
_MARKS: dict[str, str] = {
    S.PLANNING: "busy",
    S.PLANNED: "wait",
    S.APPROVED: "busy",
    S.RUNNING: "busy",
    S.DONE: "run",
    S.NOTHING: "run",
    S.REFUSED: "bad",
    S.FAILED: "bad",
    S.DRIFTED: "wait",
    S.CANCELLED: "off",
}


def job_mark(state: str) -> str:
    """The mark of a job's state; "running" is work here, not health."""
    return _MARKS.get(state, "old")


@dataclass(frozen=True, kw_only=True)
class Line:
    """One step on the page."""

    row: JobStep
    look: str
    sign: str
    word: str
    figure: str

    @property
    def going_s(self) -> float | None:
        """Seconds the running step has taken so far."""
        if self.row.state != T.NOW or self.row.started is None:
            return None
        return (timezone.now() - self.row.started).total_seconds()


def _figure(row: JobStep, *, planned: bool) -> str:
    if row.state == T.ALREADY:
        return "already so"
    if row.state == T.FAILED:
        return f"failed after {words.took(row.took_s or 0)}"
    if row.state == T.DONE:
        return words.took(row.took_s or 0)
    if row.state == T.NOW:
        return "running"
    return f"about {words.took(row.about_s)}" if planned else "waits"


def _line(row: JobStep, *, planned: bool) -> Line:
    look, sign, word = _LOOKS[row.state]
    if planned and row.state == T.TODO:
        look, word = "", ""
    return Line(row=row, look=look, sign=sign or str(row.number), word=word, figure=_figure(row, planned=planned))


def _said(row: JobStep) -> str:
    """Of a running step the text itself: its last lines may change and stay as long."""
    return row.output if row.state == T.NOW else str(len(row.output))


class JobPage:
    """What the page of `job` says to `user`."""

    def __init__(self, user: User, job: Job) -> None:
        self.user, self.job = user, job
        self.rows = list(job.steps.all())

    @cached_property
    def lines(self) -> list[Line]:
        return [_line(row, planned=self.job.state == S.PLANNED) for row in self.rows]

    def _in(self, *states: str) -> list[JobStep]:
        return [row for row in self.rows if row.state in states]

    @property
    def mark(self) -> str:
        return job_mark(self.job.state)

    @property
    def said(self) -> str:
        """The state in words, with the step where there is one."""
        at = self._in(T.NOW) or self._in(T.FAILED)
        where = f"step {at[0].number} of {len(self.rows)}" if at else ""
        if self.job.state == S.RUNNING:
            return f"runs, {where}" if where else "runs"
        if where and self.job.state in (S.FAILED, S.REFUSED):
            return f"{self.job.get_state_display()} at {where}"
        return str(self.job.get_state_display())

    @property
    def sum_up(self) -> str:
        """E.g. "5 steps to do, 2 already so, about 35 s"."""
        todo, done, already = self._in(T.TODO, T.NOW), self._in(T.DONE), self._in(T.ALREADY)
        planned = self.job.state == S.PLANNED
        if planned:
            parts = [f"{words.count(len(todo), 'step')} to do"]
        else:
            parts = [f"{words.count(len(self.rows), 'step')}"]
        parts += [f"{len(done)} done"] if done else []
        parts += [f"{len(already)} already so"] if already else []
        if planned and todo:
            parts.append(f"about {words.took(sum(row.about_s for row in todo))}")
        return ", ".join(parts)

    @property
    def destroys(self) -> list[str]:
        """What the steps still to do would lose, each sentence once."""
        return list(dict.fromkeys(row.destroys for row in self._in(T.TODO, T.NOW) if row.destroys))

    @property
    def now(self) -> JobStep | None:
        return next(iter(self._in(T.NOW)), None)

    @property
    def finished_steps(self) -> int:
        return len(self._in(T.DONE, T.ALREADY))

    @property
    def elapsed_s(self) -> float:
        """Seconds from the first step to the end, or to now."""
        if self.job.first_step_at is None:
            return 0.0
        return ((self.job.ended or timezone.now()) - self.job.first_step_at).total_seconds()

    @property
    def about_s(self) -> float:
        """What the steps of the last attempt were expected to take."""
        return sum(row.about_s for row in self.rows if row.attempt == max(1, self.job.attempt))

    @property
    def target_url(self) -> str:
        """The page of what the job is about; "" where there is none, or not for this user, or it is gone."""
        gone = self.job.kind.endswith(".delete") and self.job.state in (S.DONE, S.NOTHING)
        if gone or not may_see_target(self.user, self.job):
            return ""
        if self.job.target_kind == "firewall":
            return link("firewall:changes")
        if self.job.target_kind.startswith("vpn"):
            return link("zones:vpn")
        return link(f"{self.job.target_kind}s:detail", self.job.target_id)

    @property
    def polls(self) -> bool:
        """Whether the page asks again by itself: not while a person reads and types."""
        return self.job.state in Job.WORKING

    @property
    def stays(self) -> str:
        """For a job that stopped: what is so now, as one sentence."""
        done, left = len(self._in(T.DONE)), len(self._in(T.TODO))
        if not done and not self._in(T.FAILED):
            return "Nothing was changed on the host."
        said = f"{words.count(done, 'step is', 'steps are')} done and stay{'s' if done == 1 else ''}"
        return f"{said}; {left} {'was' if left == 1 else 'were'} not begun." if left else f"{said}."

    @property
    def can_approve(self) -> bool:
        return self.job.state == S.PLANNED and may_approve(self.user, self.job)

    @property
    def approval(self) -> str:
        """The approve button's label: what it does, and that it approves; one that destroys says only what."""
        title = str(self.job.title)
        if self.destroys:
            return title
        return f"Approve and {title[0].lower()}{title[1:]}" if title[1:2].islower() else f"Approve: {title}"

    @property
    def for_operators(self) -> bool:
        return self._known and kind_of(self.job.kind).approval == "operator"

    @property
    def can_cancel(self) -> bool:
        return self.job.state in (S.PLANNING, S.PLANNED) and may_mend(self.user, self.job)

    @property
    def can_go_on(self) -> bool:
        return self.job.state in Job.RESUMABLE and self._known and may_mend(self.user, self.job)

    @property
    def can_undo(self) -> bool:
        """Whether there is something to undo, a way to, and nothing was built on it since."""
        touched = self.job.state in (S.FAILED, S.DRIFTED, S.DONE) or (self.job.state == S.REFUSED and self.job.attempt)
        kind = kind_of(self.job.kind) if touched and self._known else None
        way = kind and kind.undo is not None and kind.undoable(self.job) and self._may_mend
        return bool(way) and not self._outdated

    @cached_property
    def _outdated(self) -> bool:
        job = self.job
        later = Job.objects.filter(target_kind=job.target_kind, target_id=job.target_id, pk__gt=job.pk)
        return later.exclude(state=S.CANCELLED).exists()

    @cached_property
    def _may_mend(self) -> bool:
        return may_mend(self.user, self.job)

    @cached_property
    def _known(self) -> bool:
        try:
            kind_of(self.job.kind)
        except KeyError:
            return False
        return True

    @property
    def seen(self) -> str:
        """Changes when the page would; htmx sends it along, and gets 204 while nothing has."""
        text = [self.job.state, self.job.message, *(f"{r.pk}{r.state}{_said(r)}" for r in self.rows)]
        text.append(str(self.job.host.fresh))
        return hashlib.sha256("\0".join(text).encode()).hexdigest()[:12]
