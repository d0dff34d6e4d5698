"""A machine's past, told from the audit log: what was done, by whom, why, with what outcome."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from audit import words
from audit.models import Entry
from machines.models import Machine

# What an action did, and what it would have done.
DEEDS = {
    "machine.create": ("Created", "Creation"),
    "machine.stages": ("Stages done again", "Stages"),
    "machine.start": ("Started", "Start"),
    "machine.stop": ("Stopped", "Stop"),
    "machine.pause": ("Paused", "Pause"),
    "machine.resume": ("Let go on", "Going on"),
    "machine.reboot": ("Restarted", "Restart"),
    "machine.key": ("SSH keys changed", "Change of SSH keys"),
    "machine.password": ("One-time root password set", "One-time root password"),
    "machine.reinstall": ("Reinstalled", "Reinstallation"),
    "snapshot.take": ("Snapshot taken", "Snapshot"),
    "snapshot.restore": ("Restored to a snapshot", "Return to a snapshot"),
    "snapshot.delete": ("Snapshot deleted", "Deleting a snapshot"),
    "snapshot.expire": ("Expired snapshot removed", "Removing an expired snapshot"),
    "machine.limits": ("Limits changed", "Change of limits"),
    "machine.change": ("Changed", "Change"),
    "machine.adopt": ("Adopted", "Adoption"),
    "machine.drift": ("Differences settled", "Settling of differences"),
    "machine.check": ("Filesystem checked", "Check of its filesystem"),
    "machine.rescue": ("Rescue", "Rescue"),
    "machine.console": ("Console opened", "Console"),
    "machine.delete": ("Deleted", "Deletion"),
    "job.cancel": ("Job cancelled", "Cancelling the job"),
}
QUIET = ("job.approve", "job.go_on")  # part of their job's story


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of the history."""

    at: datetime
    text: str
    who: str
    why: str
    mark: str
    word: str
    job: int | None


def histories(machines: Sequence[Machine], limit: int) -> dict[int, list[Line]]:
    """By machine, its newest deeds, at most `limit`; of a job, its latest entry only.

    One query for any number of machines; where one of many was busy, quiet ones may show fewer.
    """
    lines: dict[int, list[Line]] = {machine.pk: [] for machine in machines}
    entries = Entry.objects.filter(object_kind="machine", object_id__in=[str(pk) for pk in lines])
    told: set[int] = set()
    for entry in entries.exclude(action__in=QUIET)[: limit * 4 * max(1, len(lines))]:
        if entry.outcome == Entry.Outcome.REFUSED and "path" in entry.data:
            continue  # somebody else's knock on a closed door changed nothing here; the whole log tells of it
        here = lines[int(entry.object_id)]
        if len(here) < limit and entry.job not in told:
            here.append(_line(entry))
        if entry.job is not None:
            told.add(entry.job)
    return lines


def _line(entry: Entry) -> Line:
    did, noun = DEEDS.get(entry.action, (entry.action, entry.action))
    mark, word = words.outcome(entry)
    message = str(entry.data.get("message") or "").rstrip(".")
    text = {
        "asked for": f"{noun} asked for",
        "drifted": f"{noun} left a difference",
        "already so": f"{noun}: it was so already",
        "done": did,
    }.get(word, f"{noun} {word}")
    if message:
        text += f": {message}"
    return Line(at=entry.at, text=text, who=entry.actor_name, why=entry.why, mark=mark, word=word, job=entry.job)
