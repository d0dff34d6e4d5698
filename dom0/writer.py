"""The one who writes rules: a kernel lock that lasts until the last process is gone that could still write.

Every process its holder starts holds it too. Who restores the confirmed rules may end those who don't let go.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

from dom0 import files, holders, runner
from dom0.errors import Refused
from dom0.host import HostConfig

POLITE_S = 30.0  # how long a step waits for the lock
PATIENT_S = 1.0  # how long a writer whose time is over may take to let go
RESTORING_S = 20.0  # and how long one who restores
WRITES, RESTORES = "writing", "restoring"
_inside: ContextVar[bool] = ContextVar("inside", default=False)


def lock_path(config: HostConfig) -> str:
    """The lock; in it stand the holder's process id and whether it is "writing" or "restoring"."""
    return f"{config.run}/locks/firewall-writer.lock"


def writing(config: HostConfig) -> contextlib.AbstractContextManager[None]:
    """Be the one who writes. Safe to nest. Raises Refused where somebody else writes for too long."""
    return _locked(config, WRITES, seize=False)


def restoring(config: HostConfig, *, seize: bool = True) -> contextlib.AbstractContextManager[None]:
    """Be the one who loads the confirmed rules, even where a process that is stuck has to be ended for it.

    Without `seize` as polite as `writing`. Safe to nest.
    """
    return _locked(config, RESTORES, seize=seize)


@contextlib.contextmanager
def _locked(config: HostConfig, what: str, *, seize: bool) -> Iterator[None]:
    if _inside.get():
        yield
        return
    path = lock_path(config)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _take(fd, path, seize=seize)
        with contextlib.suppress(OSError):  # a note for people and the patient; a full disk is no reason not to restore
            os.pwrite(fd, f"{os.getpid():>10} {what:>9}\n".encode(), 0)
        entered = _inside.set(True)
        try:
            with runner.handing_down(fd):
                yield
        finally:
            _inside.reset(entered)
    finally:
        os.close(fd)


def _take(fd: int, path: str, *, seize: bool) -> None:
    began = looked = time.monotonic()
    while True:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        now = time.monotonic()
        if seize and now - looked >= 0.1:
            _evict(path, now - began)
            looked = time.monotonic()
        if not seize and now - began > POLITE_S:
            raise Refused(
                f"Somebody else has been changing the firewall's rules for {POLITE_S:g} s.",
                note=f"Its process id stands in {path}; wait for it or end it, then go on.",
            )
        time.sleep(0.01)


def _evict(path: str, waited_s: float) -> None:
    """End those who hold the lock where they are stopped, or had time enough."""
    restores = (files.read_text(path) or "").endswith(f"{RESTORES}\n")
    with holders.of(path) as found:
        if waited_s > (RESTORING_S if restores else PATIENT_S) or any(holder.stopped for holder in found):
            for holder in found:
                holder.kill()
