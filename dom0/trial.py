"""A revision on trial: who may write rules, until when, and how it ends. The guard's and the worker's common ground.

Everything that decides is one small file renamed: `pending` becomes `confirmed`, or `pending` becomes
`rolling-back`; whoever renames first wins and nobody can come third. A `rolling-back` that is there means that the
confirmed revision has to be loaded; it goes away only after it was. Where no `confirmed` is, revision 0 is it.

Rules are written only while holding the writer's lock, and every process started meanwhile holds it too: it is free
only when nobody is left who could still write. Before each write the holder looks whether its trial still stands.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import re
import secrets
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from dom0 import closed, files, flows, loading, writer
from dom0.errors import FriduError, Refused
from dom0.host import HostConfig

SHORTEST_S, LONGEST_S = 3, 600
GUARD_S = 5.0  # how long an apply waits until the guard has taken note
KEPT_OUTCOMES = 20
KEPT_REVISIONS = 20
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Pending:
    """A revision on trial. `back`: filters (`dom0.flows`) of the flows to forget when it is taken back."""

    revision: str
    token: str
    deadline: float  # seconds on CLOCK_BOOTTIME, counted from arming, never extended
    boot: str
    seconds: int
    digest: str = ""  # of the revision's files when the trial began
    back: tuple[str, ...] = ()

    @property
    def seconds_left(self) -> float:
        """Until it is taken back; nothing once the host was started anew, or where the deadline can't be a trial's."""
        left = self.deadline - boot_time()
        return left if 0 < left <= LONGEST_S and self.boot == boot_id() else 0.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a trial ended: "confirmed" or "returned", by "operator", "guard" or "boot", at a Unix time."""

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
    returning: bool = False
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
    confirmed, applied = _json(config, "confirmed") or {}, _json(config, "applied") or {}
    if stands and stands.token and stands.token == confirmed.get("token"):
        stands = None
    standing = Standing(
        confirmed=str(confirmed.get("revision", closed.NAME)),
        confirmed_token=str(confirmed.get("token", "")),
        confirmed_digest=str(confirmed.get("digest", "")),
        pending=stands,
        returning=_path(config, "rolling-back").exists(),
        applied=str(applied.get("token", "")),
        applied_nonce=str(applied.get("nonce", "")),
    )
    return replace(standing, outcomes=_outcomes(config, standing))


def pending(config: HostConfig) -> Pending | None:
    """The trial that stands, if one does."""
    return _pointer(_json(config, "pending"))


def facts(config: HostConfig, keys: Collection[str]) -> dict[str, str]:
    """The same for a plan: "confirmed" (a revision's name), "pending" and "applied" (tokens; absent where none)."""
    standing = read(config)
    found = {
        "confirmed": standing.confirmed,
        "pending": standing.pending.token if standing.pending else "",
        "applied": standing.applied,
    }
    return {key: value for key, value in found.items() if key in keys and value}


@contextlib.contextmanager
def writing(config: HostConfig, token: str = "") -> Iterator[None]:
    """Be the one who writes rules, while this trial stands, or without a token, while none does.

    Raises Refused where it is over, or another stands.
    """
    with writer.writing(config):
        if token:
            _refuse_over(config, token)
        else:
            _refuse_second(read(config), "")
        yield


def _refuse_over(config: HostConfig, token: str) -> None:
    standing = pending(config)
    if standing is None or standing.token != token or not standing.seconds_left:
        raise Refused(
            "This trial is over: the revision was taken back, or its time is up.",
            note="Nothing was written at this step. Apply again, with more time to confirm if it was too short.",
        )


# its life


def arm(config: HostConfig, *, token: str, revision: str, seconds: int, back: Sequence[str] = ()) -> Pending:
    """Begin a trial: from now the guard will take the revision back after `seconds`, unless it is confirmed.

    Returns when the guard has taken note. Raises Refused where another trial stands, this one had its end, the
    files are not there, or no guard answers.
    """
    _refuse_unfit(token, seconds, back)
    texts = loading.revision(config, revision)
    with writer.writing(config):
        standing = read(config)
        _refuse_second(standing, token)
        armed = standing.pending or Pending(
            revision=revision,
            token=token,
            deadline=boot_time() + seconds,
            boot=boot_id(),
            seconds=seconds,
            digest=loading.digest_of(texts),
            back=tuple(back),
        )
        if standing.pending is None:
            for former in ("taken", "applied"):  # a trial of the same name may have had its end
                files.remove(str(_path(config, former)))
            _write(config, "pending", asdict(armed))
    _await_guard(config, token)
    return armed


