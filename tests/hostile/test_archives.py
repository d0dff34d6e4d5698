"""Archives that wish the host ill, unpacked for real: refused by name, and nothing beside their folder changes."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from dom0 import archives
from dom0.archives import Limits
from dom0.errors import Refused

pytestmark = pytest.mark.host
Entry = tuple[tarfile.TarInfo, bytes]


def entry(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, **facts: object) -> Entry:
    """One entry of an archive, its facts set as given, nothing checked."""
    member = tarfile.TarInfo(name)
    member.type, member.size, member.mode = kind, len(content), 0o644
    for key, value in facts.items():
        setattr(member, key, value)
    return member, content


def tar(entries: Iterable[Entry]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as file:
        for member, content in entries:
            file.addfile(member, io.BytesIO(content))
    return out.getvalue()


SYMLINK, HARDLINK, FOLDER = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE
CHAR, BLOCK, FIFO = tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE
OS_RELEASE = entry("etc/os-release", b"ID=debian\nPRETTY_NAME='Debian \x1b[31m13'\nVERSION_ID=\"13\"\n")


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A folder of the host's beside the one that is unpacked into."""
    folder = tmp_path / "victim"
    folder.mkdir(mode=0o755)
    (folder / "shadow").write_text("the host's own\n")
    return folder


def snapshot(folder: Path) -> dict[str, tuple[object, ...]]:
    return {
        str(p): (p.lstat().st_mode, p.lstat().st_uid, p.lstat().st_mtime_ns, p.lstat().st_nlink, p.read_bytes())
        if p.is_file()
        else (p.lstat().st_mode, p.lstat().st_nlink)
        for p in (folder, *sorted(folder.rglob("*")))
    }


@pytest.fixture
def unpack(tmp_path: Path, victim: Path) -> Iterable[Callable[..., archives.Unpacked]]:
    """Unpack those bytes; whatever comes of it, nothing beside the folder may have changed."""
    making = tmp_path / "making"
    making.mkdir(mode=0o700)
    before = snapshot(victim)

    def run(content: bytes, **how: object) -> archives.Unpacked:
        path = tmp_path / "image.tar"
        path.write_bytes(content)
        return archives.unpack(str(path), making / "tree", **how)  # type: ignore[arg-type]

    yield run
    assert snapshot(victim) == before
    assert {p.name for p in tmp_path.iterdir()} <= {"victim", "making", "image.tar"}
    assert {p.name for p in making.iterdir()} <= {"tree"}


def refused(unpack: Callable[..., archives.Unpacked], content: bytes, **how: object) -> str:
    with pytest.raises(Refused) as error:
        unpack(content, **how)
    assert error.value.note.startswith("Nothing was changed.")
    return error.value.message


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ([entry("../victim/shadow", b"x")], "“../victim/shadow” leads out of the archive"),
        ([entry("etc/../../../victim/shadow", b"x")], "leads out of the archive"),
        ([entry("./..", kind=FOLDER)], "“./..” leads out of the archive"),
        ([entry("/etc/passwd.fridu", b"x")], "“/etc/passwd.fridu” is an absolute name"),
        ([entry("//etc", kind=FOLDER)], "is an absolute name"),
        (
            [entry("out", kind=SYMLINK, linkname="../../victim"), entry("out/shadow", b"x")],
            "“out/shadow” leads through a symbolic link",
        ),
        (
            [entry("a", kind=FOLDER), entry("a/b", kind=SYMLINK, linkname=".."), entry("a/b/c/d", b"x")],
            "“a/b/c/d” leads through a symbolic link",
        ),
        ([entry("here", kind=SYMLINK, linkname="."), entry("here/x", b"x")], "leads through a symbolic link"),
        ([entry("x", kind=HARDLINK, linkname="/etc/shadow")], "“x”, a hard link to “/etc/shadow”, is an absolute name"),
        ([entry("x", kind=HARDLINK, linkname="../../victim/shadow")], "leads out of the archive"),
        (
            [entry("out", kind=SYMLINK, linkname="../../victim"), entry("x", kind=HARDLINK, linkname="out/shadow")],
            "“x”, a hard link to “out/shadow”, leads through a symbolic link",
        ),
        ([entry("x", kind=HARDLINK, linkname="y")], "which is no file of the archive before it"),
        ([entry("dev/sda", kind=BLOCK, devmajor=8, devminor=0)], "“dev/sda” is the device 8:0"),
        ([entry("dev/mem", kind=CHAR, devmajor=1, devminor=1)], "“dev/mem” is the device 1:1"),
        ([entry("dev/null", kind=BLOCK, devmajor=1, devminor=3)], "is the device 1:3"),
        ([entry("etc", kind=FOLDER), entry("etc", b"x")], "“etc” has the name of a folder that is there"),
        ([entry("etc", b"x"), entry("etc/passwd", b"x")], "leads through something that is no folder"),
        ([entry("odd", kind=b"M")], "is of a kind Fridu does not unpack"),
        ([entry("x" * 300, b"x")], "has a name longer than 255 bytes"),
        ([entry("/".join(["d"] * 600), b"x")], "has a path longer than 1024 bytes or 128 folders"),
        ([entry("bell\x07\x1b[2J/../x", b"x")], "“bell��[2J/../x” leads out of the archive"),
    ],
)
def test_it_refuses_what_would_leave_the_folder_or_stays_no_file(unpack, entries: list[Entry], says: str):
    assert says in refused(unpack, tar(entries))


