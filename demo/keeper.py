"""dom0's process 1: starts its services, starts again what died, buries orphans. When it ends, all end.

Speaks JSON lines on a socket only root reaches: start, stop, list. Process ids it reports and writes are
those the box sees, each with its start time, so that nobody mistakes a recycled id for a service.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demo import cgroups, kernel, room
from demo.layout import INSIDE, Layout

CLEAN = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
SHORTEST_WAIT_S, MISSING_WAIT_S = 0.2, 5.0
BEAT_S, FIRST_BEAT_S = 2.0, 30.0  # how old a beat may be, and how long the first may take
STOP_PATIENCE_S = 10.0


@dataclass(kw_only=True)
class Kept:
    """One service: its running process, or when to start it again."""

    spec: dict[str, Any]
    fds: dict[str, int] = field(default_factory=dict)  # sockets, by their word in argv
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    wait_s: float = SHORTEST_WAIT_S
    due: float = 0.0


class Keeper:
    """The services and the loop that keeps them."""

    def __init__(self, layout: Layout, outer_proc: int) -> None:
        self.layout, self.outer_proc = layout, outer_proc
        self.kept: dict[str, Kept] = {}
        self.pids: dict[str, dict[str, int]] = {}
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind("/run/fridu/keeper.sock")
        Path("/run/fridu/keeper.sock").chmod(0o600)
        self.listener.listen(8)
        self._note_pid("keeper", os.getpid())

    def serve(self) -> None:
        """For ever: answer, bury, start what is due."""
        wake, waker = socket.socketpair()
        waker.setblocking(False)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        watch = selectors.DefaultSelector()
        watch.register(self.listener, selectors.EVENT_READ)
        watch.register(wake, selectors.EVENT_READ)
        while True:
            for key, _ in watch.select(self._next_due()):
                if key.fileobj is wake:
                    wake.recv(512)
                else:
                    self._answer()
            self._bury()
            self._end_silent()
            for kept in self.kept.values():
                if kept.process is None and kept.due <= time.monotonic():
                    with contextlib.suppress(OSError):  # a program that is missing for a while
                        kept.due = time.monotonic() + MISSING_WAIT_S
                        self._launch(kept)

    def _next_due(self) -> float | None:
        waits = [kept.due - time.monotonic() for kept in self.kept.values() if kept.process is None]
        waits += [BEAT_S / 4 for kept in self.kept.values() if kept.spec["beats"]]
        return max(0.0, min(waits)) if waits else None

    def _end_silent(self) -> None:
        """What systemd's watchdog does: a stopped process never ends, so nothing else would start it again."""
        for kept in self.kept.values():
            if kept.spec["beats"] and kept.process is not None:
                lasted = time.monotonic() - kept.started
                with contextlib.suppress(FileNotFoundError):
                    silent = time.time() - Path(kept.spec["beats"]).stat().st_mtime
                    if silent > BEAT_S and (silent < lasted or lasted > FIRST_BEAT_S):
                        kept.process.kill()

    def _answer(self) -> None:
        link, _ = self.listener.accept()
        with link:
            link.settimeout(5)
            try:
                raw, fds, _, _ = socket.recv_fds(link, 1 << 16, 1)
                answer = self._do(json.loads(raw), fds[0] if fds else None)
            except (OSError, ValueError, KeyError) as error:
                answer = {"error": f"dom0 can't do that: {error}."}
            with contextlib.suppress(OSError):
                link.sendall(json.dumps(answer).encode() + b"\n")

    def _do(self, request: dict[str, Any], fd: int | None) -> dict[str, Any]:
        if request["do"] == "start":
            spec = request["service"]
            self._end(spec["name"])
            kept = Kept(spec=spec)
            if fd is not None:
                kept.fds["{passed}"] = fd
            if spec["listens"]:
                address, _, port = spec["listens"].rpartition(":")
                kept.fds["{listening}"] = socket.create_server((address, int(port)), backlog=128).detach()
            self._launch(kept)
            self.kept[spec["name"]] = kept
        elif request["do"] == "stop":
            self._end(*request["names"])
        return {"pids": self.pids}

    def _launch(self, kept: Kept) -> None:
        spec = kept.spec
        argv = list(spec["argv"])
        for word, fd in kept.fds.items():
            argv = [part.replace(word, str(fd)) for part in argv]
        identity: dict[str, Any] = {}
        if spec["uid"]:
            identity = {"user": spec["uid"], "group": spec["gid"] or spec["uid"], "extra_groups": []}
        kept.started = time.monotonic()
        with open(f"/var/log/fridu/{spec['name']}.log", "ab") as log:
            kept.process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=INSIDE,
                env={**CLEAN, "HOME": "/" if spec["uid"] else "/root", **spec["env"]},
                umask=0o022,
                start_new_session=True,
                pass_fds=tuple(kept.fds.values()),
                **identity,
            )
        self._note_pid(spec["name"], kept.process.pid)

    def _bury(self) -> None:
        """Reap every dead child; a service's leftovers go with it, as a unit's do under systemd."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for kept in self.kept.values():
                if kept.process is not None and kept.process.pid == pid:
                    self._bereaved(kept, status)

    def _bereaved(self, kept: Kept, status: int) -> None:
        process, kept.process = kept.process, None
        if process is not None:
            process.returncode = os.waitstatus_to_exitcode(status)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        lasted = time.monotonic() - kept.started
        kept.wait_s = SHORTEST_WAIT_S if lasted > 10 else min(kept.wait_s * 2, kept.spec["longest_wait_s"])
        kept.due = time.monotonic() + kept.wait_s
        self._forget_pid(kept.spec["name"])

    def _end(self, *names: str) -> None:
        """End services: all asked at once, then each waited for, then killed with its process group."""
        ending = [kept for kept in (self.kept.pop(name, None) for name in names) if kept is not None]
        for kept in ending:
            for fd in kept.fds.values():
                os.close(fd)
            if kept.process is not None:
                kept.process.terminate()
        deadline = time.monotonic() + STOP_PATIENCE_S
        for kept in ending:
            if kept.process is not None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    kept.process.wait(max(0.0, deadline - time.monotonic()))
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(kept.process.pid, signal.SIGKILL)
                kept.process.wait()
            self._forget_pid(kept.spec["name"])

    def _note_pid(self, name: str, pid: int) -> None:
        outer = self._outer_pid(pid)
        if outer:
            started = _start_time(self._outer_read(f"{outer}/stat"))
            self.pids[name] = {"pid": outer, "started": started}
            self._write_pids()

    def _forget_pid(self, name: str) -> None:
        if self.pids.pop(name, None):
            self._write_pids()

    def _outer_pid(self, pid: int) -> int:
        """What the box calls our child `pid` (or ourselves)."""
        own = os.readlink("self", dir_fd=self.outer_proc)
        if pid == os.getpid():
            return int(own)
        for child in self._outer_read(f"{own}/task/{own}/children").split():
            with contextlib.suppress(FileNotFoundError):
                status = self._outer_read(f"{child}/status")
                if any(line.startswith("NSpid:") and line.split()[-1] == str(pid) for line in status.splitlines()):
                    return int(child)
        return 0

    def _outer_read(self, path: str) -> str:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.outer_proc)
        with open(fd) as file:
            return file.read()

    def _write_pids(self) -> None:
        _replace(Path("/run/fridu/pids.json"), self.pids)
        with contextlib.suppress(FileNotFoundError):
            # A service that was started again has another id; scripts read it where they read all else.
            path = INSIDE / "var" / self.layout.name / "state.json"
            state = json.loads(path.read_text())
            _replace(path, {**state, "pids": {name: note["pid"] for name, note in self.pids.items()}})


def _replace(path: Path, content: dict[str, Any]) -> None:
    new = path.with_name(path.name + ".new")
    new.touch(mode=0o600)
    new.write_text(json.dumps(content, indent=1))
    new.rename(path)


def _start_time(stat: str) -> int:
    """Field 22 of /proc/PID/stat, in clock ticks since boot; the name before it may hold anything."""
    return int(stat.rpartition(")")[2].split()[19])


def become(layout: Layout, ready: int) -> None:
    """Turn this process into a fork that becomes dom0's process 1; one line on `ready` says how it went."""
    outer_proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    cgroups.enter(layout)
    kernel.setns(f"/run/netns/{layout.dom0}", kernel.CLONE_NEWNET)
    kernel.unshare(
        kernel.CLONE_NEWNS | kernel.CLONE_NEWPID | kernel.CLONE_NEWUTS | kernel.CLONE_NEWIPC | kernel.CLONE_NEWCGROUP
    )
    if os.fork():
        os._exit(0)  # its child goes on, as the first of its PID namespace
    os.setsid()
    room.furnish(layout)
    cgroups.settle()
    kernel.sethostname(layout.name)
    os.chdir("/")
    keeper = Keeper(layout, outer_proc)
    os.write(ready, b"up\n")
    os.close(ready)
    keeper.serve()


if __name__ == "__main__":
    become(Layout(name=sys.argv[1]), int(sys.argv[2]))
