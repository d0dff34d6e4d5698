"""A revision on trial: who may write rules, until when, and how it ends. The guard's and the worker's common ground.

Everything that decides is one small file renamed (`dom0.pointers`): `pending` becomes `confirmed`, or `pending`
becomes `rolling-back`; whoever renames first wins and nobody can come third. A `rolling-back` that is there means that
the confirmed revision has to be loaded; it goes away only after it was. So whoever restores what somebody changed on
the host puts one there first, too, and the guard goes on where he can't. Where no `confirmed` is, revision 0 is it.

Rules are written only while holding the writer's lock, and every process started meanwhile holds it too: it is free
only when nobody is left who could still write. Before each write the holder looks whether its trial still stands.
"""

from __future__ import annotations

import contextlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict

from dom0 import closed, files, flows, loading, pointers, saving, writer
from dom0.errors import FriduError, Refused
from dom0.host import HostConfig

# What the files say is asked for here, beside what changes them.
from dom0.pointers import LONGEST_S as LONGEST_S
from dom0.pointers import Outcome as Outcome
from dom0.pointers import Pending as Pending
from dom0.pointers import Standing as Standing
from dom0.pointers import boot_id as boot_id
from dom0.pointers import boot_time as boot_time
from dom0.pointers import facts as facts
from dom0.pointers import pending as pending
from dom0.pointers import read as read

SHORTEST_S = 3
GUARD_S = 5.0  # how long an apply waits until the guard has taken note
Say = Callable[[str], None]


@contextlib.contextmanager
def writing(config: HostConfig, token: str) -> Iterator[None]:
    """Be the one who writes rules, while this trial stands. Raises Refused where it is over, or another stands."""
    with writer.writing(config):
        _refuse_over(config, token)
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
    _refuse_unfit(token, back)
    if not SHORTEST_S <= seconds <= LONGEST_S:
        raise Refused(f"A trial lasts {SHORTEST_S} to {LONGEST_S} seconds, not {seconds}.", note="60 is usual.")
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
                files.remove(str(pointers.path(config, former)))
            pointers.write(config, "pending", asdict(armed))
            saving.wake()
    _await_guard(config, token)
    return armed


def _refuse_unfit(token: str, back: Sequence[str]) -> None:
    if not re.fullmatch(r"[0-9a-z][0-9a-z-]{0,63}", token):
        raise Refused(f"{token!r} is no token of a trial.", note="It looks like 12-0f3a77c1d2e4-j40.")
    for line in back:
        flows.parse(line)


def _refuse_second(standing: Standing, token: str) -> None:
    if token in standing.outcomes:
        ended = standing.outcomes[token]
        raise Refused(f"This trial has ended already: {ended.outcome} by {ended.by}.", note="Apply again.")
    if standing.returning:
        raise Refused("The confirmed revision is being loaded this moment.", note="Try again in a few seconds.")
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
        pointers.rename(config, "pending", "rolling-back")
        files.remove(str(pointers.path(config, "rolling-back")))
    raise Refused(
        f"No guard answered within {GUARD_S:g} s, so nobody would take the new rules back. Nothing was loaded.",
        note="Start it: systemctl start fridu-guard@a fridu-guard@b",
    )


def take_note(config: HostConfig, standing: Pending) -> None:
    """The guard's word that it has seen this trial."""
    if _taken(config) != standing.token:
        files.write_atomic(str(pointers.path(config, "taken")), standing.token + "\n", 0o640)


def _taken(config: HostConfig) -> str:
    return (files.read_text(str(pointers.path(config, "taken"))) or "").strip()


def note_applied(config: HostConfig, token: str) -> None:
    """After the last rule is loaded: forget every flow that ends at dom0, then make the nonce confirming needs.

    So a request that still arrives was judged by the new rules. Raises Refused where the trial is over.
    """
    with writing(config, token):
        flows.forget_own()
        pointers.write(config, "applied", {"token": token, "nonce": secrets.token_hex(16)})


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
            pointers.rename(config, "pending", "confirmed")
        except FileNotFoundError:
            _refuse_over(config, token)
        with contextlib.suppress(OSError):  # the rename has decided; `read` knows it without this note
            pointers.note(config, token, standing.pending.revision if standing.pending else "", "confirmed", "operator")


def take_back(config: HostConfig, by: str, say: Say) -> None:
    """End the trial that stands and load the confirmed revision. Where it was confirmed meanwhile, nothing is done.

    Raises CommandFailed or OSError where something of it did not work; `rolling-back` stays: try again.
    """
    try:
        pointers.rename(config, "pending", "rolling-back")
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
    if pointers.path(config, "rolling-back").exists():
        with writer.restoring(config):
            if pointers.path(config, "rolling-back").exists():
                _restore(config, by, say)


