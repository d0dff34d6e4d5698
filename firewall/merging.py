"""A rule file on top of what the panel wishes already: what is new, the same, different, only here. Pure.

Zones a file does not name, with all that belongs to them, are none of its business.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network
from typing import TypeVar

from firewall import words
from firewall.specs import DOM0, INTERNET, RESERVED, VPN, Cell, CustomRule, Ports, Restriction, Service, Site, Zone

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Merged:
    """What a file comes to on a host.

    `new`, `same`, `changed` and `gone` are sentences; `site` is what would be wished afterwards. Unless the file is
    taken exactly, what is `gone` stays, and a service or restriction that is `changed` stays as it is (`kept`).
    The tuples of objects are what to make and what to take out, in the panel's zone numbers.
    """

    site: Site
    new: tuple[str, ...] = ()
    same: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    zones: tuple[Zone, ...] = ()
    services: tuple[Service, ...] = ()
    without_services: tuple[Service, ...] = ()
    restrictions: tuple[Restriction, ...] = ()
    without_restrictions: tuple[Restriction, ...] = ()
    cells: tuple[Cell, ...] = ()
    customs: tuple[CustomRule, ...] = ()
    without_customs: tuple[CustomRule, ...] = ()


def merged(now: Site, read: Site, *, exact: bool = False) -> Merged:
    """`read` on top of `now`; `exact` also changes what differs and takes out what the file does not have."""
    return _Merging(now=now, read=read, exact=exact).result()


@dataclass
class _Merging:
    now: Site
    read: Site
    exact: bool

    def __post_init__(self) -> None:
        self.numbers = {z.number: self._number(z) for z in self.read.zones}
        self.named = {z.number for z in self.now.zones if z.name in {r.name for r in self.read.zones}}
        self.new: list[str] = []
        self.same: list[str] = []
        self.changed: list[str] = []
        self.gone: list[str] = []
        self.kept: list[str] = []

    def _number(self, zone: Zone) -> int:
        known = next((z.number for z in self.now.zones if z.name == zone.name), 0)
        fresh = [z.name for z in self.read.zones if z.name not in {n.name for n in self.now.zones}]
        highest = max((z.number for z in self.now.zones), default=0)
        return known or highest + 1 + fresh.index(zone.name)

    def result(self) -> Merged:
        zones = self.zones()
        services, out = self.services()
        restrictions, lifted = self.restrictions()
        cells = self.cells()
        customs, dropped = self.customs()
        wished = {(c.source, c.target): c for c in self.now.policy} | {(c.source, c.target): c for c in cells}
        site = replace(
            self.now,
            addresses=tuple(dict.fromkeys((*self.now.addresses, *self.read.addresses))),
            zones=(*self.now.zones, *zones),
            services=_after(self.now.services, services, out),
            restrictions=_after(self.now.restrictions, restrictions, lifted),
            policy=tuple(wished[pair] for pair in sorted(wished) if wished[pair].everything or wished[pair].ports),
            custom=(*(c for c in self.now.custom if c not in dropped), *customs),
        )
        return Merged(
            site=site,
            new=tuple(self.new),
            same=tuple(self.same),
            changed=tuple(self.changed),
            gone=tuple(self.gone),
            kept=tuple(self.kept),
            zones=zones,
            services=services,
            without_services=out,
            restrictions=restrictions,
            without_restrictions=lifted,
            cells=cells,
            customs=customs,
            without_customs=dropped,
        )

    def zones(self) -> tuple[Zone, ...]:
        had = {z.name for z in self.now.zones}
        out = []
        for zone in self.read.zones:
            if zone.name in had:
                self.same.append(f"zone {zone.name}")
                continue
            way = f"leaves with {zone.external}" if zone.external else "isolated"
            self.new.append(f"zone {zone.name}, {zone.network} on {zone.bridge}, {way}")
            out.append(replace(zone, number=self.numbers[zone.number]))
        return tuple(out)

    def services(self) -> tuple[tuple[Service, ...], tuple[Service, ...]]:
        had = {s.name: s for s in self.now.services}
        made, out = [], []
        for read in self.read.services:
            service = replace(read, zone=self.numbers[read.zone] if read.zone else None)
            was = had.pop(service.name, None)
            if was is None:
                self.new.append(f"service {said(service)}")
                made.append(service)
            elif alike(was, service):
                self.same.append(f"service {service.name}")
            else:
                self.differs(f"service {said(was)}", said(service))
                made.append(service)
                out.append(was)
        for left in had.values():
            if left.zone is None or left.zone in self.named:
                self.gone.append(f"service {said(left)}")
                out.append(left)
        return (tuple(made), tuple(out)) if self.exact else (tuple(m for m in made if m.name not in _names(out)), ())

    def restrictions(self) -> tuple[tuple[Restriction, ...], tuple[Restriction, ...]]:
        had = {(r.zone, r.name): r for r in self.now.restrictions}
        made, out = [], []
        for read in self.read.restrictions:
            restriction = replace(read, zone=self.numbers[read.zone])
            was = had.pop((restriction.zone, restriction.name), None)
            if was == restriction:
                self.same.append(f"zone restriction {restriction.name}")
                continue
            if was is None:
                self.new.append(f"zone restriction {self.tuned(restriction)}")
            else:
                self.differs(f"zone restriction {self.tuned(was)}", self.tuned(restriction))
                out.append(was)
            made.append(restriction)
        for left in had.values():
            if left.zone in self.named:
                self.gone.append(f"zone restriction {self.tuned(left)}")
                out.append(left)
        kept = {(r.zone, r.name) for r in out}
        return (tuple(made), tuple(out)) if self.exact else (tuple(m for m in made if (m.zone, m.name) not in kept), ())

    def differs(self, was: str, read: str) -> None:
        sentence = f"{was}; in the file: {read.partition(': ')[2]}"
        self.changed.append(sentence)
        if not self.exact:
            self.kept.append(sentence)

    def tuned(self, r: Restriction) -> str:
        zone = next((z.name for z in (*self.now.zones, *self.read.zones) if self.number(z) == r.zone), "?")
        only = f", {'to' if r.direction == 'out' else 'from'} {r.address} only" if r.address else ""
        return f"{r.name}: {r.action} {r.ports} {'out of' if r.direction == 'out' else 'into'} {zone}{only}"

    def number(self, zone: Zone) -> int:
        return zone.number if zone in self.now.zones else self.numbers.get(zone.number, 0)

    def cells(self) -> tuple[Cell, ...]:
        """The file's cells, and none for a zone's way out that the file closes."""
        parties = {*RESERVED, *(z.name for z in self.read.zones)}
        had = {z.name for z in self.now.zones}
        out = []
        ways = [(z.name, INTERNET) for z in self.read.zones if z.external]
        pairs = dict.fromkeys([*((c.source, c.target) for c in self.read.policy), *ways])
        for pair in pairs:
            was, is_ = self.now.cell(*pair), self.read.cell(*pair)
            # A zone that comes reaches the Internet unless its cell says otherwise.
            implied = pair[1] == INTERNET and pair[0] not in had and pair[0] in parties - {*RESERVED}
            if implied and is_.everything:
                out.append(is_)
            elif was == is_:
                self.same.append(f"policy {_way(is_)}")
            elif implied or was.words == "nothing":
                self.new.append(f"policy: {_way(is_)}")
                out.append(is_)
            else:
                self.changed.append(f"policy: {_way(was)}; in the file: {is_.words}")
                out.append(is_)
        for cell in self.now.policy:
            if (cell.source, cell.target) not in pairs and {cell.source, cell.target} <= parties:
                self.gone.append(f"policy: {_way(cell)}")
                if self.exact:
                    out.append(Cell(source=cell.source, target=cell.target))
        return tuple(out)

    def customs(self) -> tuple[tuple[CustomRule, ...], tuple[CustomRule, ...]]:
        had = {(c.place, c.rule): c for c in self.now.custom}
        made = []
        for rule in self.read.custom:
            if had.pop((rule.place, rule.rule), None):
                self.same.append(f"own rule in {rule.place}: {rule.rule}")
            else:
                self.new.append(f"own rule in {rule.place}: {rule.rule}")
                made.append(rule)
        self.gone += [f"own rule in {c.place}: {c.rule}" for c in had.values()]
        return tuple(made), tuple(had.values()) if self.exact else ()


def said(service: Service) -> str:
    """A service with both its ends: `FulupWEB: tcp 80 of 91.121.65.140 to 10.10.1.3, port 8080`."""
    to = f"{service.target}, port {service.target_ports.span}" if service.target else "dom0"
    return f"{service.name}: {service.where} to {to}"


def alike(was: Service, service: Service) -> bool:
    """Whether two services are one: dom0's card may be unsaid in either."""
    nic = was.nic if was.target is None and None in (was.nic, service.nic) else service.nic
    return replace(service, nic=nic) == was


