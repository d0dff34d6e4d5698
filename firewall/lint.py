"""What in a site does not fit together, in words, before anything is compiled. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Network
from itertools import groupby

from firewall import lint_site, own_rule_lint
from firewall.findings import Problem
from firewall.lint_site import is_network
from firewall.specs import DOM0, ICMP, INTERNET, PING, VPN, Cell, CustomRule, Ports, Service, Site, Zone, bounds

__all__ = ("blocking", "canonical", "conflict", "custom_problems", "free_port", "is_network", "problems")

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,30}")
PANEL = "panel"
#: So many clashes are told with a free port; finding one looks at every service of the address.
FREE_FOR = 20


def problems(site: Site) -> tuple[Problem, ...]:
    """Everything that is wrong or odd, most telling first; empty when the site can be applied as it is."""
    found = [
        *lint_site.zones(site),
        *lint_site.addresses(site),
        *(p for service in site.services for p in service_problems(site, service)),
        *_named_twice(site),
        *_published_twice(site),
        *lint_site.shadowed(site),
        *_restrictions(site),
        *_policy(site),
        *(p for rule in site.custom for p in custom_problems(rule, site)),
        *lint_site.admin(site),
    ]
    return tuple(sorted(found, key=lambda p: not p.blocks))


def blocking(site: Site) -> tuple[Problem, ...]:
    """The problems nothing may be applied with."""
    return tuple(p for p in problems(site) if p.blocks)


def service_problems(site: Site, service: Service) -> Iterator[Problem]:
    """What is wrong with one service by itself; ports taken by others are told by `conflict`."""
    about = f"service {service.name}"
    if not NAME.fullmatch(service.name):
        yield Problem(
            about=about,
            field="name",
            sentence="A service's name begins with a letter and has at most 31 letters, digits, . _ - DomiWEB is one.",
        )
    if not _valid(service.ports):
        yield Problem(about=about, field="port_first", sentence=_no_port(service.ports))
    if service.external and service.external not in site.nic_of:
        yield Problem(
            about=about,
            field="external",
            sentence=f"{service.external} is no external address of this host. "
            f"It has {', '.join(site.nic_of) or 'none yet'}.",
        )
    elif service.nic and (said := lint_site.nic_problem(site, service.nic)):
        yield Problem(about=about, field="nic", sentence=said)
    if service.target is not None:
        yield from _published(site, service, about)


def _published(site: Site, service: Service, about: str) -> Iterator[Problem]:
    if not service.external:
        yield Problem(
            about=about,
            field="external",
            sentence=f"{service.name} leads to a machine and needs the external address it is published on, "
            f"such as {next(iter(site.nic_of), '203.0.113.9')}.",
        )
    inner = service.target_ports
    if inner.first < 1:
        yield Problem(about=about, field="target_port", sentence=_no_port(inner))
    elif inner.last > 65535:
        yield Problem(
            about=about,
            field="target_port",
            sentence=f"{service.ports.span} moved to {service.target_port} would end above port 65535. "
            f"{65535 - (inner.last - inner.first)} is the last that fits.",
        )
    yield from _target(site, service, about)


def _valid(ports: Ports) -> bool:
    return ports.valid and ports.proto != ICMP


def _no_port(ports: Ports) -> str:
    if ports.proto == ICMP:
        return "ping has no port to publish or restrict. Choose tcp, udp or both."
    if ports.last < ports.first:
        return f"{ports.span} is no port range: write the lower one first, {ports.last}-{ports.first}."
    return f"{ports.span} is no port; they go from 1 to 65535."


def _target(site: Site, service: Service, about: str) -> Iterator[Problem]:
    target = service.target or ""
    zone = site.zone_of(target) if lint_site.is_address(target) else None
    if zone is None:
        known = ", ".join(f"{z.name} {z.network}" for z in site.zones) or "none yet"
        yield Problem(
            about=about,
            field="target",
            sentence=f"{service.target} is in no zone, so nothing would answer. Zones: {known}.",
        )
    elif zone.isolated:
        yield Problem(
            about=about,
            field="target",
            sentence=f"{service.target} is in {zone.name}, which is isolated from the Internet. "
            f"Give {zone.name} an external address first, or choose a machine of another zone.",
        )
    elif bounds(target)[0] in bounds(zone.network):
        yield Problem(
            about=about,
            field="target",
            sentence=f"{target} is the subnet's own or its broadcast address; no machine has it. "
            f"Choose a machine, such as {IPv4Network(zone.network)[2]}.",
        )
    elif target == zone.gateway:
        yield Problem(
            about=about,
            field="target",
            sentence=f"{target} is dom0's own address in {zone.name}. Choose a machine, or publish a port of dom0.",
        )
    elif zone.number != service.zone and service.zone is not None:
        publisher = next((z.name for z in site.zones if z.number == service.zone), "?")
        yield Problem(
            about=about,
            blocks=False,
            field="target",
            sentence=f"{service.name} belongs to {publisher}, its target is in {zone.name}: a machine shared by both.",
        )


def conflict(service: Service, others: Iterable[Service], *, targets: Mapping[str, str] | None = None) -> str:
    """Why `service` can't have its port, with one that is free; "" when it can.

    `targets` gives machine names by address, to speak of machines instead of addresses.
    """
    taken = [o for o in others if o.target is not None and o.external == service.external]
    for other in taken:
        if other.name != service.name and other.ports.overlaps(service.ports):
            return _clash(other, (targets or {}).get(other.target or "", other.target or ""), _free(service, taken))
    return ""


def _clash(other: Service, to: str, free: str) -> str:
    return f"{other.where} already leads to {to} ({other.name}).{free}"


def _free(service: Service, taken: Sequence[Service]) -> str:
    free = free_port(service, taken)
    if free is None:
        return " No port of that kind is free there."
    size = service.port_last - service.port_first
    return f" Free: {Ports(proto=service.proto, first=free, last=free + size).span}."


def free_port(service: Service, others: Iterable[Service]) -> int | None:
    """The nearest first port at or above the wanted one where the whole range is free; None: there is none."""
    size = service.port_last - service.port_first
    anywhere = replace(service.ports, first=1, last=65535)
    busy = sorted((o.port_first, o.port_last) for o in others if o.name != service.name and anywhere.overlaps(o.ports))
    for start in (service.port_first, 8000 if service.port_first < 1024 else 1024):
        candidate = max(start, 1)
        for low, high in busy:
            if low <= candidate + size and candidate <= high:
                candidate = high + 1
        if candidate + size <= 65535 and (candidate >= 1024 or candidate == service.port_first):
            return candidate
    return None


def _named_twice(site: Site) -> Iterator[Problem]:
    names: set[str] = set()
    for service in site.services:
        if service.name in names:
            yield Problem(
                about=f"service {service.name}",
                field="name",
                sentence=f"Two services are called {service.name}; give one of them another name, "
                f"such as {service.name[:30]}2.",
            )
        names.add(service.name)


def _published_twice(site: Site) -> Iterator[Problem]:
    """Services that want the same port: of two the later wish is told."""
    place = {id(s): i for i, s in enumerate(site.services)}
    clashes: dict[int, Service] = {}
    published = sorted((s for s in site.services if s.target is not None), key=_end)
    for _, same in groupby(published, key=lambda s: s.external):
        for one, other in _overlapping(list(same)):
            later, earlier = (one, other) if place[id(one)] > place[id(other)] else (other, one)
            clashes.setdefault(place[id(later)], earlier)
    for told, (index, other) in enumerate(sorted(clashes.items())):
        service = site.services[index]
        taken = [s for s in published if s.external == service.external] if told < FREE_FOR else []
        sentence = _clash(other, other.target or "", _free(service, taken) if taken else "")
        yield Problem(about=f"service {service.name}", field="port_first", sentence=sentence)


def _end(service: Service) -> tuple[str, int]:
    return service.external or "", service.port_first


def _overlapping(services: Sequence[Service]) -> Iterator[tuple[Service, Service]]:
    """Pairs of which one wants a port of the other's, at least one for each that is in the way; by first port."""
    widest: dict[str, Service] = {}
    for service in services:
        for one in service.each:
            before = widest.get(one.proto)
            if before is not None and before.port_last >= service.port_first:
                yield service, before
            if before is None or service.port_last > before.port_last:
                widest[one.proto] = service


