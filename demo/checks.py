"""What must be so before anything is touched; each refusal is one sentence with a way out."""

from __future__ import annotations

import os
import platform
import shutil
import socket
from pathlib import Path

from demo import cgroups
from demo.layout import Layout, Problem

SUPPORTED = {"12": "bookworm", "13": "trixie"}
OS_RELEASE = Path("/etc/os-release")
NEEDED_BYTES = 2 << 30
KERNEL = (5, 15)  # mounts whose user ids are shifted, on ext4, since 5.12; trusted since 5.15


def box(layout: Layout) -> None:
    """Raises Problem where this box can't carry the demo, or this user may not."""
    if os.geteuid() != 0:
        raise Problem("The demo makes network namespaces and machines, which only root may: sudo bin/demo")
    _debian()
    release = tuple(int(part) for part in platform.release().split("-")[0].split(".")[:2])
    if release < KERNEL:
        raise Problem(f"Kernel {platform.release()} can't mount with shifted user ids; 5.15 or newer can.")
    cgroups.hierarchies()
    if not Path("/dev/loop-control").exists():
        raise Problem("This box has no loop devices (/dev/loop-control); load them: modprobe loop")
    if not Path("/dev/net/tun").exists():
        raise Problem("This box has no tun devices (/dev/net/tun), which the admin VPN needs; load them: modprobe tun")
    disk(layout)


def disk(layout: Layout) -> None:
    """Raises Problem where the clone's disk is too full."""
    free = shutil.disk_usage(layout.project).free
    if free < NEEDED_BYTES:
        raise Problem(
            f"{layout.project} has {free / (1 << 30):.1f} GB free; the demo needs 2 GB there. "
            "Free some, or put the clone on another disk."
        )


def readable(layout: Layout) -> None:
    """Raises Problem where the panel's user, who is nobody, could not read the clone."""
    for path in (layout.project / "manage.py", layout.project / "fridu_site", layout.project):
        wanted = 0o005 if path.is_dir() else 0o004
        if path.stat().st_mode & wanted != wanted:
            raise Problem(
                f"{path} is closed to others, and the panel runs as a user of its own. "
                f"Open the clone for reading: chmod -R go+rX {layout.project}"
            )


def listen(port: int) -> socket.socket:
    """The socket a browser on this box will reach. Raises Problem where the port is taken."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
    except (OSError, OverflowError) as error:
        listener.close()
        if not 0 <= port <= 65535:
            raise Problem(f"{port} is no port; choose one from 1024 to 65535: bin/demo --port 8089") from error
        raise Problem(
            f"Port {port} of this box is taken by another program; choose another: bin/demo --port {port + 1}"
        ) from error
    return listener


def _debian() -> None:
    facts = {}
    for line in OS_RELEASE.read_text().splitlines() if OS_RELEASE.exists() else ():
        key, _, value = line.partition("=")
        facts[key] = value.strip('"')
    if facts.get("ID") != "debian" or facts.get("VERSION_ID") not in SUPPORTED:
        name = facts.get("PRETTY_NAME", "This system")
        raise Problem(f"{name} is not supported; the demo runs on Debian 12 (bookworm) and 13 (trixie).")
