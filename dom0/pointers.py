"""The guard's pointer files: which revision is confirmed, which is on trial, and how former trials ended.

One small JSON file each in dom0's own folder, replaced by rename(2), so that a reader finds one or the other whole.
`dom0.trial` says what they mean.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import time
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from dom0 import closed, files
from dom0.host import HostConfig

LONGEST_S = 600  # that a trial may last
KEPT_OUTCOMES = 20
KEPT_REVISIONS = 20
OUTCOMES = ("confirmed", "returned", "restored", "closed")
LATEST = 1 << 40  # a Unix time nobody sees, and which a date still has


@dataclass(frozen=True, kw_only=True)
class Pending:
    """A revision on trial. `back`: filters (`dom0.flows`) of the flows to forget when it is taken back.

    With `restores` no trial: the confirmed revision itself is loaded again, over what somebody changed on the host.
    """

    revision: str
    token: str
    deadline: float  # seconds on CLOCK_BOOTTIME, counted from arming, never extended
    boot: str
    seconds: int
    digest: str = ""  # of the revision's files when the trial began
    back: tuple[str, ...] = ()
    restores: bool = False

    @property
    def seconds_left(self) -> float:
        """Until it is taken back; nothing once the host was started anew, or where the deadline can't be a trial's."""
        left = self.deadline - boot_time()
        return left if 0 < left <= LONGEST_S and self.boot == boot_id() else 0.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a trial ended: "confirmed" or "returned", by "operator", "guard" or "boot", at a Unix time.

    A restoration: "restored", or "closed" where revision 0 was loaded in its stead.
    """

    token: str
    revision: str
    outcome: str
    by: str
    at: float


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What the pointer files say. `applied` is the token of the trial that was loaded to its end, and its nonce."""

    confirmed: str = closed.NAME
    confirmed_token: str = ""
    confirmed_digest: str = ""  # of its files; "" where nobody noted it
    pending: Pending | None = None
    returning: bool = False  # the confirmed revision is being loaded, or has to be
    applied: str = ""
    applied_nonce: str = ""
    outcomes: Mapping[str, Outcome] = field(default_factory=dict)  # by token


def boot_time() -> float:
    """Seconds since the host started, sleep included: no clock that anybody sets."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """Which start of the host this is."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def read(config: HostConfig) -> Standing:
    """What stands now. A file that can't be understood counts as the safer thing: revision 0, a trial that is over."""
    stands = pending(config)  # first: what is confirmed between two looks must not seem to be nowhere
    confirmed, applied = content(config, "confirmed") or {}, content(config, "applied") or {}
    if stands and stands.token and stands.token == confirmed.get("token"):
        stands = None
    standing = Standing(
        confirmed=str(confirmed.get("revision", closed.NAME)),
        confirmed_token=str(confirmed.get("token", "")),
        confirmed_digest=str(confirmed.get("digest", "")),
        pending=stands,
        returning=path(config, "rolling-back").exists(),
        applied=str(applied.get("token", "")),
        applied_nonce=str(applied.get("nonce", "")),
    )
    return replace(standing, outcomes=_outcomes(config, standing))


def pending(config: HostConfig) -> Pending | None:
    """The trial that stands, if one does."""
    return _pointer(content(config, "pending"))


def facts(config: HostConfig, keys: Collection[str]) -> dict[str, str]:
    """The same for a plan: "confirmed" (a revision's name), "pending" and "applied" (tokens; absent where none)."""
    standing = read(config)
    found = {
        "confirmed": standing.confirmed,
        "pending": standing.pending.token if standing.pending else "",
        "applied": standing.applied,
    }
    return {key: value for key, value in found.items() if key in keys and value}


#: What a pointer that nobody can read says.
BROKEN = Pending(revision="", token="", deadline=0.0, boot="", seconds=0)


def path(config: HostConfig, name: str) -> Path:
    """Where a file of the guard's folder lies."""
    return Path(config.state, "firewall", name)


