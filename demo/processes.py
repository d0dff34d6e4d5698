"""Processes of the demo by id *and* start time, so a recycled id is never taken for one of ours."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from demo.layout import Layout

PIDS = "pids.json"  # in the run folder, written by the keeper


@dataclass(frozen=True, kw_only=True)
class Process:
    """A process as it was recorded; `started` in clock ticks since boot."""

    pid: int
    started: int

    def alive(self) -> bool:
        return start_time(self.pid) == self.started


def start_time(pid: int) -> int | None:
    """When `pid` began, in clock ticks since boot; None where it is gone (or only a zombie is left)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def recorded(layout: Layout) -> dict[str, Process]:
    """Those of the demo's recorded processes that still live, by name."""
    try:
        notes = json.loads((layout.run / PIDS).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    found = {name: Process(**note) for name, note in notes.items()}
    return {name: process for name, process in found.items() if process.alive()}


def kill(process: Process, *, patience_s: float = 10.0) -> bool:
    """SIGKILL by descriptor, which can't hit a successor of the same id; True when it is gone."""
    with contextlib.suppress(ProcessLookupError):
        fd = os.pidfd_open(process.pid)
        try:
            if process.alive():
                signal.pidfd_send_signal(fd, signal.SIGKILL)
        finally:
            os.close(fd)
    deadline = time.monotonic() + patience_s
    while process.alive() and time.monotonic() < deadline:
        time.sleep(0.01)
    return not process.alive()
