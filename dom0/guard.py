"""The guard: takes a revision on trial back at its deadline, whatever died or hangs, and finishes whatever loading of
the confirmed revision somebody began. `python -m dom0.guard a` or `b`.

Two of them run, the same in everything; the service manager starts again whichever ended, and each ends the other
where it has stopped beating, as the service manager does where both have. So any process may be killed or stopped at
any moment. It knows no database, broker or panel: only dom0's own folder, the boot clock, and processes.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import socket
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

from dom0 import files, holders, host, loading, trial
from dom0.errors import FriduError
from dom0.host import HostConfig

NAMES = ("a", "b")
LOOK_S = 0.1
BEAT_S = 0.3
TELL_EVERY = 7  # beats: two seconds of the ten the units give
STALE_S = 1.5
LATE_S = 0.5  # a look that comes later than that says how busy the box is, not how the other guard is
AGAIN_S = (0.5, 30.0)  # after a restoration that did not work: at first, and at most


def main(argv: list[str]) -> int:
    """For ever; ends with 1 where the host file can't be read."""
    if len(argv) != 1 or argv[0] not in NAMES:
        _say("Usage: python -m dom0.guard a|b")
        return 2
    try:
        config = host.load()
    except FriduError as error:
        _say(str(error))
        return 1
    guard(config, argv[0])
    return 0


def guard(config: HostConfig, name: str) -> None:
    """Beat, watch the other, and do what the pointer files and the clock ask for."""
    beating = _take_place(config, name)
    threading.Thread(target=_beat, args=(beating,), daemon=True).start()
    other = NAMES[1 - NAMES.index(name)]
    wait_s, most_s = AGAIN_S
    file, steady = HostFile(config), Steady()
    while True:
        config = file.now()
        try:
            if steady.long_enough():
                _end_if_stopped(config, other)
            act(config, _say)
            wait_s = AGAIN_S[0]
        except (FriduError, OSError) as error:
            _say(f"Not restored yet, trying again in {wait_s:g} s: {error}")
            time.sleep(wait_s)
            wait_s = min(wait_s * 2, most_s)
        time.sleep(LOOK_S)


class Steady:
    """Whether our own looks came in time for as long as a beat may be old: who is held up himself judges nobody.

    On a box so busy that both are late, two guards would otherwise end each other again and again.
    """

    def __init__(self) -> None:
        self._last = self._since = time.monotonic()

    def long_enough(self) -> bool:
        """Say that we look now."""
        now = time.monotonic()
        if now - self._last > LOOK_S + LATE_S:
            self._since = now
        self._last = now
        return now - self._since >= STALE_S


class HostFile:
    """The host file as it stands: read again where it is another one. One that can't be read leaves the former."""

    def __init__(self, config: HostConfig) -> None:
        self._config = config
        self._mark: tuple[int, int, int] | None = None  # of what `config` was read from nobody knows; so once more

    def now(self) -> HostConfig:
        """What to go by now. Our place and the trials' files stay where they were until we are started again."""
        mark = _mark()
        if mark != self._mark:
            self._mark = mark
            try:
                found = replace(host.load(), run=self._config.run, state=self._config.state)
                if found != self._config:
                    _say("The host file says something else; that counts from now on.")
                self._config = found
            except (FriduError, OSError, ValueError, TypeError, LookupError, AttributeError) as error:
                _say(f"The host file can't be read, so the former one goes on counting: {error}")
        return self._config


def _mark() -> tuple[int, int, int] | None:
    """What tells the host file from the one that was read; None where there is none."""
    try:
        found = host.file().stat()
    except OSError:
        return None
    return (found.st_ino, found.st_mtime_ns, found.st_size)


def act(config: HostConfig, say: loading.Say) -> None:
    """One look: note a trial, take one back that is over, go on with a restoration that somebody began."""
    standing = trial.pending(config)
    if standing is not None:
        if standing.seconds_left:
            trial.take_note(config, standing)
        else:
            trial.take_back(config, "guard", say)
    trial.finish(config, "guard", say)


def _beat_path(config: HostConfig, name: str) -> str:
    return f"{config.run}/guard/{name}"


def _take_place(config: HostConfig, name: str) -> int:
    """A lock on our beat says who we are; waits for one of the same name to end."""
    path = Path(_beat_path(config, name))
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    _beat_once(fd)  # first: who has the place and an old beat is taken for a stopped one
    _tell("READY=1\nWATCHDOG=1")
    fcntl.flock(fd, fcntl.LOCK_EX)
    return fd


def _beat(fd: int) -> None:
    for beat in itertools.count():
        _beat_once(fd)
        if beat % TELL_EVERY == 0:
            _tell("WATCHDOG=1")
        time.sleep(BEAT_S)


def _beat_once(fd: int) -> None:
    with contextlib.suppress(OSError):  # a full disk: it does its work all the same
        os.pwrite(fd, f"{trial.boot_time():020.3f}\n".encode(), 0)


def _tell(message: str) -> None:
    """Tell systemd, whose watchdog counts from the first time on. READY once: each tells everybody on its bus."""
    if address := os.environ.get("NOTIFY_SOCKET"):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.sendto(message.encode(), address.replace("@", "\0", 1))


def beating(config: HostConfig) -> tuple[str, ...]:
    """The guards that have beaten lately, by name."""
    return tuple(name for name in NAMES if (age := _age_s(config, name)) is not None and age < STALE_S)


def _age_s(config: HostConfig, name: str) -> float | None:
    """Seconds since a guard's last beat; None where it never could write one down."""
    try:
        return trial.boot_time() - float(files.read_text(_beat_path(config, name)) or "")
    except ValueError:
        return None


def _end_if_stopped(config: HostConfig, name: str) -> None:
    """A guard that lives and does not beat is of no use; ended, it is started again."""
    age = _age_s(config, name)
    if age is None or age < STALE_S:  # without a beat the service manager watches it
        return
    path = _beat_path(config, name)
    with files.lock(path, wait=False) as nobody:
        if nobody:
            return
    with holders.of(path) as found:
        for holder in found:
            _say(f"Guard {name} (process {holder.pid}) does not beat and is ended.")
            holder.kill()


def _say(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
