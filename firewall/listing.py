"""The list of published services: what is wished beside what is in force, sifted, grouped by address or by machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import urlencode

from django.core.paginator import Page, Paginator
from django.db.models import F, OuterRef, Q, QuerySet, Subquery
from django.http import QueryDict

from firewall import counters, rows, undo
from firewall.models import Counter, Proto, PublishedService
from firewall.specs import Service
from hosts.models import Host
from machines.models import Machine
from zones.models import Zone

A_PAGE = 50
STATES = (("open", "Open now"), ("waiting", "Not applied yet"))
BY = (("", "By address"), ("machine", "By machine"))
State = Literal["open", "new", "changed", "closing"]
WORDS: dict[State, tuple[str, str]] = {
    "open": ("run", "open"),
    "new": ("wait", "opens when you apply"),
    "changed": ("wait", "changes when you apply"),
    "closing": ("wait", "closes when you apply"),
}


@dataclass(frozen=True, kw_only=True)
class Filter:
    """What the list is narrowed to, as it stands in the page's address."""

    q: str = ""
    zone: int | None = None
    proto: str = ""
    state: str = ""
    by: str = ""

    @classmethod
    def of(cls, query: QueryDict) -> Filter:
        """Whatever makes no sense narrows nothing."""
        zone, proto = query.get("zone", ""), query.get("proto", "")
        return cls(
            q=query.get("q", "").strip()[:60],
            zone=int(zone) if zone.isascii() and zone.isdigit() and len(zone) < 10 else None,
            proto=proto if proto in Proto.values else "",
            state=query.get("state", "") if query.get("state", "") in dict(STATES) else "",
            by=query.get("by", "") if query.get("by", "") in dict(BY) else "",
        )

    @property
    def narrows(self) -> bool:
        return bool(self.q or self.zone or self.proto or self.state)

    def query(self, **changes: str) -> str:
        """The address of the same list but for `changes`."""
        now = {"q": self.q, "zone": self.zone or "", "proto": self.proto, "state": self.state, "by": self.by}
        return urlencode({key: value for key, value in {**now, **changes}.items() if value})


@dataclass(frozen=True, kw_only=True)
class Line:
    """One service as the list shows it; `row` None: no wish any more, but still in force.

    `seen`: what whoever undoes it has seen of it (`undo.refuse_unseen`).
    """

    name: str
    service: Service
    row: PublishedService | None
    machine: Machine | None
    zone: str
    state: State
    was: str = ""
    counted: str = ""
    seen: str = ""

    @property
    def mark(self) -> str:
        return WORDS[self.state][0]

    @property
    def word(self) -> str:
        return WORDS[self.state][1]

    @property
    def to(self) -> str:
        return to_words(self.service, {self.service.target or "": self.machine.name} if self.machine else {})


