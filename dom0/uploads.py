"""An archive on its way from the panel's spool folder into the images folder.

The folder and what is in it are the panel's, who has no right on this host: everything there is read by descriptor,
no link is followed, and only what the folder's own user has put there counts.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from dom0 import files
from dom0.errors import Refused
from dom0.host import HostConfig

KEPT_S = 24 * 3600.0
CHUNK = 1 << 20
_AGAIN = "Nothing was changed. Upload the archive again."


def take(config: HostConfig, file: str, size: int, target: Path) -> str:
    """Move `file` of the spool, `size` bytes long, to `target`, as root's own.

    Raises Refused where it is not what the panel said, OSError.
    """
    if not file or "/" in file or file.startswith(".") or not file.isprintable():
        raise Refused(f"“{file[:80]}” can't be an upload's name.", note=_AGAIN)
    target.parent.mkdir(parents=True, exist_ok=True)
    half = target.with_name(f".{target.name}.taking")
    half.unlink(missing_ok=True)
    try:
        with _folder(config) as folder, _opened(config, folder, file, size) as source:
            _copy(source, half, file, size)
            half.rename(target)
            files.sync_folder(target.parent)
            os.unlink(file, dir_fd=folder)
    finally:
        half.unlink(missing_ok=True)
    return f"{target}: {size} bytes"


def sweep(config: HostConfig) -> None:
    """Remove what has lain in the spool for a day. Raises OSError."""
    if not Path(config.uploads).is_dir():
        return
    with _folder(config) as folder:
        for name in os.listdir(folder):  # noqa: PTH208  (by descriptor)
            facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if not stat.S_ISDIR(facts.st_mode) and time.time() - facts.st_mtime > KEPT_S:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=folder)


@contextlib.contextmanager
def _folder(config: HostConfig) -> Iterator[int]:
    try:
        fd = os.open(config.uploads, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise Refused(
            f"{config.uploads} is no folder of this host.",
            note="The panel is elsewhere, or uploads in host.toml names another. Put the archive into the imports.",
        ) from None
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _opened(config: HostConfig, folder: int, file: str, size: int) -> Iterator[int]:
    try:
        fd = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        raise Refused(f"{config.uploads}/{file} is missing.", note=_AGAIN) from None
    except OSError as error:
        raise Refused(f"{config.uploads}/{file} can't be opened: {error.strerror}.", note=_AGAIN) from error
    try:
        facts = os.fstat(fd)
        if not stat.S_ISREG(facts.st_mode) or facts.st_nlink != 1:
            raise Refused(f"{config.uploads}/{file} is not a regular file of its own.", note=_AGAIN)
        if facts.st_uid != os.fstat(folder).st_uid:
            raise Refused(f"{config.uploads}/{file} is not the panel's own file.", note=_AGAIN)
        if facts.st_size != size:
            raise _other(file, size, facts.st_size)
        yield fd
    finally:
        os.close(fd)


def _copy(source: int, half: Path, file: str, size: int) -> None:
    copied = 0
    with open(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644), "wb") as out:
        while copied <= size and (chunk := os.read(source, CHUNK)):
            out.write(chunk)
            copied += len(chunk)
        if copied != size:
            raise _other(file, size, copied)
        out.flush()
        os.fchmod(out.fileno(), 0o644)
        os.fsync(out.fileno())


def _other(file: str, size: int, found: int) -> Refused:
    return Refused(f"The upload {file} has {found} bytes, not the {size} that arrived.", note=_AGAIN)
