"""Volumes as sparse image files with our marks as extended attributes.

A file appears under its name whole and marked, or not at all: it is made without a name and linked at the end. A new
file reads as zeros by itself, and so does what one grows by.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from dom0 import blocks, frozen, marks, tune
from dom0.errors import Refused
from dom0.files import sync_folder
from dom0.host import HostConfig
from dom0.state import Place, Volume

MIB = 1 << 20
SUFFIX = ".img"
PATIENCE_S = 5.0  # for the loop device of a machine that has just stopped
KEPT_FREE = 20  # one part in so many of the folder's filesystem: snapshots leave it to the sparse files that are there
_LOOP_SET_CAPACITY = 0x4C07


def path_of(config: HostConfig, name: str) -> str:
    return f"{config.volumes}/{name}{SUFFIX}"


def look_each(config: HostConfig, names: Collection[str]) -> Mapping[str, Volume]:
    """The volumes of those names that are there, and their snapshots. Raises OSError."""
    found = {name: volume for name in names if (volume := _look(config, name)) is not None}
    for name in names:
        for kept in _kept(config, name):
            if kept not in found and (volume := _look(config, kept)) is not None and volume.origin == name:
                found[kept] = volume
    return found


def _kept(config: HostConfig, name: str) -> list[str]:
    """What may be its snapshots, by their names."""
    return sorted(path.name.removesuffix(SUFFIX) for path in Path(config.volumes).glob(f"{name}.*{SUFFIX}"))


def _look(config: HostConfig, name: str) -> Volume | None:
    path = path_of(config, name)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        facts = os.fstat(fd)
        bare = Volume(name=name, path=path, size_bytes=facts.st_size, id=_id(facts), content=blocks.content(fd))
        return marks.onto(replace(bare, filled_bytes=_filled(fd, facts)), marks.every(fd))
    finally:
        os.close(fd)


def _filled(fd: int, facts: os.stat_result) -> int:
    """What its filesystem takes; of one in use as its device says it, for the file hears of that only later."""
    loop = tune.loop_over(facts)
    if not loop:
        return blocks.filled(fd)
    with open(loop, "rb", buffering=0) as device:
        return blocks.filled(device.fileno())


def place(config: HostConfig) -> Place:
    """The folder's room; of the folder it will lie in where it is not made yet."""
    folder = Path(config.volumes)
    while not folder.exists():
        folder = folder.parent
    figures = os.statvfs(folder)
    size = figures.f_blocks * figures.f_frsize
    return Place(name="", size_bytes=size, free_bytes=figures.f_bavail * figures.f_frsize)


def create(config: HostConfig, name: str, size_bytes: int, machine: str, anew: str = "") -> None:
    """Make the volume, empty (it reads as zeros), marked as `machine`'s. Raises Refused, OSError."""
    _refuse_full(config, name, size_bytes)
    with _appearing(config, name) as fd:
        os.ftruncate(fd, size_bytes)
        marks.put(fd, "machine", machine)
        if anew:
            marks.put(fd, "anew", anew)


def hand_over(name: str, machine: str) -> None:
    """A file is emptied whenever it must read as zeros; nothing was noted."""


@contextlib.contextmanager
def _appearing(config: HostConfig, name: str) -> Iterator[int]:
    """A new file without a name, which has it when all went well. Raises Refused where there is one, OSError."""
    path = path_of(config, name)
    folder = Path(path).parent
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    there = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fd = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        yield fd
        os.fsync(fd)
        # With a folder's descriptor, or Python calls link(2), which doesn't follow the way into /proc.
        os.link(f"/proc/self/fd/{fd}", Path(path).name, dst_dir_fd=there, follow_symlinks=True)
        os.fsync(there)
    except FileExistsError:
        raise Refused(
            f"{path} is there already.", note="Nothing was changed. Choose another name, or move that file away."
        ) from None
    finally:
        os.close(fd)
        os.close(there)


