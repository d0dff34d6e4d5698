"""A machine's limits on pure cgroup v2, measured by the kernel's own counters: processor, memory, disk."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tests.lab.list_pages import Visitor
from tests.lab.list_world import NAME, World

CAP, WEIGHT, DISK_MIB_S, IOPS = 20, 512, 2, 200
MIB = 1 << 20
IN_FORCE = f"cpu {WEIGHT} {CAP}; disk {DISK_MIB_S * 1024} {IOPS}"
FOUND = """
from dom0 import host, limits
from machines.models import Machine
uuid = str(Machine.objects.get(name={name!r}).uuid)
out = limits.found(host.load(), [uuid]).get(uuid)
"""
WRITE = f"dd if=/dev/zero of=/root/x bs=64k count={4 * MIB // 65536} conv=fsync"
READ = f"dd if=/root/x of=/dev/null bs=64k count={4 * MIB // 65536} iflag=direct"


def hold(w: World, operator: Visitor, approve: Callable[..., int], name: str, address: str) -> None:
    """Set them on the machine's page; they are in force, and what runs in it keeps to them."""
    (group,) = Path("/sys/fs/cgroup", f"fridu-{NAME}").glob(f"machine/lxc-*-{name}.libvirt-lxc")
    free = _seconds(w, address, WRITE)
    page = operator.get(f"/machines/{w.machine(name)}/limits/")
    wish = {"cpu_cap": str(CAP), "cpu_weight": str(WEIGHT), "disk_kib_s": f"{DISK_MIB_S}M", "disk_iops": str(IOPS)}
    approve(operator.send(page, "Plan these limits", **wish), "Approve")
    assert w.python(FOUND.format(name=name)) == IN_FORCE
    _processor(w, group, address)
    _disk(w, address, free)
    _memory(w, group, name, address)


def _processor(w: World, group: Path, address: str) -> None:
    burn = "(while :; do :; done) >/dev/null 2>&1 & echo $!"
    pids = _in(w, address, f"{burn}; {burn}").split()
    assert len(pids) == 2, pids
    before = _stat(group)
    time.sleep(5)
    used, periods, throttled = (after - was for after, was in zip(_stat(group), before, strict=True))
    _in(w, address, f"kill -9 {' '.join(pids)}")
    share = used / periods / 1000
    print(f"# capped at {CAP} %: took {share:.1f} % of a processor, held back in {throttled} of {periods}", flush=True)
    assert 0.85 * CAP <= share <= 1.15 * CAP, share
    assert throttled >= 0.8 * periods, (throttled, periods)


def _disk(w: World, address: str, free: float) -> None:
    took = [_seconds(w, address, command) for command in (WRITE, READ)]
    print(f"# 4 MiB at {DISK_MIB_S} MiB/s: written, read in {took} s; without a limit {free} s", flush=True)
    assert free < 1.5, free
    for seconds in took:
        assert 0.85 * 4 / DISK_MIB_S <= seconds <= 2.5 * 4 / DISK_MIB_S, took


def _memory(w: World, group: Path, name: str, address: str) -> None:
    """dd takes a buffer twice as large as the machine's memory: the kernel ends it, and it alone."""
    (mib,) = w.sql("select memory_mib from machines_machine where name = ?", name)[0]
    assert int((group / "memory.max").read_text()) == mib * MIB
    killed = _killed(group)
    said = _in(w, address, f"dd if=/dev/zero of=/dev/null bs={2 * mib}M count=1; echo $? alive")
    assert said == "137 alive", said
    print(f"# {2 * mib} MiB in {mib} MiB: ended by the kernel {_killed(group) - killed} times", flush=True)
    assert _killed(group) > killed
    assert int((group / "memory.peak").read_text()) <= mib * MIB


def _killed(group: Path) -> int:
    return next(int(line.split()[1]) for line in (group / "memory.events").open() if line.startswith("oom_kill "))


def _stat(group: Path) -> tuple[int, int, int]:
    found = dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())
    return int(found["usage_usec"]), int(found["nr_periods"]), int(found["nr_throttled"])


def _in(w: World, address: str, command: str) -> str:
    return w.ssh(address, command, place="vpn", key=w.state["operator_ssh_key"])


def _seconds(w: World, address: str, command: str) -> float:
    """How long it takes inside, by the machine's own clock."""
    clock = "cut -d' ' -f1 /proc/uptime"
    began, ended = _in(w, address, f"{clock}; {command} >/dev/null 2>&1 && {clock}").split()
    return round(float(ended) - float(began), 2)
