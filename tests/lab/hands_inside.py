# ruff: noqa: F401 - snippets use what is imported here
"""Runs inside a host of the lab: dom0's verbs on real volumes, for test_lvm_volumes.

`python -m tests.lab.hands_inside` reads a snippet on stdin, gives it the names below, and prints what it left in `out`.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest import mock

from dom0 import blocks, golden, hands, lvm, marks, probe, tune, volumes, volumes_lvm
from dom0.errors import FriduError, Refused
from dom0.host import HostConfig
from dom0.steps import Hand

ME, OTHER = "6f1d7a52-6d4c-4a53-9a3b-0f6a9c1f4e10", "0b7e4a52-6d4c-4a53-9a3b-0f6a9c1f4e11"
FS_UUID = "6bb58948-b851-5d95-a5d7-2c467accf5e9"
MIB = 1 << 20
config = HostConfig(
    name="lab", libvirt="lxc:///system", volumes="/var/lib/fridu/volumes", volume_groups=("vg0", "vgmissing")
)


def hand(verb: str, stdin: str = "", **args: str | int) -> str:
    """What the verb said, or the refusal's sentence and note."""
    words = tuple((key, str(value)) for key, value in args.items())
    try:
        return hands.do(Hand(verb=verb, args=words, stdin=stdin), config)
    except Refused as error:
        return f"refused: {error.message} {error.note}"


def made(name: str, size_mib: int, machine: str = ME) -> str:
    said = hand("volume-create", name=name, size_mib=size_mib, machine=machine)
    assert "empty" in said, said
    return name


def fill(name: str, marker: bytes, *, start_mib: int = 0) -> None:
    """The marker over all of the volume, raw, from there on."""
    size = fact(name).size_bytes
    piece = (marker * (MIB // len(marker) + 1))[:MIB]
    with open(f"/dev/{name}", "r+b", buffering=0) as device:
        device.seek(start_mib * MIB)
        for _ in range(size // MIB - start_mib):
            device.write(piece)
        os.fsync(device.fileno())


def holds(name: str, marker: bytes) -> bool:
    """Whether the marker is anywhere on the raw device, past whatever the page cache says."""
    return found_in(f"/dev/{name}", marker)


def disk_holds(marker: bytes) -> bool:
    """Whether the marker is on the group's disk, in its first GiB, where these tests' volumes lie."""
    return found_in("/dev/vdb", marker, 1024 * MIB)


def found_in(path: str, marker: bytes, end: int = 1 << 62) -> bool:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        rest, place = b"", 0
        while place < end and (piece := os.pread(fd, 4 * MIB, place)):
            if marker in rest + piece:
                return True
            rest, place = piece[-len(marker) :], place + len(piece)
        return False
    finally:
        os.close(fd)


def zeros(name: str) -> bool:
    """Whether every byte of the volume is zero."""
    with open(f"/dev/{name}", "rb") as device:
        return all(not piece.strip(b"\0") for piece in iter(lambda: device.read(4 * MIB), b""))


def fact(name: str) -> Any:
    found = volumes.look(config, name)
    assert found is not None, name
    return found


def all_there() -> list[str]:
    said = subprocess.run(("lvs", "--noheadings", "-a", "-o", "lv_name"), capture_output=True, text=True, check=True)
    return sorted(said.stdout.split())


def used_extents() -> set[str]:
    """The physical extents that are taken, by number."""
    argv = ("pvs", "--noheadings", "--segments", "-o", "pvseg_start,pvseg_size,lv_name")
    lines = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    return {str(n) for s, c, *lv in (line.split() for line in lines) if lv for n in range(int(s), int(s) + int(c))}


def shell(line: str) -> str:
    return subprocess.run(("sh", "-c", line), capture_output=True, text=True, check=True).stdout


def killed(verb: str, after: int, **args: Any) -> tuple[int, str]:
    """Have the verb die of SIGKILL after so many stretches were zeroed; the signal, and what was left begun."""
    child = os.fork()
    if child == 0:
        zero, count = fcntl.ioctl, 0

        def ioctl(*arguments: Any) -> Any:
            nonlocal count
            if count == after:
                os.kill(os.getpid(), signal.SIGKILL)
            count += 1
            return zero(*arguments)

        volumes_lvm.PROGRESS_S = 0.0
        with mock.patch.object(blocks, "fcntl", mock.Mock(ioctl=ioctl)):
            hand(verb, **args)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return (os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0), fact(str(args["name"])).unfinished


def zeroed_from(verb: str, **args: Any) -> tuple[str, list[int]]:
    """What the verb says, and the places in MiB at which it zeroes."""
    zero, places = fcntl.ioctl, []

    def ioctl(fd: int, what: int, where: bytes) -> Any:
        places.append(struct.unpack("QQ", where)[0] // MIB)
        return zero(fd, what, where)

    with mock.patch.object(blocks, "fcntl", mock.Mock(ioctl=ioctl)):
        return hand(verb, **args), places


if __name__ == "__main__":
    names: dict[str, Any] = {**globals(), "out": None}
    began = time.monotonic()
    exec(compile(sys.stdin.read(), "snippet", "exec"), names)
    sys.stdout.write("\n@" + json.dumps(names["out"], default=str))
