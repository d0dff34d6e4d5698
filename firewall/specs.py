"""What the firewall compiler reads: one host's addresses, zones, services and policy as frozen data.

Pure: no Django, no I/O. Addresses and networks are text in their canonical form ("10.10.1.0/24");
whoever builds a Site has validated them, and `firewall.lint` says what still does not fit together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from ipaddress import IPv4Address, IPv4Network
from typing import Any, Literal

#: "both" is tcp and udp as one object, two rules (`Ports.each`, `Service.each`); "icmp" stands in policy cells only.
Proto = Literal["tcp", "udp", "both", "icmp"]
Direction = Literal["in", "out"]
Action = Literal["DROP", "REJECT", "ACCEPT"]
Place = Literal["before-input", "after-input", "before-output", "after-output", "before-forwarding", "after-forwarding"]

#: Protocols that have ports, as rules know them.
PROTOS: tuple[Proto, ...] = ("tcp", "udp")
PLACES: tuple[Place, ...] = (
    "before-input",
    "after-input",
    "before-output",
    "after-output",
    "before-forwarding",
    "after-forwarding",
)
BOTH: Literal["both"] = "both"
ICMP: Literal["icmp"] = "icmp"
INTERNET, VPN, DOM0 = "internet", "vpn", "dom0"
#: Parties of the policy besides the zones; no zone may be called so.
RESERVED = (INTERNET, VPN, DOM0)


def proto_of(text: str) -> Proto:
    """The protocol of that name. Raises ValueError for another word."""
    for proto in (*PROTOS, BOTH, ICMP):
        if proto == text:
            return proto
    raise ValueError(f"{text[:20]} is no protocol. Write tcp, udp or both.")


@dataclass(frozen=True, kw_only=True)
class Ports:
    """A closed range of ports of one protocol, or of tcp and udp alike; first == last for a single port.

    Of icmp it stands for ping, and both ports are 0 (`PING`).
    """

    proto: Proto
    first: int
    last: int

    def __str__(self) -> str:
        return "ping" if self.proto == ICMP else f"{'tcp and udp' if self.proto == BOTH else self.proto} {self.span}"

    @property
    def span(self) -> str:
        """The range as people write it: `25` or `5000-5010`."""
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"

    @property
    def each(self) -> tuple[Ports, ...]:
        """One for each protocol: of "both" the one of tcp and the one of udp."""
        return tuple(replace(self, proto=proto) for proto in PROTOS) if self.proto == BOTH else (self,)

    @property
    def valid(self) -> bool:
        """Whether a packet can have such a port."""
        return self == PING or (self.proto != ICMP and 0 < self.first <= self.last < 65536)

    def overlaps(self, other: Ports) -> bool:
        """Whether a packet can be meant by both; "both" overlaps tcp and udp."""
        same = self.proto == other.proto or (
            BOTH in (self.proto, other.proto) and ICMP not in (self.proto, other.proto)
        )
        return same and self.first <= other.last and other.first <= self.last


#: An echo request, in a policy cell.
PING = Ports(proto=ICMP, first=0, last=0)


@dataclass(frozen=True, kw_only=True)
class Address:
    """A public address and the network card it lives on."""

    ip: str
    nic: str


@dataclass(frozen=True, kw_only=True)
class Zone:
    """A bridge with its subnet. `number` is stable for the zone's life: chains are called after it.

    `external` is the address its machines leave with; None makes the zone isolated.
    """

    number: int
    name: str
    bridge: str
    gateway: str
    network: str
    external: str | None = None
    nic: str | None = None

    @property
    def isolated(self) -> bool:
        return self.external is None

    def holds(self, ip: str) -> bool:
        first, last = bounds(self.network)
        return first <= _number(ip) <= last


@lru_cache(maxsize=1 << 14)
def _number(ip: str) -> int:
    return int(IPv4Address(ip))


@lru_cache(maxsize=1 << 14)
def bounds(network: str) -> tuple[int, int]:
    """First and last address of a network or single address as numbers; (1, 0), which holds none, for neither."""
    try:
        parsed = IPv4Network(network)
    except ValueError:
        return 1, 0
    return int(parsed.network_address), int(parsed.broadcast_address)


@dataclass(frozen=True, kw_only=True)
class Service:
    """A published service (the seed's CreateApp).

    To a machine: `external`, `target` and `target_port` (first of the range) are set, `zone` is the
    number of the zone that publishes it. dom0's own (ZONE=none): `target` and `zone` are None and
    `external` is one address, or None for every address of `nic`, or of the host where that is None too.
    """

    name: str
    proto: Proto
    port_first: int
    port_last: int
    external: str | None = None
    nic: str | None = None
    target: str | None = None
    target_port: int | None = None
    zone: int | None = None

    @property
    def ports(self) -> Ports:
        return Ports(proto=self.proto, first=self.port_first, last=self.port_last)

    @property
    def each(self) -> tuple[Service, ...]:
        """One for each protocol: of "both" the one of tcp and the one of udp, of the same name."""
        return tuple(replace(self, proto=proto) for proto in PROTOS) if self.proto == BOTH else (self,)

    @property
    def target_ports(self) -> Ports:
        first = self.port_first if self.target_port is None else self.target_port
        return Ports(proto=self.proto, first=first, last=first + self.port_last - self.port_first)

    @property
    def where(self) -> str:
        """The outside end in words: `tcp 25 of 91.121.65.140`."""
        every = f"every address of {self.nic}" if self.nic else "every external address"
        return f"{self.ports} of {self.external or every}"


@dataclass(frozen=True, kw_only=True)
class Restriction:
    """A zone restriction (the seed's TuneZone), optionally only to or from one address or network."""

    name: str
    zone: int
    direction: Direction
    action: Action
    ports: Ports
    address: str | None = None


@dataclass(frozen=True, kw_only=True)
class Cell:
    """`source` may open connections to `target`: everything, or only `ports`. No cell: nothing."""

    source: str
    target: str
    everything: bool = False
    ports: tuple[Ports, ...] = ()

    @property
    def words(self) -> str:
        return "everything" if self.everything else ", ".join(str(p) for p in self.ports) or "nothing"


@dataclass(frozen=True, kw_only=True)
class CustomRule:
    """An operator's own rule: iptables arguments without table, chain and command."""

    place: Place
    rule: str
    reason: str = ""
    author: str = ""


@dataclass(frozen=True, kw_only=True)
class Vpn:
    """The admin VPN: its interface on dom0 (`tun0`, or `tun+` for all of that kind), network and server's udp port."""

    interface: str
    network: str | None = None
    port: int = 0  # 0: no server of it here, or tcp


@dataclass(frozen=True, kw_only=True)
class Site:
    """Everything the rules of one host are made from.

    `ssh_port` (on every card and the VPN) and `panel_port` (on the VPN) are the admin's own ways in:
    the compiler always writes them and nothing above can take them away.
    `cards` are the host's network cards, with or without an address of ours.
    `bridge_prefix` starts the name of every zone's bridge, `vif_prefix` that of every machine's
    interface, and of nothing else on the host.
    """

    addresses: tuple[Address, ...] = ()
    zones: tuple[Zone, ...] = ()
    services: tuple[Service, ...] = ()
    restrictions: tuple[Restriction, ...] = ()
    policy: tuple[Cell, ...] = ()
    custom: tuple[CustomRule, ...] = ()
    vpn: Vpn | None = None
    ssh_port: int = 22
    panel_port: int | None = None
    bridge_prefix: str = "xen-br"
    vif_prefix: str = "fr"
    cards: tuple[str, ...] = ()

    def __hash__(self) -> int:
        """By content, counted once: what the pages keep of a site is kept under the site itself."""
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash(tuple(getattr(self, name) for name in self.__dataclass_fields__))

    @cached_property
    def nics(self) -> tuple[str, ...]:
        """Cards towards the Internet, each once: those of addresses, the host's others, then any a service names."""
        served = sorted({s.nic for s in self.services if s.nic})
        return tuple(dict.fromkeys((*(a.nic for a in self.addresses), *self.cards, *served)))

    @cached_property
    def published(self) -> tuple[Service, ...]:
        """Services that lead to a machine, each of one protocol, ordered by address, protocol and port."""
        out = [one for s in self.services if s.target is not None for one in s.each]
        number = {ip: tuple(int(part) for part in ip.split(".") if part) for ip in {s.external or "" for s in out}}
        return tuple(sorted(out, key=lambda s: (number[s.external or ""], s.proto, s.port_first, s.name)))

    def zone(self, number: int) -> Zone:
        """The zone of that number. Raises StopIteration where there is none."""
        return next(z for z in self.zones if z.number == number)

    def zone_of(self, ip: str) -> Zone | None:
        """The zone whose subnet holds this address."""
        if ip not in self._zones_of:
            self._zones_of[ip] = next((z for z in self.zones if z.holds(ip)), None)
        return self._zones_of[ip]

    @cached_property
    def _zones_of(self) -> dict[str, Zone | None]:
        return {}

    @cached_property
    def nic_of(self) -> Mapping[str, str]:
        """External address → its card."""
        return {a.ip: a.nic for a in self.addresses}

    def addresses_of(self, service: Service) -> tuple[str, ...]:
        """The public addresses a service is reached on."""
        if service.external:
            return (service.external,)
        return tuple(a.ip for a in self.addresses if service.nic in (None, a.nic))

    def cell(self, source: str, target: str) -> Cell:
        """Who may open what; an empty cell where nothing was allowed."""
        return self._cells.get((source, target)) or Cell(source=source, target=target)

    @cached_property
    def _cells(self) -> Mapping[tuple[str, str], Cell]:
        # Reversed: of two cells for one pair the first counts.
        return {(c.source, c.target): c for c in reversed(self.policy)}

    def parties(self) -> Iterator[str]:
        """Rows and columns of the policy grid, in their order on the page."""
        yield INTERNET
        if self.vpn:
            yield VPN
        yield DOM0
        yield from (z.name for z in self.zones)


def as_dict(site: Site) -> dict[str, Any]:
    """The site as plain data for JSON; `from_dict` is its inverse."""
    return {
        **_plain(site),
        "addresses": [_plain(a) for a in site.addresses],
        "zones": [_plain(z) for z in site.zones],
        "services": [_plain(s) for s in site.services],
        "restrictions": [{**_plain(r), "ports": _plain(r.ports)} for r in site.restrictions],
        "policy": [{**_plain(c), "ports": [_plain(p) for p in c.ports]} for c in site.policy],
        "custom": [_plain(c) for c in site.custom],
        "vpn": _plain(site.vpn) if site.vpn else None,
        "cards": list(site.cards),
    }


def _plain(spec: Any) -> dict[str, Any]:
    """A spec's own fields; dataclasses.asdict copies deeply, which 5000 services feel (measured: 4 times as long)."""
    return {name: getattr(spec, name) for name in spec.__dataclass_fields__}


def from_dict(data: Mapping[str, Any]) -> Site:
    """A site from `as_dict` data that may have been through JSON.

    Raises TypeError or KeyError when the data has another shape.
    """
    return Site(
        addresses=tuple(Address(**a) for a in data["addresses"]),
        zones=tuple(Zone(**z) for z in data["zones"]),
        services=tuple(Service(**s) for s in data["services"]),
        restrictions=tuple(Restriction(**{**r, "ports": Ports(**r["ports"])}) for r in data["restrictions"]),
        policy=tuple(Cell(**{**c, "ports": tuple(Ports(**p) for p in c["ports"])}) for c in data["policy"]),
        custom=tuple(CustomRule(**c) for c in data["custom"]),
        vpn=Vpn(**data["vpn"]) if data["vpn"] else None,
        ssh_port=data["ssh_port"],
        panel_port=data["panel_port"],
        bridge_prefix=data["bridge_prefix"],
        vif_prefix=data["vif_prefix"],
        # Not in the notes of an older release.
        cards=tuple(data.get("cards", ())),
    )
