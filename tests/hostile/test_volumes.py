"""Whoever has root inside a Xen or qemu guest writes every byte of its volume; dom0 reads some of them."""

from __future__ import annotations

import os
import resource
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dom0 import blocks, checking, doctor, doctor_ways, growing, hook, marks, verdicts
from dom0.errors import Refused
from dom0.host import HostConfig
from fridu_site.cli import main

pytestmark = pytest.mark.host

MIB = 1 << 20
GIB = 1 << 30
OURS = "6f1d7a52-6d4c-4a53-9a3b-0f6a9c1f4e10"


def formatted(path: Path, *options: str) -> Path:
    with open(path, "wb") as file:
        file.truncate(64 * MIB)
        marks.put(file.fileno(), "machine", OURS)
    subprocess.run(["mke2fs", "-q", "-F", *options, path], check=True)
    return path


def superblock(path: Path, at: int, value: int) -> None:
    with open(path, "r+b") as file:
        file.seek(1024 + at)
        file.write(struct.pack("<I", value))


@pytest.mark.parametrize("shift", [7, 64, 0xFFFFFFFF])
@pytest.mark.parametrize("reads", [blocks.filled, blocks.block_size])
def test_a_block_size_no_filesystem_has_takes_none_of_dom0s_memory(
    shift: int, reads: Callable[[int], int], tmp_path: Path
):
    path = formatted(tmp_path / "root.img")
    superblock(path, 24, shift)
    child = os.fork()
    if child == 0:  # a gigabyte would end it
        resource.setrlimit(resource.RLIMIT_AS, (GIB // 2, GIB // 2))
        with open(path, "rb") as file:
            os._exit(0 if reads(file.fileno()) <= 64 * MIB else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize(("libvirt", "do"), [("xen:///system", "e2fsck on it there"), ("lxc:///system", "on the host")])
def test_what_needs_a_person_says_where_that_person_can_do_it(libvirt: str, do: str, tmp_path: Path):
    volume = formatted(tmp_path / "broken.img")
    subprocess.run(("debugfs", "-w", "-R", "clri <2>", volume), check=True, capture_output=True)
    argv = (sys.executable, "-m", "dom0.checking", str(volume), OURS, "repair", libvirt)
    verdict = verdicts.read(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)
    assert verdict is not None
    assert verdict.says == "Its filesystem has errors."
    assert do in verdict.do
    assert ("rescue" in verdict.do) == (libvirt == "xen:///system")
    superblock = bytearray(volume.read_bytes()[:2048])
    superblock[1024 + 0x3A] |= 2
    (tmp_path / "met").write_bytes(superblock)
    config = HostConfig(name="h", libvirt=libvirt, volumes=str(tmp_path))
    nobody = doctor.wish_of(dict.fromkeys(("name", "uuid", "vif", "mac", "address", "bridge", "gateway", "zone"), ""))
    told = doctor_ways.root(config, nobody, {"volume": str(tmp_path / "met"), "wanted": "running"})
    assert ("rescue" in told.do) == (libvirt == "xen:///system")


def test_checks_at_the_same_time_keep_nobody_from_being_done_and_share_no_user(tmp_path: Path):
    """What broke out of one e2fsck could otherwise trace the other, and write its volume."""
    with hook.Loop(str(formatted(tmp_path / "slow.img"))) as busy:
        device = Path(busy).stat().st_rdev
        reads, writes = os.pipe()
        child = os.fork()
        if child == 0:  # an e2fsck that takes as long as it can
            checking._leave(device, {})
            os.write(writes, str(os.getuid()).encode())
            signal.pause()
            os._exit(1)
        try:
            user = int(os.read(reads, 20))
            verdict = checking.check(str(formatted(tmp_path / "other.img")), OURS, "look")
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    assert verdict.says == "Its filesystem is in order.", verdict.seen
    with hook.Loop(str(tmp_path / "slow.img")) as one, hook.Loop(str(tmp_path / "other.img")) as two:
        users = {checking.user_of(Path(each).stat().st_rdev) for each in (one, two)}
    assert user >= checking.USERS
    assert len(users) == 2


def test_a_label_that_drives_terminals_reaches_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    name = "WEB-Dom-root"
    path = formatted(tmp_path / f"{name}.img", "-L", "\x1b]0;mine\x07\x1b[2J")
    for inode in range(2, 12):  # so broken that e2fsck asks a person
        subprocess.run(["debugfs", "-w", "-R", f"clri <{inode}>", path], check=True, capture_output=True)
    config = HostConfig(name="h", libvirt="test:///default", volumes=str(tmp_path), run=str(tmp_path / "run"))
    with pytest.raises(Refused) as error:
        growing.fill(config, name, OURS, online=False, uid=4_128_766)
    assert "mine" in str(error.value)
    main._fatal(sys.stdout, str(error.value), error.value.note)
    assert not {"\x1b", "\x07"} & set(capsys.readouterr().out)
