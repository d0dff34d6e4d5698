"""A machine's whole life on lxc, the embedded default: the same story as on Xen in the lab, on a dom0 of its own."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo import daemons, dom0, enter, load, shutdown, tiny
from demo.layout import DOM0_ADDRESS, PANEL_UID, PYTHON, Layout
from tests.life.story import OPERATOR, PORT, ROOT_MIB, live

pytestmark = pytest.mark.host
ROOT = Path(__file__).parents[2]


class Lxc:
    """tests.life.story's Stage: namespaces, the real workers, queue and libvirt, and SSH from the Internet's side."""

    external = DOM0_ADDRESS
    patience_s = 60.0
    defaults: dict[str, object] = {"memory_mib": 64, "root_mib": ROOT_MIB}

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    def up(self) -> None:
        self.furnish()
        dom0.up(self.layout)
        self.inhabit()
        daemons.start_host(self.layout)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            daemons.start_panel(self.layout, listener.fileno())
        argv = (str(PYTHON), "manage.py", "createoperator", OPERATOR)
        self._do(enter.inside(self.layout, *argv, uid=PANEL_UID))  # refused where there is one
        daemons.workers_answer(self.layout)
        self._reported()

    def furnish(self) -> None:
        dom0.furnish(self.layout)

    def inhabit(self) -> None:
        """What this dom0 needs in its own view of the filesystem before its services start."""

    def fridu(self, *words: str) -> str:
        argv = enter.inside(self.layout, "/srv/fridu/bin/fridu", "--as", OPERATOR, *words, "--yes")
        done = self._do(argv)
        assert done.returncode == 0, f"fridu {' '.join(words)}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def run(self, line: str) -> str:
        return self._do(enter.inside(self.layout, "sh", "-c", line)).stdout

    def manage(self, code: str) -> str:
        argv = (str(PYTHON), "manage.py", "shell", "-v", "0", "-c", code)
        done = self._do(enter.inside(self.layout, *argv, uid=PANEL_UID))
        assert done.returncode == 0, done.stderr
        return done.stdout

    def inside(self, command: str) -> str | None:
        key = self.layout.var / "keys" / "owner"
        argv = ("ssh", "-p", str(PORT), "-i", str(key), "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no")
        more = ("-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=5")
        there = ("ip", "netns", "exec", self.layout.internet, *argv, *more, f"root@{DOM0_ADDRESS}", command)
        done = subprocess.run(there, capture_output=True, text=True, timeout=60, check=False)
        return None if done.returncode == 255 else done.stdout

    def public_key(self) -> str:
        return (self.layout.var / "keys" / "owner.pub").read_text()

    def restart(self) -> None:
        shutdown.stop(self.layout)
        self.up()

    def _reported(self) -> None:
        """Wait until the watcher has looked at the host."""
        deadline = time.monotonic() + self.patience_s
        while self._do(enter.inside(self.layout, "/srv/fridu/bin/fridu", "--as", OPERATOR, "image")).returncode != 0:
            log = self.layout.log / "watch.log"
            assert time.monotonic() < deadline, log.read_text()[-2000:]
            time.sleep(0.2)

    def _do(self, argv: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        env = {"PATH": os.environ["PATH"], "HOME": "/root", **self.layout.environment}
        return subprocess.run(argv, capture_output=True, text=True, timeout=300, env=env, check=False)


@contextlib.contextmanager
def on_stage(kind: type[Lxc], initial: str) -> Iterator[Lxc]:
    """A dom0 of that kind, with the tiny image to import, and one operator."""
    layout = Layout(name=f"{initial}{os.getpid() % 100000}")
    dom0.furnish(layout)
    load.keys(layout)
    imports = layout.var / "lib" / "imports"
    imports.mkdir(parents=True, exist_ok=True)
    tiny.build(imports / "tiny.tar.gz", ROOT / "var" / "cache")
    stage = kind(layout)
    try:
        stage.up()
        yield stage
    finally:
        shutdown.stop(layout)
        subprocess.run(("rm", "-rf", "--one-file-system", str(layout.var)), check=True)


def test_a_machines_whole_life() -> None:
    with on_stage(Lxc, "s") as stage:
        live(stage)