def _restrictions(site: Site) -> Iterator[Problem]:
    numbers, names = {z.number for z in site.zones}, set[tuple[int, str]]()
    for restriction in site.restrictions:
        about = f"restriction {restriction.name}"
        if restriction.zone not in numbers:
            known = ", ".join(z.name for z in site.zones) or "none yet"
            sentence = f"{restriction.name} is for a zone that isn't there. Zones: {known}."
            yield Problem(about=about, field="zone", sentence=sentence)
        if not NAME.fullmatch(restriction.name):
            yield Problem(
                about=about,
                field="name",
                sentence="A name begins with a letter: letters, digits, . _ - at most 31. BR3_NOSMTP is one.",
            )
        if (restriction.zone, restriction.name) in names:
            sentence = f"Two restrictions are called {restriction.name}; one could be {restriction.name[:30]}2."
            yield Problem(about=about, field="name", sentence=sentence)
        names.add((restriction.zone, restriction.name))
        if not _valid(restriction.ports):
            yield Problem(about=about, field="port", sentence=_no_port(restriction.ports))
        if restriction.address:
            yield from _restricted_address(site, restriction.direction, restriction.address, about)


def _restricted_address(site: Site, direction: str, address: str, about: str) -> Iterator[Problem]:
    if not is_network(address):
        yield Problem(
            about=about,
            field="address",
            sentence=f"{address} is no address or network. Example: 10.10.3.4 or 10.10.3.0/24.",
        )
    elif direction == "in" and address.removesuffix("/32") in site.nic_of:
        yield Problem(
            about=about,
            field="address",
            blocks=False,
            sentence=f"Nobody comes from {address}: machines of other zones are seen with their own private address. "
            "Name their subnet instead.",
        )