def load_confirmed(config: HostConfig, by: str, say: Say) -> bool:
    """Load the confirmed revision, whatever is loaded now; a trial that stands ends. Whether that very one was loaded.

    Raises CommandFailed where not even revision 0 could be.
    """
    with contextlib.suppress(FileNotFoundError):
        pointers.rename(config, "pending", "rolling-back")
    with writer.restoring(config):
        return _restore(config, by, say)


#: The pointer whose flows this guard forgot last: one that can't be removed, as on a disk that takes no writes, asks
#: for a load again and again, but must not cut the admin off who mends it each time.
_cut: list[tuple[str, int, int]] = []


def _restore(config: HostConfig, by: str, say: Say) -> bool:
    returned, mark = pointers.rolling_back(config), pointers.mark(config, "rolling-back")
    loaded = _load(config, say)
    if by != "guard" or mark not in _cut:
        _tried(say, lambda: flows.forget(returned.back if returned else ()))
        _tried(say, flows.forget_own)
    if by == "guard" and mark:
        _cut[:] = [mark]
    _returned(config, by, say, whole=loaded)
    return loaded


def _load(config: HostConfig, say: Say) -> bool:
    standing = read(config)
    return loading.restore(config, standing.confirmed, standing.confirmed_digest, say)


def _returned(config: HostConfig, by: str, say: Say, *, whole: bool) -> None:
    """Note how it ended, then that nothing is left to restore. `whole`: the confirmed revision itself was loaded."""
    returned = pointers.rolling_back(config)
    if returned and returned.token:
        ended = "returned"
        if returned.restores:
            ended = "restored" if whole and pointers.read(config).confirmed == returned.revision else "closed"
        _tried(say, lambda: pointers.note(config, returned.token, returned.revision, ended, by))
        say(f"Revision {returned.revision} was {_SAID[ended]}.")
    files.remove(str(pointers.path(config, "rolling-back")))


_SAID = {
    "returned": "taken back",
    "restored": "loaded again",
    "closed": "not loaded again: the host is closed but for SSH",
}


def restore(config: HostConfig, token: str, revision: str, back: Sequence[str], say: Say) -> None:
    """Load the confirmed revision again over what somebody changed on the host, then forget the flows of `back`.

    Needs no trial, since it was confirmed before. From the moment its pointer lies there it is carried out: where this
    process ends or hangs, the guard does all of it again. Raises Refused, and nothing was changed, where a revision
    is on trial, another is confirmed or its files are not whole; Refused too where the host had to be closed instead.
    """
    _refuse_unfit(token, back)
    with writer.restoring(config, seize=False):
        left = pointers.rolling_back(config)
        if left and left.restores:  # begun by somebody who ended on the way
            _restore(config, "operator", say)
        standing = pointers.read(config)
        _refuse_second(standing, "")
        if standing.confirmed != revision:
            raise Refused(
                f"Revision {standing.confirmed} is the confirmed one, not {revision}.",
                note="Apply the other one: that begins a trial.",
            )
        loading.revision(config, revision, standing.confirmed_digest)
        asked = Pending(
            revision=revision, token=token, deadline=0.0, boot=boot_id(), seconds=0, back=tuple(back), restores=True
        )
        pointers.write(config, "rolling-back", asdict(asked))
        if not _restore(config, "operator", say):
            raise Refused("The confirmed revision does not load, so the host is closed but for SSH.")


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
        _returned(config, "operator", say, whole=False)
        _tried(say, lambda: loading.write_closed(config))


def _point_at_closed(config: HostConfig) -> None:
    """First what asks for a restoration: should this process end half-way, the guard goes on with it."""
    try:
        pointers.rename(config, "pending", "rolling-back")
    except FileNotFoundError:
        with contextlib.suppress(OSError):
            if not pointers.path(config, "rolling-back").exists():
                pointers.write(config, "rolling-back", asdict(pointers.BROKEN))
    try:
        pointers.write(config, "confirmed", {"revision": closed.NAME, "token": ""})
    except OSError:
        # A full disk still lets a file go, and where none is, revision 0 is the confirmed one.
        files.remove(str(pointers.path(config, "confirmed")))


def _tried(say: Say, do: Callable[[], object]) -> None:
    """What must not keep the confirmed rules from being in force."""
    try:
        do()
    except (FriduError, OSError) as error:
        say(f"After the rules were restored: {error}")
