"""Check the filesystem of a machine that is off: `python -m dom0.checking VOLUME MACHINE look|repair LIBVIRT`, as root.

Its owner had root on it, so its bytes are hostile: dom0's kernel does not mount it, and e2fsck reads them as a user
nobody else is, without privileges, network or anything to write but that one device. What it says is a verdict
(dom0.verdicts).
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

from dom0 import hook, marks, tune, verdicts
from dom0.errors import FriduError, Refused
from dom0.verdicts import Verdict

USERS = 0x7000_0000  # from here on, one a device: beyond those of all machines
LONGEST_S = 900.0
LINE = 160  # characters of a line of e2fsck's that are repeated
MEMORY = 2 << 30
THREADS = 64  # e2fsck reads bitmaps with one a processor, and gives up where it gets none
TOLD = 2 << 20  # bytes of what a program says that are kept
VOLUME = "/run/volume"
E2FSCK = "/sbin/e2fsck"
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
WAYS = {"look": "-fn", "repair": "-fp"}
CLEAN, MENDED, MENDED_TOO, LEFT = 0, 1, 2, 4  # e2fsck's exit codes
#: In a rescue system a guest with a kernel of its own has its volume as a device; to lxc's the host shows the files.
BY_ITSELF = "Start it from a rescue image and run e2fsck on it there, or restore a snapshot."
BY_THE_HOST = (
    "Restore a snapshot, or reinstall it. Or operators type on the host, machine off: e2fsck -f {volume}; it asks what "
    "to give up."
)
_NEWNS, _NEWNET, _NEWIPC = 0x20000, 0x40000000, 0x08000000
_REC, _PRIVATE, _NOSUID, _NOEXEC = 0x4000, 0x40000, 0x2, 0x8
_NO_NEW_PRIVS = 38
_libc = ctypes.CDLL(None, use_errno=True)


def check(volume: str, machine: str, way: str, *, lxc: bool = False) -> Verdict:
    """What e2fsck finds on `machine`'s volume; by "repair" it mends what needs no question.

    `lxc`: the machine never sees its volume itself, so nobody in it could repair more. Raises Refused, OSError.
    """
    held = marks.open_marked(volume, machine)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)  # libvirt's hook takes it too
        except BlockingIOError as error:
            raise Refused(f"{volume} is in use.", note="Stop the machine, then check it.") from error
        with tune.device_of(volume) as device:
            code, said = confined(Path(device).stat().st_rdev, (E2FSCK, WAYS[way], VOLUME))
    finally:
        os.close(held)
    return _verdict(code, said.decode("utf-8", "replace"), way, BY_THE_HOST.format(volume=volume) if lxc else BY_ITSELF)


def confined(
    device: int, argv: tuple[str, ...], files: Mapping[str, bytes] | None = None, *, errors: bool = True
) -> tuple[int, bytes]:
    """A program without privileges, in a child of ours that sees the block device `device` (its number) as VOLUME.

    That is the one file it may write. `files` are put below /run, in memory, for it alone to read. Returns its exit
    code and the end of what it printed, TOLD bytes at most, with `errors` also what it complained of.
    """
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reads)
            nothing = os.open(os.devnull, os.O_RDWR)
            os.dup2(nothing, 0)
            os.dup2(writes, 1)
            os.dup2(writes if errors else nothing, 2)
            _leave(device, files or {})
            os.execve(argv[0], argv, ENVIRONMENT)  # noqa: S606 - no shell
        except OSError as error:
            os.write(2, f"{error}\n".encode())
        finally:
            os._exit(8)
    os.close(writes)
    said = b""
    while chunk := os.read(reads, 65_536):
        said = (said + chunk)[-TOLD:]
    os.close(reads)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), said


def _leave(device: int, files: Mapping[str, bytes]) -> None:
    """Everything but the device and `files` behind us: namespaces, then privileges, for good."""
    _call(_libc.unshare(_NEWNS | _NEWNET | _NEWIPC))
    _call(_libc.mount(b"none", b"/", None, _REC | _PRIVATE, None))
    _call(_libc.mount(b"none", b"/run", b"tmpfs", _NOSUID | _NOEXEC, b"size=4m,mode=0711"))
    os.mknod(VOLUME, 0o600 | stat.S_IFBLK, device)
    user = user_of(device)
    for path, content in files.items():
        Path(path).write_bytes(content)
        Path(path).chmod(0o400)
    for path in (VOLUME, *files):
        os.chown(path, user, user)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (int(LONGEST_S), int(LONGEST_S)))
    resource.setrlimit(resource.RLIMIT_NPROC, (THREADS, THREADS))
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    _call(_libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0))


def user_of(device: int) -> int:
    """Who reads it: e2fscks of the same user could trace each other, and count as each other's processes."""
    return USERS + (device & 0x0FFF_FFFF)


def _call(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _verdict(code: int, said: str, way: str, beyond: str) -> Verdict:
    lines = tuple(_plain(line) for line in said.splitlines() if line.strip())[-verdicts.SEEN + 1 :]
    if code == CLEAN:
        return verdicts.good("Its filesystem is in order.", seen=lines)
    if way == "repair" and code in (MENDED, MENDED_TOO, MENDED | MENDED_TOO):
        return verdicts.good("Its filesystem had errors; they are mended.", seen=lines)
    if code & LEFT and code < 8:
        do = beyond if way == "repair" else "Repair it: fridu check NAME repair mends what needs no question."
        return verdicts.bad("Its filesystem has errors.", do, seen=lines)
    return verdicts.unsure("e2fsck could not read it to its end.", beyond, seen=lines)


def _plain(line: str) -> str:
    """A line that may hold names a guest chose: printable, short."""
    return "".join(sign if sign.isprintable() else "?" for sign in line)[:LINE]


def main(argv: list[str]) -> None:
    volume, machine, way, libvirt = argv
    try:
        sys.stdout.write(check(volume, machine, way, lxc=libvirt.startswith("lxc:")).text + "\n")
    except Refused as error:
        sys.exit(f"{error.message} {error.note}".strip())
    except (FriduError, hook.Complaint, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(sys.argv[1:])
