"""Reinstall, grow, snapshot, restore: the disk part of each against the bare deed on the same bytes, in the same run.

    python -m bench.bench_life [--archive FILE] [--rounds 7] [--root-mib 2048]

Root needed. Without --archive, a whole Debian as bench_provision builds it. All on image files; each step is
the product's own, planned and carried out by it, and ends when its bytes are on the disk.

reinstall   the golden copy onto the same volume, blanked first, grown, own UUID, tuned
snapshot    the volume kept as it is (shared blocks where the filesystem can, here a copy where it can't)
restore     the volume made what it was
grow        the root made larger, with the machine off, and what lies on it
by hand     truncate, e2fsck -fp, resize2fs and fsync, on a copy of the same volume
raw write   the golden filesystem's bytes, read and written by the MiB, then fsync
raw copy    the installed volume's bytes, likewise
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bench.bench_provision import CACHE, by_fridu, by_raw_write, debian, flush, spec_of
from dom0 import execute, golden, probe
from dom0.host import HostConfig
from dom0.plan import Plan
from dom0.probe import Scope
from dom0.state import Link, State
from machines import plan_snapshot
from machines.plan_change import plan_change
from machines.plan_reinstall import plan_reinstall
from machines.specs import MachineSpec

DISK = {"installroot", "tuneroot", "snapshot", "restore", "lvmcreate", "fscreate"}
MORE_MIB = 1024
Planner = Callable[[MachineSpec, State], Plan]


def carried_out(config: HostConfig, spec: MachineSpec, planner: Planner) -> float:
    """Seconds of the plan's steps on the disk."""
    looked = probe.probe(config, Scope(volumes=spec.volume_names, goldens=(spec.image.digest,), room=True))
    state = replace(looked, free_memory_mib=1 << 20).having("links", spec.zone.bridge, Link(name=spec.zone.bridge))
    took = 0.0
    for step in planner(spec, state).steps:
        if step.stage in DISK:
            began = time.perf_counter()
            execute.perform(step, config, state, {})
            took += time.perf_counter() - began
        state = step.after(state)
    return took


def measure(folder: Path, archive: Path, root_mib: int, rounds: int) -> dict[str, list[float]]:
    (folder / "images").mkdir()
    shutil.copy(archive, folder / "images" / archive.name)
    rooms = {name: str(folder / name) for name in ("volumes", "images", "golden", "state", "run")}
    config = HostConfig(name="bench", libvirt="lxc:///system", **rooms)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    made = golden.make(config, archive.name, digest)
    spec = spec_of(config, archive, digest, root_mib)
    by_fridu(config, spec)
    generation, copy = 1, folder / "copy.img"

    def next_generation() -> MachineSpec:
        nonlocal generation
        generation += 1
        return replace(spec, root_generation=generation)

    def restore() -> float:
        return carried_out(
            config,
            next_generation(),
            lambda wanted, state: plan_snapshot.plan_restore(wanted, state, "kept", run=False),
        )

    def grow() -> float:
        was = replace(spec, root_generation=generation)
        wanted = replace(was, root_mib=root_mib + MORE_MIB)
        return carried_out(config, wanted, lambda now, state: plan_change(was, now, state, on=False))

    def grow_by_hand() -> float:
        began = time.perf_counter()
        os.truncate(copy, root_mib + MORE_MIB << 20)
        for argv in (("e2fsck", "-fp", str(copy)), ("resize2fs", str(copy))):
            subprocess.run(argv, check=True, capture_output=True)
        flush(copy)
        return time.perf_counter() - began

    ways: dict[str, Callable[[], float]] = {
        "reinstall": lambda: carried_out(config, next_generation(), plan_reinstall),
        "raw write": lambda: by_raw_write(folder, Path(made.path)),
        "by hand": grow_by_hand,
        "grow": grow,
        "snapshot": lambda: carried_out(
            config,
            replace(spec, root_generation=generation),
            lambda s, state: plan_snapshot.plan_take(s, state, "kept"),
        ),
        "raw copy": lambda: by_raw_write(folder, Path(spec.volume_path)),
        "restore": restore,
    }
    results: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, way in ways.items():
            if way is grow_by_hand:
                shutil.copy(spec.volume_path, copy)
            os.sync()
            results[name].append(way())
            (folder / "raw.img").unlink(missing_ok=True)
        Path(f"{config.volumes}/{spec.volume}.kept.img").unlink()
        Path(spec.volume_path).unlink()
        generation = 1
        by_fridu(config, spec)
    return {name: taken[1:] for name, taken in results.items()}  # the first round warms up


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", type=Path, help="a root filesystem as tar.gz")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--root-mib", type=int, default=2048)
    wish = parser.parse_args()
    archive = wish.archive or debian()
    with tempfile.TemporaryDirectory(dir=CACHE.parent, prefix="bench-") as folder:
        results = measure(Path(folder), archive, wish.root_mib, wish.rounds)
    size = archive.stat().st_size >> 20
    print(f"{archive.name}, {size} MB compressed, root of {wish.root_mib} MB, n={wish.rounds}\n")
    print("| what | median s | best s | against |\n|---|---|---|---|")
    against = {"reinstall": "raw write", "snapshot": "raw copy", "restore": "raw copy", "grow": "by hand"}
    for name, raw in against.items():
        ratio = statistics.median(a / b for a, b in zip(results[name], results[raw], strict=True))
        print(f"| {name} | {statistics.median(results[name]):.3f} | {min(results[name]):.3f} | {ratio:.2f}× {raw} |")
    for raw in ("raw write", "raw copy", "by hand"):
        print(f"| {raw} | {statistics.median(results[raw]):.3f} | {min(results[raw]):.3f} | |")


if __name__ == "__main__":
    main()
