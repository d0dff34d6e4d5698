#!/usr/bin/python3 -I
# ruff: noqa: E402 - whoever has nothing to do leaves before the imports
"""libvirt's hook for lxc machines: mounts a machine's volume before it starts, lets go of it afterwards.

libvirt calls `lxc NAME prepare|start|started|stopped|release|reconnect begin|end -` with the domain's XML on
stdin. Everything a root needs stands in that XML, in the element

    <fridu:root xmlns:fridu="https://fridu.org/xmlns/machine/1" volume="…" mount="…" uid_base="…"/>

below <metadata>: the volume (an image file or a block device holding ext4 or ext3), the folder it is mounted at, and
the first of the 65,536 user ids that the machine's root..65535 have on this host. The mount is *idmapped*: ids
on disk stay 0..65535, so the same volume boots under lxc, qemu and Xen. A <fridu:log volume="…" mount="…"/> beside it
is mounted likewise: libvirt shows it to the machine as /var/log. A domain without the root is not
ours and left alone. Calling it twice does no harm. A complaint goes to stderr, from where libvirt shows it.

A machine with limits has a file (`dom0.limits_file`); what of them went with the last start is set again when it is
started, however it came to that: by the panel, with the host, or by itself. So on Xen (hooks/libxl) too.

Stands alone (`python3 -I`, standard library only), since libvirt must be able to run it before anything of
Fridu is there; the file of limits says where that is.
"""

from __future__ import annotations

import os
import sys

HOST_FILE, STATE = "/etc/fridu/host.toml", "/var/lib/fridu/state"


def limits_folder() -> str:
    """Where dom0 keeps the machines' limits. By hand: TOML's own reader takes longer than all the rest here."""
    state = STATE
    try:
        with open(os.environ.get("FRIDU_HOST_TOML", HOST_FILE)) as file:
            for line in file:
                key, _, value = line.partition("=")
                if key.strip() == "state":
                    state = value.partition("#")[0].strip().strip("\"'")
    except OSError:
        pass
    return f"{state}/limits"


if __name__ == "__main__" and sys.argv[2:3]:  # before the imports: libvirt calls this five times a start
    if sys.argv[2] not in ("prepare", "started", "release"):
        sys.exit(0)
    if sys.argv[2] == "started" and not (os.path.isdir(limits_folder()) and os.listdir(limits_folder())):
        sys.exit(0)

import ctypes
import errno
import fcntl
import stat
import struct
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from xml.etree.ElementTree import Element

NAMESPACE = "https://fridu.org/xmlns/machine/1"
BLOCK = 65_536  # user ids a machine
LOWEST_BASE = 100_000

# The same numbers on every architecture (>= 424).
SYS_MOVE_MOUNT, SYS_FSOPEN, SYS_FSCONFIG, SYS_FSMOUNT, SYS_MOUNT_SETATTR = 429, 430, 431, 432, 442
FSCONFIG_SET_STRING, FSCONFIG_CMD_CREATE = 1, 6
FSOPEN_CLOEXEC = FSMOUNT_CLOEXEC = 1
MOUNT_ATTR_NODEV, MOUNT_ATTR_IDMAP = 0x4, 0x100000
AT_EMPTY_PATH, AT_FDCWD, MOVE_MOUNT_F_EMPTY_PATH = 0x1000, -100, 0x4
CLONE_NEWUSER = 0x10000000

LOOP_CONFIGURE, LOOP_GET_STATUS64, LOOP_CTL_GET_FREE = 0x4C0A, 0x4C05, 0x4C82
LO_FLAGS_AUTOCLEAR = 4
LOOP_INFO64 = struct.Struct("QQQQQIIII64s64s32sQQ")
UNMOUNT_PATIENCE_S = 5.0

_libc = ctypes.CDLL(None, use_errno=True)


class Complaint(Exception):
    """Why the machine can't start: a sentence."""


class Root(NamedTuple):
    """A machine's volume, its root or another, and where it goes; one that `may_fail` keeps it not from starting."""

    volume: str
    mount: str
    uid_base: int
    may_fail: bool = False


def read(xml: bytes) -> tuple[Root, ...]:
    """The root that the domain's XML names, then its log where it has one; none for a domain that is not ours.

    Raises Complaint.
    """
    from xml.etree import ElementTree  # here, like subprocess below: dom0.tune imports us and counts milliseconds

    domain = ElementTree.fromstring(xml)  # noqa: S314 - libvirt wrote it
    found = domain.find(f"metadata//{{{NAMESPACE}}}root")
    if found is None or domain.get("type") != "lxc":
        return ()
    log = domain.find(f"metadata//{{{NAMESPACE}}}log")
    try:
        root = Root(found.attrib["volume"], found.attrib["mount"], int(found.attrib["uid_base"]))
        all_of_it = (root,) if log is None else (root, Root(log.attrib["volume"], log.attrib["mount"], root.uid_base))
        for own in domain.iterfind(f"metadata//{{{NAMESPACE}}}own"):  # rescue: what it is rescued from may be broken
            all_of_it = (*all_of_it, Root(own.attrib["volume"], own.attrib["mount"], root.uid_base, may_fail=True))
    except (KeyError, ValueError) as error:
        raise Complaint(f"The machine's metadata lacks or garbles {error}.") from error
    for path in (path for volume in all_of_it for path in volume[:2]):
        if not path.startswith("/") or os.path.normpath(path) != path:
            raise Complaint(f"{path} is not a plain absolute path.")
    sources = {source.get("dir") for source in domain.iterfind("devices/filesystem[target]/source")}
    for volume in all_of_it:
        if volume.mount not in sources:
            raise Complaint(
                f"The machine's metadata says {volume.mount}, but none of its filesystems comes from there."
            )
    _refuse_unshifted(domain, root)
    return all_of_it


