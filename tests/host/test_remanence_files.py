"""Image files: what a new or grown one shows is zeros, whatever the blocks below it held. The disk itself is read."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dom0 import hands, volumes
from dom0.host import HostConfig
from dom0.steps import Hand

pytestmark = pytest.mark.host

MIB = 1 << 20
ME, OTHER = "6f1d7a52-6d4c-4a53-9a3b-0f6a9c1f4e10", "0b7e4a52-6d4c-4a53-9a3b-0f6a9c1f4e11"
MARK = b"THE-FORMER-OWNERS-MAIL"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 128 MB of its own, mounted; its disk is the file beside it."""
    image, place = tmp_path / "disk", tmp_path / "volumes"
    with open(image, "wb") as file:
        os.truncate(file.fileno(), 128 * MIB)
    place.mkdir()
    subprocess.run(("mkfs.ext4", "-q", "-F", "-b", "4096", str(image)), check=True)
    subprocess.run(("mount", "-o", "loop,nodiscard", str(image), str(place)), check=True)
    try:
        yield image
    finally:
        subprocess.run(("umount", str(place)), check=True)


@pytest.fixture
def config(tmp_path: Path, disk: Path) -> HostConfig:
    return HostConfig(
        name="files", libvirt="test:///default", volumes=str(tmp_path / "volumes"), run=str(tmp_path / "run")
    )


@pytest.fixture
def do(config: HostConfig):
    def hand(verb: str, **args: str | int) -> str:
        given = {"machine": ME, **args}
        return hands.do(Hand(verb=verb, args=tuple((key, str(value)) for key, value in given.items())), config)

    return hand


def fill(config: HostConfig, name: str, size_mib: int) -> None:
    with open(volumes.path_of(config, name), "r+b") as file:
        for _ in range(size_mib):
            file.write((MARK * (MIB // len(MARK) + 1))[:MIB])
        os.fsync(file.fileno())


def bytes_of(config: HostConfig, name: str) -> bytes:
    return Path(volumes.path_of(config, name)).read_bytes()


def blocks_of(config: HostConfig, name: str) -> set[int]:
    """The numbers of the disk's blocks below the file, as `filefrag` has them."""
    argv = ("filefrag", "-e", "-s", volumes.path_of(config, name))
    lines = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    parts = [line.split(":") for line in lines if line.strip()[:1].isdigit() and ".." in line]
    spans = [part[2].split("..") for part in parts]
    return {n for first, last in spans for n in range(int(first), int(last) + 1)}


def test_a_new_and_a_grown_image_read_as_zeros_in_the_very_blocks_that_held_the_mark(
    do, config: HostConfig, disk: Path
):
    for kind in ("root", "log"):
        do("volume-create", name=f"Old-{kind}", size_mib=40, machine=OTHER)
        fill(config, f"Old-{kind}", 40)
    old = blocks_of(config, "Old-root") | blocks_of(config, "Old-log")
    for kind in ("root", "log"):
        do("volume-remove", name=f"Old-{kind}", machine=OTHER)
    subprocess.run(("sync", "-f", str(config.volumes)), check=True)
    assert MARK in disk.read_bytes()  # the disk below still has it, or this would prove nothing
    do("volume-create", name="New-root", size_mib=60)
    do("volume-create", name="New-log", size_mib=8)
    do("volume-grow", name="New-log", size_mib=20)
    assert bytes_of(config, "New-root").count(0) == 60 * MIB
    assert bytes_of(config, "New-log").count(0) == 20 * MIB
    # Written a byte a block, so that every block of it lies on the disk, most in the former owner's.
    for name, size in (("New-root", 60), ("New-log", 20)):
        with open(volumes.path_of(config, name), "r+b") as file:
            for place in range(0, size * MIB, 4096):
                os.pwrite(file.fileno(), b"x", place)
            os.fsync(file.fileno())
    new = blocks_of(config, "New-root") | blocks_of(config, "New-log")
    assert len(new & old) > len(old) // 2
    for name in ("New-root", "New-log"):
        assert MARK not in bytes_of(config, name)


def test_a_wiped_image_and_its_snapshot_show_nothing_to_whoever_has_them_open(do, config: HostConfig):
    do("volume-create", name="Old-root", size_mib=16)
    fill(config, "Old-root", 16)
    do("volume-snapshot", name="Old-root", label="kept")
    held = [os.open(volumes.path_of(config, name), os.O_RDONLY) for name in ("Old-root", "Old-root.kept")]
    do("volume-remove", name="Old-root")
    for fd in held:
        assert os.pread(fd, 16 * MIB, 0).count(0) == 16 * MIB
        os.close(fd)
    assert volumes.look(config, "Old-root.kept") is None
