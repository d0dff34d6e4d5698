"""Let root in on a volume that dom0 must not mount: `python -m dom0.rooted VOLUME`, what to write as JSON on stdin.

{"machine": UUID, "mark": TEXT, "files": [{"path", "content", "mode", "folder_mode"}], "passwords": {"root": HASH}}

For machines that are off and had their volume to themselves (Xen, qemu). e2fsck mends it, debugfs writes it, both
confined as in dom0.checking. What lies there is looked at first: whatever is no plain folder or file is refused before
anything is written. debugfs does not tell by its exit code what it could not do, so all is read back.

A file is replaced in three runs, each on the disk before the next: the new one beside it; its name taken; the name
beside it given up. Whatever is killed, a whole file lies under one of the two names, and the next run goes on.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import stat
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dom0 import checking, hook, marks, tune
from dom0.errors import FriduError, Refused

DEBUGFS = "/sbin/debugfs"
SHADOW = "/etc/shadow"
LARGEST = 1 << 20  # bytes of a file that is read or replaced
LARGEST_FOLDER = 16 << 20
BEGUN = "rooting"  # the mark while debugfs may have been at it
ENCRYPTED = 0x800  # the flag of a folder whose names are
NOTE = "Nothing was changed. Log in on its console and put that right there."
BROKEN_NOTE = "Start it from a rescue image, or restore a snapshot."
_PLAIN = re.compile(r"(/[A-Za-z0-9._-]+)+")
_FACTS = re.compile(
    r"Inode: (\d+)\s+Type: (.+?)\s+Mode:\s+([0-7]+)\s+Flags: 0x([0-9a-f]+)\n"
    r".*\nUser:\s+(\d+)\s+Group:\s+(\d+)(?:\s+Project:\s+\d+)?\s+Size: (\d+)\n"
)
_TYPES = {"symlink": "a symbolic link", "directory": "a folder", "regular": "a file"}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What debugfs says of an inode; `mode` is its permissions alone, `size` in bytes."""

    kind: str
    mode: int
    flags: int
    uid: int
    gid: int
    size: int


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A file of root's as it is to be, and the mode of the folder it lies in, which is made; None: it must be there."""

    path: str
    content: bytes
    mode: int
    gid: int = 0
    folder_mode: int | None = None

    @property
    def folder(self) -> str:
        return self.path.rpartition("/")[0]

    @property
    def beside(self) -> str:
        return f"{self.folder}/.fridu-{self.path.rpartition('/')[2]}"


def let_in(volume: str, wishes: dict[str, Any]) -> None:
    """Write SSH keys and root's hash as `wishes` says, then mark the volume. Raises Refused, OSError."""
    held = marks.open_marked(volume, wishes["machine"])
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)  # libvirt's hook takes it too
        except BlockingIOError as error:
            raise Refused(f"{volume} is in use.", note="Stop the machine first, then set it.") from error
        with tune.device_of(volume) as device:
            filesystem = Filesystem(Path(device).stat().st_rdev)
            # What a killed run of ours left may need more answers than e2fsck -p gives.
            filesystem.mend("-fy" if marks.get(held, BEGUN) else "-fp")
            wanted = _wanted(filesystem, wishes)
            marks.put(held, BEGUN, "yes")
            os.fsync(held)
            try:
                for file in wanted:
                    _replace(filesystem, file)
            except Refused:
                marks.clear(held, BEGUN)
                raise
            filesystem.mend("-fp")
        os.fsync(held)
        marks.put(held, "tuned", wishes["mark"])
        marks.clear(held, BEGUN)
        os.fsync(held)
    finally:
        os.close(held)


class Filesystem:
    """The ext3 or ext4 on the block device with that number, by confined programs alone."""

    def __init__(self, device: int) -> None:
        self.device = device

    def mend(self, how: str) -> None:
        """Have e2fsck put it in order. Raises Refused where it can't."""
        code, _ = checking.confined(self.device, (checking.E2FSCK, how, checking.VOLUME))
        if not 0 <= code < checking.LEFT:
            raise Refused("Its filesystem has errors that e2fsck can't mend by itself.", note=BROKEN_NOTE)

    def facts(self, path: str) -> Facts | None:
        """What lies there, None where nothing does. Raises Refused where that can't be told."""
        _, said = checking.confined(self.device, (DEBUGFS, "-R", f"stat {path}", checking.VOLUME))
        _, _, told = said.decode("utf-8", "replace").partition("\n")  # the first line is its version
        if told.startswith(f"{path}: File not found"):
            return None
        found = _FACTS.match(told)
        if found is None:
            raise Refused(f"{path} in the machine can't be read.", note=BROKEN_NOTE)
        _, kind, mode, flags, uid, gid, size = found.groups()
        return Facts(
            kind=kind, mode=int(mode, 8) & 0o7777, flags=int(flags, 16), uid=int(uid), gid=int(gid), size=int(size)
        )

    def content(self, path: str, size: int) -> bytes:
        """A file's bytes, of which there are `size`, LARGEST at most; debugfs fills up small ones kept in the inode."""
        argv = (DEBUGFS, "-R", f"cat {path}", checking.VOLUME)
        return checking.confined(self.device, argv, errors=False)[1][:size]

    def change(self, *requests: str, new: bytes = b"") -> None:
        """Carry out debugfs's requests, with `new` as /run/new; on the disk when this returns."""
        files = {"/run/requests": "".join(f"{request}\n" for request in requests).encode(), "/run/new": new}
        checking.confined(self.device, (DEBUGFS, "-w", "-f", "/run/requests", checking.VOLUME), files)