def test_a_symbolic_link_is_replaced_and_never_followed(unpack, tmp_path: Path):
    unpack(tar([entry("x", kind=SYMLINK, linkname="../../victim/shadow"), entry("x", b"inside")]))
    made = tmp_path / "making/tree/x"
    assert made.read_bytes() == b"inside"
    assert not made.is_symlink()


def test_a_folder_in_place_of_a_symbolic_link_is_a_folder(unpack, tmp_path: Path):
    unpack(tar([entry("x", kind=SYMLINK, linkname="../../victim"), entry("x", kind=FOLDER), entry("x/shadow", b"in")]))
    assert (tmp_path / "making/tree/x/shadow").read_bytes() == b"in"


def test_a_folders_mode_and_time_are_never_set_through_a_link(unpack, tmp_path: Path):
    link = entry("y", kind=SYMLINK, linkname="../../victim")
    unpack(tar([link, entry("y/.", kind=FOLDER, mode=0o777, uid=7), entry("y/z", b"x")]))
    assert (tmp_path / "making/tree/y").lstat().st_uid == 7


def test_a_million_entries_end_at_the_limit(unpack):
    began = time.monotonic()
    many = gzip.compress(tar(entry(f"f/{n}") for n in range(3000)), 1)
    says = refused(unpack, many, limits=Limits(entries=2000))
    assert "It has more than 2000 entries; “f/2000” is one too many." in says
    assert time.monotonic() - began < 60
    assert Limits().entries < 1_000_000


def test_a_decompression_bomb_ends_early(unpack, tmp_path: Path):
    bomb = gzip.compress(tar([entry("zeros", bytes(80 << 20))]), 9)
    assert "grows to more than 100 times its size" in refused(unpack, bomb)
    assert sum(p.stat().st_blocks * 512 for p in tmp_path.rglob("*") if p.is_file()) < 70 << 20


def test_a_sparse_bomb_counts_at_its_full_length(unpack, tmp_path: Path):
    tree = tmp_path / "making" / "sparse"
    with open(tree, "wb") as file:
        os.truncate(file.fileno(), 1 << 42)
    argv = ("tar", "--sparse", "--create", "--directory", str(tree.parent), "sparse")
    content = subprocess.run(argv, capture_output=True, check=True).stdout
    tree.unlink()
    assert len(content) < 1 << 20
    assert "MB unpacked; “sparse” goes beyond it" in refused(unpack, content)


def test_holes_stay_holes(unpack, tmp_path: Path):
    tree = tmp_path / "making" / "sparse"
    with open(tree, "wb") as file:
        os.truncate(file.fileno(), 8 << 20)
        os.pwrite(file.fileno(), b"data", 4 << 20)
    argv = ("tar", "--sparse", "--create", "--directory", str(tree.parent), "sparse")
    content = subprocess.run(argv, capture_output=True, check=True).stdout
    before = tree.read_bytes()
    tree.unlink()
    unpack(content)
    made = tmp_path / "making/tree/sparse"
    assert made.read_bytes() == before
    assert made.stat().st_blocks * 512 < 4 << 20


def test_a_size_below_zero_is_refused(unpack):
    raw = bytearray(tar([entry("x", b"x")]))
    raw[124:136] = b"\xff" * 12  # base 256: minus one
    raw[148:156] = b"        "
    raw[148:155] = b"%06o\0" % sum(raw[:512])
    assert "damaged" in (says := refused(unpack, bytes(raw))) or "below zero" in says


@pytest.mark.parametrize("cut", [700, 5000])
def test_one_that_ends_early_is_refused(unpack, cut: int):
    whole = tar([entry("etc/hostname", b"x" * 6000)])
    assert "damaged" in refused(unpack, whole[:cut])


