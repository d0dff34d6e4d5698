"""Tune a machine's root filesystem: `python -m dom0.tune VOLUME`, what to write as JSON on stdin.

{"machine": UUID, "mark": TEXT, "files": [{"path", "content", "mode"?, "folder_mode"?, "when"?, "unless"?}],
 "lines": [{"path", "old", "new"}], "links": [{"path", "target", "when"?, "unless"?}],
 "remove": [PATH with * in its last part],
 "passwords": {USER: HASH}, "needs": [{"any": [PATH], "says": SENTENCE}]}

`when` and `unless` name a path that must, or must not, be in the root; a need none of whose paths is there is said.

A process of its own. The filesystem is mounted in no namespace at all (fsmount): no other process can pin it, and
it goes with us. On a running machine it is a second mount of the same device, so both see one filesystem. Serves
hypervisors whose guests never write the block device themselves (lxc with idmap), and volumes nobody had yet.

A fresh root, which nobody has had in hands, is tuned in the worker itself (the verb root-tune): starting a process
takes longer than tuning. A root that has had an owner is opened in a process of its own, under a time limit; half of
that one's time would be imports, so pathlib, dataclasses and their like stay out.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import stat
import sys
import time
from collections.abc import Iterator
from typing import Any

from dom0 import hook, marks
from dom0.confined import Root
from dom0.errors import Refused

NOSUID, NODEV, NOEXEC = 0x2, 0x4, 0x8
FSCONFIG_SET_FLAG = 0


def tune(volume: str, wishes: dict[str, Any]) -> list[str]:
    """Do what `wishes` says on the filesystem of `volume`, then mark it; what could not be done, in sentences.

    Raises Refused, OSError.
    """
    held = marks.open_marked(volume, wishes["machine"])
    try:
        fcntl.flock(held, fcntl.LOCK_EX)  # libvirt's hook takes it too: never two loop devices over one image
        with device_of(volume) as device, mounted(device) as fd:
            lacking = write(Root(fd), wishes)
            if ctypes.CDLL(None, use_errno=True).syncfs(fd) != 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), volume)
        os.fsync(held)
        marks.put(held, "tuned", wishes["mark"])
        os.fsync(held)
    finally:
        os.close(held)
    return lacking


def write(root: Root, wishes: dict[str, Any]) -> list[str]:
    """Write, link, remove and set passwords in `root`; what it lacks, in sentences. Raises OSError, Refused."""
    for file in wishes.get("files", ()):
        if _meant(root, file):
            root.write(
                file["path"],
                file["content"].encode(),
                mode=int(file.get("mode", "0644"), 8),
                folder_mode=int(file["folder_mode"], 8) if "folder_mode" in file else None,
            )
    for link in wishes.get("links", ()):
        if _meant(root, link):
            root.link(link["path"], link["target"])
    for line in wishes.get("lines", ()):
        _replace(root, line)
    for path in wishes.get("remove", ()):
        root.remove(path)
    if wishes.get("passwords"):
        _set_passwords(root, wishes["passwords"])
    return [need["says"] for need in wishes.get("needs", ()) if not any(map(root.has, need["any"]))]


def _replace(root: Root, line: dict[str, str]) -> None:
    """A whole line that reads `old` becomes `new`; a file without it stays as its owner made it."""
    found = root.read(line["path"])
    if found is None:
        return
    content, facts = found
    before = content.split(b"\n")
    after = [line["new"].encode() if each == line["old"].encode() else each for each in before]
    if after != before:
        root.write(line["path"], b"\n".join(after), mode=stat.S_IMODE(facts.st_mode) & 0o755, gid=facts.st_gid)


def _meant(root: Root, wish: dict[str, Any]) -> bool:
    if "when" in wish and not root.has(wish["when"]):
        return False
    return not ("unless" in wish and root.has(wish["unless"]))


def _set_passwords(root: Root, passwords: dict[str, str]) -> None:
    found = root.read("/etc/shadow")
    if found is None:
        raise Refused("The machine has no /etc/shadow.", note="Give its image one, or set no password.")
    content, facts = found
    mode = stat.S_IMODE(facts.st_mode) & 0o640
    root.write("/etc/shadow", with_passwords(content, passwords), mode=mode, gid=facts.st_gid)


def with_passwords(shadow: bytes, passwords: dict[str, str]) -> bytes:
    """The shadow file with those users' hashes; a user it lacks is added. Other lines stay as they are."""
    today = int(time.time()) // 86_400
    left, lines = dict(passwords), []
    for line in shadow.decode("utf-8", "surrogateescape").splitlines():
        fields = line.split(":")
        if fields[0] in left and len(fields) > 2:
            fields[1:3] = [left.pop(fields[0]), str(today)]
        lines.append(":".join(fields))
    lines += [f"{user}:{password}:{today}:0:99999:7:::" for user, password in left.items()]
    return ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape")


@contextlib.contextmanager
def device_of(volume: str) -> Iterator[str]:
    """The block device of a volume: itself, the loop device a running machine has over it, or a new one."""
    facts = os.stat(volume)
    if stat.S_ISBLK(facts.st_mode):
        yield volume
        return
    there = loop_over(facts)
    if there:
        yield there
        return
    with hook.Loop(volume) as device:
        yield device


def loop_over(facts: os.stat_result) -> str:
    """The loop device over the file with these facts, "" where there is none."""
    for name in os.listdir("/sys/block"):
        if not os.path.exists(f"/sys/block/{name}/loop/backing_file"):
            continue
        with contextlib.suppress(OSError), open(f"/dev/{name}", "rb") as file:
            status = bytearray(hook.LOOP_INFO64.size)
            fcntl.ioctl(file, hook.LOOP_GET_STATUS64, status)
            if hook.LOOP_INFO64.unpack(status)[:2] == (facts.st_dev, facts.st_ino):
                return f"/dev/{name}"
    return ""


@contextlib.contextmanager
def mounted(device: str) -> Iterator[int]:
    """A descriptor of the root of the ext4 on `device`, mounted in no namespace. Raises OSError."""
    context = hook._syscall(hook.SYS_FSOPEN, b"ext4", hook.FSOPEN_CLOEXEC)
    try:
        hook._syscall(hook.SYS_FSCONFIG, context, hook.FSCONFIG_SET_STRING, b"source", device.encode(), 0)
        # Zeroing the inode tables that growing has added can wait for the machine's own mount.
        hook._syscall(hook.SYS_FSCONFIG, context, FSCONFIG_SET_FLAG, b"noinit_itable", None, 0)
        hook._syscall(hook.SYS_FSCONFIG, context, hook.FSCONFIG_CMD_CREATE, None, None, 0)
        tree = hook._syscall(hook.SYS_FSMOUNT, context, hook.FSMOUNT_CLOEXEC, NOSUID | NODEV | NOEXEC)
        try:
            fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=tree)
            try:
                yield fd
            finally:
                os.close(fd)
        finally:
            os.close(tree)
    finally:
        os.close(context)


def main() -> None:
    try:
        sys.stdout.writelines(f"{says}\n" for says in tune(sys.argv[1], json.load(sys.stdin)))
    except Refused as error:
        sys.exit(f"{error.message} {error.note}")
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        sys.exit(f"{where}{error.strerror or error}")


if __name__ == "__main__":
    main()