def blank(fd: int) -> None:
    """Have the volume read as zeros, about to be written. Raises OSError."""
    blocks.empty(fd)
    marks.clear(fd, "formatting")


def grow(config: HostConfig, name: str, size_bytes: int, machine: str) -> None:
    """Make the volume larger, in use or not; what is new reads as zeros. Raises Refused, OSError."""
    with _ours(config, name, machine) as fd:
        has = os.fstat(fd).st_size
        if size_bytes < has:
            raise Refused(
                f"{path_of(config, name)} has {has // MIB} MB; {size_bytes // MIB} MB would be less.",
                note="Nothing was changed. Shrinking it takes volume-shrink with force=yes, and a backup.",
            )
        _refuse_full(config, name, size_bytes - has)
        os.ftruncate(fd, size_bytes)
        os.fsync(fd)
        loop = tune.loop_over(os.fstat(fd))
        if loop:
            with open(loop, "rb") as device:
                fcntl.ioctl(device, _LOOP_SET_CAPACITY)


def rename(config: HostConfig, name: str, to: str, machine: str) -> None:
    """Call the volume and its snapshots `to`; killed, it goes on. Raises Refused where there is one of that name."""
    with _ours(config, name, machine) as fd:
        _refuse_used(config, name, fd)
        for kept in (*_snapshots(config, name), *_snapshots(config, name, origin=to)):
            with _ours(config, kept, machine) as snapshot:
                marks.put(snapshot, "origin", to)
            _moved(config, kept, f"{to}{kept.removeprefix(name)}")
        _moved(config, name, to)


def _moved(config: HostConfig, name: str, to: str) -> None:
    """Linked under its new name first, which fails where that is taken."""
    old, new = path_of(config, name), path_of(config, to)
    try:
        os.link(old, new)
    except FileExistsError:
        if not os.path.samefile(old, new):  # noqa: PTH121 - killed between the two, it goes on
            raise Refused(
                f"{new} is there already.", note="Nothing was changed. Choose another name, or move that file away."
            ) from None
    Path(old).unlink()
    sync_folder(Path(config.volumes))


def shrink(config: HostConfig, name: str, size_bytes: int, machine: str) -> None:
    """Make the volume smaller. Raises Refused, OSError."""
    with _ours(config, name, machine) as fd:
        if size_bytes >= os.fstat(fd).st_size:
            return
        _refuse_used(config, name, fd)
        blocks.refuse_smaller_than_content(fd, name, size_bytes)
        os.ftruncate(fd, size_bytes)
        os.fsync(fd)


def wipe(config: HostConfig, name: str, machine: str, id: str) -> None:
    """Zero all of the volume; it stays, empty. Raises Refused, OSError."""
    with _ours(config, name, machine, id, unfinished=("wiping",)) as fd:
        _refuse_used(config, name, fd)
        marks.put(fd, "wiping", "0")
        marks.clear(fd, "root", "tuned")
        blocks.empty(fd)
        os.fsync(fd)
        marks.clear(fd, "wiping")


def remove(config: HostConfig, name: str, machine: str, id: str) -> None:
    """Zero the volume and its snapshots and remove them: their blocks give nothing away. Raises Refused, OSError."""
    with _ours(config, name, machine, id, unfinished=marks.UNFINISHED) as fd:
        _refuse_used(config, name, fd)
        for kept in _snapshots(config, name):
            remove(config, kept, machine, "")
        blocks.empty(fd)
        os.fsync(fd)
        Path(path_of(config, name)).unlink()
    sync_folder(Path(config.volumes))


def _snapshots(config: HostConfig, name: str, *, origin: str = "") -> list[str]:
    """Those that say they are of `origin`, else of the volume of that name."""
    return [k for k in _kept(config, name) if (found := _look(config, k)) and found.origin == (origin or name)]


