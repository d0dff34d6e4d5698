"""LVM's command lines, and what its reports say. Pure.

Volumes are chosen by their uuid, never by a pattern; marks are tags "fridu.MARK=VALUE".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

PREFIX = "fridu."
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+_.-]{0,99}")
RESERVED = ("snapshot", "pvmove")  # lvm(8): no volume's name may begin so
_PLAIN = re.compile(r"[A-Za-z0-9_+.\-/=!:&]")  # a tag's alphabet, without # by which we write the rest
_UUID = re.compile(r"[A-Za-z0-9]{6}(-[A-Za-z0-9]{4}){5}-[A-Za-z0-9]{6}")
_REPORT = ("--reportformat", "json", "--units", "b", "--nosuffix")
_FIELDS = "lv_uuid,lv_name,vg_name,lv_size,lv_tags,lv_attr,origin,origin_size,lv_device_open,data_percent"


@dataclass(frozen=True, kw_only=True)
class Logical:
    """A logical volume as `lvs` reports it."""

    uuid: str
    group: str
    name: str
    size_bytes: int  # of extents it takes
    shown_bytes: int  # of its device: a thick snapshot shows all of what it was made of
    marks: Mapping[str, str]
    origin: str = ""  # a thick snapshot's
    open: bool = False  # somebody has its device open
    valid: bool = True  # False: a snapshot that ran full
    percent: float = 0.0  # how full a snapshot is

    @property
    def full_name(self) -> str:
        return f"{self.group}/{self.name}"

    @property
    def path(self) -> str:
        return f"/dev/{self.group}/{self.name}"


@dataclass(frozen=True, kw_only=True)
class Group:
    """A volume group as `vgs` reports it."""

    name: str
    size_bytes: int
    free_bytes: int
    extent_bytes: int

    def rounded(self, size_bytes: int) -> int:
        """What a volume of that size takes."""
        return -(-size_bytes // self.extent_bytes) * self.extent_bytes


def tag(mark: str, value: str) -> str:
    """A mark as a tag. Whatever a tag can't hold is written as #XX, byte by byte."""
    plain = (sign if _PLAIN.fullmatch(sign) else "".join(f"#{byte:02X}" for byte in sign.encode()) for sign in value)
    return f"{PREFIX}{mark}={''.join(plain)}"


def marks_of(tags: str) -> Mapping[str, str]:
    """The marks among a volume's tags, as a report has them: "fridu.machine=…,other"."""
    ours = (name.removeprefix(PREFIX).partition("=") for name in tags.split(",") if name.startswith(PREFIX))
    return MappingProxyType({mark: _read(value) for mark, _, value in ours})


def _read(value: str) -> str:
    raw = re.sub(rb"#([0-9A-F]{2})", lambda found: bytes([int(found.group(1), 16)]), value.encode())
    return raw.decode("utf-8", "replace")


def by_uuid(uuid: str) -> str:
    """The selection of that one volume. Raises ValueError for what is no volume's uuid."""
    if not _UUID.fullmatch(uuid):
        raise ValueError(f"{uuid} is no logical volume's uuid")
    return f'lv_uuid="{uuid}"'


def list_volumes(*groups: str, select: str = "") -> tuple[str, ...]:
    """All volumes of those groups; none of a group that is missing."""
    wanted = select or " || ".join(f'vg_name="{group}"' for group in groups)
    return ("lvs", *_REPORT, "-o", _FIELDS, "--select", wanted)


def list_groups(*groups: str) -> tuple[str, ...]:
    wanted = " || ".join(f'vg_name="{group}"' for group in groups)
    return ("vgs", *_REPORT, "-o", "vg_name,vg_size,vg_free,vg_extent_size", "--select", wanted)


def list_ranges(uuid: str) -> tuple[str, ...]:
    """Where the volume's extents lie, a row a segment."""
    return ("lvs", *_REPORT, "--segments", "-o", "seg_pe_ranges", "--select", by_uuid(uuid))


def volumes(report: str) -> tuple[Logical, ...]:
    """What `list_volumes` reported."""
    return tuple(_logical(row) for row in _rows(report, "lv"))


