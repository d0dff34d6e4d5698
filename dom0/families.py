"""What kind of distribution a root filesystem is, read confined: its owner may have planted anything."""

from __future__ import annotations

import re
import shlex
from typing import Any

from dom0.confined import Root

#: os-release's ID, then each of ID_LIKE, by the family that is tuned the same way.
BY_ID = {
    "tiny": "tiny",
    "debian": "debian",
    "devuan": "debian",
    "raspbian": "debian",
    "ubuntu": "ubuntu",
    "alpine": "alpine",
    "opensuse": "opensuse",
    "opensuse-leap": "opensuse",
    "opensuse-tumbleweed": "opensuse",
    "suse": "opensuse",
    "sles": "opensuse",
    "fedora": "fedora",
    "rhel": "fedora",
    "centos": "fedora",
    "rocky": "fedora",
    "almalinux": "fedora",
}
#: Where there is no os-release: a file that only this family has.
BY_FILE = {
    "/etc/alpine-release": "alpine",
    "/etc/SuSE-release": "opensuse",
    "/etc/fedora-release": "fedora",
    "/etc/redhat-release": "fedora",
    "/etc/debian_version": "debian",
}
#: What sets up its network, by a file it comes with.
TOOLS = {
    "netplan": ("/usr/sbin/netplan",),
    "NetworkManager": ("/usr/sbin/NetworkManager", "/usr/bin/NetworkManager"),
    "ifupdown": ("/usr/sbin/ifup", "/sbin/ifup"),
    "ifcfg": ("/etc/sysconfig/network-scripts", "/usr/sbin/wicked"),
    "networkd": ("/usr/lib/systemd/systemd-networkd", "/lib/systemd/systemd-networkd"),
}
OTHER = "other"
_LINE = re.compile(r"^([A-Z_]+)=(.*)$")


def look(root: Root) -> dict[str, Any]:
    """`family`, `distribution` (its own name), `version`, `tools` of its network, `kernels` in /boot."""
    release = _release(root)
    family = _by_id(release) or next((f for path, f in BY_FILE.items() if root.has(path)), OTHER)
    if family == "debian" and root.has("/etc/alpine-release"):
        family = "alpine"
    boot = root.list("/boot", "vmlinuz*")
    name = release.get("PRETTY_NAME") or release.get("NAME") or ""
    return {
        "family": family,
        "distribution": "".join(c for c in name if c.isprintable())[:80],
        "version": "".join(c for c in release.get("VERSION_ID", "") if c.isprintable())[:20],
        "tools": [tool for tool, paths in TOOLS.items() if any(root.has(path) for path in paths)],
        "kernels": [kernel for kernel in boot if kernel.isprintable()][:20],
    }


def _release(root: Root) -> dict[str, str]:
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        try:
            found = root.read(path)
        except OSError:  # a FIFO, a folder, something endless: then it says nothing of itself
            continue
        if found:
            return _read(found[0].decode("utf-8", "replace"))
    return {}


def _read(text: str) -> dict[str, str]:
    values = {}
    for line in text.splitlines()[:200]:
        match = _LINE.match(line.strip())
        if match:
            try:
                words = shlex.split(match[2])
            except ValueError:
                continue
            values[match[1]] = words[0] if words else ""
    return values


def _by_id(release: dict[str, str]) -> str:
    names = (release.get("ID", ""), *release.get("ID_LIKE", "").split())
    return next((BY_ID[name.lower()] for name in names if name.lower() in BY_ID), "")
