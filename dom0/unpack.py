"""Unpack a tar stream into a folder and nowhere else: `python -m dom0.unpack FOLDER LIMITS < TAR`, facts as JSON.

A process of its own with the few capabilities that setting owners and modes takes. Whatever the archive says, a path
is resolved by openat2 beneath the folder and through no symbolic link, nothing that is there is ever written through,
and sizes are counted before a byte is written. The first entry against the rules ends it, named; whoever started it
throws the folder away.

Kept: folders, regular files, symbolic and hard links, FIFOs (nobody opens one), setuid bits, owners, times, file
capabilities and POSIX ACLs. Left out and counted: other extended attributes. Refused: device nodes, but for /dev/null
and its kin, unless the image's row wants them.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import stat
import struct
import sys
import tarfile
from collections import Counter
from typing import Any, BinaryIO

from dom0 import families
from dom0.confined import RESOLVE_NO_MAGICLINKS, RESOLVE_NO_XDEV, SYS_OPENAT2, Root
from dom0.errors import Refused

RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH = 0x04, 0x08
PIECE = 1 << 20
XATTRS = ("security.capability", "system.posix_acl_access", "system.posix_acl_default")
XATTR_HEADER = "SCHILY.xattr."
#: Character devices that give nobody anything: null, zero, full, random, urandom, tty, console, ptmx.
HARMLESS = {(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2)}
DAMAGED = (tarfile.TarError, EOFError, ValueError, RecursionError, MemoryError, OverflowError)

_libc = ctypes.CDLL(None, use_errno=True)


class Counted:
    """The stream, its bytes counted: more than the compressed archive can honestly hold ends it. Raises Refused."""

    def __init__(self, stream: BinaryIO, largest: int, why: str) -> None:
        self._stream, self._largest, self._why, self._read = stream, largest, why, 0

    def read(self, size: int) -> bytes:
        piece = self._stream.read(size)
        self._read += len(piece)
        if self._read > self._largest:
            raise Refused(self._why)
        return piece


class Strict(tarfile.TarInfo):
    """An entry whose damaged header is an error: tarfile takes it for the archive's end, and half a root results."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Strict:
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # the zeros an archive ends with
            raise
        except tarfile.HeaderError as error:
            raise ValueError(f"a header is damaged or the end is missing: {error}") from error


