"""Debian packages the demo needs, chosen without services where such exist: redis-tools holds the server's program
without its unit, dnsmasq-base likewise, and on Debian 12 libvirt-daemon. What brings one gets it disabled."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from demo import units
from demo.layout import Problem

NEEDED = {
    "conntrack": "forgets flows of closed ports",
    "curl": "to try it out",
    "dnsmasq-base": "names and addresses for machines",
    "dropbear-bin": "SSH of dom0 and of the tiny image",
    "e2fsprogs": "machines' filesystems",
    "gcc": "builds Python's libvirt binding",
    "iproute2": "namespaces, bridges",
    "ipset": "the firewall's sets",
    "iptables": "the firewall",
    "libc6-dev": "builds Python's libvirt binding",
    "libvirt-daemon": "runs machines",
    "libvirt-daemon-driver-lxc": "runs machines",
    "libvirt-dev": "builds Python's libvirt binding",
    "nftables": "the firewall on bridges",
    "openssh-client": "to try it out",
    "openssl": "the admin VPN's certificates",
    "openvpn": "the admin VPN",
    "pkg-config": "builds Python's libvirt binding",
    "procps": "the kernel's settings",
    "python3-dev": "builds Python's libvirt binding",
    "python3-venv": "the panel's libraries",
    "redis-tools": "the queue",
}
QUIET = {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_SUSPEND": "1", "LC_ALL": "C.UTF-8"}


def missing(needed: Mapping[str, str] = NEEDED) -> list[str]:
    """Those needed and not installed."""
    shown = subprocess.run(
        ("dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\\n", *needed),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,  # 1: one of them was never heard of
    )
    installed = {line.split()[0] for line in shown.stdout.splitlines() if line.endswith(" installed")}
    return sorted(set(needed) - installed)


def install(*, yes: bool, needed: Mapping[str, str] = NEEDED) -> None:
    """Install what is missing, after asking where a person can answer. Raises Problem."""
    names = missing(needed)
    if not names:
        return
    print("Debian packages to be installed; no service of theirs is started or enabled, and they are all that stays:")
    for name in names:
        print(f"  {name:26} {needed[name]}")
    if not yes and sys.stdin.isatty():
        answer = input("Install them? [Y/n] ").strip().lower()
        if answer not in ("", "y", "yes"):
            raise Problem("Nothing was installed and nothing started: the demo can't do without them.")
    with units.none_new():
        _apt("install", "--yes", "--no-install-recommends", *names)


def fetch(name: str, cache: Path) -> Path:
    """A package's file, kept in `cache`, without installing it. Raises Problem."""
    cache.mkdir(parents=True, exist_ok=True)
    if not list(cache.glob(f"{name}_*.deb")):
        _apt("-o", "APT::Sandbox::User=root", "download", name, cwd=cache)
    return max(cache.glob(f"{name}_*.deb"))


def _apt(*arguments: str, cwd: Path | None = None) -> None:
    """apt-get; once more after an update where the lists are missing or name versions that have gone."""
    done = _apt_once(*arguments, cwd=cwd)
    if done.returncode != 0:
        _apt_once("update")
        done = _apt_once(*arguments, cwd=cwd)
    if done.returncode != 0:
        said = " ".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-3:])
        raise Problem(f"apt-get failed: {said} Mend that, then start again; nothing of the demo runs.")


def _apt_once(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ("apt-get", "-qq", "-o", "Dpkg::Use-Pty=0", "-o", "DPkg::Lock::Timeout=120", *arguments),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        cwd=cwd,
        env={**os.environ, **QUIET},
        timeout=1800,
        check=False,
    )