def ways_closed(before: Site, after: Site, *, viewer: str = "", vpn_port: int = 0) -> tuple[str, ...]:
    """The ways into dom0 and out of zones that close from `before` to `after`, in sentences; the viewer's own first.

    `viewer` is the address somebody asks from, `vpn_port` the udp port of the VPN's server on this host.
    """
    inside = bool(viewer and before.vpn and before.vpn.network and _in(viewer, before.vpn.network))
    return (
        *_own_ports(before, after, inside, viewer, vpn_port),
        *_ssh_led_away(before, after),
        *_cells_closed(before, after),
    )


def _own_ports(before: Site, after: Site, inside: bool, viewer: str, vpn_port: int) -> Iterator[str]:
    open_after = [half.ports for s in after.services if s.target is None for half in s.each]
    for service in before.services:
        halves = [h for h in service.each if service.target is None]
        lost = [h for h in halves if not any(p.overlaps(h.ports) for p in open_after)]
        if not lost:
            continue
        vpn = _is_vpn(service, vpn_port)
        yours = f" You come through it yourself, from {viewer}: it would cut you off." if vpn and inside else ""
        what = "the admin VPN's own way in" if vpn else "dom0's own"
        yield f"{lost[0].ports} of dom0 closes ({service.name}), {what}; the file does not have it.{yours}"
    wanted = Ports(proto="udp", first=vpn_port, last=vpn_port)
    known = [h.ports for s in (*before.services, *after.services) if s.target is None for h in s.each]
    if vpn_port and after.vpn and not any(p.overlaps(wanted) for p in known):
        yours = f" You come through it yourself, from {viewer}." if inside else ""
        yield (
            f"Nothing opens udp {vpn_port}, where the admin VPN's server listens: nobody could come in by it.{yours} "
            f"Add: CreateApp NAME=DOM0_VPN ZONE=none EXT=udp:{vpn_port} INT={next(iter(after.nics), 'eth0')}"
        )


