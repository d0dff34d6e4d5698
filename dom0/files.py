"""dom0's own files and locks: written atomically, read whole."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from pathlib import Path

from dom0.errors import Refused


def write_atomic(path: str, content: str, mode: int = 0o644) -> None:
    """Replace `path` with `content` (UTF-8): temporary file in the same folder, fsync, rename, fsync the folder."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    _sweep(target)
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{os.urandom(4).hex()}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content.encode())
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        temporary.rename(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


def remove(path: str) -> None:
    """Remove a file; one that is gone already is fine."""
    target = Path(path)
    target.unlink(missing_ok=True)
    if target.parent.exists():
        _sweep(target)
        sync_folder(target.parent)


def _sweep(target: Path) -> None:
    """Remove what writers of this file left who were killed before their rename; one that lives goes on."""
    begun = re.compile(rf"\.{re.escape(target.name)}\.(\d+)-[0-9a-f]{{8}}")
    for path in target.parent.iterdir():
        found = begun.fullmatch(path.name)
        if found and not Path("/proc", found[1]).exists():
            path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make a rename or removal in `folder` outlast a power cut."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def lock(path: str, *, wait: bool = True) -> Iterator[bool]:
    """Hold a kernel lock on `path`; yields False where it is taken and `wait` is off. Dies with its process."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(target, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(fd)


def read_text(path: str) -> str | None:
    """The text of a file of dom0's own, None where there is none. Raises Refused for one that is not text."""
    try:
        return Path(path).read_text()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise Refused(f"{path} is not a text file.", note="Move it away, then try again.") from error
