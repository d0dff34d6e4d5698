"""The disk part of a new machine, against the seed's own steps and against the raw write of the same bytes.

    python -m bench.bench_provision [--archive FILE] [--rounds 7] [--root-mib 2048]

Root needed. Without --archive, a whole Debian 12 as *Build an image* makes it is built once into var/cache. The rounds
of all ways are interleaved, each ends when its bytes are on the disk (fsync), and the page cache holds the archive.

fridu       volume, golden copy, growth, own UUID, tuning: the product's own steps, planned and carried out by it
seed        mkfs.ext3, mount, tar xzf, write host name, shadow and key, umount: Fridu-lvm.script's steps
raw write   the bytes that the golden filesystem really holds, read and written by the MiB, as dd does, then fsync
xen-create-image   of Debian's xen-tools, where they are installed (apt-get install --no-install-recommends
            xen-tools): filesystem and root from the archive (tar) or from its unpacked tree (copy), without its hooks
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from dom0 import execute, golden, image_files, probe
from dom0.host import HostConfig
from dom0.probe import Scope
from dom0.state import Link
from machines import plan
from machines.specs import ImageSpec, MachineSpec, PlaceSpec, ZoneSpec

PROJECT = Path(__file__).resolve().parents[1]
CACHE = PROJECT / "var" / "cache"
DISK = {"lvmcreate", "fscreate", "installroot", "tuneroot"}
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBench"


def debian(suite: str = "bookworm") -> Path:
    """What *Build an image* makes, kept in var/cache: half a minute the first time. Remove it there to have it anew."""
    path = CACHE / f"debian-machine-{suite}.tar.gz"
    if not path.exists():
        config = HostConfig(name="cache", libvirt="test:///default", volumes="/", images=str(path.parent))
        image_files.build(config, suite, path.name)
    return path


def spec_of(config: HostConfig, archive: Path, digest: str, root_mib: int) -> MachineSpec:
    place = PlaceSpec(
        host=config.name,
        libvirt=config.libvirt,
        volumes=config.volumes,
        state=config.state,
        run=config.run,
        python=sys.executable,
        project=str(PROJECT),
    )
    image = ImageSpec(name="bench", archive=archive.name, digest=digest, family="debian", min_root_mib=16)
    return MachineSpec(
        place=place,
        zone=ZoneSpec(name="zBench", bridge="fr-bench", gateway="10.10.9.1", domain="bench.internal"),
        image=image,
        name="Bench",
        uuid="00000000-0000-4000-8000-000000000001",
        address="10.10.9.2",
        mac="aa:bb:0a:0a:09:02",
        vif="fr0a0a0902",
        uid_base=65_536 * 62,
        vcpus=1,
        memory_mib=16,
        root_mib=root_mib,
        keys=(KEY,),
    )


def by_fridu(config: HostConfig, spec: MachineSpec) -> dict[str, float]:
    """Seconds of each disk stage, by the product's own planner and executor."""
    volume = Scope(volumes=(spec.volume,), goldens=(spec.image.digest,), room=True)
    state = probe.probe(config, volume).having("links", spec.zone.bridge, Link(name=spec.zone.bridge))
    took: dict[str, float] = {}
    for step in plan.plan_create(spec, replace(state, free_memory_mib=1 << 20)).steps:
        if step.stage in DISK:
            began = time.perf_counter()
            execute.perform(step, config, state, {})
            took[step.stage] = time.perf_counter() - began
        state = step.after(state)
    return took


def by_seed(folder: Path, archive: Path, root_mib: int) -> float:
    """The seed's steps on an image file, its umount having flushed everything."""
    image, mount = folder / "seed.img", folder / "mnt"
    mount.mkdir(exist_ok=True)
    began = time.perf_counter()
    with open(image, "xb") as file:
        os.truncate(file.fileno(), root_mib << 20)
    subprocess.run(("mkfs.ext3", "-q", "-F", str(image)), check=True)
    subprocess.run(("mount", "-o", "loop", str(image), str(mount)), check=True)
    try:
        subprocess.run(("tar", "xzf", str(archive), "-C", str(mount)), check=True)
        (mount / "etc/hostname").write_text("Bench\n")
        shadow = (mount / "etc/shadow").read_text()
        (mount / "etc/shadow").write_text(shadow)
        (mount / "root/.ssh").mkdir(mode=0o700, exist_ok=True)
        (mount / "root/.ssh/authorized_keys").write_text(KEY)
    finally:
        subprocess.run(("umount", str(mount)), check=True)
    flush(image)
    return time.perf_counter() - began


def by_xen_tools(folder: Path, method: str, source: Path, root_mib: int) -> float:
    """Its own unmount flushes. Kernel and mirror only have to look like ones.

    Without hooks nothing mounts the /proc that it unmounts in the end, without which it gives up and empties the root
    it has filled: a role mounts it.
    """
    roles = folder / "roles"
    roles.mkdir(exist_ok=True)
    (roles / "proc").write_text('#!/bin/sh\nmount -t proc proc "$1/proc"\n')
    (roles / "proc").chmod(0o755)
    place = (f"--dir={folder}", f"--output={folder}", "--hostname=bench", "--image=sparse", f"--size={root_mib}Mb")
    given = ("--noswap", "--fs=ext4", f"--install-method={method}", f"--install-source={source}", "--hooks=0")
    named = ("--dist=bookworm", "--mirror=http://mirror.invalid/", "--kernel=/etc/passwd", "--initrd=/etc/passwd")
    rest = ("--dhcp", "--memory=128Mb", "--nohosts", "--nopasswd", "--force", f"--roledir={roles}", "--role=proc")
    began = time.perf_counter()
    argv = ("xen-create-image", *place, *given, *named, *rest)
    subprocess.run(argv, check=True, capture_output=True, env={**os.environ, "TMPDIR": str(folder)})
    flush(folder / "domains/bench/disk.img")
    return time.perf_counter() - began


