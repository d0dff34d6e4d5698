"""Volumes as sparse image files with our marks as extended attributes. LVM will stand beside this module.

A file appears under its name whole and marked, or not at all: it is made without a name and linked at the end.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dom0 import marks
from dom0.errors import Refused
from dom0.files import sync_folder
from dom0.host import HostConfig
from dom0.state import Volume

SUFFIX = ".img"
_SUPERBLOCK, _MAGIC = 1024, 56  # where ext2, 3 and 4 have theirs, and the magic number in it
_KEEP_SIZE, _PUNCH_HOLE = 0x1, 0x2
_BEGIN_WRITING = 2  # SYNC_FILE_RANGE_WRITE
PIECE, STRETCH = 1 << 20, 16 << 20  # bytes copied at once; given to the disk at once

_libc = ctypes.CDLL(None, use_errno=True)


def path_of(config: HostConfig, name: str) -> str:
    """Where the volume `name` lies, e.g. WEB-Dom-root. Raises Refused for a name that is a path."""
    if not name or "/" in name or name.startswith("."):
        raise Refused(f"“{name}” can't be a volume's name.", note="Use letters, digits and hyphens.")
    return f"{config.volumes}/{name}{SUFFIX}"


def look(config: HostConfig, name: str) -> Volume | None:
    """The volume as it is, None where there is none. Raises OSError."""
    path = path_of(config, name)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        found = {mark: marks.get(fd, mark) for mark in marks.ALL}
        return Volume(name=name, path=path, size_bytes=os.fstat(fd).st_size, content=_content(fd), **found)
    finally:
        os.close(fd)


def create(config: HostConfig, name: str, size_bytes: int, machine: str) -> None:
    """Make the volume, empty (it reads as zeros), marked as `machine`'s. Raises Refused, OSError."""
    path = path_of(config, name)
    folder = Path(path).parent
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    there = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fd = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(fd, size_bytes)
        marks.put(fd, "machine", machine)
        os.fsync(fd)
        # With a folder's descriptor, or Python calls link(2), which doesn't follow the way into /proc.
        os.link(f"/proc/self/fd/{fd}", Path(path).name, dst_dir_fd=there, follow_symlinks=True)
        os.fsync(there)
    except FileExistsError:
        raise Refused(
            f"{path} is there already.", note="Nothing was changed. Choose another name, or move that file away."
        ) from None
    finally:
        os.close(fd)
        os.close(there)


def remove(config: HostConfig, name: str, machine: str) -> None:
    """Zero the volume of `machine` and remove it: its blocks must give nothing away. Raises Refused, OSError."""
    path = path_of(config, name)
    fd = marks.open_marked(path, machine)
    try:
        empty(fd)
        os.fsync(fd)
        Path(path).unlink()
    finally:
        os.close(fd)
    sync_folder(Path(path).parent)


def empty(fd: int) -> None:
    """Turn all of the file into a hole: it reads as zeros and takes no room; its size stays. Raises OSError."""
    size = os.fstat(fd).st_size
    arguments = (ctypes.c_int(fd), ctypes.c_int(_KEEP_SIZE | _PUNCH_HOLE), ctypes.c_long(0), ctypes.c_long(size))
    if size and _libc.fallocate(*arguments) != 0:
        if ctypes.get_errno() != errno.EOPNOTSUPP:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        os.ftruncate(fd, 0)
        os.ftruncate(fd, size)


def copy_extents(source: int, target: int) -> int:
    """Copy what `source` really holds to the same places of `target`, which reads as zeros; bytes copied.

    Plain reads and writes by the MiB: on ext4 copy_file_range took twice their time. Meanwhile a thread has the disk
    begin to write what is copied, so that the fsync to come has little left to do.
    """
    copied = 0
    with ThreadPoolExecutor(max_workers=1) as behind:
        for start, end in _extents(source):
            for place in range(start, end, STRETCH):
                length = min(STRETCH, end - place)
                _copy(source, target, place, length)
                behind.submit(_begin_writing, target, place, length)
            copied += end - start
    return copied


def _extents(fd: int) -> Iterator[tuple[int, int]]:
    """Where the file holds data: (start, end) in bytes."""
    end, size = 0, os.fstat(fd).st_size
    while end < size:
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                return
            raise
        end = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, end


def _copy(source: int, target: int, place: int, length: int) -> None:
    for at in range(place, place + length, PIECE):
        piece = os.pread(source, min(PIECE, place + length - at), at)
        if not piece:
            raise OSError(errno.EIO, "the source ended early")
        while piece:
            done = os.pwrite(target, piece, at)
            piece, at = piece[done:], at + done


def _begin_writing(fd: int, start: int, length: int) -> None:
    """Only a hint to the kernel: whether it was taken does not matter, the fsync at the end does."""
    _libc.sync_file_range(ctypes.c_int(fd), ctypes.c_long(start), ctypes.c_long(length), ctypes.c_uint(_BEGIN_WRITING))


def _content(fd: int) -> str:
    """What lies on it, from its superblock: "ext4" (2 and 3 are the same to us), "other", or "" for nothing."""
    head = os.pread(fd, 4096, 0)
    if head[_SUPERBLOCK + _MAGIC : _SUPERBLOCK + _MAGIC + 2] == b"\x53\xef":
        return "ext4"
    return "other" if any(head) else ""