@dataclass(frozen=True, kw_only=True)
class Group:
    """Lines of one address or one machine; `place` is the address, for the link to its free ports."""

    title: str
    sub: str
    lines: tuple[Line, ...]
    place: str = ""
    machine: int | None = None


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The page of the list: groups, what closes with the next apply, and what the filter offers."""

    filter: Filter
    groups: tuple[Group, ...]
    closing: tuple[Line, ...]
    page: Page[PublishedService]
    zones: tuple[tuple[int, str], ...]
    any: bool

    @property
    def views(self) -> list[tuple[str, str, bool]]:
        return [(self.filter.query(by=key), label, key == self.filter.by) for key, label in BY]


def to_words(service: Service, names: Mapping[str, str]) -> str:
    """Where a service leads: "WEB-Dom, port 8080"; "dom0"."""
    if service.target is None:
        return "dom0"
    return f"{names.get(service.target, service.target)}, port {service.target_ports.span}"


def listing(host: Host, sifted: Filter, page: str | None) -> Listing:
    """Read one page of it (9 queries, however many services)."""
    base = _in_force(host)
    found = Paginator(_found(host, sifted), A_PAGE).get_page(page)
    names = set(PublishedService.objects.filter(host=host).values_list("name", flat=True))
    zones = {zone.number: zone for zone in Zone.objects.filter(host=host)}
    gone = [service for name, service in base.items() if name not in names] if found.number == 1 else []
    machines = _machines(host, [*(row.target for row in found), *(service.target for service in gone)])
    told = counters.told(host, kind=Counter.Kind.SERVICE, name__in=[row.name for row in found])
    counted = {name: words for (_, name), words in told.items()}
    lines = [replace(_line(row, base, machines), counted=counted.get(row.name, "")) for row in found]
    closing = (_closing(service, machines, zones) for service in gone)
    return Listing(
        filter=sifted,
        groups=tuple(_groups(lines, by_machine=sifted.by == "machine")),
        closing=tuple(line for line in closing if _passes(line, sifted, zones)),
        page=found,
        zones=tuple((zone.pk, zone.name) for zone in zones.values()),
        any=bool(names or base),
    )


def one(host: Host, name: str) -> Line | None:
    """The line of that name; None where neither a wish nor what is in force has one."""
    if not name.isprintable():  # PostgreSQL takes no NUL
        return None
    row = PublishedService.objects.filter(host=host, name=name).select_related("external", "zone").first()
    base = _in_force(host)
    before = base.get(name)
    targets = (row.target if row else None, before.target if before else None)
    machines = _machines(host, targets)
    if row:
        return _line(row, base, machines)
    return _closing(before, machines, {z.number: z for z in Zone.objects.filter(host=host)}) if before else None


def _in_force(host: Host) -> dict[str, Service]:
    """Services of the revision on trial, else of the one in force, by name."""
    return {service.name: service for service in rows.site_in(rows.tried_or_live(host).first()).services}


def _machines(host: Host, targets: Iterable[str | None]) -> dict[str, Machine]:
    wanted = {target for target in targets if target}
    return {str(m.address): m for m in Machine.objects.filter(host=host, address__in=wanted)}


def _line(row: PublishedService, base: Mapping[str, Service], machines: Mapping[str, Machine]) -> Line:
    service, before = rows.service_of(row), base.get(row.name)
    state: State = "new" if before is None else "open" if before == service else "changed"
    told = ""
    if before is not None and state == "changed":
        names = {ip: m.name for ip, m in machines.items()}
        told = f"{before.where} to {to_words(before, names)}"
    return Line(
        name=row.name,
        service=service,
        row=row,
        machine=machines.get(row.target or ""),
        zone=row.zone.name if row.zone else "dom0",
        state=state,
        was=told,
        seen=undo.seen(service, before),
    )


def _closing(service: Service, machines: Mapping[str, Machine], zones: Mapping[int, Zone]) -> Line:
    zone = zones.get(service.zone) if service.zone is not None else None
    return Line(
        name=service.name,
        service=service,
        row=None,
        machine=machines.get(service.target or ""),
        zone=zone.name if zone else "dom0",
        state="closing",
        seen=undo.seen(None, service),
    )


def _groups(lines: list[Line], *, by_machine: bool) -> Iterator[Group]:
    """Neighbours with the same address, or the same machine, together."""
    gathered: dict[str, list[Line]] = {}
    for line in lines:
        key = line.service.target or "dom0" if by_machine else line.service.external or ""
        gathered.setdefault(key, []).append(line)
    for key, found in gathered.items():
        yield _by_machine(key, found) if by_machine else _by_address(key, found)


def _by_machine(target: str, lines: list[Line]) -> Group:
    if target == "dom0":
        return Group(title="dom0", sub="its own ports", lines=tuple(lines))
    machine = lines[0].machine
    if machine is None:
        return Group(title=target, sub="no machine has this address yet", lines=tuple(lines))
    return Group(title=machine.name, sub=target, lines=tuple(lines), machine=machine.pk)


def _by_address(address: str, lines: list[Line]) -> Group:
    if not address:
        return Group(title="Every address", sub="dom0’s own ports", lines=tuple(lines))
    row = lines[0].row
    nic = row.external.nic if row and row.external else ""
    return Group(title=address, sub=f"on {nic}", lines=tuple(lines), place=address)


def _found(host: Host, sifted: Filter) -> QuerySet[PublishedService]:
    found = PublishedService.objects.filter(host=host).select_related("external", "zone")
    if sifted.q:
        found = found.filter(_hit(host, sifted.q))
    if sifted.zone:
        found = found.filter(zone=sifted.zone)
    if sifted.proto:
        found = found.filter(proto__in={sifted.proto, Proto.BOTH})
    if sifted.state:
        found = found.filter(live=sifted.state == "open")
    if sifted.by != "machine":
        return found.order_by(F("external_id").asc(nulls_last=True), "port", "proto")
    name = Machine.objects.filter(host=host, address=OuterRef("target")).values("name")[:1]
    return found.annotate(machine=Subquery(name)).order_by(
        F("machine").asc(nulls_last=True), "target", "external_id", "port", "proto"
    )


def _hit(host: Host, sought: str) -> Q:
    """By name, address, machine, zone, or a port inside or outside."""
    named = Machine.objects.filter(host=host, name__icontains=sought).values("address")
    hit = Q(name__icontains=sought) | Q(external__address__contains=sought) | Q(target__contains=sought)
    hit |= Q(target__in=named) | Q(zone__name__icontains=sought)
    if sought.isascii() and sought.isdigit() and len(sought) < 6:
        hit |= Q(port__lte=int(sought), port_last__gte=int(sought)) | Q(target_port=int(sought))
    return hit


def _passes(line: Line, sifted: Filter, zones: Mapping[int, Zone]) -> bool:
    """The same for what is no row any more."""
    service = line.service
    if sifted.state == "open" or (sifted.proto and service.proto not in (sifted.proto, Proto.BOTH)):
        return False
    if sifted.zone and sifted.zone not in {z.pk for z in zones.values() if z.number == service.zone}:
        return False
    said = f"{line.name} {service.where} {service.target or ''} {line.to} {line.zone}".lower()
    return sifted.q.lower() in said
