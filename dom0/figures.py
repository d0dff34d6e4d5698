"""What machines use, as the host counts it: one look a round, whatever their number.

Processor and memory come with libvirt's list of domains; the network from one file of the kernel, the disks from
another. Sums since the interface, the device or the machine came to be, so that a rate is what two rounds differ by.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from dom0.host import HostConfig
from dom0.state import Domain

SECTOR = 512  # what /proc/diskstats counts in, whatever the device
CGROUPS = Path("/sys/fs/cgroup")
Sums = tuple[int, int]


def traffic(config: HostConfig, text: str | None = None) -> dict[str, Sums]:
    """Bytes (towards, from) each machine, by its interface's name here."""
    lines = (Path("/proc/net/dev").read_text() if text is None else text).splitlines()
    found = {}
    for line in lines[2:]:
        name, _, counts = line.strip().partition(":")
        if name.startswith(config.vif_prefix):
            sums = counts.split()
            found[name] = (int(sums[8]), int(sums[0]))  # what this side sends the machine receives
    return found


def disks(config: HostConfig, domains: Mapping[str, Domain], text: str | None = None) -> dict[str, Sums]:
    """Bytes (read, written): by uuid of what lxc machines have mounted, by name ("vg0/WEB-root") of logical volumes."""
    sums = dict(_diskstats(Path("/proc/diskstats").read_text() if text is None else text))
    devices = dict(_mounted(config, domains)) if config.lxc else dict(_logical(config))
    return {name: sums[device] for name, device in devices.items() if device in sums}


def with_memory(config: HostConfig, domains: Mapping[str, Domain]) -> dict[str, Domain]:
    """The domains, those of lxc without the files' pages that the kernel keeps only while nobody needs the room."""
    if not config.lxc:
        return dict(domains)
    return {
        name: replace(domain, memory_kib=_held_kib(domain.number) or domain.memory_kib) if domain.running else domain
        for name, domain in domains.items()
    }


def load() -> dict[str, float]:
    """Of the host itself (under Xen: of dom0): processors, load, seconds since boot, memory, busy and all ticks."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    memory = {line.split(":")[0]: int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines()[:3]}
    return {
        "processors": os.cpu_count() or 1,
        "load": float(Path("/proc/loadavg").read_text().split()[0]),
        "up_s": float(Path("/proc/uptime").read_text().split()[0]),
        "memory_mib": memory["MemTotal"] // 1024,
        "used_mib": (memory["MemTotal"] - memory["MemAvailable"]) // 1024,
        "busy_ticks": sum(ticks) - ticks[3] - ticks[4],  # without idle and waiting for disks
        "ticks": sum(ticks),
    }


def _diskstats(text: str) -> Iterator[tuple[int, Sums]]:
    for line in text.splitlines():
        words = line.split()
        yield os.makedev(int(words[0]), int(words[1])), (int(words[5]) * SECTOR, int(words[9]) * SECTOR)


def _mounted(config: HostConfig, domains: Mapping[str, Domain]) -> Iterator[tuple[str, int]]:
    """The device behind each running machine's root: its loop device or its volume."""
    for domain in domains.values():
        if domain.running:
            try:
                yield domain.uuid, Path(config.run, "machines", domain.uuid).stat().st_dev
            except OSError:
                continue  # it goes just now


def _logical(config: HostConfig) -> Iterator[tuple[str, int]]:
    for group in config.volume_groups:
        try:
            for entry in os.scandir(f"/dev/{group}"):
                yield f"{group}/{entry.name}", entry.stat().st_rdev
        except OSError:
            continue  # the group has no volume yet, or one went just now


def _held_kib(controller: int) -> int:
    """What the control group of that lxc machine holds; 0 where it can't be read."""
    try:
        folder, names = _group(Path(f"/proc/{controller}/cgroup").read_text())
        used = int((folder / names[0]).read_text())
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return 0
    files = sum(int(stat.get(f"{names[1]}{kind}_file", 0)) for kind in ("inactive", "active"))
    return max(0, used - files) // 1024


def _group(text: str) -> tuple[Path, tuple[str, str]]:
    """The memory group a process is in, and how version 1 or 2 calls what we read. Raises ValueError."""
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return Path(f"{CGROUPS}/memory{path}"), ("memory.usage_in_bytes", "total_")
    for line in text.splitlines():
        if line.startswith("0::") and line != "0::/":
            return Path(f"{CGROUPS}{line[3:]}"), ("memory.current", "")
    raise ValueError("in no memory group")
