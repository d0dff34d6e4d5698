"""Who holds a kernel lock (flock) on a file: asked of the kernel itself, so no note about it can be out of date."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Holder:
    """A process that holds the lock, by a handle that never means another process with the same number."""

    pid: int
    handle: int
    stopped: bool  # by SIGSTOP or a debugger: it will not let go by itself

    def kill(self) -> None:
        """SIGKILL: it ends stopped processes too."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.handle, signal.SIGKILL)


@contextlib.contextmanager
def of(path: str) -> Iterator[tuple[Holder, ...]]:
    """Every other process that holds a lock on `path`, those included that inherited it."""
    with contextlib.ExitStack() as stack:
        try:
            wanted = Path(path).stat()
        except FileNotFoundError:
            yield ()
            return
        found = []
        for pid in (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()):
            with contextlib.suppress(OSError):  # it has just ended
                if pid != os.getpid():
                    # The handle first: what is read afterwards is about this process, or it is dead.
                    handle = os.pidfd_open(pid)
                    stack.callback(os.close, handle)
                    if _holds(pid, wanted):
                        found.append(Holder(pid=pid, handle=handle, stopped=_stopped(pid)))
        yield tuple(found)


def _holds(pid: int, wanted: os.stat_result) -> bool:
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            # Having it open is not holding it: who waits for the lock has it open as well.
            if os.path.samestat(fd.stat(), wanted) and "FLOCK" in (fd.parents[1] / "fdinfo" / fd.name).read_text():
                return True
    return False


def _stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "Tt"
