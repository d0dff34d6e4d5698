"""Golden filesystems from archives of strangers, made for real: all of it arrives, nothing of the making stays."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dom0 import golden, hook, tune
from dom0.errors import CommandFailed
from dom0.host import HostConfig
from tests.hostile.test_archives import CHAR, FIFO, FOLDER, HARDLINK, OS_RELEASE, SYMLINK, Entry, entry, tar

pytestmark = pytest.mark.host
ROOT = Path(__file__).parents[2]
CAPABILITY = b"\x01\x00\x00\x02\x00\x20\x00\x00" + bytes(12)
ALL_KINDS = [
    entry("./", kind=FOLDER, mode=0o750, mtime=3_000_000),
    OS_RELEASE,
    entry("bin/su", b"su", mode=0o4755, uid=0, gid=5, mtime=1_000_000),
    entry("bin/ping", b"ping", uid=1234, pax_headers={"SCHILY.xattr.security.capability": CAPABILITY.decode("latin1")}),
    entry("bin", kind=FOLDER, mode=0o2751, uid=7, gid=8, mtime=2_000_000),
    entry("bin/sudo", kind=HARDLINK, linkname="./bin/su"),
    entry("run/initctl", kind=FIFO, mode=0o600),
    entry("dev/null", kind=CHAR, devmajor=1, devminor=3, mode=0o666),
    entry("etc/outside", kind=SYMLINK, linkname="/etc/shadow", uid=9, gid=9),
    entry("lost+found", kind=FOLDER, mode=0o700),
    entry("lost+found/#12", b"found"),
    entry("-rf", b"a name like an option"),
    entry("new\nline \x1b[31m", b"a name that moves a terminal"),
]


@pytest.fixture
def config(tmp_path: Path) -> HostConfig:
    folders = {name: str(tmp_path / name) for name in ("volumes", "images", "golden", "run")}
    for folder in folders.values():
        Path(folder).mkdir()
    return HostConfig(name="golden", libvirt="test:///default", **folders)


def made(config: HostConfig, entries: list[Entry], kind: str = "ext4") -> Path:
    content = tar(entries)
    (Path(config.images) / "image.tar").write_bytes(content)
    found = golden.make(config, "image.tar", hashlib.sha256(content).hexdigest(), kind=kind)
    return Path(found.path)


def told(image: Path, command: str) -> str:
    return subprocess.run(("debugfs", "-R", command, str(image)), capture_output=True, text=True, check=True).stdout


def loops_and_mounts(image: Path) -> list[str]:
    loops = subprocess.run(("losetup", "--list", "--noheadings", "-O", "BACK-FILE"), capture_output=True, text=True)
    text = loops.stdout + Path("/proc/mounts").read_text()
    return [line for line in text.splitlines() if str(image.parent) in line]


@pytest.mark.parametrize("kind", ["ext4", "ext3"])
def test_all_that_was_unpacked_is_in_it_as_it_was(config: HostConfig, kind: str):
    image = made(config, ALL_KINDS, kind)
    with hook.Loop(str(image)) as device, tune.mounted(device) as fd:
        top = Path(f"/proc/self/fd/{fd}")
        facts = {".": os.fstat(fd), **{str(p.relative_to(top)): p.lstat() for p in top.rglob("*")}}
        su, folder = facts["bin/su"], facts["bin"]
        assert (su.st_mode, su.st_gid, su.st_mtime, su.st_nlink) == (stat.S_IFREG | 0o4755, 5, 1_000_000, 2)
        assert facts["bin/sudo"].st_ino == su.st_ino
        assert (folder.st_mode, folder.st_uid, folder.st_gid) == (stat.S_IFDIR | 0o2751, 7, 8)
        assert (folder.st_mtime, facts["."].st_mtime) == (2_000_000, 3_000_000)
        assert facts["."].st_mode & 0o7777 == 0o750
        assert os.getxattr(top / "bin/ping", "security.capability") == CAPABILITY
        assert stat.S_ISFIFO(facts["run/initctl"].st_mode)
        assert (stat.S_ISCHR(facts["dev/null"].st_mode), facts["dev/null"].st_rdev) == (True, os.makedev(1, 3))
        assert ((top / "etc/outside").readlink(), facts["etc/outside"].st_uid) == (Path("/etc/shadow"), 9)
        assert (top / "lost+found/#12").read_text() == "found"
        assert (top / "-rf").read_text() == "a name like an option"
        assert len(facts) == len(ALL_KINDS) + 3  # the folders no entry made: etc, run, dev
    check = subprocess.run(("e2fsck", "-fn", str(image)), capture_output=True, text=True)
    assert check.returncode == 0, check.stdout
    features = told(image, "features")
    assert "has_journal" in features
    assert ("metadata_csum_seed" in features) == (kind == "ext4")


def test_ten_thousand_files_in_one_folder_are_found_by_an_index(config: HostConfig):
    """Filled by whoever reads the folder again for each name, it has none; half a million of them took hours."""
    image = made(config, [OS_RELEASE, *(entry(f"many/{number:06}", b"x") for number in range(10_000))])
    assert told(image, "ls -p /many").count("/100644/") == 10_000
    assert re.search(r"Flags: 0x8?1000\b", told(image, "stat /many"))


def test_holes_take_no_room_in_it(config: HostConfig):
    image = made(config, [OS_RELEASE, entry("zeros", bytes(40 << 20)), entry("text", b"x" * 5000)])
    blocks = told(image, "stat /zeros")
    assert "Size: 41943040" in blocks
    assert image.stat().st_blocks * 512 < 12 << 20


def test_a_file_in_the_place_of_lost_and_found_is_refused_and_nothing_stays(config: HostConfig):
    with pytest.raises(CommandFailed, match=r"lost\+found"):
        made(config, [OS_RELEASE, entry("lost+found", kind=SYMLINK, linkname="/etc")])
    assert [*Path(config.golden).iterdir()] == []
    assert loops_and_mounts(Path(config.golden)) == []


def test_nothing_is_left_mounted(config: HostConfig):
    image = made(config, ALL_KINDS)
    assert loops_and_mounts(image) == []


def test_killed_half_way_it_lets_go_of_the_image(tmp_path: Path):
    tree, image = tmp_path / "tree", tmp_path / "image"
    tree.mkdir()
    for number in range(5000):
        (tree / f"{number}").write_bytes(b"x" * 100)
    with open(image, "xb") as file:
        os.truncate(file.fileno(), 64 << 20)
    subprocess.run(("mkfs.ext4", "-q", "-F", "-O", "^has_journal", str(image)), check=True)
    argv = (sys.executable, "-sSE", "-m", "dom0.golden_fill", str(image), str(tree))
    process = subprocess.Popen(argv, cwd=ROOT)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    until = time.monotonic() + 60
    while not children.read_text():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < until
    assert loops_and_mounts(image)
    process.send_signal(signal.SIGKILL)
    process.wait()
    while loops_and_mounts(image):
        assert time.monotonic() < until, "a loop device is left over"
        time.sleep(0.02)
