"""Which process works on a queue, so that one that hears nothing any more can be ended.

A Celery worker may lose its broker without noticing and wait for ever (celery/celery issues 8091 and 9054). No
watchdog sees that: the process lives and its loop turns. Who is sent jobs and takes none is deaf.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from dom0 import files
from dom0.host import HostConfig

_mine: list[int] = []  # descriptors kept open: their locks say that this process lives


def note(config: HostConfig, queue: str) -> None:
    """Called by the worker of `queue` once it listens: its process id, locked for as long as it lives."""
    path = _path(config, queue)
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:  # another of the same queue has it, and is the one to be ended
        os.close(fd)
        return
    _mine.append(fd)
    path.write_text(str(os.getpid()))


def end(config: HostConfig, queue: str, *, older_than_s: float) -> bool:
    """End the worker of `queue` if it has listened for longer than that; whether there was one."""
    path = _path(config, queue)
    with files.lock(str(path), wait=False) as free:
        if free or time.time() - path.stat().st_mtime < older_than_s:
            return False
        with suppress(ProcessLookupError):
            os.kill(int(path.read_text()), signal.SIGKILL)
        return True


def _path(config: HostConfig, queue: str) -> Path:
    return Path(config.run, "workers", queue)
