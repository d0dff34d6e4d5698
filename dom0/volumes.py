"""Volumes: image files or LVM's, told apart by their names. Whatever makes, changes or looks at one goes through here.

"WEB-Dom-root" is an image file in the host file's folder, "vg0/WEB-Dom-root" a logical volume of a group that the host
file names. Everything reads as zeros that nobody has written, and nothing is freed that still holds what somebody had.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Protocol

from dom0 import lvm, marks, volumes_files, volumes_lvm
from dom0.errors import Refused
from dom0.host import HostConfig
from dom0.state import Place, Volume

_LABEL = re.compile(r"[a-z0-9][a-z0-9-]{0,19}")


class Backend(Protocol):
    """What dom0.volumes_files and dom0.volumes_lvm do alike."""

    def look_each(self, config: HostConfig, names: Collection[str]) -> Mapping[str, Volume]: ...
    def create(self, config: HostConfig, name: str, size_bytes: int, machine: str, anew: str = "") -> None: ...
    def blank(self, fd: int) -> None: ...
    def hand_over(self, name: str, machine: str) -> None: ...
    def grow(self, config: HostConfig, name: str, size_bytes: int, machine: str) -> None: ...
    def shrink(self, config: HostConfig, name: str, size_bytes: int, machine: str) -> None: ...
    def rename(self, config: HostConfig, name: str, to: str, machine: str) -> None: ...
    def wipe(self, config: HostConfig, name: str, machine: str, id: str) -> None: ...
    def remove(self, config: HostConfig, name: str, machine: str, id: str) -> None: ...
    def snapshot(
        self, config: HostConfig, name: str, label: str, machine: str, *, size_bytes: int, copy: bool, running: bool
    ) -> None: ...
    def restore(self, config: HostConfig, name: str, label: str, machine: str, *, generation: int) -> None: ...


def _backend(config: HostConfig, name: str) -> Backend:
    """Whose volume it is. Raises Refused for what can't be a volume's name, or a group the host file doesn't name."""
    group, slash, short = name.rpartition("/")
    if not lvm.NAME.fullmatch(short):
        raise Refused(f"“{name}” can't be a volume's name.", note="Use letters, digits and hyphens.")
    if not slash:
        return volumes_files
    if group not in config.volume_groups:
        known = ", ".join(config.volume_groups) or "none"
        raise Refused(
            f"The host file names no volume group “{group}”.",
            note=f'It names {known}. Add it there if machines\' volumes may lie in it: volume_groups = ["vg0"].',
        )
    return volumes_lvm


def path_of(config: HostConfig, name: str) -> str:
    """Where the volume lies: /var/lib/fridu/volumes/WEB-Dom-root.img, /dev/vg0/WEB-Dom-root. Raises Refused."""
    return f"/dev/{name}" if _backend(config, name) is volumes_lvm else volumes_files.path_of(config, name)


def look(config: HostConfig, name: str) -> Volume | None:
    """The volume as it is, None where there is none. Raises Refused, CommandFailed, OSError."""
    return look_each(config, (name,)).get(name)


def look_each(config: HostConfig, names: Collection[str]) -> Mapping[str, Volume]:
    """The volumes of those names that are there and their snapshots; logical ones in one look. Raises as `look`."""
    by: dict[str, list[str]] = {"files": [], "lvm": []}
    for name in names:
        by["files" if _backend(config, name) is volumes_files else "lvm"].append(name)
    return {**volumes_files.look_each(config, by["files"]), **volumes_lvm.look_each(config, by["lvm"])}


def free_bytes(config: HostConfig) -> int:
    """Bytes that image files may still take."""
    return volumes_files.place(config).free_bytes


def groups(config: HostConfig) -> Mapping[str, Place]:
    """The host file's volume groups that are there. Raises CommandFailed."""
    return volumes_lvm.places(config)


