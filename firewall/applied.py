"""What became of a revision, time after time: applied, kept, returned from, taken back; each with who, why and job."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from audit.models import Entry
from firewall import trials
from firewall.models import Revision
from hosts.models import Job
from ui.registry import Mark

#: As many of the newest as a page shows.
MANY = 50
DEEDS: dict[str, tuple[Mark, str]] = {
    trials.APPLY: ("off", "loaded"),
    trials.CONFIRM: ("run", "kept: in force from then on"),
    trials.RETURN: ("off", "returned from"),
}
S = Job.State
MARKS: dict[str, Mark] = {S.FAILED: "bad", S.REFUSED: "bad", S.DRIFTED: "wait", S.PLANNED: "wait"}


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One of them; `job` None: the guard did it, or root by hand."""

    at: datetime
    mark: Mark
    word: str
    who: str
    why: str = ""
    job: int | None = None


def moments(revision: Revision) -> list[Moment]:
    """The newest first (2 queries)."""
    asked = Job.objects.filter(kind__in=DEEDS, host=revision.host_id, args__revision=revision.pk)
    alone = Entry.objects.filter(
        object_kind="firewall",
        object_id=str(revision.host_id),
        actor_id=None,
        action__in=DEEDS,
        data__revision=revision.number,
        job=None,
    )
    found = [_asked(job) for job in asked.select_related("actor").order_by("-pk")[:MANY]]
    found += [_alone(entry) for entry in alone.order_by("-seq")[:MANY]]
    return sorted(found, key=lambda moment: moment.at, reverse=True)[:MANY]


def _asked(job: Job) -> Moment:
    mark, word = DEEDS[job.kind]
    if job.state == S.NOTHING:
        mark, word = "run", "looked at: the host had it already"
    elif job.state != S.DONE:
        mark, word = MARKS.get(job.state, "busy" if job.is_open else "off"), f"{job.title}: {job.get_state_display()}"
    at = job.ended or job.created
    return Moment(at=at, mark=mark, word=word, who=job.actor.get_username(), why=job.reason, job=job.pk)


def _alone(entry: Entry) -> Moment:
    mark, word = DEEDS[entry.action]
    guard = entry.data.get("by") in ("guard", "boot")
    return Moment(
        at=entry.at, mark="bad" if guard else mark, word="taken back" if guard else word,
        who="the guard on dom0" if guard else "root on dom0", why=entry.why,
    )  # fmt: skip
