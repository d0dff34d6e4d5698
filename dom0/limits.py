"""A machine's limits, set and found on dom0: its interface (HTB, as a zone's bridge), its share of the zone's
bandwidth, its processor time (libvirt), its volumes' bytes and operations a second (the cgroup it runs in).

Interface, loop device and cgroup are new ones with every start; libvirt's hook (`dom0.hook`) calls `started` then, with
the system's own Python and nothing but dom0's file. So nothing here imports libvirt but where it is asked.

On a host with cgroup v1 the kernel counts what it writes back later for nobody: there a machine's reads, and the writes
it waits for, keep to the limit.
"""

from __future__ import annotations

import fcntl
import os
import stat
import struct
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from dom0 import files, limits_file, runner, shaping
from dom0.errors import CommandFailed, FriduError, Refused
from dom0.host import HostConfig
from dom0.limits_file import Kept

XEN_USUAL = 256
V1_USUAL, V2_USUAL = 1024, 100
PERIOD_US = 100_000
LOOP_GET_STATUS64, LOOP_INFO_BYTES = 0x4C05, 232
_V1 = ("read_bps", "write_bps", "read_iops", "write_iops")
_QUOTA = ("cfs_quota_us", "cfs_period_us")
_V2 = ("rbps", "wbps", "riops", "wiops")


def usual_weight(config: HostConfig) -> int:
    """What the host's scheduler gives whoever has no weight; ours are said in 256ths of it."""
    if config.libvirt.startswith("xen:"):
        return XEN_USUAL
    return V2_USUAL if Path("/sys/fs/cgroup/cgroup.controllers").exists() else V1_USUAL


def started(config: HostConfig, kept: Kept, pid: int) -> None:
    """Set what a start made anew, without libvirt, which waits for us. Raises FriduError, OSError."""
    _net(config, kept)
    if kept.lxc:
        _cpu(config, kept, pid)
        _disk(kept, pid)
    if kept.xen and (kept.cpu_weight or kept.cpu_cap):
        says = ("-w", str(kept.cpu_weight or XEN_USUAL), "-c", str(kept.cpu_cap))
        runner.run(("xl", "sched-credit2", "-d", kept.name, *says))


def ended(kept: Kept) -> None:
    """What does not go with the interface."""
    shaping.apply(kept.vif, 0, 0)


def apply(config: HostConfig, kept: Kept) -> str:
    """Set all that can be set now; of a machine that is off, its share alone. Raises FriduError, OSError."""
    from dom0 import domains

    _net(config, kept)
    running = domains.running(config, [kept.uuid]).get(kept.uuid)
    if running is None:
        return f"{kept.name} is off; its limits hold when it starts."
    if kept.lxc:
        _cpu(config, kept, running)
        _disk(kept, running)
    if kept.xen:
        domains.set_credit(config, kept.uuid, weight=_weight(config, kept), cap=kept.cpu_cap)
    return f"{kept.name}: {kept.said or 'no limits'}"


def found(config: HostConfig, uuids: Collection[str]) -> dict[str, str]:
    """What is in force on those machines that run and have a file, by uuid, as `limits_file.said` says it."""
    from dom0 import domains

    kept = {uuid: _read(config, uuid) for uuid in uuids}
    there = {uuid: each for uuid, each in kept.items() if each is not None}
    out = {}
    for uuid, number in (domains.running(config, list(there)) if there else {}).items():
        each = there[uuid]
        try:
            weight, cap = domains.credit(config, uuid) if each.xen else _cpu_found(number) if each.lxc else (0, 0)
            disk = _disk_found(each, number) if each.lxc else ""
        except FileNotFoundError:
            continue  # it ended while we looked
        out[uuid] = limits_file.said(
            ceilings=shaping.ceilings_of(each.vif),
            share=_share_found(config, each),
            cpu=limits_file.pair(_weight_found(config, each, weight), cap),
            disk=disk,
        )
    return out


def _read(config: HostConfig, uuid: str) -> Kept | None:
    text = files.read_text(limits_file.path(config.state, uuid))
    try:
        return limits_file.read(text) if text else None
    except (ValueError, TypeError, AttributeError):
        return None  # the plan finds other text than it wants, and writes it


