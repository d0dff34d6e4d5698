"""What lies with a volume and says whose it is and how far it came (DESIGN §3.5): extended attributes of its file.

Little is imported here: dom0.tune, a process of its own, counts milliseconds.
"""

from __future__ import annotations

import errno
import os

from dom0.errors import Refused

ALL = ("machine", "root", "tuned")


def open_marked(path: str, machine: str) -> int:
    """A descriptor (read, write) of the volume, which must carry `machine`'s mark. Raises Refused, OSError."""
    fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    found = get(fd, "machine")
    if found != machine:
        os.close(fd)
        whose = f"machine {found}" if found else "nobody Fridu knows"
        raise Refused(f"{path} belongs to {whose}, not to {machine}.", note="Nothing was changed.")
    return fd


def put(fd: int, mark: str, value: str) -> None:
    """Mark the volume; raises Refused where the filesystem under it has no extended attributes."""
    try:
        os.setxattr(fd, f"user.fridu.{mark}", value.encode())
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        raise Refused(
            "The folder of volumes keeps no extended attributes, so a volume can't be told from a stranger's file.",
            note="Put it on ext4, xfs or btrfs.",
        ) from error


def clear(fd: int, *marks: str) -> None:
    """Take marks away, before what they say stops being so."""
    for mark in marks:
        try:
            os.removexattr(fd, f"user.fridu.{mark}")
        except OSError as error:
            if error.errno != errno.ENODATA:
                raise


def get(fd: int, mark: str) -> str:
    """What a mark says, "" where it is missing."""
    try:
        return os.getxattr(fd, f"user.fridu.{mark}").decode("utf-8", "replace")
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.EOPNOTSUPP):
            return ""
        raise
