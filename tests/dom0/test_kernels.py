"""Kernels are known by their headers, fit their machine's memory, and come out of an image without privileges."""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import os
import resource
import struct
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dom0 import kernel_image, kernels
from dom0.errors import Refused
from dom0.host import HostConfig

pytestmark = pytest.mark.host
MIB = 1 << 20


def vmlinux(*, notes: tuple[int, ...] = (1, 18), memory: int = 58 * MIB, machine: int = 62) -> bytes:
    """An ELF file that says of itself what a kernel does: notes of Xen's, one segment that takes `memory` bytes."""
    note = b"".join(struct.pack("<III", 4, 8, kind) + b"Xen\0" + bytes(8) for kind in notes)
    head = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", 2, machine, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0
    )
    body = 64 + 2 * 56
    load = struct.pack("<IIQQQQQQ", 1, 7, 0, 0, 16 * MIB, 64, memory, 4096)
    said = struct.pack("<IIQQQQQQ", 4, 4, body, 0, 0, len(note), len(note), 4)
    return head + load + said + note + bytes(4096)


def bzimage(packed: bytes) -> bytes:
    """A bzImage around a packed kernel."""
    head = bytearray(1024)
    head[0x1F1] = 1
    head[0x1FE:0x200] = b"\x55\xaa"
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", head, 0x206, 0x20F)
    struct.pack_into("<II", head, 0x248, 0, len(packed))
    return bytes(head) + packed + b"the end"


def _zstd(content: bytes) -> bytes:
    return subprocess.run(("zstd", "-qc"), input=content, capture_output=True, check=True).stdout


SIZE = b"size"  # what Linux puts behind all but gzip
PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "xz": lambda b: lzma.compress(b, check=lzma.CHECK_CRC32) + SIZE,
    "lzma": lambda b: lzma.compress(b, format=lzma.FORMAT_ALONE) + SIZE,
    "zstd": lambda b: _zstd(b) + SIZE,
}


@pytest.fixture
def config(tmp_path: Path) -> HostConfig:
    for folder in ("kernels", "images"):
        (tmp_path / folder).mkdir()
    return HostConfig(
        name="ns3100421",
        libvirt="xen:///system",
        volumes=str(tmp_path / "volumes"),
        images=str(tmp_path / "images"),
        kernels=str(tmp_path / "kernels"),
        golden=str(tmp_path / "golden"),
        run=str(tmp_path / "run"),
    )


def put(config: HostConfig, name: str, content: bytes) -> None:
    (Path(config.kernels) / name).write_bytes(content)


def refused(config: HostConfig, content: bytes, *, memory_mib: int = 256, pv: bool = True) -> str:
    put(config, "vmlinuz-x", content)
    with pytest.raises(Refused) as error:
        kernels.check(config, "vmlinuz-x", initrd="", memory_mib=memory_mib, pv=pv)
    assert error.value.note.startswith("Nothing was changed.")
    return error.value.message


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_kernel_is_read_however_it_is_packed(config: HostConfig, packing: str):
    put(config, "vmlinuz-6.1", bzimage(PACKINGS[packing](vmlinux())))
    found = kernels.check(config, "vmlinuz-6.1", initrd="", memory_mib=128, pv=True)
    assert found == kernel_image.Kernel(kind="bzImage", pv=True, pvh=True, memory_bytes=58 * MIB)
    with kernels.raw(str(Path(config.kernels) / "vmlinuz-6.1")) as raw:
        assert Path(raw).read_bytes() == vmlinux()
    assert not Path(raw).exists()


def test_a_raw_vmlinux_is_one_too(config: HostConfig):
    put(config, "vmlinux", vmlinux())
    assert kernels.check(config, "vmlinux", initrd="", memory_mib=128, pv=True).kind == "ELF"


def test_one_that_does_not_fit_the_memory_is_refused_with_what_fits(config: HostConfig):
    says = refused(config, vmlinux(), memory_mib=64)
    assert "vmlinuz-x does not fit into 64 MB: with its initrd it takes 74 MB just to start" in says


