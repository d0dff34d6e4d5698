"""Volumes as logical volumes with our marks as tags. What a group's free extents hold is never trusted, nor left.

New extents are zeroed before anybody may use them, given back ones before they are free. Each of these is begun with
a mark that says how far it came, so that whoever goes on after a kill neither begins anew nor skips anything.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from dom0 import blocks, files, lvm, marks, runner
from dom0.errors import CommandFailed, Refused
from dom0.host import HostConfig
from dom0.lvm import Group, Logical
from dom0.state import Place, Volume

MIB = 1 << 20
GROWING = ".growing"  # the name of what a volume will grow by, until it is zeroed
KEPT_FREE = 20  # one part in so many of a group, for what else has to grow: snapshots don't take it
PATIENCE_S = 5.0  # for whoever looks into a device for a moment, such as udev
PROGRESS_S = 2.0  # between two notes of how far zeroing came
_ENVIRONMENT = {"LVM_SUPPRESS_FD_WARNINGS": "1"}
_SLOW_S = 300.0


def look_each(config: HostConfig, names: Collection[str]) -> Mapping[str, Volume]:
    """The volumes of those names that are there, and their snapshots, in one look. Raises CommandFailed."""
    wanted = sorted({name.partition("/")[0] for name in names})
    found = {volume.full_name: volume for volume in _volumes(*wanted)} if wanted else {}
    kept = sorted(name for name, volume in found.items() if _kept_of(volume) in names and name not in names)
    return {name: _fact(found[name]) for name in (*names, *kept) if name in found}


def snapshots(config: HostConfig) -> Mapping[str, Volume]:
    """The thick snapshots of the host file's groups. Raises CommandFailed."""
    each = _volumes(*config.volume_groups) if config.volume_groups else ()
    ours = (volume for volume in each if volume.origin and "machine" in volume.marks)
    return {volume.full_name: marks.onto(_bare(volume), volume.marks) for volume in ours}


def _kept_of(volume: Logical) -> str:
    """Of our snapshot, thick or a copy: the volume it is of; "" for any other volume."""
    return "" if volume.name.endswith(GROWING) else volume.marks.get("origin", "")


def places(config: HostConfig) -> Mapping[str, Place]:
    """The host file's groups that are there, with their room."""
    if not config.volume_groups:
        return {}
    return {
        group.name: Place(
            name=group.name,
            size_bytes=group.size_bytes,
            free_bytes=group.free_bytes,
            extent_bytes=group.extent_bytes,
        )
        for group in _groups(*config.volume_groups)
    }


def create(config: HostConfig, name: str, size_bytes: int, machine: str, anew: str = "") -> None:
    """Make the volume, all of it zeros, marked as `machine`'s; go on where that was begun. Raises Refused."""
    _made(config, name, size_bytes, {"machine": machine, **({"anew": anew} if anew else {})})


def hand_over(name: str, machine: str) -> None:
    """Whatever a guest writes to it, nobody takes it for zeroed afterwards. Raises Refused, CommandFailed."""
    _retag(_ours(name, machine), clear=("blank",))


def _made(config: HostConfig, name: str, size_bytes: int, marked: Mapping[str, str]) -> Logical:
    group, _, short = name.partition("/")
    if short.startswith(lvm.RESERVED):
        raise Refused(f"LVM keeps names such as {short} for itself.", note="Choose another name for the machine.")
    with _alone(config, group):
        there = _find(name)
        if there is None:
            _refuse_full(_group(group), size_bytes, name)
            _lvm(lvm.create(group, short, size_bytes, {**marked, "zeroing": "0"}))
        elif "zeroing" not in there.marks or there.marks.get("machine") != marked["machine"]:
            raise _taken(there)
    made = _needed(name)
    with _opened(made) as fd:
        _zero(made, fd, "zeroing", made.size_bytes)
    _retag(_needed(name), put={**marked, "blank": "yes"}, clear=("zeroing",))
    return _needed(name)


def blank(fd: int) -> None:
    """Have the volume read as zeros, about to be written. Raises OSError, CommandFailed."""
    logical = of(fd)
    if "blank" not in logical.marks:
        blocks.zero(fd, 0, logical.size_bytes)
    _retag(logical, clear=("blank", "zeroing", "formatting"))