def content(config: HostConfig, name: str) -> dict[str, Any] | None:
    """A pointer's content; None where there is none, empty where it can't be understood."""
    try:
        found = json.loads(path(config, name).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def mark(config: HostConfig, name: str) -> tuple[str, int, int] | None:
    """What tells a file of the guard's folder from one of the same name before or after it; None where none is."""
    try:
        found = path(config, name).stat()
    except OSError:
        return None
    return (str(path(config, name)), found.st_ino, found.st_mtime_ns)


def rolling_back(config: HostConfig) -> Pending | None:
    """What is being taken back or restored, if something is."""
    return _pointer(content(config, "rolling-back"))


def _pointer(found: dict[str, Any] | None) -> Pending | None:
    if found is None:
        return None
    try:
        return Pending(
            revision=str(found["revision"]),
            token=str(found["token"]),
            deadline=float(found["deadline"]),
            boot=str(found["boot"]),
            seconds=int(found["seconds"]),
            digest=str(found.get("digest", "")),
            back=tuple(str(line) for line in found["back"]),
            restores=found.get("restores") is True,
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return BROKEN


def write(config: HostConfig, name: str, said: Mapping[str, Any]) -> None:
    """Replace a file whole, synced to the disk. Raises OSError."""
    files.write_atomic(str(path(config, name)), json.dumps(said) + "\n", 0o640)


def rename(config: HostConfig, old: str, new: str) -> None:
    """What decides, synced to the disk. Raises FileNotFoundError where somebody else was first, OSError."""
    path(config, old).rename(path(config, new))
    files.sync_folder(path(config, ""))


def note(config: HostConfig, token: str, revision: str, outcome: str, by: str) -> None:
    """Write down how it ended, and let the oldest outcomes and revisions go. Raises OSError."""
    ended = Outcome(token=token, revision=revision, outcome=outcome, by=by, at=time.time())
    write(config, f"outcomes/{token}.json", asdict(ended))
    kept = sorted(path(config, "outcomes").glob("[!.]*.json"), key=lambda each: each.stat().st_mtime)
    for each in kept[:-KEPT_OUTCOMES]:
        if each.stem != token:  # a clock that was set back makes it the oldest
            each.unlink(missing_ok=True)
    _prune(config)


def _prune(config: HostConfig) -> None:
    """Keep the newest revisions' files and those anybody may load: the panel has the others, and writes them anew."""
    standing = read(config)
    needed = {closed.NAME, standing.confirmed, standing.pending.revision if standing.pending else ""}
    folders = [each for each in path(config, "revisions").glob("*") if each.name not in needed]
    for each in sorted(folders, key=lambda each: each.stat().st_mtime)[:-KEPT_REVISIONS]:
        shutil.rmtree(each, ignore_errors=True)


def _possible(ended: Outcome) -> bool:
    """Whether it may be one: what root wrote there by hand must not keep the rest from being booked."""
    words = all(isinstance(word, str) for word in (ended.token, ended.revision, ended.outcome, ended.by))
    named = words and re.fullmatch(r"|0|[1-9]\d*-[0-9a-f]+", ended.revision) is not None
    return named and ended.outcome in OUTCOMES and isinstance(ended.at, int | float) and 0 <= ended.at < LATEST


def _outcomes(config: HostConfig, standing: Standing) -> dict[str, Outcome]:
    found = {}
    for each in path(config, "outcomes").glob("[!.]*.json"):
        with contextlib.suppress(OSError, ValueError, TypeError, RecursionError):
            ended = Outcome(**json.loads(each.read_bytes()))
            if _possible(ended):
                found[ended.token] = ended
    token = standing.confirmed_token
    if token and token not in found:
        # Confirmed is who was renamed, even where the note about it did not get written any more.
        at = path(config, "confirmed").stat().st_ctime
        found[token] = Outcome(token=token, revision=standing.confirmed, outcome="confirmed", by="operator", at=at)
    return found