def test_the_initrd_counts(config: HostConfig):
    put(config, "vmlinuz-6.1", vmlinux())
    put(config, "initrd.img-6.1", bytes(30 * MIB))
    with pytest.raises(Refused, match="takes 104 MB"):
        kernels.check(config, "vmlinuz-6.1", initrd="initrd.img-6.1", memory_mib=96, pv=True)
    kernels.check(config, "vmlinuz-6.1", initrd="initrd.img-6.1", memory_mib=104, pv=True)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"#!/bin/sh\n" * 900, "is not a kernel: it is neither a bzImage nor an ELF file"),
        (b"", "is not a kernel"),
        (vmlinux(machine=40), "is not a kernel for x86-64"),
        (vmlinux(notes=()), "has no Xen entry, so no PV guest can start it"),
        (vmlinux(notes=(18,)), "has no Xen entry, so no PV guest can start it"),
        (vmlinux()[:80], "is a damaged kernel"),
        (bzimage(gzip.compress(vmlinux()))[:1100], "it ends before its own header says"),
        (bzimage(gzip.compress(vmlinux())[:-40] + bytes(40)), "is a damaged kernel"),
        (bzimage(b"unknown packing" * 20), "packed in a way Fridu can't read"),
        (bzimage(gzip.compress(b"not ELF" * 50)), "is not a kernel for x86-64"),
        (b"\x7fELF\x02\x01" + b"\xff" * 5000, "kernel"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_kernel_is_refused(config: HostConfig, content: bytes, says: str):
    assert says in refused(config, content)


def altered(at: int, value: int) -> bytes:
    """With another number of eight bytes in its headers."""
    content = bytearray(vmlinux())
    struct.pack_into("<Q", content, at, value)
    return bytes(content)


@pytest.mark.parametrize("place", [1 << 63, (1 << 64) - 1])
def test_headers_that_point_beyond_all_memory_are_damage(config: HostConfig, place: int):
    assert "is a damaged kernel" in refused(config, altered(32, place))


def test_notes_without_end_are_not_read_to_their_end(monkeypatch):
    content = bytearray(vmlinux())
    struct.pack_into("<Q", content, 64 + 56 + 32, 1 << 40)  # of the segment of notes: how long it is
    nameless = (bytes(content) + bytes(64 * MIB)).replace(b"Xen", b"Not")
    looks, unpack_from = [0], struct.unpack_from

    def counted(*where: Any) -> Any:
        looks[0] += 1
        return unpack_from(*where)

    monkeypatch.setattr(kernel_image.struct, "unpack_from", counted)
    with pytest.raises(Refused, match="no Xen entry"):
        kernel_image.refuse_unfit(
            kernel_image.elf(lambda at, long: nameless[at : at + long], "ELF", "vmlinux"),
            "vmlinux",
            initrd_bytes=0,
            memory_mib=256,
            pv=True,
        )
    assert 10 < looks[0] < 1_000_000, "of 64 MiB, 12 bytes a look"


def test_a_vmlinux_of_hundreds_of_megabytes_is_not_read_into_memory(config: HostConfig):
    path = Path(config.kernels, "vmlinuz-large")
    path.write_bytes(vmlinux())
    os.truncate(path, 500 * MIB)
    child = os.fork()
    if child == 0:
        now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + 64 * MIB, now + 64 * MIB))
        os._exit(0 if kernels.look(str(path)).pv else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_kernel_that_unpacks_without_end_is_refused(config: HostConfig, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kernels, "LARGEST", 1 * MIB)
    assert "is a damaged kernel" in refused(config, bzimage(gzip.compress(bytes(8 * MIB))))


def test_without_xen_the_xen_entry_does_not_matter(config: HostConfig):
    put(config, "vmlinuz-x", vmlinux(notes=()))
    assert not kernels.check(config, "vmlinuz-x", initrd="", memory_mib=128, pv=False).pv


@pytest.mark.parametrize("name", ["../vmlinuz", "/boot/vmlinuz", ".hidden", ""])
def test_a_kernels_name_is_no_path(config: HostConfig, name: str):
    with pytest.raises(Refused, match="can't be a kernel's name"):
        kernels.check(config, name, initrd="", memory_mib=128, pv=True)


def test_the_folder_is_listed_with_each_kernels_initrd(config: HostConfig):
    put(config, "vmlinuz-6.1", bzimage(gzip.compress(vmlinux())))
    put(config, "initrd.img-6.1", b"initrd")
    put(config, "fedora-vmlinuz-6.8", vmlinux())
    put(config, "fedora-initramfs-6.8.img", b"initrd")
    put(config, "vmlinux", vmlinux())
    put(config, "README", b"no kernel")
    found = [(item.name, item.initrd, item.initrd_bytes) for item in kernels.listed(config)]
    assert found == [
        ("fedora-vmlinuz-6.8", "fedora-initramfs-6.8.img", 6),
        ("vmlinux", "", 0),
        ("vmlinuz-6.1", "initrd.img-6.1", 6),
    ]


def archived(config: HostConfig, files: dict[str, bytes | str]) -> dict[str, str]:
    """An archive of these files (a text is a symbolic link's target), as `extract` names it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"./{name}")
            if isinstance(content, str):
                member.type, member.linkname, content = tarfile.SYMTYPE, content, b""
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    (Path(config.images) / "image.tar.gz").write_bytes(out.getvalue())
    return {"archive": "image.tar.gz", "digest": hashlib.sha256(out.getvalue()).hexdigest(), "name": "debian-12"}


def test_kernel_and_initrd_come_out_of_an_image(config: HostConfig):
    kernel = bzimage(gzip.compress(vmlinux()))
    image = archived(config, {"etc/passwd": b"x", "boot/vmlinuz-6.1": kernel, "boot/initrd.img-6.1": b"initrd"})
    found = kernels.extract(config, **image, kernel="vmlinuz-6.1", pv=True)
    assert (found.name, found.initrd) == ("debian-12-vmlinuz-6.1", "debian-12-initrd.img-6.1")
    assert (Path(config.kernels) / found.name).read_bytes() == kernel
    assert sorted(p.name for p in Path(config.kernels).iterdir()) == [found.initrd, found.name]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"no kernel at all" * 400, "is not a kernel"),
        ("/etc/shadow", "is no regular file"),
        (vmlinux(notes=()), "has no Xen entry"),
    ],
    ids=["text", "a link to shadow", "not for Xen"],
)
def test_what_an_image_calls_its_kernel_is_checked_before_it_is_there(
    config: HostConfig, content: bytes | str, says: str
):
    image = archived(config, {"boot/vmlinuz-6.1": content})
    with pytest.raises(Refused, match=says):
        kernels.extract(config, **image, kernel="vmlinuz-6.1", pv=True)
    assert list(Path(config.kernels).iterdir()) == []


def test_an_image_without_that_kernel_says_so(config: HostConfig):
    image = archived(config, {"etc/passwd": b"x"})
    with pytest.raises(Refused, match=r"there is no boot/vmlinuz-6\.1 in it"):
        kernels.extract(config, **image, kernel="vmlinuz-6.1", pv=True)


def test_another_archive_than_the_images_is_refused(config: HostConfig):
    image = archived(config, {"boot/vmlinuz-6.1": vmlinux()})
    with pytest.raises(Refused, match="damaged or another one"):
        kernels.extract(config, **{**image, "digest": "0" * 64}, kernel="vmlinuz-6.1", pv=True)
