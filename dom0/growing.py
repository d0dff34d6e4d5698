"""A filesystem takes all of the volume it lies on, once that has grown.

While it is mounted the kernel that has it mounted grows it. dom0's does that for lxc only, whose guests never write
the block device; otherwise e2fsck and resize2fs do, with the machine off, as a user of the machine's own that owns
nothing but the volume, without privileges and in bounds: what they read, the machine's owner may have crafted.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import struct
import time
from collections.abc import Iterator

from dom0 import blocks, marks, runner, tune, volumes
from dom0.errors import CommandFailed, Refused
from dom0.host import HostConfig

MIB = 1 << 20
#: Where less than this is left over, nothing is grown: a last group of blocks is left out that couldn't hold its own
#: tables (at most 2048 blocks of inodes, 1024 kept for descriptors, some bitmaps).
SLACK = 16 * MIB
_RESIZE_FS = 0x40086610  # EXT4_IOC_RESIZE_FS
_SYS_RESOURCE = 24  # the capability that asks for
_TIMEOUT_S = 1800
PATIENCE_S = 5.0  # for the loop device of a machine that has just stopped
_BOUNDS = ("prlimit", f"--as={4 << 30}", f"--cpu={_TIMEOUT_S}", "--core=0")


def may_online() -> bool:
    """Whether this process may have the kernel grow a mounted filesystem; root inside a container often may not."""
    with open("/proc/self/status") as file:
        held = next(line for line in file if line.startswith("CapEff:"))
    return bool(int(held.split()[1], 16) >> _SYS_RESOURCE & 1)


def fill(config: HostConfig, name: str, machine: str, *, online: bool, uid: int) -> str:
    """Have the ext3 or ext4 on `machine`'s volume take all of it; returns what was done in words.

    `online`: by the kernel, mounted or not, as on lxc; else by programs run as the user `uid`. Killed, it is done
    again. Raises Refused, CommandFailed, OSError.
    """
    path = volumes.path_of(config, name)
    held = marks.open_marked(path, machine)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)  # libvirt's hook and dom0.tune take it too
        if blocks.content(held) not in ("ext4", "ext3"):
            raise Refused(f"No ext3 or ext4 lies on {path}.", note="Nothing was changed. Grow what lies there by hand.")
        if online and not may_online():
            raise Refused(
                "Root on this host may not grow a mounted filesystem: it lacks CAP_SYS_RESOURCE.",
                note="Nothing was changed. What lies on the volume grows when its machine stops.",
            )
        if online:
            with tune.device_of(path) as device:
                takes = _by_kernel(device)
        else:
            takes = _by_programs(path, held, uid)
        os.fsync(held)
    finally:
        os.close(held)
    return f"The filesystem on {name} has {takes // MIB} MB."


def _by_kernel(device: str) -> int:
    """Bytes it takes afterwards. Raises OSError."""
    with open(device, "rb", buffering=0) as file, tune.mounted(device) as root:
        size = blocks.block_size(file.fileno())
        fcntl.ioctl(root, _RESIZE_FS, struct.pack("Q", blocks.size_of(file.fileno()) // size))
        if ctypes.CDLL(None, use_errno=True).syncfs(root) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), device)
        return blocks.filled(file.fileno())


def _by_programs(path: str, held: int, uid: int) -> int:
    here = f"/proc/self/fd/{held}"
    with _owned(path, held, uid), runner.handing_down(held):
        confined = (
            *("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--no-new-privs", "--inh-caps=-all"),
            *_BOUNDS,
        )
        try:
            runner.run((*confined, "e2fsck", "-fp", here), timeout_s=_TIMEOUT_S, ok_codes=(0, 1))
        except CommandFailed as error:
            raise Refused(
                f"The filesystem of {path} needs a repair by hand: {(error.stdout + error.stderr).strip()[-300:]}",
                note=f"The volume has grown, what lies on it has not. Repair it (e2fsck -f {path}), then go on.",
            ) from error
        runner.run((*confined, "resize2fs", here), timeout_s=_TIMEOUT_S)
    return blocks.filled(held)


@contextlib.contextmanager
def _owned(path: str, held: int, uid: int) -> Iterator[None]:
    """The volume is `uid`'s meanwhile, who can't get into any folder it lies in. Raises Refused where it is in use."""
    if uid < 100_000:
        raise Refused(
            f"User {uid} may be somebody on this host.", note="Nothing was changed. Use one of the machine's."
        )
    facts = os.fstat(held)
    deadline = time.monotonic() + PATIENCE_S
    while tune.loop_over(facts):
        if time.monotonic() > deadline:
            raise Refused(f"{path} is still in use.", note="Nothing was changed. Stop its machine, or unmount it.")
        time.sleep(0.02)
    os.fchown(held, uid, uid)
    try:
        yield
    finally:
        os.fchown(held, facts.st_uid if facts.st_uid != uid else 0, facts.st_gid if facts.st_gid != uid else 0)