def by_raw_write(folder: Path, source: Path) -> float:
    """The golden filesystem's bytes, written to a file as large, holes left out."""
    began = time.perf_counter()
    with open(source, "rb", buffering=0) as here, open(folder / "raw.img", "xb", buffering=0) as there:
        end = os.fstat(here.fileno()).st_size
        os.truncate(there.fileno(), end)
        position = 0
        while position < end and (start := _next_data(here.fileno(), position)) is not None:
            stop = os.lseek(here.fileno(), start, os.SEEK_HOLE)
            for place in range(start, stop, 1 << 20):
                os.pwrite(there.fileno(), os.pread(here.fileno(), min(1 << 20, stop - place), place), place)
            position = stop
        os.fsync(there.fileno())
    return time.perf_counter() - began


def _next_data(fd: int, position: int) -> int | None:
    try:
        return os.lseek(fd, position, os.SEEK_DATA)
    except OSError:
        return None


def flush(path: Path) -> None:
    fd = os.open(path, os.O_RDWR)
    os.fsync(fd)
    os.close(fd)


@contextmanager
def in_private() -> Iterator[Path]:
    """A folder beside the cache, its disk; mounts made in it are nobody else's."""
    if os.environ.get("FRIDU_BENCH_PRIVATE") != "1":
        os.environ["FRIDU_BENCH_PRIVATE"] = "1"
        argv = ("unshare", "--mount", "--propagation", "private", sys.executable, "-m", "bench.bench_provision")
        os.execvp(argv[0], (*argv, *sys.argv[1:]))
    with tempfile.TemporaryDirectory(dir=CACHE.parent, prefix="bench-") as folder:
        yield Path(folder)


def measure(folder: Path, archive: Path, root_mib: int, rounds: int) -> dict[str, list[float]]:
    images = folder / "images"
    images.mkdir()
    shutil.copy(archive, images / archive.name)
    config = HostConfig(
        name="bench",
        libvirt="lxc:///system",
        volumes=str(folder / "volumes"),
        images=str(images),
        golden=str(folder / "golden"),
        state=str(folder / "state"),
        run=str(folder / "run"),
    )
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    spec = spec_of(config, archive, digest, root_mib)
    began = time.perf_counter()
    made = golden.make(config, archive.name, digest)
    results: dict[str, list[float]] = {"golden, once an image": [time.perf_counter() - began]}

    def fridu() -> float:
        took = by_fridu(config, spec)
        for stage, seconds in took.items():
            results.setdefault(f"  {stage}", []).append(seconds)
        return sum(took.values())

    ways: dict[str, Callable[[], float]] = {
        "fridu": fridu,
        "seed": lambda: by_seed(folder, archive, root_mib),
        "raw write": lambda: by_raw_write(folder, Path(made.path)),
    }
    if shutil.which("xen-create-image"):
        subprocess.run(("mount", "-t", "tmpfs", "none", "/var/log/xen-tools"), check=True)
        (tree := folder / "tree").mkdir()
        subprocess.run(("tar", "xzf", str(archive), "-C", str(tree)), check=True)
        for method, source in (("tar", archive), ("copy", tree)):
            ways[f"xen-create-image, {method}"] = partial(by_xen_tools, folder, method, source, root_mib)
    for _ in range(rounds + 1):
        for name, way in ways.items():
            os.sync()
            results.setdefault(name, []).append(way())
            for made_file in ("seed.img", "raw.img", "domains/bench/disk.img", spec.volume_path):
                (folder / made_file).unlink(missing_ok=True)
    return {name: taken[1:] or taken for name, taken in results.items()}  # the first round warms up


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", type=Path, help="a root filesystem as tar.gz")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--root-mib", type=int, default=2048)
    wish = parser.parse_args()
    archive = wish.archive or debian()
    with in_private() as folder:
        results = measure(folder, archive, wish.root_mib, wish.rounds)
    middle = {name: statistics.median(taken) for name, taken in results.items()}
    print(
        f"{archive.name}, {archive.stat().st_size >> 20} MB compressed, root of {wish.root_mib} MB, n={wish.rounds}\n"
    )
    print("| way | median s | best s | against fridu |\n|---|---|---|---|")
    for name, seconds in middle.items():
        against = f"{seconds / middle['fridu']:.2f}×" if name in ("seed", "raw write") or "xen" in name else ""
        print(f"| {name.strip()} | {seconds:.3f} | {min(results[name]):.3f} | {against} |")
    pairs = zip(results["fridu"], results["raw write"], strict=True)
    print(f"\nseed / fridu: {middle['seed'] / middle['fridu']:.1f}× (goal ≥ 5)")
    print(f"fridu / raw write: {statistics.median(f / r for f, r in pairs):.2f}× (goal ≤ 1.2)")


if __name__ == "__main__":
    main()