def create(config: HostConfig, name: str, size_bytes: int, machine: str, *, anew: str = "") -> None:
    """Make the volume, all of it zeros, marked as `machine`'s. Raises Refused, CommandFailed, OSError.

    Refused where there is one of that name, the group is missing or has no room. Killed, it goes on from there.
    `anew` marks it as made for that forced wish.
    """
    _backend(config, name).create(config, name, size_bytes, machine, anew)


def hand_over(config: HostConfig, name: str, machine: str) -> None:
    """Whoever gets the volume may write to it: from now on it does not count as zeroed. Raises Refused,
    CommandFailed."""
    _backend(config, name).hand_over(name, machine)


def grow(config: HostConfig, name: str, size_bytes: int, machine: str) -> None:
    """Make the volume larger, in use or not; what is new reads as zeros. What lies on it stays as large as it is."""
    _backend(config, name).grow(config, name, size_bytes, machine)


def shrink(config: HostConfig, name: str, size_bytes: int, machine: str, *, force: bool) -> None:
    """Make the volume smaller, which `force` must allow, and never than what lies on it. Raises Refused."""
    backend = _backend(config, name)
    if not force:
        raise Refused(
            f"Shrinking {name} may lose what is on it.", note="Nothing was changed. Make a backup, then use force=yes."
        )
    backend.shrink(config, name, size_bytes, machine)


def rename(config: HostConfig, name: str, to: str, machine: str) -> None:
    """Give the volume, which nobody may use meanwhile, and its snapshots another name in the same place."""
    if name.rpartition("/")[0] != to.rpartition("/")[0]:
        raise Refused(f"{name} can't become {to}: that lies elsewhere.", note="Nothing was changed.")
    _backend(config, to).rename(config, name, to, machine)


def wipe(config: HostConfig, name: str, machine: str, id: str = "") -> None:
    """Zero all of the volume; it stays, empty. Killed, it goes on from where it came to."""
    _backend(config, name).wipe(config, name, machine, id)


def remove(config: HostConfig, name: str, machine: str, id: str = "") -> None:
    """Zero the volume of `machine`, and its snapshots, and remove them.

    `id` is what was found when this was planned (Volume.id): another volume of the same name is refused. Raises
    Refused, CommandFailed, OSError.
    """
    _backend(config, name).remove(config, name, machine, id)


def snapshot(
    config: HostConfig,
    name: str,
    label: str,
    machine: str,
    *,
    size_bytes: int = 0,
    copy: bool = False,
    running: bool = False,
) -> None:
    """Keep the volume as it is now, as the volume NAME.LABEL, to be removed like one.

    `size_bytes` is what may change until a thick LVM snapshot is full, 0: all of it. `running`: an image file may be
    in use; its filesystem, which this host has mounted, is held still meanwhile. Raises Refused, where the group would
    be filled up too.
    """
    _backend(config, name).snapshot(
        config, name, _checked(label), machine, size_bytes=size_bytes, copy=copy, running=running
    )


def restore(config: HostConfig, name: str, label: str, machine: str, *, generation: int = 0) -> None:
    """Make the volume what it was when its snapshot `label` was taken; that stays. Killed, it is done again.

    `generation` is what its root mark says then, 0: the snapshot's own.
    """
    _backend(config, name).restore(config, name, _checked(label), machine, generation=generation)


def snapshots(config: HostConfig) -> Mapping[str, Volume]:
    """The snapshots that can run full, by name: LVM's thick ones. Raises CommandFailed."""
    return volumes_lvm.snapshots(config)


def blank(config: HostConfig, name: str, fd: int) -> None:
    """Have the volume, open at `fd`, read as zeros, about to be written. Raises Refused where it isn't fit for that."""
    begun = marks.unfinished(marks.every(fd))
    if begun not in ("", "zeroing", "formatting"):
        raise marks.begun(path_of(config, name), begun)
    _backend(config, name).blank(fd)


def _checked(label: str) -> str:
    if not _LABEL.fullmatch(label) or f".{label}" == volumes_lvm.GROWING:
        raise Refused(
            f"“{label[:80]}” can't be a snapshot's name.",
            note="Use up to 20 small letters, digits and hyphens, such as before-update.",
        )
    return label