def _net(config: HostConfig, kept: Kept) -> None:
    """Ceilings where the interface is there; shares where the zone has a ceiling. Raises Refused, CommandFailed."""
    there = Path("/sys/class/net", kept.vif).exists()
    shares = {**shaping.kept_shares(config, kept.bridge), kept.mac: kept.net_share_kbit}
    with files.lock(f"{config.run}/locks/shares-{kept.bridge}"):
        try:
            shaping.apply(kept.vif, *((kept.net_in_kbit, kept.net_out_kbit) if there else (0, 0)))
            shaping.share_again(kept.bridge, shares)
        except CommandFailed as error:
            raise Refused(
                f"This kernel does not shape as asked: {error}",
                note="It needs sch_htb, sch_ingress, cls_u32, act_mirred and ifb: modprobe them, or take that off.",
            ) from error


def _share_found(config: HostConfig, kept: Kept) -> str:
    """The share as kept where it is in force below each of the zone's ceilings, "?" where it is not."""
    shares = shaping.kept_shares(config, kept.bridge)
    for device, now in zip((kept.bridge, shaping.ifb_of(kept.bridge)), shaping.shares_of(kept.bridge), strict=True):
        ceiling = shaping.ceiling(device)
        wanted = shaping.scaled(shares, ceiling).get(kept.mac) if ceiling else None
        if now.get(kept.mac) != wanted:
            return shaping.ODD
    return str(kept.net_share_kbit or "")


def _weight(config: HostConfig, kept: Kept) -> int:
    return kept.cpu_weight * usual_weight(config) // 256 if kept.cpu_weight else usual_weight(config)


def _weight_found(config: HostConfig, kept: Kept, now: int) -> int:
    """In 256ths of the usual; as kept where it comes to the same."""
    return kept.cpu_weight if now == _weight(config, kept) else round(now * 256 / usual_weight(config))


def _cpu(config: HostConfig, kept: Kept, pid: int) -> None:
    """What libvirt's schedinfo would write."""
    folder, unified = _group(pid, "cpu")
    weight, quota = _weight(config, kept), kept.cpu_cap * PERIOD_US // 100
    if unified:
        wanted = {"cpu.weight": f"{weight}", "cpu.max": f"{quota or 'max'} {PERIOD_US}"}
    else:
        wanted = {"cpu.shares": f"{weight}", "cpu.cfs_period_us": f"{PERIOD_US}", "cpu.cfs_quota_us": f"{quota or -1}"}
    for name, text in wanted.items():
        _write(folder / name, text, needed=bool(kept.cpu_weight or kept.cpu_cap))


def _cpu_found(pid: int) -> tuple[int, int]:
    """Weight in the kernel's words and cap. Raises Refused, OSError."""
    folder, unified = _group(pid, "cpu")
    if unified:
        weight, (quota, period) = (folder / "cpu.weight").read_text(), (folder / "cpu.max").read_text().split()
    else:
        weight, quota, period = ((folder / f"cpu.{name}").read_text() for name in ("shares", *_QUOTA))
    return int(weight), max(0, round(int(quota.replace("max", "0")) * 100 / int(period)))


def _disk(kept: Kept, pid: int) -> None:
    """Raises Refused where the machine's cgroup has no such limit."""
    folder, unified = _group(pid, "blkio")
    rates = (kept.disk_kib_s * 1024,) * 2 + (kept.disk_iops,) * 2
    for device in _devices(kept.volumes):
        if unified:
            says = " ".join(f"{key}={rate or 'max'}" for key, rate in zip(_V2, rates, strict=True))
            _write(folder / "io.max", f"{device} {says}", needed=any(rates))
        else:
            for key, rate in zip(_V1, rates, strict=True):
                _write(folder / f"blkio.throttle.{key}_device", f"{device} {rate}", needed=bool(rate))


def _write(path: Path, text: str, *, needed: bool) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        if needed:
            raise Refused(
                f"This host does not limit that by machine: {path}: {error.strerror}.",
                note="Its kernel needs the cpu and io controllers (CFS bandwidth, block throttling); or take it off.",
            ) from error


