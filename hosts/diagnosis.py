"""What a diagnosis found, read from its job's steps: each step is one look, its output a verdict (dom0.verdicts)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dom0 import verdicts
from dom0.verdicts import Verdict
from hosts.models import Job, JobStep

#: Class of the list item, sign in its circle, word beside.
LOOKS = {
    verdicts.GOOD: ("done", "✓", "good"),
    verdicts.BAD: ("fail", "!", "bad"),
    verdicts.UNSURE: ("", "?", "can’t tell"),
    JobStep.State.TODO: ("todo-", "", "not looked at yet"),
    JobStep.State.NOW: ("now", "", "looking"),
    JobStep.State.FAILED: ("fail", "!", "the look failed"),
}


@dataclass(frozen=True, kw_only=True)
class Line:
    """One look on the page: what was asked and what came of it; `found` is None while it is not known."""

    asks: str
    stage: str
    look: str
    sign: str
    word: str
    found: Verdict | None

    @property
    def bad(self) -> bool:
        return self.found is not None and self.found.verdict == verdicts.BAD


def lines(job: Job) -> list[Line]:
    """What the diagnosis has found so far, in order."""
    return [_line(step) for step in job.steps.exclude(state=JobStep.State.ALREADY).order_by("number")]


def _line(step: JobStep) -> Line:
    found = verdicts.read(step.output) if step.state == JobStep.State.DONE else None
    look, sign, word = LOOKS.get(found.verdict if found else step.state, LOOKS[verdicts.UNSURE])
    return Line(asks=step.title, stage=step.stage, look=look, sign=sign or str(step.number), word=word, found=found)


def first_bad(found: list[Line]) -> Line | None:
    """What stands in the way first: later looks may be bad because of it."""
    return next((line for line in found if line.bad), None)


def summed_up(job: Job, found: list[Line]) -> str:
    """The whole in one sentence."""
    if job.is_open:
        looked = sum(line.found is not None for line in found)
        return f"Looking: {looked} of {len(found)}." if found else "Waits for the host’s worker."
    if trouble := first_bad(found):
        says = trouble.found.says if trouble.found else ""
        return f"This stands in the way first: {says}"
    if not found or any(line.found is None for line in found):
        return f"It did not come to its end. {job.message}".strip()
    unsure = sum(line.found is not None and line.found.verdict == verdicts.UNSURE for line in found)
    return "Nothing found that is wrong." + (f" {unsure} of {len(found)} could not be told." if unsure else "")


def seen(job: Job | None, found: list[Line]) -> str:
    """Changes when the page would."""
    return f"{job.pk}-{job.state}-{''.join(line.sign[0] for line in found)}" if job else ""


def latest(kind: str, target_kind: str, target_id: int) -> Job | None:
    """The last diagnosis of that target, ended or not."""
    jobs = Job.objects.filter(kind=kind, target_kind=target_kind, target_id=target_id)
    return jobs.select_related("actor", "host").order_by("-id").first()


def scene(job: Job | None) -> dict[str, Any]:
    """What `hosts/_diagnosis.html` needs of it."""
    found = lines(job) if job else []
    return {
        "job": job,
        "lines": found,
        "says": summed_up(job, found) if job else "",
        "mark": _mark(job, found) if job else "",
        "seen": seen(job, found),
    }


def _mark(job: Job, found: list[Line]) -> str:
    if job.is_open:
        return ""
    return "bad" if first_bad(found) or any(line.found is None for line in found) else "ok"