def canonical(network: str) -> str:
    """A valid address or network as the kernel prints it: `10.10.3.4`, `10.10.3.0/24`."""
    return str(IPv4Network(network)).removesuffix("/32")


def _policy(site: Site) -> Iterator[Problem]:
    parties = set(site.parties())
    zones = {z.name: z for z in site.zones}
    for cell in site.policy:
        if cell.everything or cell.ports:
            yield from _cell(site, cell, parties, zones)
        for ports in cell.ports:
            if not ports.valid:
                about = f"policy {cell.source} → {cell.target}"
                yield Problem(about=about, sentence=f"{ports.span} is no port; they go from 1 to 65535.")
    if site.vpn is None and any(VPN in (c.source, c.target) for c in site.policy):
        yield Problem(about="policy", blocks=False, sentence="This host has no admin VPN; its cells do nothing.")


def _cell(site: Site, cell: Cell, parties: set[str], zones: Mapping[str, Zone]) -> Iterator[Problem]:
    about = f"policy {cell.source} → {cell.target}"
    if not {cell.source, cell.target} <= parties:
        missing = " and ".join(sorted({cell.source, cell.target} - parties))
        yield Problem(about=about, sentence=f"There is no {missing} on this host.")
    elif cell.source == cell.target:
        yield Problem(about=about, sentence="Inside a zone machines talk freely; there is nothing to allow.")
    elif cell.source == INTERNET and cell.target != DOM0:
        yield Problem(
            about=about, sentence="The Internet reaches machines by published services only. Publish a service."
        )
    elif cell.source == INTERNET and cell.everything:
        yield Problem(about=about, sentence=f"Everything from the Internet to {cell.target} is never allowed.")
    elif cell.target == INTERNET and cell.source in zones and zones[cell.source].isolated:
        yield Problem(
            about=about,
            sentence=f"{cell.source} has no external address to leave with. Give the zone one first.",
        )
    elif cell.target == DOM0 and cell.source in zones:
        yield from _zone_to_dom0(site, cell, about)
    elif cell.source == DOM0:
        yield Problem(about=about, blocks=False, sentence="dom0 itself may open everything; this cell adds nothing.")
    elif cell.source == INTERNET and PANEL in _opened(site, cell):
        sentence = f"tcp {site.panel_port} opens the panel to the whole Internet. Its way in is the admin VPN."
        yield Problem(about=about, sentence=sentence, blocks=False)


def _zone_to_dom0(site: Site, cell: Cell, about: str) -> Iterator[Problem]:
    if cell.everything:
        yield Problem(
            about=about,
            sentence="A zone never reaches everything on dom0: its root users would. DHCP, DNS and ping "
            "are always open; name the single ports they need, for example udp 514.",
        )
    own = {"ssh": site.ssh_port, PANEL: site.panel_port}
    for what in _opened(site, cell):
        yield Problem(
            about=about,
            sentence=f"tcp {own[what]} of dom0 is the admin's own way in and stays out of any machine's reach.",
        )


def _opened(site: Site, cell: Cell) -> Iterator[str]:
    """Which of the admin's ways a cell of single ports opens."""
    for what, port in (("ssh", site.ssh_port), (PANEL, site.panel_port)):
        if port and any(p.overlaps(Ports(proto="tcp", first=port, last=port)) for p in cell.ports if p != PING):
            yield what


def custom_problems(rule: CustomRule, site: Site | None = None) -> Iterator[Problem]:
    """Why a custom rule can't be taken, and what it opens beyond what was meant; a trial load tells the rest."""
    yield from own_rule_lint.problems(rule, site)
