"""What is drawn, as data, and how a layout reads it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

State = Literal["run", "off", "busy", "bad", "wait", "miss", "old", "none"]

WORDS: dict[State, str] = {
    "run": "running",
    "off": "stopped",
    "busy": "working",
    "bad": "failed",
    "wait": "waits",
    "miss": "missing",
    "old": "not seen yet",
    "none": "no machine",
}
TROUBLE_FIRST: tuple[State, ...] = ("bad", "miss", "none", "wait", "busy", "old", "run", "off")
VPN = ""  # the VPN's name in Reach: no zone has it


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A machine; in state "none" an address that services point to and no machine has."""

    name: str
    ip: str
    owner: str = ""
    state: State = "run"
    note: str = ""  # what is going on, e.g. "starting"
    href: str = ""
    key: str = ""  # makes the link's id, so that focus survives a refresh


@dataclass(frozen=True, kw_only=True)
class Zone:
    """A zone; `ext` is the address it goes out by, "" for an isolated one. `net` is gateway and prefix."""

    name: str
    bridge: str = ""
    net: str = ""
    ext: str = ""
    machines: tuple[Machine, ...] = ()
    limits: tuple[str, ...] = ()
    href: str = ""
    free: bool = False  # a stand-in for an address no zone uses

    @property
    def shown(self) -> str:
        return "free" if self.free else self.name

    @property
    def look(self) -> str:
        return "n-zone" if self.ext and not self.free else "n-zone n-iso"

    @property
    def cut(self) -> str:
        """Its restrictions in words."""
        return " · ".join(self.limits)

    @property
    def outside(self) -> str:
        if self.free:
            return "no zone uses it"
        return f"out as {self.ext}" if self.ext else "no way out"


@dataclass(frozen=True, kw_only=True)
class Address:
    """An external address and the NIC it is on."""

    ip: str
    nic: str = ""


@dataclass(frozen=True, kw_only=True)
class Service:
    """A published port (or range up to `last`) of an external address, to a machine's port.

    `pending` says what the next apply of the firewall does to it, "" where it is in force as wished.
    """

    addr: str
    proto: str
    port: int
    machine: str
    to: int
    last: int = 0
    pending: str = ""

    @property
    def ports(self) -> str:
        return f"{self.port}–{self.last}" if self.last > self.port else str(self.port)

    @property
    def brief(self) -> str:
        return f"udp {self.ports}" if self.proto == "udp" else self.ports

    @property
    def full(self) -> str:
        """E.g. "80 → 8080"."""
        return self.brief + (f" → {self.to}" if self.to != self.port else "")

    @property
    def said(self) -> str:
        said = f"{self.proto} {self.ports} of {self.addr} to {self.machine}:{self.to}"
        return f"{said} ({self.pending})" if self.pending else said


@dataclass(frozen=True, kw_only=True)
class Reach:
    """`source` may open connections to `target` (zone names, or VPN): on `what`, or on "all"."""

    source: str
    target: str
    what: str = "all"


@dataclass(frozen=True, kw_only=True)
class Vpn:
    iface: str = ""
    ip: str = ""
    note: str = ""


Group = tuple[Address | None, tuple[Zone, ...]]


@dataclass(frozen=True, kw_only=True)
class Site:
    """One host and its network."""

    host: str
    vpn: Vpn = Vpn()
    traffic: str = ""
    dom0_ports: str = ""
    addresses: tuple[Address, ...] = ()
    zones: tuple[Zone, ...] = ()
    services: tuple[Service, ...] = ()
    policy: tuple[Reach, ...] = ()
    policy_href: str = ""

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Zones by external address: isolated first (they sit under the VPN), then in address order.

        An address no zone uses gets an empty stand-in, so that it is seen.
        """
        known = {a.ip for a in self.addresses}
        groups: list[Group] = [(None, (z,)) for z in self.zones if z.ext not in known]
        for address in self.addresses:
            free = Zone(name=f"free {address.ip}", ext=address.ip, free=True)
            groups.append((address, tuple(z for z in self.zones if z.ext == address.ip) or (free,)))
        return tuple(groups)

    @property
    def columns(self) -> tuple[Zone, ...]:
        """Every zone (and stand-in), left to right."""
        return tuple(z for _, zones in self.groups for z in zones)

    @property
    def has_isolated(self) -> bool:
        return bool(self.groups) and self.groups[0][0] is None

    @cached_property
    def services_by(self) -> dict[str, tuple[Service, ...]]:
        """The services of each machine, by its name."""
        by: dict[str, list[Service]] = {}
        for service in sorted(self.services, key=lambda s: (s.port, s.proto, s.addr)):
            by.setdefault(service.machine, []).append(service)
        return {name: tuple(found) for name, found in by.items()}

    def of(self, machine: Machine) -> tuple[Service, ...]:
        return self.services_by.get(machine.name, ())

    @cached_property
    def talk(self) -> tuple[tuple[tuple[str, ...], ...], tuple[Reach, ...]]:
        """Who reaches whom in as few lines as possible: sets that all reach each other, then single permissions."""
        names = [VPN, *(z.name for z in self.zones)]
        rank = {name: i for i, name in enumerate(names)}
        policy = [r for r in self.policy if r.source in rank and r.target in rank and r.source != r.target]
        whole = {(r.source, r.target) for r in policy if r.what == "all"}
        both = {pair for pair in whole if pair[::-1] in whole}
        left = {pair for pair in both if rank[pair[0]] < rank[pair[1]]}
        sets: list[tuple[str, ...]] = []
        while left:
            best = _largest(left, both, names, rank)
            sets.append(best)
            left -= {(a, b) for a in best for b in best}
        single = [r for r in policy if (r.source, r.target) not in both and (r.what == "all" or _alone(r, whole))]
        return tuple(sets), tuple(single)


def _alone(reach: Reach, whole: set[tuple[str, str]]) -> bool:
    """Whether no permission for everything already covers a permission for some ports."""
    return (reach.source, reach.target) not in whole


def _largest(
    left: set[tuple[str, str]], both: set[tuple[str, str]], names: list[str], rank: dict[str, int]
) -> tuple[str, ...]:
    """The largest set found by growing each pair in order of the names (greedy, so not always the largest of all)."""
    best: list[str] = []
    for pair in sorted(left, key=lambda p: (rank[p[0]], rank[p[1]])):
        members = list(pair)
        for name in names:
            if name not in members and all((name, member) in both for member in members):
                members.append(name)
        if len(members) > len(best):
            best = members
    return tuple(sorted(best, key=rank.__getitem__))


def trouble_first(machines: tuple[Machine, ...]) -> list[Machine]:
    """Failed, missing and working ones first, then by address."""
    return sorted(machines, key=lambda m: (TROUBLE_FIRST.index(m.state), [int(part) for part in m.ip.split(".")]))