def _refuse_unfit(token: str, seconds: int, back: Sequence[str]) -> None:
    if not re.fullmatch(r"[0-9a-z][0-9a-z-]{0,63}", token):
        raise Refused(f"{token!r} is no token of a trial.", note="It looks like 12-0f3a77c1d2e4-j40.")
    if not SHORTEST_S <= seconds <= LONGEST_S:
        raise Refused(f"A trial lasts {SHORTEST_S} to {LONGEST_S} seconds, not {seconds}.", note="60 is usual.")
    for line in back:
        flows.parse(line)


def _refuse_second(standing: Standing, token: str) -> None:
    if token in standing.outcomes:
        ended = standing.outcomes[token]
        raise Refused(f"This trial has ended already: {ended.outcome} by {ended.by}.", note="Apply again.")
    if standing.returning:
        raise Refused("The guard is taking a revision back this moment.", note="Try again in a few seconds.")
    if standing.pending and standing.pending.token != token:
        raise Refused(
            f"Revision {standing.pending.revision} is on trial, for {standing.pending.seconds_left:.0f} s more.",
            note="Confirm it or take it back first.",
        )


def _await_guard(config: HostConfig, token: str) -> None:
    deadline = time.monotonic() + GUARD_S
    while time.monotonic() < deadline:
        standing = pending(config)
        if standing is None or standing.token != token or _taken(config) == token:
            return
        time.sleep(0.02)
    with contextlib.suppress(FileNotFoundError):
        # Nothing was loaded yet, so there is nothing to restore.
        _rename(config, "pending", "rolling-back")
        files.remove(str(_path(config, "rolling-back")))
    raise Refused(
        f"No guard answered within {GUARD_S:g} s, so nobody would take the new rules back. Nothing was loaded.",
        note="Start it: systemctl start fridu-guard@a fridu-guard@b",
    )


def take_note(config: HostConfig, standing: Pending) -> None:
    """The guard's word that it has seen this trial."""
    if _taken(config) != standing.token:
        files.write_atomic(str(_path(config, "taken")), standing.token + "\n", 0o640)


def _taken(config: HostConfig) -> str:
    return (files.read_text(str(_path(config, "taken"))) or "").strip()


def note_applied(config: HostConfig, token: str) -> None:
    """After the last rule is loaded: forget every flow that ends at dom0, then make the nonce confirming needs.

    So a request that still arrives was judged by the new rules. Raises Refused where the trial is over.
    """
    with writing(config, token):
        flows.forget_own()
        _write(config, "applied", {"token": token, "nonce": secrets.token_hex(16)})


def confirm(config: HostConfig, token: str, nonce: str) -> None:
    """The trial's revision is the confirmed one from now on. Safe to repeat. Raises Refused where it can't be."""
    standing = read(config)
    if standing.confirmed_token == token:
        return
    with writing(config, token):
        standing = read(config)
        if standing.applied != token or not hmac.compare_digest(standing.applied_nonce, nonce):
            raise Refused(
                "This confirmation was not made after the new rules were loaded.",
                note="Open the page of the trial anew and confirm there.",
            )
        try:
            _rename(config, "pending", "confirmed")
        except FileNotFoundError:
            _refuse_over(config, token)
        with contextlib.suppress(OSError):  # the rename has decided; `read` knows it without this note
            _note(config, token, standing.pending.revision if standing.pending else "", "confirmed", "operator")


def take_back(config: HostConfig, by: str, say: Say) -> None:
    """End the trial that stands and load the confirmed revision. Where it was confirmed meanwhile, nothing is done.

    Raises CommandFailed or OSError where something of it did not work; `rolling-back` stays: try again.
    """
    try:
        _rename(config, "pending", "rolling-back")
    except FileNotFoundError:
        pass
    except OSError:
        # A disk that takes no more writes: then nobody can confirm either, and the rules can be restored all the same.
        with writer.restoring(config):
            _load(config, say)
        raise
    finish(config, by, say)


def finish(config: HostConfig, by: str, say: Say) -> None:
    """Carry out what `rolling-back` asks for, where it does; whoever began it."""
    if _path(config, "rolling-back").exists():
        with writer.restoring(config):
            if _path(config, "rolling-back").exists():
                _restore(config, by, say)


def load_confirmed(config: HostConfig, by: str, say: Say) -> bool:
    """Load the confirmed revision, whatever is loaded now; a trial that stands ends. Whether that very one was loaded.

    Raises CommandFailed where not even revision 0 could be.
    """
    with contextlib.suppress(FileNotFoundError):
        _rename(config, "pending", "rolling-back")
    with writer.restoring(config):
        return _restore(config, by, say)


