"""What lies with a volume and says whose it is and how far it came (DESIGN §3.5).

Extended attributes of an image file, tags of a logical volume; a descriptor of the volume says which. Little is
imported here: dom0.tune, a process of its own, counts milliseconds.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from typing import TYPE_CHECKING

from dom0.errors import Refused

if TYPE_CHECKING:
    from dom0.state import Volume

#: Something was begun that makes the volume unfit for use until it is done: the first one found says what.
UNFINISHED = ("wiping", "restoring", "shrinking", "zeroing", "copying", "formatting")
PREFIX = "user.fridu."


def open_marked(path: str, machine: str) -> int:
    """A descriptor (read, write) of the volume, which must carry `machine`'s mark. Raises Refused, OSError."""
    # A logical volume's path is udev's symbolic link below /dev, where only root writes.
    follow = 0 if path.startswith("/dev/") else os.O_NOFOLLOW
    fd = os.open(path, os.O_RDWR | follow | os.O_CLOEXEC)
    try:
        found = get(fd, "machine")
        if found != machine:
            raise not_theirs(path, found, machine)
    except BaseException:
        os.close(fd)
        raise
    return fd


def not_theirs(path: str, found: str, machine: str) -> Refused:
    """What to say of a volume that carries another machine's mark, or none."""
    whose = f"machine {found}" if found else "nobody Fridu knows"
    return Refused(f"{path} belongs to {whose}, not to {machine}.", note="Nothing was changed.")


def begun(path: str, what: str) -> Refused:
    """What to say of a volume on which something was begun and not finished; `what` is of UNFINISHED."""
    return Refused(f"{path}: {what} it was begun and never finished.", note="Go on with the job that began it.")


def put(fd: int, mark: str, value: str) -> None:
    """Mark the volume; raises Refused where the filesystem under it has no extended attributes."""
    if _block(fd):
        from dom0 import volumes_lvm

        volumes_lvm.retag(fd, put={mark: value})
        return
    try:
        os.setxattr(fd, f"{PREFIX}{mark}", value.encode())
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        raise Refused(
            "The folder of volumes keeps no extended attributes, so a volume can't be told from a stranger's file.",
            note="Put it on ext4, xfs or btrfs.",
        ) from error


def clear(fd: int, *marks: str) -> None:
    """Take marks away, before what they say stops being so."""
    if _block(fd):
        from dom0 import volumes_lvm

        volumes_lvm.retag(fd, clear=marks)
        return
    for mark in marks:
        try:
            os.removexattr(fd, f"{PREFIX}{mark}")
        except OSError as error:
            if error.errno != errno.ENODATA:
                raise


def get(fd: int, mark: str) -> str:
    """What a mark says, "" where it is missing."""
    return every(fd).get(mark, "")


def every(fd: int) -> dict[str, str]:
    """All marks of the volume."""
    if _block(fd):
        from dom0 import volumes_lvm

        return dict(volumes_lvm.of(fd).marks)
    try:
        names = [name for name in os.listxattr(fd) if name.startswith(PREFIX)]
        return {name[len(PREFIX) :]: os.getxattr(fd, name).decode("utf-8", "replace") for name in names}
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.EOPNOTSUPP):
            return {}
        raise


def unfinished(found: Mapping[str, str]) -> str:
    """What was begun on a volume with these marks and never finished, "" for nothing."""
    return next((mark for mark in UNFINISHED if mark in found), "")


def kept(found: Mapping[str, str], generation: int) -> dict[str, str]:
    """What marks of a root volume a restored one gets: its snapshot's, of that generation (0: the same)."""
    marks = {mark: found[mark] for mark in ("root", "tuned") if mark in found}
    if generation and "root" in marks:
        marks["root"] = f"{marks['root'].rpartition(':')[0]}:{generation}"
    return marks


def onto(volume: Volume, found: Mapping[str, str]) -> Volume:
    """The fact of a volume, with what its marks say."""
    from dataclasses import replace

    machine, root, tuned, origin = (found.get(mark, "") for mark in ("machine", "root", "tuned", "origin"))
    begun = unfinished(found)
    anew, blank = found.get("anew", ""), "blank" in found
    marked = replace(volume, machine=machine, root=root, tuned=tuned, origin=origin, unfinished=begun)
    return replace(marked, anew=anew, blank=blank)


def _block(fd: int) -> bool:
    return stat.S_ISBLK(os.fstat(fd).st_mode)
