"""Ending the demo: services, machines, dom0; afterwards the box is as it was."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path

from demo import dom0, processes, service
from demo.layout import Layout, Problem

MACHINE_PATIENCE_S = 8.0
LOOP_PATIENCE_S = 10.0
WRITERS = ("panel", "watch", "worker-power", "worker-work", "worker-net")  # before the machines they would restart


def stop(layout: Layout) -> bool:
    """End everything, by process id; False where nothing was there. Raises Problem for what stays."""
    there = dom0.traces(layout)
    keeper = processes.recorded(layout).get("keeper")
    if keeper is not None:
        with contextlib.suppress(Problem):  # a keeper that doesn't answer is killed below
            service.stop(layout, *WRITERS)
        _machines_off(keeper.pid)
    layout.state_file.unlink(missing_ok=True)
    dom0.down(layout)
    _no_loop_left(layout)
    return there


def _machines_off(keeper: int) -> None:
    """Ask every machine's init to power off and wait for it; who doesn't listen dies with dom0."""
    for controller in _controllers(keeper):
        for init in Path(f"/proc/{controller}/task/{controller}/children").read_text().split():
            with contextlib.suppress(OSError):
                systemd = Path(f"/proc/{init}/comm").read_text().strip() == "systemd"
                os.kill(int(init), signal.SIGRTMIN + 4 if systemd else signal.SIGUSR2)
    deadline = time.monotonic() + MACHINE_PATIENCE_S
    while _controllers(keeper) and time.monotonic() < deadline:
        time.sleep(0.05)


def _controllers(keeper: int) -> list[int]:
    """libvirt_lxc processes of this dom0: those in its PID namespace."""
    ours = Path(f"/proc/{keeper}/ns/pid").readlink()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if (entry / "comm").read_text() == "libvirt_lxc\n" and (entry / "ns" / "pid").readlink() == ours:
                    found.append(int(entry.name))
    return found


def loops(layout: Layout) -> list[str]:
    """Loop devices over a file of this demo, by inode: they name the path that dom0 sees."""
    listed = subprocess.run(
        ("losetup", "--json", "--output", "NAME,BACK-INO,BACK-MAJ:MIN"),
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    ours = {
        (f"{os.major(found.st_dev)}:{os.minor(found.st_dev)}", found.st_ino)
        for found in (path.stat() for path in (layout.var / "lib").glob("**/*") if path.is_file())
    }
    devices = json.loads(listed.stdout or "{}").get("loopdevices", [])
    return [d["name"] for d in devices if (str(d["back-maj:min"]).strip(), int(d["back-ino"])) in ours]


def _no_loop_left(layout: Layout) -> None:
    """Loop devices clear themselves when their mounts go with dom0; wait until they have."""
    deadline = time.monotonic() + LOOP_PATIENCE_S
    while held := loops(layout):
        if time.monotonic() > deadline:
            raise Problem(f"{', '.join(held)} still holds an image of the demo; see losetup -a.")
        time.sleep(0.02)
