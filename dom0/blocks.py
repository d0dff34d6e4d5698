"""Bytes of volumes, whether image files or block devices: what lies there, copying, zeroing."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import stat
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from dom0.errors import Refused

MIB = 1 << 20
PIECE, STRETCH = 1 << 20, 16 << 20  # bytes copied at once; given to the disk at once
ZEROED_AT_ONCE = 64 << 20  # by one call to the kernel: what is lost of the progress when we are killed
_KEEP_SIZE, _PUNCH_HOLE = 0x1, 0x2
_BEGIN_WRITING = 2  # SYNC_FILE_RANGE_WRITE
_BLKZEROOUT, _FICLONE = 0x127F, 0x40049409
_HEAD = 128 << 10  # every signature that matters lies before; btrfs has its at 64 KiB
_SUPERBLOCK = 1024  # where ext2, 3 and 4 have theirs
_LARGEST_SHIFT = 6  # blocks of 64 KiB; a guest that writes its own volume may claim any
_EXTENTS = 0x40  # in its incompatible features: what makes an ext3 an ext4
_NOTHING = bytes(PIECE)

_libc = ctypes.CDLL(None, use_errno=True)


def size_of(fd: int) -> int:
    """Bytes of a file or a block device."""
    if stat.S_ISBLK(os.fstat(fd).st_mode):
        return os.lseek(fd, 0, os.SEEK_END)
    return os.fstat(fd).st_size


def content(fd: int) -> str:
    """What lies on it: "ext4", "ext3" (2 is the same to us), "swap", "other", or "" for nothing."""
    head = os.pread(fd, _HEAD, 0)
    if head[_SUPERBLOCK + 56 : _SUPERBLOCK + 58] == b"\x53\xef":
        return "ext4" if _number(head, _SUPERBLOCK + 96) & _EXTENTS else "ext3"
    if head[4086:4096] == b"SWAPSPACE2":
        return "swap"
    return "other" if head.count(0) != len(head) else ""


def _number(head: bytes, at: int) -> int:
    return int.from_bytes(head[at : at + 4], "little")


def filled(fd: int) -> int:
    """Bytes from the beginning that its filesystem or swap space takes; 0 for one that doesn't say."""
    head = os.pread(fd, _HEAD, 0)
    match content(fd):
        case "ext4" | "ext3":
            low, incompatible, high = (_number(head, _SUPERBLOCK + at) for at in (4, 96, 336))
            return (low | (high << 32 if incompatible & 0x80 else 0)) * _block_size(head)  # 0x80: 64bit
        case "swap":
            return (_number(head, 1028) + 1) * 4096
    return 0


def block_size(fd: int) -> int:
    """Bytes a block of the ext3 or ext4 that lies on it; 0 where it claims what none has."""
    return _block_size(os.pread(fd, _HEAD, 0))


def _block_size(head: bytes) -> int:
    shift = _number(head, _SUPERBLOCK + 24)
    return 1024 << shift if shift <= _LARGEST_SHIFT else 0


def empty(fd: int) -> None:
    """Turn all of a file into a hole: it reads as zeros and takes no room; its size stays. Raises OSError."""
    size = os.fstat(fd).st_size
    arguments = (ctypes.c_int(fd), ctypes.c_int(_KEEP_SIZE | _PUNCH_HOLE), ctypes.c_long(0), ctypes.c_long(size))
    if size and _libc.fallocate(*arguments) != 0:
        if ctypes.get_errno() != errno.EOPNOTSUPP:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        os.ftruncate(fd, 0)
        os.ftruncate(fd, size)


def zero(fd: int, start: int, end: int, reached: Callable[[int], None] | None = None) -> None:
    """Write zeros over bytes `start` to `end` of a block device, down to the disk. Raises OSError.

    BLKZEROOUT is what `blkdiscard --zeroout` calls: the disk's own command for it where it has one, else written. It
    reads as zeros afterwards in any case, which a discard doesn't promise. `reached` hears how far it is for sure.
    """
    for place in range(start, end, ZEROED_AT_ONCE):
        length = min(ZEROED_AT_ONCE, end - place)
        fcntl.ioctl(fd, _BLKZEROOUT, struct.pack("QQ", place, length))
        if reached:
            os.fsync(fd)
            reached(place + length)
    os.fsync(fd)


def clone(source: int, target: int) -> bool:
    """Have the empty file `target` share all blocks of `source`; False where the filesystem can't."""
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.EXDEV):
            return False
        raise
    return True


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
                copied += _copy(source, target, place, length)
                behind.submit(_begin_writing, target, place, length)
    return copied


def copy_differing(source: int, target: int) -> int:
    """Make `target` as `source`, which is as large, writing only where they differ; bytes written.

    Done twice, the second time writes nothing. On a volume with snapshots only what had changed is written, and that
    they hold already: they don't fill up.
    """
    written = 0
    for place in range(0, size_of(source), PIECE):
        wanted, found = os.pread(source, PIECE, place), os.pread(target, PIECE, place)
        if wanted == found:
            continue
        for at in range(0, len(wanted), 4096):
            block = wanted[at : at + 4096]
            if block != found[at : at + 4096]:
                _write(target, block, place + at)
                written += len(block)
    return written


def _extents(fd: int) -> Iterator[tuple[int, int]]:
    """Where the file holds data: (start, end) in bytes. A block device holds it everywhere."""
    end, size = 0, size_of(fd)
    if stat.S_ISBLK(os.fstat(fd).st_mode):
        yield 0, size
        return
    while end < size:
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                return
            raise
        end = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, end


def _copy(source: int, target: int, place: int, length: int) -> int:
    """Bytes written: pieces of zeros are left out, `target` has them already."""
    copied = 0
    for at in range(place, place + length, PIECE):
        piece = os.pread(source, min(PIECE, place + length - at), at)
        if not piece:
            raise OSError(errno.EIO, "the source ended early")
        if piece != _NOTHING:
            _write(target, piece, at)
            copied += len(piece)
    return copied


def _write(target: int, piece: bytes, at: int) -> None:
    while piece:
        done = os.pwrite(target, piece, at)
        piece, at = piece[done:], at + done


def _begin_writing(fd: int, start: int, length: int) -> None:
    """Only a hint to the kernel: whether it was taken does not matter, the fsync at the end does."""
    _libc.sync_file_range(ctypes.c_int(fd), ctypes.c_long(start), ctypes.c_long(length), ctypes.c_uint(_BEGIN_WRITING))


def refuse_smaller_than_content(fd: int, name: str, size_bytes: int) -> None:
    """Raises Refused where what lies on the volume would be cut off."""
    takes = filled(fd)
    if takes > size_bytes:
        raise Refused(
            f"The {content(fd)} on {name} takes {-(-takes // MIB)} MB; {size_bytes // MIB} MB would cut it off.",
            note=f"Nothing was changed. Shrink what lies on it first, or give {name} {-(-takes // MIB)} MB or more.",
        )
    if not takes and content(fd) == "other":
        raise Refused(
            f"Nobody knows how much of {name} is in use.",
            note="Nothing was changed. Only ext3, ext4 and swap say where they end.",
        )