def grow(config: HostConfig, name: str, size_bytes: int, machine: str) -> None:
    """Make the volume larger, in use or not; what is new reads as zeros. Raises Refused, CommandFailed, OSError.

    The new extents are zeroed as a volume apart, so that nobody sees what they held, and then join this one.
    """
    volume, group = _ours(name, machine), _group(name.partition("/")[0])
    more = group.rounded(size_bytes) - volume.size_bytes
    if more < 0:
        raise _smaller(volume, size_bytes)
    _refuse_thick(volume)
    rest = name + GROWING
    left = _find(rest)
    if left is not None and (left.size_bytes != more or "wiping" in left.marks):
        remove(config, rest, machine, "")
        left = None
    if not more:
        return
    if left is None or "blank" not in left.marks:
        left = _made(config, rest, more, {"machine": machine, "origin": name})
    with _alone(config, group.name):
        there = lvm.ranges(_lvm(lvm.list_ranges(left.uuid)))
        _lvm(lvm.remove(left))
        _lvm(lvm.extend(volume, more // group.extent_bytes, there))


def shrink(config: HostConfig, name: str, size_bytes: int, machine: str) -> None:
    """Make the volume smaller; what it loses is zeroed before it is free. Raises Refused, CommandFailed, OSError."""
    volume = _ours(name, machine, unfinished=("shrinking",))
    wanted = _group(volume.group).rounded(size_bytes)
    if wanted < volume.size_bytes:
        _refuse_thick(volume)
        _refuse_used(volume)
        with _opened(volume) as fd:
            blocks.refuse_smaller_than_content(fd, name, wanted)
            _retag(volume, put={"shrinking": str(wanted)})
            volume = _needed(name)
            _zero(volume, fd, "shrinking", volume.size_bytes)
        with _alone(config, volume.group):
            _lvm(lvm.reduce(volume, wanted))
    _retag(_needed(name), clear=("shrinking",))


def rename(config: HostConfig, name: str, to: str, machine: str) -> None:
    """Call the volume and its snapshots `to`; killed, it goes on. Raises Refused where there is one of that name."""
    volume = _ours(name, machine)
    _refuse_used(volume)
    if (there := _find(to)) is not None:
        raise _taken(there)
    short, other = name.partition("/")[2], to.partition("/")[2]
    with _alone(config, volume.group):
        for kept in _volumes(volume.group):
            if kept.marks.get("machine") == machine and kept.marks.get("origin") in (name, to):
                _retag(kept, put={"origin": to})
                if kept.name.startswith(f"{short}."):
                    _lvm(lvm.rename(kept, f"{other}{kept.name.removeprefix(short)}"))
        _lvm(lvm.rename(volume, other))


def wipe(config: HostConfig, name: str, machine: str, id: str) -> None:
    """Zero all of the volume; it stays, empty. Raises Refused, CommandFailed, OSError."""
    _wiped(config, _ours(name, machine, id, unfinished=("wiping",)))
    _retag(_needed(name), put={"blank": "yes"}, clear=("wiping",))


def remove(config: HostConfig, name: str, machine: str, id: str) -> None:
    """Zero the volume and its snapshots, then remove them. Raises Refused, CommandFailed, OSError."""
    volume = _ours(name, machine, id, unfinished=marks.UNFINISHED)
    for kept in [each for each in _volumes(volume.group) if name in (each.marks.get("origin"), _origin(each))]:
        if kept.marks.get("machine") != machine:
            raise Refused(
                f"{volume.path} has a snapshot that Fridu didn't make: {kept.path}.",
                note=f"Nothing was changed. Remove that first: lvremove {kept.full_name}.",
            )
        remove(config, kept.full_name, machine, kept.uuid)
    volume = _wiped(config, _needed(name))
    with _alone(config, volume.group):
        _lvm(lvm.remove(volume))
    if _find(name) is not None:
        raise CommandFailed(lvm.remove(volume), 0, "", f"{volume.path} is there still")


def _wiped(config: HostConfig, volume: Logical) -> Logical:
    _refuse_used(volume)
    _retag(volume, put={"wiping": volume.marks.get("wiping", "0")}, clear=("root", "tuned", "blank"))
    if volume.origin:  # its device shows the whole of the volume it was made of, not what it keeps of it
        with _alone(config, volume.group):
            _lvm(lvm.split_off(volume))
    volume = _needed(volume.full_name)
    with _opened(volume) as fd:
        _zero(volume, fd, "wiping", volume.size_bytes)
    return volume


def snapshot(
    config: HostConfig, name: str, label: str, machine: str, *, size_bytes: int, copy: bool, running: bool
) -> None:
    """Keep the volume as it is now, under the name NAME.LABEL. Raises Refused, CommandFailed, OSError.

    Either thick (`size_bytes` for what changes later, 0: for all of it), of a volume in use too, whose filesystem the
    kernel holds still where this host has it mounted; or a whole copy.
    """
    volume = _ours(name, machine)
    kept = f"{name}.{label}"
    marked = {"machine": machine, "origin": name}
    marked |= marks.kept(volume.marks, 0)
    if copy:
        _copied(config, volume, kept, marked)
        return
    with _alone(config, volume.group):
        there, group = _find(kept), _group(volume.group)
        if there is not None:
            raise _taken(there)
        whole = lvm.room_for_all(volume.size_bytes, group.extent_bytes)
        wanted = min(group.rounded(size_bytes), whole) if size_bytes else whole
        _refuse_full(group, wanted, kept, keep=group.size_bytes // KEPT_FREE)
        _lvm(lvm.snapshot(volume, kept.partition("/")[2], wanted, marked))


def _copied(config: HostConfig, volume: Logical, kept: str, marked: Mapping[str, str]) -> None:
    _refuse_used(volume)
    there = _find(kept)
    if there is None or "zeroing" in there.marks:
        group = _group(volume.group)
        if there is None:
            _refuse_full(group, volume.size_bytes, kept, keep=group.size_bytes // KEPT_FREE)
        there = _made(config, kept, volume.size_bytes, {**marked, "copying": "yes"})
    elif "copying" not in there.marks or there.marks.get("machine") != marked["machine"]:
        raise _taken(there)
    _retag(there, clear=("blank",))
    with _opened(volume) as source, _opened(there) as target:
        blocks.copy_differing(source, target)
        os.fsync(target)
    _retag(_needed(kept), clear=("copying",))


def restore(config: HostConfig, name: str, label: str, machine: str, *, generation: int) -> None:
    """Make the volume what it was when the snapshot was taken, which stays. Raises Refused, CommandFailed, OSError."""
    volume = _ours(name, machine, unfinished=("restoring",))
    kept = _ours(f"{name}.{label}", machine)
    if not kept.valid:
        raise Refused(
            f"The snapshot {kept.path} ran full: what changed since can't be brought back.",
            note="Nothing was changed. Remove it, and make the next one larger; without a size it holds everything.",
        )
    if kept.shown_bytes > volume.size_bytes:
        raise Refused(
            f"{volume.path} has {volume.size_bytes // MIB} MB; {label} was taken of {kept.shown_bytes // MIB} MB.",
            note="Nothing was changed. Grow the volume first.",
        )
    _refuse_used(volume)
    _retag(volume, put={"restoring": label}, clear=("root", "tuned", "blank"))
    with _opened(kept, os.O_RDONLY) as source, _opened(volume) as target:
        blocks.copy_differing(source, target)
        os.fsync(target)
    _retag(_needed(name), put=marks.kept(kept.marks, generation), clear=("restoring",))


def of(fd: int) -> Logical:
    """The logical volume this descriptor is open on. Raises Refused for any other block device."""
    number = os.fstat(fd).st_rdev
    try:
        said = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/dm/uuid").read_text().strip()
    except FileNotFoundError:
        said = ""
    found = re.fullmatch(r"LVM-\w{32}(\w{6})(\w{4})(\w{4})(\w{4})(\w{4})(\w{4})(\w{6})", said)
    volumes = lvm.volumes(_lvm(lvm.list_volumes(select=lvm.by_uuid("-".join(found.groups()))))) if found else ()
    if not volumes:
        raise Refused(
            f"The block device {os.major(number)}:{os.minor(number)} is no logical volume.",
            note="Nothing was changed. Fridu keeps its marks as tags of logical volumes.",
        )
    return volumes[0]


def retag(fd: int, *, put: Mapping[str, str] | None = None, clear: Collection[str] = ()) -> None:
    """Change marks of the volume this descriptor is open on. Raises Refused, CommandFailed."""
    _retag(of(fd), put=put or {}, clear=clear)


def _retag(volume: Logical, *, put: Mapping[str, str] | None = None, clear: Collection[str] = ()) -> None:
    argv = lvm.retag(volume, put or {}, clear)
    if argv:
        _lvm(argv)


def _zero(volume: Logical, fd: int, mark: str, end: int) -> None:
    """Zero from where `mark` says it came to up to `end`, noting how far it is every other second."""
    noted, at = time.monotonic(), volume.marks

    def reached(place: int) -> None:
        nonlocal noted, at
        if time.monotonic() - noted > PROGRESS_S:
            _retag(replace(volume, marks=at), put={mark: str(place)})
            noted, at = time.monotonic(), {**at, mark: str(place)}

    blocks.zero(fd, int(volume.marks[mark]), end, reached)


@contextlib.contextmanager
def _opened(volume: Logical, how: int = os.O_RDWR | os.O_EXCL) -> Iterator[int]:
    """Its device, to ourselves where it is written. Raises Refused where it is mounted or not active, OSError."""
    try:
        fd = _patiently(lambda: os.open(volume.path, how | os.O_CLOEXEC))
    except FileNotFoundError:
        raise Refused(
            f"{volume.path} is not active.", note=f"Switch it on, then go on: lvchange -ay {volume.full_name}."
        ) from None
    except BlockingIOError:
        raise _used(volume) from None
    try:
        yield fd
    finally:
        os.close(fd)


def _patiently(opening: Callable[[], int]) -> int:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return opening()
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            if time.monotonic() > deadline:
                raise BlockingIOError from None
            time.sleep(0.1)


def _refuse_thick(volume: Logical) -> None:
    """Raises Refused where it has a thick snapshot: LVM changes the size of such a volume only while nobody uses it."""
    kept = [each.path for each in _volumes(volume.group) if _origin(each) == volume.full_name]
    if kept:
        raise Refused(
            f"{volume.path} can't change its size while it has the snapshot {', '.join(kept)}.",
            note="Nothing was changed. Remove that first, or keep a copy instead: copy=yes.",
        )


def _refuse_used(volume: Logical) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while _needed(volume.full_name).open:
        if time.monotonic() > deadline:
            raise _used(volume)
        time.sleep(0.1)


def _used(volume: Logical) -> Refused:
    return Refused(f"{volume.path} is still in use.", note="Nothing was changed. Stop its machine, or unmount it.")


def _refuse_full(group: Group, size_bytes: int, name: str, *, keep: int = 0) -> None:
    room = max(0, group.free_bytes - keep)
    if group.rounded(size_bytes) <= room:
        return
    left = f", {keep // MIB} MB of the group being left free for what must grow" if keep else ""
    raise Refused(
        f"There is not enough space for {name}: it takes {group.rounded(size_bytes) // MIB} MB, "
        f"the volume group {group.name} has {room // MIB} MB free{left}.",
        note="Nothing was changed. Choose a smaller size, or free some room there.",
    )


def _taken(there: Logical) -> Refused:
    return Refused(
        f"The logical volume {there.path} exists already.",
        note="Nothing was changed. Choose another name, or rename that volume: lvrename.",
    )


def _smaller(volume: Logical, size_bytes: int) -> Refused:
    return Refused(
        f"{volume.path} has {volume.size_bytes // MIB} MB; {size_bytes // MIB} MB would be less.",
        note="Nothing was changed. Shrinking it takes volume-shrink with force=yes, and a backup.",
    )


def _ours(name: str, machine: str, id: str = "", *, unfinished: Collection[str] = ()) -> Logical:
    """The volume, which must be `machine`'s, the one recorded, and have nothing begun but those."""
    volume = _needed(name)
    found = volume.marks.get("machine", "")
    if found != machine:
        raise marks.not_theirs(volume.path, found, machine)
    if id and volume.uuid != id:
        raise Refused(
            f"{volume.path} is not the volume that was meant: its uuid is {volume.uuid}, not {id}.",
            note="Nothing was changed. Plan again from what is there now.",
        )
    begun = marks.unfinished(volume.marks)
    if begun and begun not in unfinished:
        raise marks.begun(volume.path, begun)
    return volume


def _needed(name: str) -> Logical:
    found = _find(name)
    if found is None:
        _group(name.partition("/")[0])
        raise Refused(f"There is no logical volume {name}.", note="Nothing was changed.")
    return found


def _find(name: str) -> Logical | None:
    return next((each for each in _volumes(name.partition("/")[0]) if each.full_name == name), None)


def _origin(volume: Logical) -> str:
    return f"{volume.group}/{volume.origin}" if volume.origin else ""


def _volumes(*groups: str) -> tuple[Logical, ...]:
    return lvm.volumes(_lvm(lvm.list_volumes(*groups)))


def _groups(*groups: str) -> tuple[Group, ...]:
    return lvm.groups(_lvm(lvm.list_groups(*groups)))


def _group(name: str) -> Group:
    found = _groups(name)
    if not found:
        raise Refused(
            f"The volume group {name} is missing on this host.",
            note="Nothing was changed. Switch its disk on, or make it: vgcreate, as docs/install.md says.",
        )
    return found[0]


def _fact(volume: Logical) -> Volume:
    content, filled = "", 0
    with contextlib.suppress(FileNotFoundError):  # one that is not active
        fd = os.open(volume.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            content = blocks.content(fd) if volume.valid else "other"
            filled = blocks.filled(fd) if volume.valid else 0
        finally:
            os.close(fd)
    bare = replace(_bare(volume), content=content, filled_bytes=filled)
    return marks.onto(bare, volume.marks)


def _bare(volume: Logical) -> Volume:
    """What its report alone says."""
    return Volume(
        name=volume.full_name,
        path=volume.path,
        size_bytes=volume.shown_bytes,
        id=volume.uuid,
        percent=volume.percent if volume.valid else 100.0,
        room_bytes=volume.size_bytes,
    )


@contextlib.contextmanager
def _alone(config: HostConfig, group: str) -> Iterator[None]:
    """One of us at a time changes what a group consists of (DESIGN §3.2)."""
    with files.lock(f"{config.run}/locks/group-{group}.lock"):
        yield


def _lvm(argv: tuple[str, ...]) -> str:
    return runner.run(argv, timeout_s=_SLOW_S, env=_ENVIRONMENT, keep=runner.ALL).stdout