def groups(report: str) -> tuple[Group, ...]:
    """What `list_groups` reported."""
    return tuple(
        Group(
            name=row["vg_name"],
            size_bytes=int(row["vg_size"]),
            free_bytes=int(row["vg_free"]),
            extent_bytes=int(row["vg_extent_size"]),
        )
        for row in _rows(report, "vg")
    )


def ranges(report: str) -> tuple[str, ...]:
    """What `list_ranges` reported, as lvextend takes it: "/dev/sdb:0-15"."""
    return tuple(place for row in _rows(report, "seg") for place in row["seg_pe_ranges"].split())


def _rows(report: str, kind: str) -> list[dict[str, Any]]:
    return [row for part in json.loads(report)["report"] for row in part.get(kind, ())]


def _logical(row: dict[str, Any]) -> Logical:
    attributes = row["lv_attr"]
    return Logical(
        uuid=row["lv_uuid"],
        group=row["vg_name"],
        name=row["lv_name"],
        size_bytes=int(row["lv_size"]),
        shown_bytes=int(row["origin_size"] or row["lv_size"]) if row["origin"] else int(row["lv_size"]),
        marks=marks_of(row["lv_tags"]),
        origin=row["origin"],
        open=row["lv_device_open"] == "open",
        valid=attributes[0] != "S" and attributes[4] not in "IS",
        percent=float(row["data_percent"] or 0),
    )


def create(group: str, name: str, size_bytes: int, marks: Mapping[str, str]) -> tuple[str, ...]:
    """Its first signatures are wiped before udev gets to see it; the rest of its extents is anybody's."""
    wiped = ("--wipesignatures", "y", "--zero", "y")
    return ("lvcreate", "-q", "-y", *wiped, "-L", f"{size_bytes}b", "-n", name, *_added(marks), group)


def snapshot(origin: Logical, name: str, size_bytes: int, marks: Mapping[str, str]) -> tuple[str, ...]:
    what = ("--snapshot", "-L", f"{size_bytes}b", "-n", name)
    return ("lvcreate", "-q", "-y", *what, *_added(marks), origin.full_name)


def room_for_all(size_bytes: int, extent_bytes: int) -> int:
    """What a thick snapshot takes that can never run full: a copy of all, and 16 bytes a chunk of 4 KiB to list it.

    With a header and a last list; LVM gives no more than that, however much is asked for.
    """
    return -(-(size_bytes * 257 // 256 + 3 * 4096) // extent_bytes) * extent_bytes


def split_off(snapshot: Logical) -> tuple[str, ...]:
    """A snapshot becomes a volume of its own that holds what it kept, so that this can be wiped."""
    return ("lvconvert", "-q", "-y", "--splitsnapshot", snapshot.full_name)


def extend(volume: Logical, extents: int, places: Iterable[str]) -> tuple[str, ...]:
    return ("lvextend", "-q", "-y", "-l", f"+{extents}", volume.full_name, *places)


def reduce(volume: Logical, size_bytes: int) -> tuple[str, ...]:
    return ("lvreduce", "-q", "-y", "-f", "-L", f"{size_bytes}b", volume.full_name)


def rename(volume: Logical, to: str) -> tuple[str, ...]:
    return ("lvrename", "-q", "-y", volume.group, volume.name, to)


def remove(volume: Logical) -> tuple[str, ...]:
    return ("lvremove", "-q", "-y", "--select", by_uuid(volume.uuid), volume.group)


def retag(volume: Logical, put: Mapping[str, str], clear: Iterable[str]) -> tuple[str, ...]:
    """One command for all of it, so that all or nothing is changed; empty where nothing would be."""
    gone = {mark: volume.marks[mark] for mark in (*clear, *put) if mark in volume.marks and mark not in put}
    gone |= {mark: volume.marks[mark] for mark in put if volume.marks.get(mark, put[mark]) != put[mark]}
    new = {mark: value for mark, value in put.items() if volume.marks.get(mark) != value}
    if not gone and not new:
        return ()
    removed = (word for mark, value in gone.items() for word in ("--deltag", tag(mark, value)))
    return ("lvchange", "-q", *removed, *_added(new), "--select", by_uuid(volume.uuid), volume.group)


def _added(marks: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(word for mark, value in marks.items() for word in ("--addtag", tag(mark, value)))
