"""The host as it was found, frozen. Pure: read by `dom0.probe`, changed only by a step's predicted effect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network
from types import MappingProxyType
from typing import Any

from dom0.found import Found
from dom0.kernel_image import Kernel


def _none() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Volume:
    """A logical volume or an image file, with the marks that lie with it (DESIGN §3.5)."""

    name: str  # "WEB-Dom-root", in a volume group "vg0/WEB-Dom-root"
    path: str
    size_bytes: int
    machine: str = ""  # mark fridu.machine: uuid of the machine it belongs to, "" = not ours
    root: str = ""  # mark fridu.root: "<image digest>:<root generation>", written after installroot's fsync
    tuned: str = ""  # mark fridu.tuned: "<tuning digest>"
    content: str = ""  # what lies on it: "ext4", "ext3", "swap", "other", "" = nothing
    origin: str = ""  # of a snapshot: the volume it is of
    unfinished: str = ""  # what was begun on it and never finished, of dom0.marks.UNFINISHED
    # What a plan can't foretell is no part of whether the volume is as planned.
    id: str = field(default="", compare=False)  # a logical volume's uuid, or "inode:N": what removal goes by
    percent: float = field(default=0.0, compare=False)  # how full a snapshot is
    filled_bytes: int = field(default=0, compare=False)  # what its filesystem or swap space takes of it, 0: unknown
    room_bytes: int = field(default=0, compare=False)  # what a thick snapshot takes of its group
    anew: str = field(default="", compare=False)  # mark fridu.anew: for which forced wish it was made or formatted
    blank: bool = field(default=False, compare=False)  # mark fridu.blank: zeroed, and nobody had it since


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where volumes lie: "" for the folder of image files, else a volume group."""

    name: str
    size_bytes: int
    free_bytes: int
    extent_bytes: int = 1  # what sizes are multiples of

    def rounded(self, size_bytes: int) -> int:
        """What a volume of that size takes here."""
        return -(-size_bytes // self.extent_bytes) * self.extent_bytes


@dataclass(frozen=True, kw_only=True)
class Domain:
    """A domain libvirt knows."""

    name: str
    uuid: str
    running: bool = False
    paused: bool = False
    definition: str = ""  # digest of the XML we defined it with, from its own metadata; "" = not ours
    autostart: bool = False
    crashed: bool = field(default=False, compare=False)  # how it ended, where the hypervisor tells that from the rest
    # As counted so far, while it runs: libvirt's number of this run, processor time, memory.
    number: int = field(default=0, compare=False)
    cpu_ns: int = field(default=0, compare=False)
    memory_kib: int = field(default=0, compare=False)
    # What it has now and may be given while it runs; 0: off, or nobody knows. A guest may be slow to follow.
    memory_mib: int = field(default=0, compare=False)
    ceiling_mib: int = field(default=0, compare=False)


@dataclass(frozen=True, kw_only=True)
class Golden:
    """The ready-made filesystem of an image, shrunk; `size_bytes` is what a volume needs at least."""

    digest: str
    path: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class BootFile:
    """A file that a machine is started from: a kernel, or else in `wrong` why it is none (an initrd is none)."""

    path: str
    size_bytes: int
    kernel: Kernel | None = None
    wrong: str = ""


@dataclass(frozen=True, kw_only=True)
class Link:
    """A network interface: `addresses` as "10.10.1.1/24"."""

    name: str
    up: bool = False
    kind: str = ""  # "bridge", "veth", …
    master: str = ""
    mac: str = ""
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Route:
    """A route of the main table: `to` as "10.20.0.0/16", `way` as "via 10.9.0.1 dev eth1" or "blackhole"."""

    to: str
    way: str
    device: str = ""  # "": it leads nowhere

    @property
    def text(self) -> str:
        return f"{self.to} {self.way}"

    def meets(self, subnet: IPv4Network) -> bool:
        """Whether addresses of the subnet are somewhere else by this route, or would be once the subnet is here.

        Not by a default route, nor by its two halves. One that leads nowhere is there for what has no better one.
        """
        there = IPv4Network(self.to)
        if there.prefixlen <= 1:
            return False
        return there.overlaps(subnet) and (bool(self.device) or there.subnet_of(subnet))


@dataclass(frozen=True, kw_only=True)
class State:
    """All that a plan may look at. A key that is absent was looked for and not found."""

    host: str = ""
    volumes: Mapping[str, Volume] = field(default_factory=_none)  # by name
    places: Mapping[str, Place] = field(default_factory=_none)  # volume groups by name
    domains: Mapping[str, Domain] = field(default_factory=_none)  # by name
    found: Mapping[str, Found] = field(default_factory=_none)  # definitions, by domain's name
    goldens: Mapping[str, Golden] = field(default_factory=_none)  # by image digest
    kernels: Mapping[str, BootFile] = field(default_factory=_none)  # by path, initrds as well
    archives: Mapping[str, int] = field(default_factory=_none)  # size in bytes by file name in the images folder
    files: Mapping[str, str] = field(default_factory=_none)  # text by path
    links: Mapping[str, Link] = field(default_factory=_none)  # by name
    routes: Mapping[str, Route] = field(default_factory=_none)  # by text
    services: Mapping[str, str] = field(default_factory=_none)  # running daemons of ours: digest of their configuration
    members: Mapping[str, str] = field(default_factory=_none)  # "set element" of the firewall's sets: "present"
    rules: Mapping[str, str] = field(default_factory=_none)  # loaded policy: digest by family ("v4", "v6", "bridge")
    sysctls: Mapping[str, str] = field(default_factory=_none)
    # Firewall trial: "confirmed" (a revision's name, "0": closed but SSH), "pending" and "applied" (tokens).
    trial: Mapping[str, str] = field(default_factory=_none)
    # Of a VPN peer ("NAME ADDRESS"): "open", its packets may arrive; "shut", none of its address passes.
    peers: Mapping[str, str] = field(default_factory=_none)
    vpn: Mapping[str, Any] = field(
        default_factory=_none
    )  # what OpenVPN's list says and who is in (dom0.openvpn.report)
    limits: Mapping[str, str] = field(default_factory=_none)  # in force on running machines, by uuid (dom0.limits_file)
    traffic: Mapping[str, tuple[int, int]] = field(default_factory=_none)  # bytes (towards, from) by machine's vif
    disks: Mapping[str, tuple[int, int]] = field(default_factory=_none)  # bytes (read, written), see dom0.figures
    load: Mapping[str, float] = field(default_factory=_none)  # of the host itself, see dom0.figures
    free_bytes: int = 0  # in the folder of image files
    free_memory_mib: int = 0  # after dom0's reserve

    def having(self, room: str, key: str, value: Any) -> State:
        """The state with `room[key] = value`."""
        return self._with(room, {**getattr(self, room), key: value})

    def without(self, room: str, key: str) -> State:
        """The state with `key` gone from `room`."""
        return self._with(room, {k: v for k, v in getattr(self, room).items() if k != key})

    def _with(self, room: str, facts: dict[str, Any]) -> State:
        change: dict[str, Any] = {room: MappingProxyType(facts)}
        return replace(self, **change)