def _refuse_unshifted(domain: Element, root: Root) -> None:
    for kind in ("uid", "gid"):
        line = domain.find(f"idmap/{kind}")
        wanted = {"start": "0", "target": str(root.uid_base), "count": str(BLOCK)}
        if root.uid_base < LOWEST_BASE or line is None or line.attrib != wanted:
            raise Complaint(
                f"The machine's idmap must give {kind} 0 to {BLOCK - 1} the host's ids from {root.uid_base}, "
                f"which must be {LOWEST_BASE} or more. Without it, its root would be this host's root."
            )


def prepare_all(volumes: Sequence[Root]) -> None:
    """Mount each, or none of those that were not mounted before. Raises Complaint, OSError."""
    mounted: list[Root] = []
    try:
        for volume in volumes:
            new = not mounted_volume(volume.mount)
            try:
                prepare(volume)
            except (Complaint, OSError):
                if not volume.may_fail:
                    raise
                os.makedirs(volume.mount, mode=0o711, exist_ok=True)  # empty: its own check comes first
            mounted += [volume] if new else []
    except (Complaint, OSError):
        release_all(mounted)
        raise


def release_all(volumes: Sequence[Root]) -> None:
    """Unmount each. Raises Complaint."""
    for volume in reversed(volumes):
        release(volume)


def prepare(root: Root) -> None:
    """Mount the volume, checked, at its place; nothing to do where it is mounted already. Raises Complaint."""
    mounted = mounted_volume(root.mount)
    if mounted == os.path.realpath(root.volume):
        return
    if mounted:
        raise Complaint(f"{root.mount} holds {mounted} instead of {root.volume}; unmount it first.")
    if not os.path.exists(root.volume):
        raise Complaint(f"The volume {root.volume} is missing.")
    check(root.volume)
    os.makedirs(os.path.dirname(root.mount), mode=0o711, exist_ok=True)
    os.makedirs(root.mount, mode=0o711, exist_ok=True)
    if stat.S_ISBLK(os.stat(root.volume).st_mode):
        mount_idmapped(os.path.realpath(root.volume), root)
    else:
        with Loop(root.volume) as device:
            mount_idmapped(device, root)


def release(root: Root) -> None:
    """Unmount the volume; its loop device clears itself. Raises Complaint when it stays busy."""
    deadline = time.monotonic() + UNMOUNT_PATIENCE_S
    while mounted_volume(root.mount):
        if _libc.umount2(os.fsencode(root.mount), 0) != 0 and time.monotonic() > deadline:
            raise Complaint(f"{root.mount} stays busy: {os.strerror(ctypes.get_errno())}.")
        time.sleep(0.02)
    if os.path.isdir(root.mount):
        os.rmdir(root.mount)


def check(volume: str) -> None:
    """Repair what can be repaired without asking. Raises Complaint where a person is needed."""
    import subprocess

    argv = ("e2fsck", "-p", volume)
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=600, check=False, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as error:
        raise Complaint(f"Checking the filesystem of {volume} does not end; check it by hand.") from error
    if done.returncode > 1:
        said = (done.stdout + done.stderr).strip()[-500:]
        if "is mounted" in said:  # two mounts of one ext4 destroy it
            raise Complaint(f"The volume {volume} is mounted elsewhere; let that end first.")
        raise Complaint(f"The filesystem of {volume} needs a repair by hand (e2fsck {volume}): {said}")


def mounted_volume(place: str) -> str:
    """The file or device mounted at `place`, "" where nothing is."""
    with open("/proc/self/mountinfo") as table:
        lines = table.read().splitlines()
    for line in reversed(lines):
        fields = line.split()
        if fields[4] == place:
            device = fields[fields.index("-") + 2]
            return backing_file(fields[2]) or os.path.realpath(device)
    return ""


def backing_file(number: str) -> str:
    """The file behind the loop device `number` ("7:3"), "" for any other device."""
    try:
        with open(f"/sys/dev/block/{number}/loop/backing_file") as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""


