"""What in a site does not fit together, in words, before anything is compiled. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import AddressValueError, IPv4Network, NetmaskValueError

from firewall import own_rule_lint
from firewall.findings import Problem
from firewall.specs import DOM0, INTERNET, RESERVED, VPN, Cell, CustomRule, Ports, Service, Site, Zone

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,30}")


def problems(site: Site) -> tuple[Problem, ...]:
    """Everything that is wrong or odd, most telling first; empty when the site can be applied as it is."""
    found = [
        *_zones(site),
        *(p for service in site.services for p in service_problems(site, service)),
        *_published_twice(site),
        *_restrictions(site),
        *_policy(site),
        *(p for rule in site.custom for p in custom_problems(rule, site)),
        *_admin(site),
    ]
    return tuple(sorted(found, key=lambda p: not p.blocks))


def blocking(site: Site) -> tuple[Problem, ...]:
    """The problems nothing may be applied with."""
    return tuple(p for p in problems(site) if p.blocks)


def _zones(site: Site) -> Iterator[Problem]:
    for index, zone in enumerate(site.zones):
        about = f"zone {zone.name}"
        if zone.name in RESERVED:
            yield Problem(about=about, field="name", sentence=f"{zone.name} already means something else here.")
        if not zone.bridge.startswith(site.bridge_prefix):
            yield Problem(
                about=about,
                field="bridge",
                sentence=f"{zone.bridge} doesn't begin with {site.bridge_prefix}, the prefix of this host's "
                f"bridges, so no rule would hold there. {site.bridge_prefix}{zone.number} would do.",
            )
        for other in site.zones[:index]:
            if IPv4Network(other.network).overlaps(IPv4Network(zone.network)):
                yield Problem(
                    about=about,
                    field="network",
                    sentence=f"{zone.network} overlaps {other.network} of {other.name}; "
                    "each zone needs a subnet of its own.",
                )


def service_problems(site: Site, service: Service) -> Iterator[Problem]:
    """What is wrong with one service by itself; ports taken by others are told by `conflict`."""
    about = f"service {service.name}"
    if not NAME.fullmatch(service.name):
        yield Problem(
            about=about,
            field="name",
            sentence="A service's name begins with a letter and has at most 31 letters, digits, . _ -",
        )
    if not 0 < service.port_first <= service.port_last < 65536:
        yield Problem(
            about=about, field="port_first", sentence=f"{service.ports.span} is no port; they go from 1 to 65535."
        )
    if service.target is None:
        return
    if service.target_ports.last > 65535:
        yield Problem(
            about=about,
            field="target_port",
            sentence=f"{service.ports.span} moved to {service.target_port} would end above port 65535.",
        )
    if service.external not in {a.ip for a in site.addresses}:
        yield Problem(
            about=about, field="external", sentence=f"{service.external} is no external address of this host."
        )
    yield from _target(site, service, about)


def _target(site: Site, service: Service, about: str) -> Iterator[Problem]:
    zone = site.zone_of(service.target or "")
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
            to = (targets or {}).get(other.target or "", other.target)
            free = free_port(service, taken)
            return f"{other.where} already leads to {to} ({other.name})." + (
                f" Free: {free}." if free else " No port of that kind is free there."
            )
    return ""


def free_port(service: Service, others: Iterable[Service]) -> int | None:
    """The nearest first port at or above the wanted one where the whole range is free; None: there is none."""
    size = service.port_last - service.port_first
    busy = sorted((o.port_first, o.port_last) for o in others if o.proto == service.proto and o.name != service.name)
    for start in (service.port_first, 8000 if service.port_first < 1024 else 1024):
        candidate = max(start, 1)
        for low, high in busy:
            if low <= candidate + size and candidate <= high:
                candidate = high + 1
        if candidate + size <= 65535 and (candidate >= 1024 or candidate == service.port_first):
            return candidate
    return None


def _published_twice(site: Site) -> Iterator[Problem]:
    seen: list[Service] = []
    names: set[str] = set()
    for service in site.services:
        if service.name in names:
            yield Problem(
                about=f"service {service.name}",
                field="name",
                sentence=f"Two services are called {service.name}; give one of them another name.",
            )
        names.add(service.name)
        if service.target is not None and (said := conflict(service, seen)):
            yield Problem(about=f"service {service.name}", field="port_first", sentence=said)
        seen.append(service)


def _restrictions(site: Site) -> Iterator[Problem]:
    for restriction in site.restrictions:
        about = f"restriction {restriction.name}"
        if restriction.zone not in {z.number for z in site.zones}:
            yield Problem(about=about, field="zone", sentence=f"{restriction.name} is for a zone that isn't there.")
        if not NAME.fullmatch(restriction.name):
            yield Problem(about=about, field="name", sentence="A name begins with a letter: letters, digits, . _ -")
        if restriction.address and not is_network(restriction.address):
            yield Problem(
                about=about,
                field="address",
                sentence=f"{restriction.address} is no address or network. Example: 10.10.3.4 or 10.10.3.0/24.",
            )


def canonical(network: str) -> str:
    """A valid address or network as the kernel prints it: `10.10.3.4`, `10.10.3.0/24`."""
    return str(IPv4Network(network)).removesuffix("/32")


def is_network(text: str) -> bool:
    """Whether this is an IPv4 address or network without host bits."""
    try:
        IPv4Network(text)
    except (AddressValueError, NetmaskValueError, ValueError):
        return False
    return True


def _policy(site: Site) -> Iterator[Problem]:
    parties = set(site.parties())
    zones = {z.name: z for z in site.zones}
    for cell in site.policy:
        if cell.everything or cell.ports:
            yield from _cell(site, cell, parties, zones)


def _cell(site: Site, cell: Cell, parties: set[str], zones: Mapping[str, Zone]) -> Iterator[Problem]:
    about = f"policy {cell.source} → {cell.target}"
    if not {cell.source, cell.target} <= parties:
        missing = " and ".join(sorted({cell.source, cell.target} - parties))
        yield Problem(about=about, sentence=f"There is no {missing} on this host.")
    elif cell.source == cell.target:
        yield Problem(about=about, sentence="Inside a zone machines talk freely; there is nothing to allow.")
    elif cell.source == INTERNET and cell.target in zones:
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


def _zone_to_dom0(site: Site, cell: Cell, about: str) -> Iterator[Problem]:
    if cell.everything:
        yield Problem(
            about=about,
            sentence="A zone never reaches everything on dom0: its root users would. DHCP, DNS and ping "
            "are always open; name the single ports they need, for example udp 514.",
        )
    own = [site.ssh_port, *([site.panel_port] if site.panel_port else [])]
    for port in own:
        if any(p.overlaps(Ports(proto="tcp", first=port, last=port)) for p in cell.ports):
            yield Problem(
                about=about,
                sentence=f"tcp {port} of dom0 is the admin's own way in and stays out of any machine's reach.",
            )


def custom_problems(rule: CustomRule, site: Site | None = None) -> Iterator[Problem]:
    """Why a custom rule can't be taken, and what it opens beyond what was meant; a trial load tells the rest."""
    yield from own_rule_lint.problems(rule, site)


def _admin(site: Site) -> Iterator[Problem]:
    """The admin's ssh must stay: DNAT comes first, so a service on every address would take it away."""
    ssh = Ports(proto="tcp", first=site.ssh_port, last=site.ssh_port)
    takers = {s.external: s for s in site.services if s.target is not None and s.ports.overlaps(ssh)}
    left = [a.ip for a in site.addresses if a.ip not in takers]
    if site.addresses and not left:
        yield Problem(
            about="the admin's ssh",
            field="port_first",
            sentence=f"tcp {site.ssh_port} of every external address would lead to a machine, and dom0's own ssh "
            "nowhere. Leave it on one address.",
        )
    if site.vpn is None and any(VPN in (c.source, c.target) for c in site.policy):
        yield Problem(about="policy", blocks=False, sentence="This host has no admin VPN; its cells do nothing.")
