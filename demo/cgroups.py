"""A control-group sub-tree of the demo's own, on cgroup v2 (systemd or not) and on v1's separate hierarchies.

libvirt's lxc driver needs memory, cpu and devices. Everything of the demo runs below one group a hierarchy,
so its machines' groups never mix with the box's, and removing the group proves that nothing is left.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

from demo.layout import Layout, Problem

ROOT = Path("/sys/fs/cgroup")
MOUNTS = Path("/proc/self/mounts")
WANTED = ("cpu", "cpuset", "io", "memory", "pids")  # of v2; cpu and memory must be there
LIMITS = ("cpu", "io", "memory")  # of v2: what a machine may be held to; systemd hands no io down by itself
SYSTEMD = "name=systemd"  # of v1: where a machine's systemd keeps its services apart
OFFERED = "cgroup-offered"  # in the state folder: controllers that the box's root group had not handed down before us
NONE_THERE = (
    "This box offers no control groups for memory and CPU, so machines can't be kept to their size. "
    "Use a Debian box or virtual machine whose /sys/fs/cgroup has them (not a container)."
)


@dataclass(frozen=True, kw_only=True)
class Hierarchy:
    """One mounted hierarchy: `controllers` as v1 mounts them ("cpu,cpuacct", or SYSTEMD's, of none), "" for v2."""

    path: Path
    controllers: str


def hierarchies() -> tuple[Hierarchy, ...]:
    """The hierarchies with controllers, and systemd's. Raises Problem where memory or cpu is nowhere."""
    found = []
    for line in MOUNTS.read_text().splitlines():
        _, path, kind, options = line.split()[:4]
        if kind == "cgroup2" and path == str(ROOT):
            found = [Hierarchy(path=ROOT, controllers="")]
            if not {"cpu", "memory"} <= set((ROOT / "cgroup.controllers").read_text().split()):
                raise Problem(NONE_THERE)
            break
        if kind == "cgroup" and Path(path).parent == ROOT:
            names = [o for o in options.split(",") if o not in ("rw", "ro", "relatime", "noatime")]
            names = [o for o in names if o not in ("nosuid", "nodev", "noexec", "xattr", "clone_children")]
            names = [o for o in names if not o.startswith("release_agent")]
            if names == [SYSTEMD] or not any(o.startswith("name=") for o in names):
                found.append(Hierarchy(path=Path(path), controllers=",".join(names)))
    have = {name for h in found for name in h.controllers.split(",")}
    if not found or (found[0].controllers and not {"memory", "cpu", "devices"} <= have):
        raise Problem(NONE_THERE)
    return tuple(found)


def make(layout: Layout) -> None:
    """Make our group in every hierarchy. Raises Problem where the box forbids it."""
    for hierarchy in hierarchies():
        try:
            if not hierarchy.controllers:
                (layout.var / OFFERED).write_text(" ".join(_offer(hierarchy.path, LIMITS)))
            group = hierarchy.path / layout.cgroup
            group.mkdir(exist_ok=True)
            if "cpuset" in hierarchy.controllers.split(","):
                for file in ("cpuset.cpus", "cpuset.mems"):
                    (group / file).write_text((hierarchy.path / file).read_text())
        except OSError as error:
            raise Problem(f"{NONE_THERE} ({error})") from error


def enter(layout: Layout) -> None:
    """Move this process into our groups; unsharing the cgroup namespace then makes them its roots."""
    for hierarchy in hierarchies():
        (hierarchy.path / layout.cgroup / "cgroup.procs").write_text(str(os.getpid()))


def settle() -> None:
    """Inside, on v2: go into a leaf and hand the controllers down, for a group has either processes or children."""
    if not (ROOT / "cgroup.controllers").exists():
        return
    (ROOT / "dom0").mkdir(exist_ok=True)
    (ROOT / "dom0" / "cgroup.procs").write_text(str(os.getpid()))
    _offer(ROOT, WANTED)


def present(layout: Layout) -> bool:
    return any((hierarchy.path / layout.cgroup).exists() for hierarchy in hierarchies())


def population(layout: Layout) -> set[int]:
    """The processes in our groups: all of them ours, since nobody else enters these groups."""
    found: set[int] = set()
    for hierarchy in hierarchies():
        for listed in (hierarchy.path / layout.cgroup).glob("**/cgroup.procs"):
            with contextlib.suppress(OSError):  # a group that has just gone
                found.update(int(line) for line in listed.read_text().split())
    return found


def remove(layout: Layout, *, patience_s: float = 10.0) -> None:
    """Remove our groups, empty by now. Raises Problem when a process refuses to die."""
    deadline = time.monotonic() + patience_s
    for hierarchy in hierarchies():
        group = hierarchy.path / layout.cgroup
        while group.exists() and not _removed(group):
            if time.monotonic() > deadline:
                raise Problem(f"The control group {group} still has processes; see {group}/cgroup.procs.")
            time.sleep(0.02)
    offered = layout.var / OFFERED
    for name in offered.read_text().split() if offered.exists() else ():
        with contextlib.suppress(OSError):  # EBUSY: somebody else has come to use it
            (ROOT / "cgroup.subtree_control").write_text(f"-{name}")
    offered.unlink(missing_ok=True)


def _removed(group: Path) -> bool:
    with contextlib.suppress(OSError):
        for folder, _, _ in os.walk(group, topdown=False):
            Path(folder).rmdir()
        return True
    return False


def _offer(group: Path, names: tuple[str, ...]) -> list[str]:
    """Let `group`'s children use those of `names` that it has itself; returns which are new to them."""
    there = set((group / "cgroup.controllers").read_text().split())
    already = set((group / "cgroup.subtree_control").read_text().split())
    new = [name for name in names if name in there and name not in already]
    for name in new:
        (group / "cgroup.subtree_control").write_text(f"+{name}")
    return new