def snapshot(
    config: HostConfig, name: str, label: str, machine: str, *, size_bytes: int, copy: bool, running: bool
) -> None:
    """Keep the volume as it is now, under the name NAME.LABEL: its blocks shared where the filesystem can, else copied.

    Of one that is mounted, and may be (`running`), while its filesystem is held still. Raises Refused, OSError.
    """
    with _ours(config, name, machine) as source, contextlib.ExitStack() as stack:
        loop = tune.loop_over(os.fstat(source)) if running else ""
        if loop:
            stack.enter_context(frozen.held(loop))
        else:
            _refuse_used(config, name, source)
        facts, found = os.fstat(source), marks.every(source)
        # Blocks that are shared at first are no more once everything has changed.
        _refuse_full(config, f"{name}.{label}", facts.st_blocks * 512, keep=place(config).size_bytes // KEPT_FREE)
        with _appearing(config, f"{name}.{label}") as fd:
            os.ftruncate(fd, facts.st_size)
            if copy or not blocks.clone(source, fd):
                blocks.copy_extents(source, fd)
            marks.put(fd, "machine", machine)
            marks.put(fd, "origin", name)
            for mark, value in marks.kept(found, 0).items():
                marks.put(fd, mark, value)
            if loop:
                stack.close()  # what was copied has its name only once it is known to be whole


def restore(config: HostConfig, name: str, label: str, machine: str, *, generation: int) -> None:
    """Make the volume what it was when the snapshot was taken, which stays. Raises Refused, OSError."""
    with (
        _ours(config, name, machine, unfinished=("restoring",)) as fd,
        _ours(config, f"{name}.{label}", machine) as source,
    ):
        _refuse_used(config, name, fd)
        size, found = max(os.fstat(fd).st_size, os.fstat(source).st_size), marks.every(source)
        marks.put(fd, "restoring", label)
        marks.clear(fd, "root", "tuned")
        blocks.empty(fd)
        if not blocks.clone(source, fd):
            blocks.copy_extents(source, fd)
        os.ftruncate(fd, size)
        os.fsync(fd)
        for mark, value in marks.kept(found, generation).items():
            marks.put(fd, mark, value)
        marks.clear(fd, "restoring")
        os.fsync(fd)


def _id(facts: os.stat_result) -> str:
    return f"inode:{facts.st_ino}"


@contextlib.contextmanager
def _ours(
    config: HostConfig, name: str, machine: str, id: str = "", *, unfinished: Collection[str] = ()
) -> Iterator[int]:
    """The volume, which must be `machine`'s, the one recorded, and have nothing begun but those."""
    path = path_of(config, name)
    try:
        fd = marks.open_marked(path, machine)
    except FileNotFoundError:
        raise Refused(f"There is no volume {path}.", note="Nothing was changed.") from None
    try:
        found = _id(os.fstat(fd))
        if id and id != found:
            raise Refused(
                f"{path} is not the volume that was meant: it is {found}, not {id}.",
                note="Nothing was changed. Plan again from what is there now.",
            )
        begun = marks.unfinished(marks.every(fd))
        if begun and begun not in unfinished:
            raise marks.begun(path, begun)
        yield fd
    finally:
        os.close(fd)


def _refuse_used(config: HostConfig, name: str, fd: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while tune.loop_over(os.fstat(fd)):
        if time.monotonic() > deadline:
            raise Refused(
                f"{path_of(config, name)} is still in use.",
                note="Nothing was changed. Stop its machine, or unmount it.",
            )
        time.sleep(0.02)


def _refuse_full(config: HostConfig, name: str, size_bytes: int, *, keep: int = 0) -> None:
    free = max(0, place(config).free_bytes - keep)
    if size_bytes > free:
        left = f", {keep // MIB} MB being left free for what must grow" if keep else ""
        raise Refused(
            f"There is not enough space for {name}: it takes {-(-size_bytes // MIB)} MB, "
            f"{config.volumes} has {free // MIB} MB free{left}.",
            note="Nothing was changed. Choose a smaller size, or free some room there.",
        )