def _wanted(filesystem: Filesystem, wishes: dict[str, Any]) -> list[Wanted]:
    """The files to write, everything on their ways looked at. Raises Refused."""
    wanted = []
    for file in wishes.get("files", ()):
        new = Wanted(
            path=file["path"],
            content=file["content"].encode(),
            mode=int(file["mode"], 8),
            folder_mode=int(file["folder_mode"], 8),
        )
        _look(filesystem, new)
        wanted.append(new)
    if wishes.get("passwords"):
        wanted.append(_shadow(filesystem, wishes["passwords"]["root"]))
    return wanted


def _shadow(filesystem: Filesystem, root_hash: str) -> Wanted:
    _look(filesystem, Wanted(path=SHADOW, content=b"", mode=0))
    at = SHADOW
    found = filesystem.facts(at)
    if found is None:  # a run that was killed between the names
        at = Wanted(path=SHADOW, content=b"", mode=0).beside
        found = filesystem.facts(at)
    if found is None:
        raise Refused("The machine has no /etc/shadow.", note=NOTE)
    content = with_root(filesystem.content(at, found.size), root_hash)
    return Wanted(path=SHADOW, content=content, mode=found.mode & 0o640, gid=found.gid)


def with_root(shadow: bytes, root_hash: str) -> bytes:
    """The shadow file with root's hash and the day it was set; every other byte as it is. Raises Refused."""
    lines = shadow.split(b"\n")
    for number, line in enumerate(lines):
        fields = line.split(b":")
        if fields[0] == b"root" and len(fields) > 2:
            fields[1:3] = [root_hash.encode(), str(int(time.time()) // 86_400).encode()]
            lines[number] = b":".join(fields)
            return b"\n".join(lines)
    raise Refused("The machine's /etc/shadow has no line for root.", note=NOTE)


def _look(filesystem: Filesystem, wanted: Wanted) -> None:
    """Raises Refused for anything but plain folders on the way, and plain files under its two names."""
    if not _PLAIN.fullmatch(wanted.path):
        raise Refused(f"{wanted.path!r} is no path for debugfs.", note="Nothing was changed.")
    parts = wanted.folder.split("/")[1:]
    for depth in range(1, len(parts) + 1):
        folder = "/" + "/".join(parts[:depth])
        found = filesystem.facts(folder)
        if found is None and depth == len(parts) > 1 and wanted.folder_mode is not None:
            return
        if found is None:
            raise Refused(f"The machine has no folder {folder}.", note=NOTE)
        _refuse_unfit(folder, found, "directory", LARGEST_FOLDER)
    for path in (wanted.path, wanted.beside):
        found = filesystem.facts(path)
        if found is not None:
            _refuse_unfit(path, found, "regular", LARGEST)


def _refuse_unfit(path: str, found: Facts, kind: str, largest: int) -> None:
    if found.kind != kind:
        is_what = _TYPES.get(found.kind, f"a {found.kind}" if found.kind.isascii() else "something else")
        raise Refused(f"{path} in the machine is {is_what}, not {_TYPES[kind]}.", note=NOTE)
    if found.size > largest:
        raise Refused(f"{path} in the machine is larger than {largest >> 20} MB.", note=NOTE)
    if found.flags & ENCRYPTED:
        raise Refused(f"{path} in the machine is encrypted.", note=NOTE)


def _replace(filesystem: Filesystem, wanted: Wanted) -> None:
    """The file in place of whatever has its name. Raises Refused where that is not what lies there afterwards."""
    path, beside = wanted.path, wanted.beside
    if wanted.folder_mode is not None:
        made = () if filesystem.facts(wanted.folder) else (f"mkdir {wanted.folder}",)
        folder_mode = stat.S_IFDIR | wanted.folder_mode
        filesystem.change(*made, *_owned(wanted.folder, folder_mode, 0))
    there = () if filesystem.facts(beside) is None else (f"rm {beside}",)
    new = (f"cd {wanted.folder}", f"write /run/new {beside.rpartition('/')[2]}")
    filesystem.change(*there, *new, *_owned(beside, stat.S_IFREG | wanted.mode, wanted.gid), new=wanted.content)
    _refuse_unlike(filesystem, wanted, beside)
    there = () if filesystem.facts(path) is None else (f"rm {path}",)
    filesystem.change(*there, f"link {beside} {path}", f"sif {path} links_count 2")
    _refuse_unlike(filesystem, wanted, path)
    filesystem.change(f"rm {beside}")
    _refuse_unlike(filesystem, wanted, path)


def _owned(path: str, mode: int, gid: int) -> tuple[str, ...]:
    return (f"sif {path} mode 0{mode:o}", f"sif {path} uid 0", f"sif {path} gid {gid}")


def _refuse_unlike(filesystem: Filesystem, wanted: Wanted, path: str) -> None:
    found = filesystem.facts(path)
    if found is None or filesystem.content(path, found.size) != wanted.content:
        raise Refused(f"{path} could not be written: the machine's root may be full.", note="Grow it, then go on.")
    if (found.kind, found.mode, found.uid, found.gid) != ("regular", wanted.mode, 0, wanted.gid):
        raise Refused(f"{path} did not become root's own.", note=BROKEN_NOTE)


def main() -> None:
    try:
        let_in(sys.argv[1], json.load(sys.stdin))
    except Refused as error:
        sys.exit(f"{error.message} {error.note}".strip())
    except (FriduError, hook.Complaint) as error:
        sys.exit(str(error))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        sys.exit(f"{where}{error.strerror or error}")


if __name__ == "__main__":
    main()