@pytest.mark.parametrize(
    "spoil", [lambda raw: raw[:2048], lambda raw: raw[:2049], lambda raw: raw[:2100] + b"x" * 512 + raw[2612:]]
)
def test_a_damaged_header_is_no_end(unpack, spoil: Callable[[bytes], bytes]):
    """Half a root filesystem must not pass for a whole one."""
    whole = tar([entry("a", b"x" * 100), entry("b", b"x" * 100), entry("etc/shadow", b"x" * 100)])
    assert "damaged" in refused(unpack, spoil(whole))


def test_a_stream_that_is_cut_is_refused(unpack):
    whole = gzip.compress(tar([entry("x", os.urandom(300_000))]))
    assert "unexpected end of file" in refused(unpack, whole[: len(whole) // 2])


def test_long_name_headers_without_end_are_refused(unpack):
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 2
    block = header.tobuf(tarfile.GNU_FORMAT) + b"x\0".ljust(512, b"\0")
    assert "damaged" in refused(unpack, block * 5000)


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\nrm -rf /\n", os.urandom(4096), b"PK\x03\x04" + bytes(600)])
def test_what_is_no_archive_is_refused(unpack, content: bytes, tmp_path: Path):
    assert "is no archive Fridu can read" in refused(unpack, content)


def test_an_empty_archive_is_refused(unpack):
    assert "It has no entry" in refused(unpack, gzip.compress(tar([])))


def test_setuid_owners_times_and_capabilities_are_kept_and_foreign_attributes_left_out(unpack, tmp_path: Path):
    capability = b"\x01\x00\x00\x02\x00\x20\x00\x00" + bytes(12)
    headers = {
        "SCHILY.xattr.security.capability": capability.decode("utf-8", "surrogateescape"),
        "SCHILY.xattr.trusted.overlay.opaque": "y",
        "SCHILY.xattr.user.fridu.machine": "6f1d7a52",
        "SCHILY.xattr.security.selinux": "system_u",
    }
    found = unpack(
        tar(
            [
                entry("bin/su", b"su", mode=0o4755, uid=0, gid=5, mtime=1_000_000),
                entry("bin/ping", b"ping", uid=1234, pax_headers=headers),
                entry("bin", kind=FOLDER, mode=0o2751, uid=7, gid=8, mtime=2_000_000),
                entry("run/initctl", kind=FIFO, mode=0o600),
                entry("dev/null", kind=CHAR, devmajor=1, devminor=3, mode=0o666),
                entry("bin/sudo", kind=HARDLINK, linkname="./bin/su"),
                OS_RELEASE,
            ]
        )
    )
    tree = tmp_path / "making/tree"
    su, folder = (tree / "bin/su").stat(), (tree / "bin").stat()
    assert (su.st_mode, su.st_gid, su.st_mtime, su.st_nlink) == (stat.S_IFREG | 0o4755, 5, 1_000_000, 2)
    assert (folder.st_mode, folder.st_uid, folder.st_gid) == (stat.S_IFDIR | 0o2751, 7, 8)
    assert folder.st_mtime == 2_000_000
    assert os.listxattr(tree / "bin/ping") == ["security.capability"]
    assert os.getxattr(tree / "bin/ping", "security.capability") == capability
    assert stat.S_ISFIFO((tree / "run/initctl").stat().st_mode)
    assert found.left_out == {"trusted": 1, "user": 1, "security": 1}
    assert (found.entries, found.family, found.version) == (7, "debian", "13")
    assert found.distribution == "Debian [31m13"


def test_devices_come_along_where_the_image_wants_them(unpack, tmp_path: Path):
    unpack(tar([entry("dev/sda", kind=BLOCK, devmajor=8, devminor=0, mode=0o660, gid=6)]), devices=True)
    facts = (tmp_path / "making/tree/dev/sda").stat()
    assert (stat.S_ISBLK(facts.st_mode), facts.st_rdev, facts.st_gid) == (True, os.makedev(8, 0), 6)


PACKINGS = ("tar", "gz", "bz2", "xz", "zst")


def _zstd(content: bytes) -> bytes:
    return subprocess.run(("zstd", "-qc"), input=content, capture_output=True, check=True).stdout


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress, _zstd], ids=PACKINGS)
def test_every_way_of_packing_gives_the_same(unpack, pack: Callable[[bytes], bytes], tmp_path: Path):
    found = unpack(pack(tar([entry("./", kind=FOLDER, mode=0o750), OS_RELEASE])))
    assert found.family == "debian"
    assert (tmp_path / "making/tree").stat().st_mode & 0o777 == 0o750


def test_what_says_what_it_is_may_be_a_trap(unpack, tmp_path: Path):
    found = unpack(
        tar(
            [
                entry("etc/os-release", kind=SYMLINK, linkname="../../../victim/shadow"),
                entry("usr/lib/os-release", kind=FIFO),
                entry("etc/alpine-release", b"3.20"),
            ]
        )
    )
    assert found.family == "alpine"
