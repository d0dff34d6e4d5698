"""dom0 as a whole: bring the world and its keeper up, take both down."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from demo import cgroups, daemons, processes, room, world
from demo.layout import Layout, Problem


def furnish(layout: Layout) -> None:
    """The state folder, with what the last run left in it for a run only (sockets, logs) gone."""
    layout.var.mkdir(parents=True, exist_ok=True)
    layout.var.chmod(0o755)
    for emptied in (layout.run, layout.log):
        if emptied.exists():
            shutil.rmtree(emptied)
    for source, _ in room.KEPT:
        (layout.var / source).mkdir(parents=True, exist_ok=True)
    for private in ("root", "log", "libvirt"):
        (layout.var / private).chmod(0o700)
    daemons.configure(layout)


def up(layout: Layout) -> None:
    """Namespaces, control groups, the private filesystem view and its process 1. Raises Problem."""
    world.up(layout)
    cgroups.make(layout)
    _start_keeper(layout)


def down(layout: Layout) -> None:
    """End every process inside, then remove what outlives processes. Safe to call at any stage."""
    keeper = processes.recorded(layout).get("keeper")
    if keeper is not None and not processes.kill(keeper):
        raise Problem(f"Process {keeper.pid} (dom0's first) does not end; nothing else was removed.")
    for pid in cgroups.population(layout):  # only where the notes about the first process were lost
        started = processes.start_time(pid)
        if started is not None:
            processes.kill(processes.Process(pid=pid, started=started))
    cgroups.remove(layout)
    world.down(layout)
    if layout.run.exists():
        shutil.rmtree(layout.run)


def traces(layout: Layout) -> bool:
    """Whether anything of this demo is there outside its state folder."""
    return "keeper" in processes.recorded(layout) or bool(world.existing(layout)) or cgroups.present(layout)


def _start_keeper(layout: Layout) -> None:
    ready, theirs = os.pipe()
    with open(layout.log / "keeper.log", "wb") as log:
        starter = subprocess.Popen(
            (sys.executable, "-B", "-m", "demo.keeper", layout.name, str(theirs)),
            cwd=layout.project,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(theirs,),
            start_new_session=True,
        )
    os.close(theirs)
    with open(ready) as answer:
        said = answer.readline()
    starter.wait()
    if said != "up\n":
        complaint = (layout.log / "keeper.log").read_text().strip().splitlines() or ["nothing was said"]
        raise Problem(f"dom0 could not be brought up: {complaint[-1]}.")
