"""dom0's own view of the filesystem: every folder that a host's programs write to is private to the demo.

Runs once, as the first process of new mount, PID, host-name and control-group namespaces.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from demo import cgroups, kernel
from demo.layout import INSIDE, PANEL_GID, PANEL_UID, Layout

# What survives a stop, and where dom0's programs look for it.
KEPT = (
    ("etc", "/etc/fridu"),
    ("libvirt/etc", "/etc/libvirt"),
    ("openvpn", "/etc/openvpn"),
    ("libvirt/lib", "/var/lib/libvirt"),
    ("log/libvirt", "/var/log/libvirt"),
    ("log", "/var/log/fridu"),
    ("lib", "/var/lib/fridu"),
    ("panel", "/var/lib/fridu-panel"),
    ("root", "/root"),
    ("run", "/run/fridu"),
)
EMPTIED = ("/run", "/tmp", "/var/lib", "/var/log", "/var/cache", "/root")
# Of the box's own mounts, dom0 keeps these and what is below the second; the rest it lets go, lest a disk that
# somebody unmounts outside stays pinned in here.
KEPT_MOUNTS = ("/", "/var", "/srv")
KEPT_TREES = ("/dev", "/proc", "/usr", "/etc", "/bin", "/sbin", "/lib", str(INSIDE))
MACHINES = Path("/run/fridu/machines")
CONTROLLER = Path("/usr/lib/libvirt/libvirt_lxc")


def furnish(layout: Layout) -> None:
    """Mount dom0's view. Raises OSError naming the mount that failed."""
    mounts = cgroups.hierarchies()
    kernel.mount("none", "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)
    project = os.open(layout.project, os.O_PATH | os.O_DIRECTORY)
    _tmpfs("/srv")
    _show(f"/proc/self/fd/{project}", INSIDE)
    os.close(project)
    _let_go()
    for path in EMPTIED:
        _tmpfs(path)
    Path("/tmp").chmod(0o1777)
    _private_etc()
    for source, target in KEPT:
        _show(INSIDE / "var" / layout.name / source, Path(target))
    for path in ("/var/lib/misc", "/var/cache/libvirt", "/run/lock", "/run/libvirt"):
        Path(path).mkdir(parents=True)
    _system(mounts)
    _machines()
    if any(hierarchy.controllers == cgroups.SYSTEMD for hierarchy in mounts) and CONTROLLER.exists():
        _own_groups()


def _tmpfs(path: str) -> None:
    kernel.mount("tmpfs", path, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=755")


def _let_go() -> None:
    table = Path("/proc/self/mountinfo").read_text().splitlines()
    for place in reversed([line.split()[4].encode().decode("unicode_escape") for line in table]):
        kept = any(place == tree or place.startswith(tree + "/") for tree in KEPT_TREES)
        if not kept and place not in KEPT_MOUNTS and os.path.lexists(place):
            with contextlib.suppress(OSError):  # gone with the one above it
                kernel.detach(place)


def _show(source: str | Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    kernel.bind(source, target)


def _private_etc() -> None:
    """The box's /etc as it is, what dom0 writes to it kept in memory; and a name for the panel's user."""
    upper, work = Path("/run/etc-upper"), Path("/run/etc-work")
    for folder in (upper, work):
        folder.mkdir(mode=0o755)
    kernel.mount("overlay", "/etc", "overlay", 0, f"lowerdir=/etc,upperdir={upper},workdir={work}")
    with open("/etc/passwd", "a") as passwd:
        passwd.write(f"fridu-panel:x:{PANEL_UID}:{PANEL_GID}:Fridu's panel:/nonexistent:/usr/sbin/nologin\n")
    with open("/etc/group", "a") as group:
        group.write(f"fridu-panel:x:{PANEL_GID}:\n")


def _system(hierarchies: tuple[cgroups.Hierarchy, ...]) -> None:
    """A /sys of our network namespace, our control groups at their usual place, a /proc of our processes."""
    safe = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
    kernel.mount("sysfs", "/sys", "sysfs", safe)
    if not hierarchies[0].controllers:
        kernel.mount("cgroup2", cgroups.ROOT, "cgroup2", safe)
    else:
        kernel.mount("tmpfs", cgroups.ROOT, "tmpfs", safe, "mode=755")
        for hierarchy in hierarchies:
            hierarchy.path.mkdir()
            kernel.mount("cgroup", hierarchy.path, "cgroup", safe, hierarchy.controllers)
    kernel.mount("proc", "/proc", "proc", safe)


def _machines() -> None:
    """Machines' roots are mounted below one shared mount: only so does an unmount reach the private copies
    that other machines' controllers hold, without which a stopped machine's disk stays pinned unflushed."""
    MACHINES.mkdir(mode=0o711, exist_ok=True)
    kernel.mount("tmpfs", MACHINES, "tmpfs", kernel.MS_NODEV | kernel.MS_NOEXEC, "mode=711")
    kernel.mount("none", MACHINES, flags=kernel.MS_SHARED)


def _own_groups() -> None:
    """Show libvirt our program in its controller's place; that one is at /run/libvirt_lxc then."""
    there = Path("/run", CONTROLLER.name)
    there.touch()
    kernel.bind(CONTROLLER, there)
    kernel.bind(INSIDE / "demo" / "own_cgroup.sh", CONTROLLER)
