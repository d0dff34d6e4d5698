"""A foreign root filesystem, touched without ever leaving it, whatever its owner planted there.

Every path is resolved by openat2 inside the root (RESOLVE_IN_ROOT, no magic links, no other mount); files are
replaced by renaming a new one over them, never written through; nothing but regular files is read. Measured: the
naive way overwrote the host's own shadow file through a planted symbolic link.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fnmatch
import os
import stat
import struct
from collections.abc import Iterator

SYS_OPENAT2 = 437  # the same on every architecture
RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_IN_ROOT = 0x01, 0x02, 0x10
LARGEST = 1 << 20  # bytes of a file we would read

_libc = ctypes.CDLL(None, use_errno=True)


class Root:
    """The root filesystem behind the folder descriptor `fd`, which stays the caller's."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def read(self, path: str) -> tuple[bytes, os.stat_result] | None:
        """A regular file's bytes and facts, None where there is none. Raises OSError for anything else there."""
        try:
            fd = self._open(path, os.O_RDONLY | os.O_NONBLOCK)  # a planted FIFO must not hold us up
        except FileNotFoundError:
            return None
        with open(fd, "rb") as file:
            facts = os.fstat(fd)
            if not stat.S_ISREG(facts.st_mode):
                raise OSError(errno.EINVAL, "is not a regular file", path)
            if facts.st_size > LARGEST:
                raise OSError(errno.EFBIG, "is too large", path)
            return file.read(LARGEST), facts

    def write(
        self, path: str, content: bytes, *, mode: int = 0o644, gid: int = 0, folder_mode: int | None = None
    ) -> None:
        """Put a file of root's there, in place of whatever has its name; folders on the way are made.

        `folder_mode` also sets the mode of the folder it lies in. On the disk once the caller syncs the whole
        filesystem: one flush instead of two a file. Raises OSError.
        """
        with self._parent(path, make=True, mode=folder_mode) as (folder, name):
            temporary = f".fridu-{name}"
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=folder)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with open(os.open(temporary, flags, 0o600, dir_fd=folder), "wb") as file:
                file.write(content)
                file.flush()
                os.fchown(file.fileno(), 0, gid)
                os.fchmod(file.fileno(), mode)
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)

    def link(self, path: str, target: str) -> None:
        """Put a symbolic link there unless something has that name. Raises OSError."""
        with self._parent(path, make=True) as (folder, name), contextlib.suppress(FileExistsError):
            os.symlink(target, name, dir_fd=folder)

    def remove(self, path: str) -> None:
        """Remove the files of that name (* and ? in its last part), if any; folders stay. Raises OSError."""
        try:
            with self._parent(path) as (folder, pattern):
                for name in fnmatch.filter(os.listdir(folder), pattern):  # noqa: PTH208, a descriptor
                    with contextlib.suppress(IsADirectoryError, FileNotFoundError):
                        os.unlink(name, dir_fd=folder)
        except (FileNotFoundError, NotADirectoryError):
            return

    def list(self, path: str, pattern: str = "*") -> list[str]:
        """The names in that folder that fit `pattern` (*, ?, [..]), sorted; none without that folder."""
        try:
            fd = self._open(path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return []
        try:
            return sorted(fnmatch.filter(os.listdir(fd), pattern))  # noqa: PTH208, a descriptor
        finally:
            os.close(fd)

    def has(self, path: str) -> bool:
        """Whether anything is there."""
        try:
            os.close(self._open(path, os.O_PATH))
        except OSError:
            return False
        return True

    @contextlib.contextmanager
    def _parent(self, path: str, *, make: bool = False, mode: int | None = None) -> Iterator[tuple[int, str]]:
        """The folder `path` lies in, open, and its last part."""
        *folders, name = [part for part in path.split("/") if part]
        if name in (".", ".."):
            raise OSError(errno.EINVAL, "names no file", path)
        fd = self._open(".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            for depth in range(len(folders)):
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(folders[depth], 0o755, dir_fd=fd)
                os.close(fd)
                fd = -1
                fd = self._open("/".join(folders[: depth + 1]), os.O_RDONLY | os.O_DIRECTORY)
            if mode is not None:
                os.fchown(fd, 0, 0)
                os.fchmod(fd, mode)
            yield fd, name
        finally:
            if fd >= 0:
                os.close(fd)

    def _open(self, path: str, flags: int) -> int:
        resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV
        how = struct.pack("QQQ", flags | os.O_CLOEXEC, 0, resolve)
        words = (ctypes.c_long(SYS_OPENAT2), ctypes.c_long(self.fd), os.fsencode(path), how, ctypes.c_long(len(how)))
        fd: int = _libc.syscall(*words)
        if fd < 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error), path)
        return fd
