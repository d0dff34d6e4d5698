"""`bin/demo`: the whole mini-ISP from one command, and its end from another."""

from __future__ import annotations

import argparse
import fcntl
import os
import select
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from demo import checks, daemons, dom0, load, packages, processes, shutdown, tiny, venv, vpn
from demo.layout import DEFAULT_PORT, Layout, Problem


class Interrupted(BaseException):
    """Somebody asked the demo to end (Ctrl-C, a hang-up, a plain kill)."""


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bin/demo",
        description="Start Fridu with a private dom0, real machines and the sample network; needs root. "
        "Nothing of this box's network, firewall or /etc is touched.",
    )
    parser.add_argument("--port", type=int, help=f"port for the browser on this box (default {DEFAULT_PORT})")
    parser.add_argument("--detach", action="store_true", help="return once everything answers")
    parser.add_argument("--stop", action="store_true", help="end the demo; its data stays")
    parser.add_argument("--fresh", action="store_true", help="start over: forget machines, people, log")
    parser.add_argument("--yes", action="store_true", help="install missing packages without asking")
    parser.add_argument("--name", default="demo", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    wish = arguments(argv)
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, _interrupt)
    os.umask(0o022)
    try:
        layout = Layout(name=wish.name)
        if wish.stop:
            return _stop(layout)
        return _start(layout, wish)
    except Problem as problem:
        print(f"bin/demo: {problem}", file=sys.stderr)
        return 1
    except Interrupted:
        print("bin/demo: Ended as asked; nothing is left running.", file=sys.stderr)
        return 130


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise Interrupted


def _stop(layout: Layout) -> int:
    if os.geteuid() != 0:
        raise Problem("The demo was started by root, and only root ends it: sudo bin/demo --stop")
    with _alone(layout), _undisturbed():
        print("The demo has ended; its data stays." if shutdown.stop(layout) else "No demo is running.")
    return 0


def _start(layout: Layout, wish: argparse.Namespace) -> int:
    checks.box(layout)
    port = wish.port if wish.port is not None else DEFAULT_PORT if layout.name == "demo" else 0
    with _alone(layout):
        if "keeper" in processes.recorded(layout):
            if wish.fresh:
                raise Problem("The demo is running; end it first (bin/demo --stop), then start it afresh.")
            print(_runs_already(load.saved(layout)["url"], wish.port))
            return 0
        listener = checks.listen(port)
        checks.readable(layout)
        packages.install(yes=wish.yes)
        venv.ensure(layout)
        if wish.fresh:
            _forget(layout)
        with _all_or_nothing(layout):
            _bring_up(layout, listener)
    if not wish.detach:
        _attend(layout)
    return 0


def _runs_already(url: str, wished: int | None) -> str:
    port = int(url.rpartition(":")[2])
    if wished is None or wished == port:
        return f"The demo runs already, at {url}"
    return f"The demo runs already, at {url}. It runs on port {port}; --port counts at the next start."


def _bring_up(layout: Layout, listener: socket.socket) -> None:
    shutdown.stop(layout)  # what a killed start left
    venv.compile_project(layout)
    port = int(listener.getsockname()[1])
    dom0.furnish(layout)
    load.keys(layout)
    _say("Building the tiny image, bringing up dom0 …")
    image = layout.var / "lib" / "images" / "tiny.tar.gz"
    tiny.build(image, layout.project / "var" / "cache")
    dom0.up(layout)
    daemons.start_host(layout)
    _say("Starting the panel and the workers …")
    daemons.start_panel(layout, listener.fileno())
    listener.close()
    daemons.panel_answers(layout, port)
    daemons.workers_answer(layout)
    _say("Loading the sample: its network, its rules, its machines …")
    load.sample(layout)
    vpn.start_client(layout)
    if not vpn.joined(layout):
        _say("The admin VPN's client is not in: see Admin VPN in the panel.")
    if silent := daemons.silent_machines(layout, load.running(layout)):
        _say(f"No SSH from {', '.join(silent)} yet: see these machines in the panel.")
    print(load.words(layout, load.write_state(layout, port)), flush=True)


def _say(sentence: str) -> None:
    print(sentence, flush=True)


def _forget(layout: Layout) -> None:
    if dom0.traces(layout):
        shutdown.stop(layout)
    for entry in layout.var.iterdir() if layout.var.exists() else ():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry != _lock_path(layout):
            entry.unlink()


def _attend(layout: Layout) -> None:
    """Stay until somebody ends us, or the demo from elsewhere."""
    keeper = processes.recorded(layout).get("keeper")
    if keeper is None:
        raise Problem("dom0 ended right after its start; see the logs in var.")
    fd = os.pidfd_open(keeper.pid)
    print("Ctrl-C ends it.", flush=True)
    try:
        select.select([fd], [], [])
        print("The demo was ended from elsewhere.")
    except Interrupted:
        with _alone(layout), _undisturbed():
            shutdown.stop(layout)
        raise
    finally:
        os.close(fd)


@contextmanager
def _all_or_nothing(layout: Layout) -> Iterator[None]:
    """Whatever goes wrong on the way up, nothing half-started stays."""
    try:
        yield
    except BaseException:
        with _undisturbed():
            shutdown.stop(layout)
        raise


@contextmanager
def _undisturbed() -> Iterator[None]:
    """A second Ctrl-C must not leave half an end."""
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    yield
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, _interrupt)


@contextmanager
def _alone(layout: Layout) -> Iterator[None]:
    """One start or stop of this demo at a time."""
    layout.var.mkdir(parents=True, exist_ok=True)
    with open(_lock_path(layout), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Problem("Another bin/demo is starting or ending this demo right now; try again after it.") from None
        yield


def _lock_path(layout: Layout) -> Path:
    return layout.var / "lock"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
