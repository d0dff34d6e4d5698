"""A filesystem in use held still for as long as its volume is copied, and let go again whatever becomes of us.

A kernel that is asked to freeze a filesystem writes everything to the device, its journal too, and has writers wait:
what is copied meanwhile is whole and needs no repair. A frozen filesystem outlives whoever froze it. So a child waits
beside us, and lets go when we are done, killed, or take too long.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
from collections.abc import Iterator

from dom0 import tune
from dom0.errors import Refused

LONGEST_S = 60.0  # that a machine's writers may have to wait
_FIFREEZE, _FITHAW = 0xC0045877, 0xC0045878


@contextlib.contextmanager
def held(device: str) -> Iterator[None]:
    """The mounted ext4 on `device` is still. Raises Refused where that took too long: what was copied is worthless."""
    with tune.mounted(device) as fd:
        ours, theirs = os.pipe2(os.O_CLOEXEC)
        child = os.fork()
        if child == 0:
            _wait_and_thaw(ours, theirs, fd)
        os.close(ours)
        try:
            fcntl.ioctl(fd, _FIFREEZE, 0)
            yield
            still = _thawed(fd)
        finally:
            os.close(theirs)
            os.waitpid(child, 0)
    if not still:
        raise Refused(
            f"Copying took longer than the {LONGEST_S:g} s for which a running machine may have to wait.",
            note="No snapshot was kept. Stop the machine first.",
        )


def _wait_and_thaw(ours: int, theirs: int, fd: int) -> None:
    """The child: until the parent's end of the pipe is closed, by itself or by its death."""
    try:
        os.setsid()
        os.close(theirs)
        select.select((ours,), (), (), LONGEST_S)
        _thawed(fd)
    finally:
        os._exit(0)


def _thawed(fd: int) -> bool:
    """Let it go; False where somebody had done so."""
    try:
        fcntl.ioctl(fd, _FITHAW, 0)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return False
    return True