class Unpacker:
    """What has been unpacked into the folder behind `fd` so far, by `limits` (see archives.Limits)."""

    def __init__(self, fd: int, limits: dict[str, Any]) -> None:
        self.fd, self.limits = fd, limits
        self.entries = self.size_bytes = 0
        self.left_out: Counter[str] = Counter()
        self._times: dict[tuple[str, ...], float] = {}  # of folders: set last, for filling one changes it
        self._folder: tuple[tuple[str, ...], int] | None = None  # the last one used, open

    def add(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        """Put one entry there. Raises Refused for one against the rules, OSError."""
        name = shown(member.name)
        parts = self._admitted(member, name)
        if not parts:
            self._top(member, name)
            return
        try:
            folder = self._open_folder(parts[:-1])
            self._put(tar, member, folder, parts, name)
        except OSError as error:
            raise Refused(f"{name} {_reason(error)}") from error

    def finish(self) -> None:
        """Set the folders' times. Raises OSError."""
        for parts, when in self._times.items():
            fd = self._open("/".join(parts) or ".", os.O_RDONLY | os.O_DIRECTORY)
            os.utime(fd, (when, when))
            os.close(fd)
        if self._folder:
            os.close(self._folder[1])

    def _admitted(self, member: tarfile.TarInfo, name: str) -> tuple[str, ...]:
        """The parts of the entry's path, its name and size being within the rules. Raises Refused."""
        limits = self.limits
        self.entries += 1
        if self.entries > limits["entries"]:
            raise Refused(f"has more than {limits['entries']} entries; {name} is one too many")
        parts = _parts(member.name, name)
        if len(os.fsencode(member.name)) > limits["path"] or len(parts) > limits["depth"]:
            raise Refused(f"{name} has a path longer than {limits['path']} bytes or {limits['depth']} folders")
        if member.size < 0:
            raise Refused(f"{name} has a size below zero")
        self.size_bytes += member.size if member.isreg() else 0
        if self.size_bytes > limits["size_bytes"]:
            raise Refused(f"takes more than {limits['size_bytes'] >> 20} MB unpacked; {name} goes beyond it")
        return parts

    def _top(self, member: tarfile.TarInfo, name: str) -> None:
        if not member.isdir():
            raise Refused(f"{name} names no file")
        self._owned(self.fd, member)
        self._times[()] = member.mtime

    def _put(
        self, tar: tarfile.TarFile, member: tarfile.TarInfo, folder: int, parts: tuple[str, ...], name: str
    ) -> None:
        if member.isdir():
            self._folder_there(member, folder, parts)
            return
        _make_way(folder, parts[-1])
        if member.issym():
            os.symlink(member.linkname, parts[-1], dir_fd=folder)
            os.chown(parts[-1], member.uid, member.gid, dir_fd=folder, follow_symlinks=False)
        elif member.islnk():
            self._hard_link(member, folder, parts[-1], name)
        elif member.isreg() and (member.type in tarfile.REGULAR_TYPES or member.issparse()):
            self._file(tar, member, folder, parts[-1])
        elif member.isfifo() or member.ischr() or member.isblk():
            self._node(member, folder, parts[-1], name)
        else:
            raise Refused(f"{name} is of a kind Fridu does not unpack ({member.type!r})")

    def _folder_there(self, member: tarfile.TarInfo, folder: int, parts: tuple[str, ...]) -> None:
        try:
            os.mkdir(parts[-1], 0o700, dir_fd=folder)
        except FileExistsError:
            if not stat.S_ISDIR(os.stat(parts[-1], dir_fd=folder, follow_symlinks=False).st_mode):
                os.unlink(parts[-1], dir_fd=folder)
                os.mkdir(parts[-1], 0o700, dir_fd=folder)
        fd = self._open_folder(parts)
        self._owned(fd, member)
        self._times[parts] = member.mtime

    def _hard_link(self, member: tarfile.TarInfo, folder: int, last: str, name: str) -> None:
        target = shown(member.linkname)
        parts = _parts(member.linkname, f"{name}, a hard link to {target},")
        if not parts:
            raise Refused(f"{name} is a hard link to a folder")
        try:
            there = self._open("/".join(parts[:-1]) or ".", os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise Refused(f"{name}, a hard link to {target}, {_reason(error)}") from error
        try:
            os.link(parts[-1], last, src_dir_fd=there, dst_dir_fd=folder, follow_symlinks=False)
        except OSError as error:
            raise Refused(f"{name} is a hard link to {target}, which is no file of the archive before it") from error
        finally:
            os.close(there)

    def _file(self, tar: tarfile.TarFile, member: tarfile.TarInfo, folder: int, last: str) -> None:
        source = tar.extractfile(member)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(last, flags, 0o600, dir_fd=folder)
        try:
            if source is not None and member.size:
                _copy(source, fd, member.size, holes=member.issparse())
            self._owned(fd, member)
            os.utime(fd, (member.mtime, member.mtime))
        finally:
            os.close(fd)

    def _node(self, member: tarfile.TarInfo, folder: int, last: str, name: str) -> None:
        number = (member.devmajor, member.devminor)
        harmless = member.isfifo() or (member.ischr() and number in HARMLESS)
        if not harmless and not self.limits["devices"]:
            raise Refused(f"{name} is the device {number[0]}:{number[1]}, and this image wants no devices")
        kind = stat.S_IFIFO if member.isfifo() else stat.S_IFCHR if member.ischr() else stat.S_IFBLK
        os.mknod(last, kind | 0o600, 0 if member.isfifo() else os.makedev(*number), dir_fd=folder)
        os.chown(last, member.uid, member.gid, dir_fd=folder, follow_symlinks=False)
        os.chmod(last, member.mode & 0o7777, dir_fd=folder)  # ours, made a moment ago: no link to follow

    def _owned(self, fd: int, member: tarfile.TarInfo) -> None:
        """Owner, then mode (a change of owner takes setuid away), then the attributes of the list."""
        os.fchown(fd, member.uid, member.gid)
        os.fchmod(fd, member.mode & 0o7777)
        for key, value in member.pax_headers.items():
            if not key.startswith(XATTR_HEADER):
                continue
            attribute = key.removeprefix(XATTR_HEADER)
            if attribute in XATTRS:
                os.setxattr(fd, attribute, value.encode("utf-8", "surrogateescape"))
            else:
                self.left_out[attribute.split(".")[0][:20]] += 1

    def _open_folder(self, parts: tuple[str, ...]) -> int:
        """The folder of that path, open until the next is asked for; missing ones are made."""
        if self._folder and self._folder[0] == parts:
            return self._folder[1]
        path = "/".join(parts) or "."
        try:
            fd = self._open(path, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            above = self._open_folder(parts[:-1])
            os.mkdir(parts[-1], 0o755, dir_fd=above)
            fd = self._open(path, os.O_RDONLY | os.O_DIRECTORY)
        if self._folder:
            os.close(self._folder[1])
        self._folder = (parts, fd)
        return fd

    def _open(self, path: str, flags: int) -> int:
        resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV
        how = struct.pack("QQQ", flags | os.O_CLOEXEC, 0, resolve)
        words = (ctypes.c_long(SYS_OPENAT2), ctypes.c_long(self.fd), os.fsencode(path), how, ctypes.c_long(len(how)))
        fd: int = _libc.syscall(*words)
        if fd < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return fd


def unpack(stream: BinaryIO, fd: int, limits: dict[str, Any]) -> dict[str, Any]:
    """Unpack `stream` into the empty folder behind `fd`; what was found. Raises Refused (half a sentence), OSError."""
    work = Unpacker(fd, limits)
    why = f"grows to more than {limits['ratio']} times its size, as no root filesystem does"
    counted = Counted(stream, limits["stream_bytes"], why)
    try:
        with tarfile.open(fileobj=counted, mode="r|", bufsize=PIECE, tarinfo=Strict) as tar:  # type: ignore[call-overload]
            while (member := tar.next()) is not None:
                work.add(tar, member)
                tar.members = []  # or it keeps every entry
    except DAMAGED as error:
        where = f" after {work.entries} entries" if work.entries else ""
        raise Refused(f"is damaged or no tar archive{where} ({str(error) or type(error).__name__})") from error
    if not work.entries:
        raise Refused("has no entry")
    work.finish()
    found = {"entries": work.entries, "size_bytes": work.size_bytes, "left_out": dict(work.left_out)}
    return {**found, **families.look(Root(fd))}


def _copy(source: Any, fd: int, size: int, *, holes: bool) -> None:
    left = size
    while left:
        piece = source.read(min(PIECE, left))
        if not piece:
            raise EOFError("it ends in the middle of a file")
        left -= len(piece)
        if holes and piece.count(0) == len(piece):
            os.lseek(fd, len(piece), os.SEEK_CUR)
            continue
        while piece:
            piece = piece[os.write(fd, piece) :]
    if holes:
        os.ftruncate(fd, size)


def _parts(path: str, name: str) -> tuple[str, ...]:
    """A path of the archive in parts. Raises Refused for one that is absolute or climbs."""
    if path.startswith("/"):
        raise Refused(f"{name} is an absolute name")
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    if ".." in parts:
        raise Refused(f"{name} leads out of the archive")
    if "\0" in path:
        raise Refused(f"{name} has a zero byte in its name")
    return parts


def _make_way(folder: int, last: str) -> None:
    """A later entry of the same name takes the place of the former, but not a folder's."""
    try:
        os.unlink(last, dir_fd=folder)
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        raise OSError(errno.EISDIR, "") from None


def _reason(error: OSError) -> str:
    known = {
        errno.ELOOP: "leads through a symbolic link",
        errno.ENOTDIR: "leads through something that is no folder",
        errno.EXDEV: "leads out of the archive",
        errno.EISDIR: "has the name of a folder that is there",
        errno.ENAMETOOLONG: "has a name longer than 255 bytes",
        errno.ENOSPC: "does not fit: the disk is full",
    }
    return known.get(error.errno or 0, f"can't be made: {error.strerror}")


def shown(name: str) -> str:
    """The name of an entry as a sentence may quote it: at most 120 characters, nothing that moves a terminal."""
    text = "".join(c if c.isprintable() else "�" for c in name[:120])
    return f"“{text}{'…' if len(name) > 120 else ''}”"


def main() -> None:
    fd = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    os.umask(0o077)
    try:
        print(json.dumps(unpack(sys.stdin.buffer, fd, json.loads(sys.argv[2]))))  # noqa: T201, the answer
    except Refused as error:
        sys.exit(error.message)
    except OSError as error:
        sys.exit(f"can't be unpacked: {error.strerror or error}")


if __name__ == "__main__":
    main()