def _disk_found(kept: Kept, pid: int) -> str:
    folder, unified = _group(pid, "blkio")
    found = {_rates(folder, device, unified=unified) for device in _devices(kept.volumes)}
    if len(found) > 1:
        return shaping.ODD
    rates = found.pop() if found else (0, 0, 0, 0)
    if rates[0] != rates[1] or rates[2] != rates[3] or rates[0] % 1024:
        return shaping.ODD
    return limits_file.pair(rates[0] // 1024, rates[2])


def _rates(folder: Path, device: str, *, unified: bool) -> tuple[int, ...]:
    if unified:
        said = dict(word.split("=") for word in _line(folder / "io.max", device).split())
        return tuple(int(said.get(key, "max").replace("max", "0")) for key in _V2)
    return tuple(int(_line(folder / f"blkio.throttle.{key}_device", device) or 0) for key in _V1)


def _line(path: Path, device: str) -> str:
    """What stands there of the device, "" for nothing."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(" ")[2] for line in lines if line.startswith(f"{device} ")), "")


def _devices(volumes: Collection[str]) -> list[str]:
    """The block devices ("7:3") of those volumes that are in use: themselves, or the loop devices over them."""
    found, images = [], set()
    for volume in volumes:
        try:
            about = Path(volume).stat()
        except OSError:
            continue
        if stat.S_ISBLK(about.st_mode):
            found.append(f"{os.major(about.st_rdev)}:{os.minor(about.st_rdev)}")
        else:
            images.add((about.st_dev, about.st_ino))
    for loop in Path("/sys/block").glob("loop*") if images else ():
        if (loop / "loop").exists() and _image(loop.name) in images:
            found.append((loop / "dev").read_text().strip())
    return sorted(found)


def _image(loop: str) -> tuple[int, int] | None:
    """Device and inode of the file behind a loop device: its path may be another one's in another mount namespace."""
    try:
        fd = os.open(f"/dev/{loop}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        device, inode = struct.unpack_from("QQ", fcntl.ioctl(fd, LOOP_GET_STATUS64, bytes(LOOP_INFO_BYTES)))
    except OSError:
        return None  # it was let go while we looked
    finally:
        os.close(fd)
    return device, inode


def _group(pid: int, controller: str) -> tuple[Path, bool]:
    """The folder of the cgroup of a process that limits it so ("cpu", "blkio"), and whether it is of cgroup v2.

    Raises Refused, OSError.
    """
    lines = [line.split(":", 2) for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
    for _, controllers, group in lines:
        if controller in controllers.split(","):
            return _mounted("cgroup", controller) / group.lstrip("/"), False
    for number, _, group in lines:
        if number == "0":
            folder = _mounted("cgroup2", "") / group.lstrip("/")
            _hand_down(folder, {"blkio": "io"}.get(controller, controller))
            return folder, True
    raise Refused(f"This host has no {controller} controller, so that can't be limited.", note="Take that limit off.")


def _mounted(kind: str, option: str) -> Path:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        after = fields[fields.index("-") + 1 :]
        if after[0] == kind and (not option or option in after[2].split(",")):
            return Path(fields[4])
    raise Refused(f"No {kind} is mounted here, so that can't be limited.", note="Take that limit off.")


def _hand_down(folder: Path, controller: str) -> None:
    """Let the group's parents hand the controller down, where they don't yet."""
    for parent in reversed(folder.parents):
        control = parent / "cgroup.subtree_control"
        if control.exists() and controller not in control.read_text().split():
            try:
                control.write_text(f"+{controller}")
            except OSError:
                return  # `_write` says so


def _hand(config: HostConfig, args: Mapping[str, str], stdin: str) -> str:
    try:
        kept = limits_file.read(stdin)
    except (ValueError, TypeError, AttributeError) as error:
        raise Refused(f"These are no limits: {error}", note="A plan shows what they look like.") from error
    if not kept.vif.startswith(config.vif_prefix) or not kept.bridge.startswith(config.bridge_prefix):
        raise Refused(
            f"{kept.vif} on {kept.bridge} is no machine's interface here.",
            note=f"Those begin with {config.vif_prefix}, on bridges that begin with {config.bridge_prefix}.",
        )
    return apply(config, kept)


def from_hook(config: HostConfig, kept: Kept, pid: int, when: str) -> str:
    """What libvirt's hook asks for; why it could not be had, "" where it could. A limit never keeps a machine off."""
    try:
        if when == "started":
            started(config, kept, pid)
        else:
            ended(kept)
    except (FriduError, OSError) as error:
        return str(error)
    return ""


VERBS: dict[str, Callable[[HostConfig, Mapping[str, str], str], str]] = {"limits-apply": _hand}