def _restore(config: HostConfig, by: str, say: Say) -> bool:
    returned = _pointer(_json(config, "rolling-back"))
    loaded = _load(config, say)
    _tried(say, lambda: flows.forget(returned.back if returned else ()))
    _tried(say, flows.forget_own)
    _returned(config, by, say)
    return loaded


def _load(config: HostConfig, say: Say) -> bool:
    standing = read(config)
    return loading.restore(config, standing.confirmed, standing.confirmed_digest, say)


def _returned(config: HostConfig, by: str, say: Say) -> None:
    """Note how the trial ended, then that nothing is left to restore."""
    returned = _pointer(_json(config, "rolling-back"))
    if returned and returned.token:
        _tried(say, lambda: _note(config, returned.token, returned.revision, "returned", by))
        say(f"Revision {returned.revision} was taken back.")
    files.remove(str(_path(config, "rolling-back")))


def stop(config: HostConfig, say: Say) -> None:
    """Closed but SSH: revision 0 is the confirmed one, and loaded, at once; a trial that stands ends.

    Raises OSError where the disk takes no change at all: the host is closed then too, but only until the trial that
    stands has its end, or the host is started anew.
    """
    with writer.restoring(config):
        try:
            _point_at_closed(config)
        finally:
            loading.load(closed.files(config))
            _tried(say, flows.forget_own)
        _returned(config, "operator", say)
        _tried(say, lambda: loading.write_closed(config))


def _point_at_closed(config: HostConfig) -> None:
    """First what asks for a restoration: should this process end half-way, the guard goes on with it."""
    try:
        _rename(config, "pending", "rolling-back")
    except FileNotFoundError:
        with contextlib.suppress(OSError):
            if not _path(config, "rolling-back").exists():
                _write(config, "rolling-back", asdict(_BROKEN))
    try:
        _write(config, "confirmed", {"revision": closed.NAME, "token": ""})
    except OSError:
        # A full disk still lets a file go, and where none is, revision 0 is the confirmed one.
        files.remove(str(_path(config, "confirmed")))


def _tried(say: Say, do: Callable[[], object]) -> None:
    """What must not keep the confirmed rules from being in force."""
    try:
        do()
    except (FriduError, OSError) as error:
        say(f"After the rules were restored: {error}")


# the files

_BROKEN = Pending(revision="", token="", deadline=0.0, boot="", seconds=0)


def _path(config: HostConfig, name: str) -> Path:
    return Path(config.state, "firewall", name)


def _json(config: HostConfig, name: str) -> dict[str, Any] | None:
    """A pointer's content; None where there is none, empty where it can't be understood."""
    try:
        found = json.loads(_path(config, name).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


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
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return _BROKEN


def _write(config: HostConfig, name: str, content: Mapping[str, Any]) -> None:
    files.write_atomic(str(_path(config, name)), json.dumps(content) + "\n", 0o640)


def _rename(config: HostConfig, old: str, new: str) -> None:
    _path(config, old).rename(_path(config, new))
    files.sync_folder(_path(config, ""))


def _note(config: HostConfig, token: str, revision: str, outcome: str, by: str) -> None:
    ended = Outcome(token=token, revision=revision, outcome=outcome, by=by, at=time.time())
    _write(config, f"outcomes/{token}.json", asdict(ended))
    kept = sorted(_path(config, "outcomes").glob("[!.]*.json"), key=lambda path: path.stat().st_mtime)
    for path in kept[:-KEPT_OUTCOMES]:
        path.unlink(missing_ok=True)
    _prune(config)


def _prune(config: HostConfig) -> None:
    """Keep the newest revisions' files and those anybody may load: the panel has the others, and writes them anew."""
    standing = read(config)
    needed = {closed.NAME, standing.confirmed, standing.pending.revision if standing.pending else ""}
    folders = [path for path in _path(config, "revisions").glob("*") if path.name not in needed]
    for path in sorted(folders, key=lambda path: path.stat().st_mtime)[:-KEPT_REVISIONS]:
        shutil.rmtree(path, ignore_errors=True)


def _outcomes(config: HostConfig, standing: Standing) -> dict[str, Outcome]:
    found = {}
    for path in _path(config, "outcomes").glob("[!.]*.json"):
        with contextlib.suppress(OSError, ValueError, TypeError, RecursionError):
            ended = Outcome(**json.loads(path.read_bytes()))
            found[ended.token] = ended
    token = standing.confirmed_token
    if token and token not in found:
        # Confirmed is who was renamed, even where the note about it did not get written any more.
        at = _path(config, "confirmed").stat().st_ctime
        found[token] = Outcome(token=token, revision=standing.confirmed, outcome="confirmed", by="operator", at=at)
    return found