class Loop:
    """A loop device over an image file that goes by itself once neither we nor a mount uses it."""

    def __init__(self, image: str) -> None:
        self.image, self.fd = image, -1

    def __enter__(self) -> str:
        backing = os.open(self.image, os.O_RDWR | os.O_CLOEXEC)
        control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
        try:
            for _ in range(50):
                number = fcntl.ioctl(control, LOOP_CTL_GET_FREE)
                self.fd = os.open(f"/dev/loop{number}", os.O_RDWR | os.O_CLOEXEC)
                if self._configure(backing):
                    return f"/dev/loop{number}"
                os.close(self.fd)
        finally:
            os.close(control)
            os.close(backing)
        raise Complaint("No loop device could be had: too many programs take them at once.")

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)

    def _configure(self, backing: int) -> bool:
        """False where somebody else took the device between the question and the answer."""
        info = LOOP_INFO64.pack(0, 0, 0, 0, 0, 0, 0, 0, LO_FLAGS_AUTOCLEAR, self.image.encode()[:63], b"", b"", 0, 0)
        config = struct.pack("II", backing, 0) + info + bytes(64)
        try:
            fcntl.ioctl(self.fd, LOOP_CONFIGURE, config)
        except OSError as error:
            if error.errno == errno.EBUSY:
                return False
            raise
        return True


def mount_idmapped(device: str, root: Root) -> None:
    """Mount `device` (ext4) at the root's place with its ids shifted into the machine's block. Raises OSError."""
    context = _syscall(SYS_FSOPEN, b"ext4", FSOPEN_CLOEXEC)
    _syscall(SYS_FSCONFIG, context, FSCONFIG_SET_STRING, b"source", device.encode(), 0)
    _syscall(SYS_FSCONFIG, context, FSCONFIG_CMD_CREATE, None, None, 0)
    tree = _syscall(SYS_FSMOUNT, context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NODEV)
    users = user_namespace(root.uid_base)
    attributes = struct.pack("QQQQ", MOUNT_ATTR_IDMAP, 0, 0, users)
    _syscall(SYS_MOUNT_SETATTR, tree, b"", AT_EMPTY_PATH, attributes, len(attributes))
    _syscall(SYS_MOVE_MOUNT, tree, b"", AT_FDCWD, os.fsencode(root.mount), MOVE_MOUNT_F_EMPTY_PATH)
    for fd in (context, tree, users):
        os.close(fd)


def user_namespace(base: int) -> int:
    """A descriptor of a user namespace that maps 0..65535 to base..base+65535; it has no process of its own."""
    there, tell_there = os.pipe()
    done, tell_done = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(tell_done)
        unshared = _libc.unshare(CLONE_NEWUSER) == 0
        os.write(tell_there, b"y" if unshared else b"n")
        os.read(done, 1)  # until the parent has its descriptor, or is gone
        os._exit(0)
    try:
        if os.read(there, 1) != b"y":
            raise Complaint("This kernel forbids user namespaces, which machines need.")
        for kind in ("uid_map", "gid_map"):
            with open(f"/proc/{child}/{kind}", "w") as table:
                table.write(f"0 {base} {BLOCK}\n")
        return os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        for fd in (tell_done, there, tell_there, done):
            os.close(fd)
        os.waitpid(child, 0)


def _syscall(number: int, *arguments: int | bytes | None) -> int:
    words = [ctypes.c_long(word) if isinstance(word, int) else word for word in arguments]
    result: int = _libc.syscall(ctypes.c_long(number), *words)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"system call {number}: {os.strerror(error)}")
    return result


def limit(when: str, xml: bytes) -> None:
    """Set a machine's limits again, or tidy up after it. Says what went wrong, and lets the machine start."""
    kept = limits_path(xml)
    if not os.path.exists(kept):
        return
    import json

    try:
        with open(kept) as file:
            sys.path.insert(0, json.load(file)["project"])
        from dom0 import host, limits, limits_file

        with open(kept) as file:
            said = limits.from_hook(host.load(), limits_file.read(file.read()), domain_id(xml), when)
    except Exception as error:  # whatever it is, it is no reason to keep a machine off
        said = str(error)
    if said:
        sys.stderr.write(f"Fridu: the machine's limits are not set: {said}\n")


def limits_path(xml: bytes) -> str:
    """Where the limits of the domain would be kept."""
    import re

    uuid = re.search(rb"<uuid>([0-9a-f-]{36})</uuid>", xml)
    return f"{limits_folder()}/{uuid[1].decode() if uuid else ''}.json"


def domain_id(xml: bytes) -> int:
    """libvirt's number of a running domain, 0 for none."""
    import re

    found = re.search(rb"<domain [^>]*\bid=['\"](\d+)['\"]", xml)
    return int(found[1]) if found else 0


def main() -> None:
    try:
        xml = sys.stdin.buffer.read()
        if sys.argv[2] != "prepare":
            limit(sys.argv[2], xml)
        volumes = read(xml)
        if sys.argv[2] != "started":
            (prepare_all if sys.argv[2] == "prepare" else release_all)(volumes)
    except (Complaint, OSError, SyntaxError) as error:  # SyntaxError: XML that is none
        sys.exit(f"Fridu: {error}")


if __name__ == "__main__":
    main()
