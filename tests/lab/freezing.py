"""Freezes a host that has booted, and wakes it again in seconds, as often as a test wants."""

from __future__ import annotations

import fcntl
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.lab import build, emulator, reach, recipe
from tests.lab.emulator import DISKS, Monitor, Running
from tests.lab.places import LAB, Problem, built, frozen
from tests.lab.tiers import TIERS, Tier, frozen_digest

BOOT_S = 900  # on a busy box; a quiet one takes a twentieth
STATE = "state.lz4"
#: Written to the disk and forgotten: what is in memory is in the state too.
SHED = "sync; echo 3 > /proc/sys/vm/drop_caches"


def ensure(name: str) -> Tier:
    """Have the tier `name` frozen, built and booted now where there is none that fits. Raises Problem."""
    tier = TIERS[name]
    with _alone():
        digest = _digest(tier, build.ensure(tier.image))
        stamp = frozen(name) / "digest"
        if not stamp.exists() or stamp.read_text() != digest:
            shutil.rmtree(frozen(name), ignore_errors=True)
            _make(tier)
            stamp.write_text(digest)
    return tier


def _digest(tier: Tier, image: str) -> str:
    return frozen_digest(tier, image, emulator.version(), emulator.command(tier, dict.fromkeys(emulator.PORTS, 0)))


def advance(name: str, further: str, made_from: str, change: Callable[[Running], None]) -> None:
    """Have the tier `name` frozen a second time, as `further`, after `change`, which depends on `made_from`.

    Raises Problem.
    """
    tier = ensure(name)
    with _alone():
        digest, stamp = recipe.digest((frozen(name) / "digest").read_text(), made_from), frozen(further) / "digest"
        if stamp.exists() and stamp.read_text() == digest:
            return
        shutil.rmtree(frozen(further), ignore_errors=True)
        host = _wake(tier, name, called=f"new-{further}", bound=True)
        try:
            change(host)
            reach.run(host, SHED)
            _freeze(further, host)
        finally:
            emulator.stop(host.name)
        stamp.write_text(digest)


def restore(name: str, *, further: str = "", called: str | None = None, bound: bool = False) -> Running:
    """A host just as it was when frozen, with disks to throw away, let in and with the right clock. Raises Problem.

    `further`: as it was when `advance` froze it.
    """
    return _wake(ensure(name), further or name, called=called or name, bound=bound)


def _wake(tier: Tier, name: str, *, called: str, bound: bool) -> Running:
    disks = {disk: frozen(name) / f"{disk}.qcow2" for disk in DISKS}
    host = emulator.start(tier, called, disks=disks, state=frozen(name) / STATE, bound=bound)
    try:
        with Monitor(host) as monitor:
            monitor.migrated(patience_s=120)
            monitor.ask("cont")
        reach.wait(host, patience_s=120)
    except Problem:
        emulator.stop(host.name)
        raise
    return host


def _make(tier: Tier) -> None:
    print(f"Starting {tier.name} for the first time: {tier.says} …", flush=True)
    host = emulator.start(tier, f"new-{tier.name}", disks={"root": built(tier.image) / "root.ext4"}, bound=True)
    try:
        booted = reach.wait(host, patience_s=BOOT_S)
        reach.until(host, "systemctl is-system-running --wait; true", patience_s=BOOT_S)
        for line in tier.ready:
            reach.run(host, line, timeout_s=300)
        reach.run(host, SHED)
        began = time.monotonic()
        _freeze(tier.name, host)
        print(f"{tier.name}: let in after {booted:.0f} s; frozen in {time.monotonic() - began:.1f} s.", flush=True)
    finally:
        emulator.stop(host.name)


def _freeze(name: str, host: Running) -> None:
    """Memory and disks to var/lab/frozen; the host has ended then."""
    new = frozen(name)
    new.mkdir(parents=True)
    with Monitor(host) as monitor:
        monitor.ask("stop")
        monitor.ask("migrate-set-parameters", **{"max-bandwidth": 4 << 30})
        monitor.ask("migrate", uri=f"exec:lz4 -q -1 > '{new / STATE}'")
        monitor.migrated(patience_s=300)
        monitor.ask("quit")
    deadline = time.monotonic() + 30
    while host.alive() and time.monotonic() < deadline:
        time.sleep(0.02)
    for disk in DISKS:
        shutil.move(host.folder / f"{disk}.qcow2", new)


@contextmanager
def _alone() -> Iterator[None]:
    """One build or freezing at a time; a second waits for the first and finds it done."""
    LAB.mkdir(parents=True, exist_ok=True)
    with open(LAB / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def state_of(name: str) -> str:
    """In words: how far this tier is made. Looks only."""
    stamp = frozen(name) / "digest"
    if not stamp.exists():
        return f"not made yet: bin/lab up {name}"
    held = sum(path.stat().st_blocks * 512 for path in frozen(name).iterdir())
    return f"frozen, {held >> 20} MB; awake in seconds: bin/lab up {name}"
