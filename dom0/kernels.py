"""Kernels and initrds of machines that don't share dom0's: the files of its kernels folder, or out of an image.

Nothing here is mounted and nothing of a stranger's is read with privileges: archives and packed kernels are taken
apart by processes that may do nothing but read their input and write their output.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dom0 import archives, files, golden, kernel_image, runner
from dom0.errors import CommandFailed, Refused
from dom0.host import HostConfig
from dom0.kernel_image import LARGEST, MIB, Kernel
from dom0.state import BootFile

TIMEOUT_S = 300.0
GRUB = "/usr/lib/grub-xen/grub-x86_64-xen.bin"  # of Debian's grub-xen-host: grub as a PV guest's kernel
_INITRDS = ("initrd.img-{}", "initramfs-{}.img", "initrd-{}", "initramfs-{}")  # Debian, Fedora, openSUSE, Alpine


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A kernel of the folder and its initrd, "" where none lies beside it; sizes in bytes."""

    name: str
    initrd: str
    size_bytes: int
    initrd_bytes: int


def listed(config: HostConfig) -> list[Listed]:
    """What the kernels folder holds that begins like a kernel, each with its initrd, by name. Raises OSError."""
    folder = Path(config.kernels)
    if not folder.is_dir():
        return []
    there = {p.name: p.stat().st_size for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")}
    found = []
    for name in sorted(there):
        with contextlib.suppress(Refused):
            kernel_image.kind_of(_head(folder / name), name)
            initrd = next((other for other in initrds_of(name) if other in there), "")
            size = there.get(initrd, 0)
            found.append(Listed(name=name, initrd=initrd, size_bytes=there[name], initrd_bytes=size))
    return found


def initrds_of(kernel: str) -> list[str]:
    """What the initrd of a kernel file may be called, whatever stands before "vmlinuz"."""
    before, sign, version = kernel.rpartition("vmlinuz-")
    return [before + pattern.format(version) for pattern in _INITRDS] if sign else []


def initrd_of(config: HostConfig, kernel: str) -> str:
    """The path of the initrd that lies beside that kernel of the folder, "" where none does."""
    paths = (path_of(config, name) for name in initrds_of(kernel))
    return next((path for path in paths if Path(path).is_file()), "")


def path_of(config: HostConfig, name: str) -> str:
    """Where that file of the kernels folder lies. Raises Refused for a name that is a path."""
    if not name or "/" in name or name.startswith("."):
        raise Refused(f"“{name[:80]}” can't be a kernel's name.", note=f"Use a file's name in {config.kernels}.")
    return f"{config.kernels}/{name}"


def check(config: HostConfig, name: str, *, initrd: str, memory_mib: int, pv: bool) -> Kernel:
    """The kernel of that name, which a guest of `memory_mib` can start with that initrd ("" for none).

    Raises Refused for one that is missing, no kernel, not for Xen PV where `pv`, or too large; OSError.
    """
    kernel = look(path_of(config, name))
    initrd_bytes = _size(path_of(config, initrd)) if initrd else 0
    kernel_image.refuse_unfit(kernel, name, initrd_bytes=initrd_bytes, memory_mib=memory_mib, pv=pv)
    return kernel


def taken_from(config: HostConfig, image: str) -> str:
    """The newest kernel of the folder that came out of that image, "" where none did. Raises OSError."""
    names = (item.name for item in listed(config) if item.name.startswith(f"{image}-vmlinu"))
    return max(names, key=_by_version, default="")


def _by_version(name: str) -> list[tuple[int, str]]:
    """6.1.9 before 6.1.10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def fact(path: str) -> BootFile | None:
    """What the file is, for a plan; None where it is missing. Looked into again only when changed. Raises OSError."""
    try:
        there = Path(path).stat()
    except FileNotFoundError:
        return None
    return _fact(path, there.st_size, (there.st_ino, there.st_mtime_ns, there.st_ctime_ns))


@functools.lru_cache(maxsize=64)
def _fact(path: str, size_bytes: int, version: tuple[int, ...]) -> BootFile:
    try:
        return BootFile(path=path, size_bytes=size_bytes, kernel=look(path))
    except Refused as error:
        return BootFile(path=path, size_bytes=size_bytes, wrong=error.message)


def look(path: str) -> Kernel:
    """What the file is. Raises Refused for what is no kernel; OSError."""
    name, size = Path(path).name, _size(path)
    kind = kernel_image.kind_of(_head(Path(path)), name)
    with raw(path) if kind == "bzImage" else contextlib.nullcontext(path) as vmlinux:
        if kind == "ELF" and size > LARGEST:
            raise Refused(f"{name} is no kernel: it has {size // MIB} MB.", note="Choose another file.")
        with open(vmlinux, "rb") as file:
            return kernel_image.elf(functools.partial(_part, file.fileno()), kind, name)


def _part(fd: int, at: int, long: int) -> bytes:
    """That part of a file, as much of it as there is. Raises ValueError for one no file could have."""
    if at + long > LARGEST:
        raise ValueError(f"it points to byte {at + long}")
    return os.pread(fd, long, at)


@contextlib.contextmanager
def raw(path: str) -> Iterator[str]:
    """The vmlinux in a bzImage, as a file that is gone afterwards: for a Xen that can't unpack it itself.

    Raises Refused, OSError.
    """
    name, head = Path(path).name, _head(Path(path))
    kernel_image.kind_of(head, name)
    start, length = kernel_image.bzimage(head, _size(path), name)
    with open(path, "rb") as file:
        file.seek(start)
        packed = kernel_image.payload(start, length, file.read(8), name)
    with tempfile.TemporaryDirectory(prefix="fridu-kernel-") as folder:
        into = f"{folder}/vmlinux"
        bounds = ("prlimit", f"--fsize={LARGEST}", "--")
        head_of = (*archives.CONFINED, "head", "-c", str(packed.length))
        sink = (*archives.CONFINED, *bounds, *packed.unpack)
        try:
            runner.pipe(head_of, sink, path=path, start=packed.start, into=into, timeout_s=TIMEOUT_S)
        except CommandFailed as error:
            raise Refused(
                f"{name} is a damaged kernel: {error}", note="Nothing was changed. Choose another one."
            ) from error
        yield into


def extract(config: HostConfig, *, archive: str, digest: str, kernel: str, name: str, pv: bool) -> Listed:
    """Take /boot/`kernel` and its initrd out of an image's archive, as NAME-KERNEL into the kernels folder.

    Both are checked before either is there; what was there under these names is replaced. Raises Refused for an
    archive that is not `digest`, without that file, and for what is no kernel; OSError.
    """
    path_of(config, kernel)
    source = golden.check(config, archive, digest)
    folder = Path(path_of(config, f"{name}-{kernel}")).parent
    folder.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(prefix=".making-", dir=folder))
    try:
        _pick(source, f"boot/{kernel}", making / kernel)
        found = look(str(making / kernel))
        kernel_image.refuse_unfit(found, kernel, initrd_bytes=0, memory_mib=LARGEST, pv=pv)
        initrd = next((n for n in initrds_of(kernel) if _picked(source, f"boot/{n}", making / n)), "")
        for part in (initrd, kernel):  # the kernel last: as long as it is missing, nothing is listed
            if part:
                (making / part).chmod(0o644)
                (making / part).rename(folder / f"{name}-{part}")
    finally:
        shutil.rmtree(making, ignore_errors=True)
    files.sync_folder(folder)
    return next(item for item in listed(config) if item.name == f"{name}-{kernel}")


def _picked(archive: str, path: str, into: Path) -> bool:
    try:
        _pick(archive, path, into)
    except Refused:
        into.unlink(missing_ok=True)
        return False
    return True


def _pick(archive: str, path: str, into: Path) -> None:
    argv = ("env", f"--chdir={archives.PROJECT}", sys.executable, "-sSE", "-m", "dom0.pick", path, str(LARGEST))
    source = (*archives.CONFINED, *archives.decompressor(archive))
    try:
        runner.pipe(source, (*archives.CONFINED, *argv), path=archive, into=str(into), timeout_s=TIMEOUT_S)
    except CommandFailed as error:
        says = error.stderr.strip().splitlines()[-1:] or [str(error)]
        raise Refused(
            f"/{path} can't be taken out of {archive}: {says[0][:200]}.",
            note="Nothing was changed. Choose one of the kernels that the image's page names.",
        ) from error
    fd = os.open(into, os.O_RDONLY | os.O_CLOEXEC)
    os.fsync(fd)
    os.close(fd)


def _head(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(kernel_image.HEAD).ljust(kernel_image.HEAD, b"\0")


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except FileNotFoundError:
        raise Refused(f"{path} is missing.", note="Put it there, or choose another one.") from None
