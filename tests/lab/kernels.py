"""Kernels and small initial filesystems, made of Debian's kernel packages without initramfs-tools or a boot loader."""

from __future__ import annotations

import gzip
import lzma
import re
import shutil
import struct
import subprocess
from collections.abc import Iterable
from pathlib import Path

from tests.lab.places import DATA, Problem

#: Drivers of hardware that no emulated host has, two thirds of the package.
UNUSED = (
    *("sound", "drivers/gpu", "drivers/media", "drivers/infiniband", "drivers/staging", "drivers/iio", "drivers/scsi"),
    *("drivers/net/wireless", "drivers/net/ethernet", "drivers/net/can", "drivers/isdn", "drivers/bluetooth"),
    *("drivers/mtd", "drivers/hwmon", "drivers/input", "drivers/mfd", "drivers/usb", "drivers/ata", "drivers/nvme"),
    *("net/bluetooth", "net/mac80211", "net/wireless", "fs/ocfs2", "fs/gfs2", "fs/ceph", "fs/smb", "fs/nfs", "fs/nfsd"),
)
CONSOLE = "dev/console"
UNPACKERS = {b"\x02\x21\x4c\x18": ("lz4", "-dcf"), b"\x28\xb5\x2f\xfd": ("zstd", "-dcq")}


def install_modules(unpacked: Path, root: Path) -> str:
    """Put the modules of an unpacked kernel package into `root`; its version."""
    modules = next(path for path in (unpacked / "usr/lib/modules", unpacked / "lib/modules") if path.exists())
    (version,) = (path.name for path in modules.iterdir())
    for name in UNUSED:
        shutil.rmtree(modules / version / "kernel" / name, ignore_errors=True)
    shutil.copytree(modules / version, root / "usr/lib/modules" / version, symlinks=True)
    subprocess.run(("chroot", str(root), "depmod", version), check=True, timeout=300)
    return version


def initrd(root: Path, version: str, busybox: bytes, modules: Iterable[str]) -> bytes:
    """An initial filesystem that loads `modules` and what they need. Not compressed: emulated, that costs more."""
    folder = root / "usr/lib/modules" / version
    order = _order(folder, modules)
    files: list[tuple[str, int, bytes]] = [
        *((name, 0o040755, b"") for name in ("bin", "dev", "lib", "proc", "root")),
        (CONSOLE, 0o020600, b""),
        ("init", 0o100755, (DATA / "initrd").read_bytes()),
        ("bin/busybox", 0o100755, busybox),
        ("modules", 0o100644, "".join(f"{_plain_name(path)}\n" for path in order).encode()),
    ]
    files += [(f"lib/{_plain_name(path)}", 0o100644, _plain(path)) for path in order]
    return _cpio(files)


def vmlinux(bzimage: bytes) -> bytes:
    """The kernel inside a bzImage (x86's boot protocol from 2.08), which Xen boots at once. Raises Problem."""
    setup = bzimage[0x1F1] or 4
    offset, length = struct.unpack_from("<II", bzimage, 0x248)
    start = (setup + 1) * 512 + offset
    payload = bzimage[start : start + length - 4]  # its last four bytes are the size, added by the build
    if payload.startswith(b"\xfd7zXZ"):
        kernel = lzma.LZMADecompressor().decompress(payload)
    elif payload.startswith(b"\x1f\x8b"):
        kernel = gzip.decompress(payload)
    elif program := next((argv for magic, argv in UNPACKERS.items() if payload.startswith(magic)), None):
        kernel = subprocess.run(program, input=payload, capture_output=True, timeout=60, check=False).stdout
    else:
        kernel = b""
    if not kernel.startswith(b"\x7fELF"):
        raise Problem(f"The kernel is packed in a way the lab can't undo (it begins with {payload[:4].hex()}).")
    return kernel


def _order(folder: Path, wanted: Iterable[str]) -> list[Path]:
    """The modules and all they depend on, in the order they have to be loaded. What is built in is left out."""
    depends: dict[str, tuple[Path, list[Path]]] = {}
    for line in (folder / "modules.dep").read_text().splitlines():
        module, _, below = line.partition(":")
        depends[_name(module)] = (folder / module, [folder / each for each in below.split()])
    builtin = {_name(line) for line in (folder / "modules.builtin").read_text().splitlines()}
    order: list[Path] = []
    for name in (each.replace("-", "_") for each in wanted):
        if name in builtin:
            continue
        if name not in depends:
            raise Problem(f"The kernel of {folder.name} has no module {name}; the lab's hosts need it.")
        path, needs = depends[name]
        order += [each for each in (*reversed(needs), path) if each not in order]
    return order


def _name(path: str) -> str:
    return re.sub(r"\.ko.*", "", path.rpartition("/")[2]).replace("-", "_")


def _plain_name(path: Path) -> str:
    return f"{_name(path.name)}.ko"


def _plain(path: Path) -> bytes:
    """A module as the kernel takes it from any program; Debian 13 packs them."""
    content = path.read_bytes()
    return lzma.decompress(content) if path.suffix == ".xz" else content


def _cpio(files: Iterable[tuple[str, int, bytes]]) -> bytes:
    """An archive in the kernel's own form, `newc`."""
    out = bytearray()
    for number, (name, mode, content) in enumerate([*files, ("TRAILER!!!", 0, b"")], start=1):
        device = (5, 1) if name == CONSOLE else (0, 0)
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(name) + 1, 0)
        out += b"070701" + "".join(f"{field:08x}" for field in fields).encode() + name.encode() + b"\0"
        out += b"\0" * (-len(out) % 4) + content
        out += b"\0" * (-len(out) % 4)
    return bytes(out)