def _is_vpn(service: Service, vpn_port: int) -> bool:
    named = "vpn" in service.name.lower() or service.port_first <= 1194 <= service.port_last
    return named or service.port_first <= vpn_port <= service.port_last


def _ssh_led_away(before: Site, after: Site) -> Iterator[str]:
    ssh = Ports(proto="tcp", first=after.ssh_port, last=after.ssh_port)

    def takers(site: Site) -> dict[str | None, Service]:
        return {s.external: s for s in site.services if s.target and any(h.ports.overlaps(ssh) for h in s.each)}

    had = takers(before)
    for ip, service in takers(after).items():
        if ip not in had:
            left = [a.ip for a in after.addresses if a.ip not in takers(after)]
            yield (
                f"tcp {after.ssh_port} of {ip} leads to {service.target} from then on ({service.name}): dom0's own ssh "
                f"answers only on {', '.join(left) or 'the admin VPN'}."
            )


def _cells_closed(before: Site, after: Site) -> Iterator[str]:
    for cell in before.policy:
        is_ = after.cell(cell.source, cell.target)
        if cell == is_ or is_.everything or cell.words == "nothing":
            continue
        if cell.source == VPN and cell.target == DOM0:
            ways = f"ssh (tcp {after.ssh_port})" + (
                f" and the panel (tcp {after.panel_port})" if after.panel_port else ""
            )
            yield f"The admin VPN reaches {is_.words} of dom0 but {ways}, no more {cell.words}."
        elif VPN in (cell.source, cell.target) or cell.target == INTERNET:
            way = f"{words.party(cell.source)} → {words.party(cell.target)}"
            yield f"{way} closes: no more {cell.words}, {is_.words} stays."


def _way(cell: Cell) -> str:
    return f"{words.party(cell.source)} may open {cell.words} to {words.party(cell.target)}"


def _in(address: str, network: str) -> bool:
    try:
        return IPv4Address(address) in IPv4Network(network)
    except ValueError:
        return False


def _names(services: list[Service]) -> set[str]:
    return {s.name for s in services}


def _after(now: tuple[T, ...], made: tuple[T, ...], out: tuple[T, ...]) -> tuple[T, ...]:
    return (*(each for each in now if each not in out), *made)
