"""What in a host's zones, addresses and admin's ways in does not fit together. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network

from firewall.findings import Problem
from firewall.specs import RESERVED, Address, Ports, Service, Site, Zone, bounds

#: The kernel's IFNAMSIZ leaves 15 characters for an interface's name.
INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")


def is_network(text: str) -> bool:
    """Whether this is an IPv4 address or network without host bits."""
    try:
        IPv4Network(text)
    except ValueError:
        return False
    return True


def is_address(text: str) -> bool:
    try:
        IPv4Address(text)
    except ValueError:
        return False
    return True


def network_problem(site: Site, network: str, *, but: int | None = None) -> str:
    """Why a zone can't have this subnet, with one that is free; "" when it can. `but` is the zone's own number."""
    if not is_network(network) or "/" not in network:
        return f"{network[:40]} is no subnet. Write one such as {free_network(site)}."
    first, last = bounds(network)
    for other, whose in _networks(site, but):
        low, high = bounds(other)
        if first <= high and low <= last:
            return f"{network} overlaps {other} of {whose}; each zone needs a subnet of its own. {_free(site)}"
    inside = next((a for a in site.addresses if is_address(a.ip) and first <= int(IPv4Address(a.ip)) <= last), None)
    if inside:
        return (
            f"{network} holds {inside.ip}, dom0's own address on {inside.nic}: its neighbours there would be taken "
            f"for machines. {_free(site)}"
        )
    return ""


def _networks(site: Site, but: int | None) -> Iterator[tuple[str, str]]:
    yield from ((z.network, z.name) for z in site.zones if z.number != but and is_network(z.network))
    if site.vpn and site.vpn.network and is_network(site.vpn.network):
        yield site.vpn.network, "the admin VPN"
    yield "127.0.0.0/8", "dom0 itself"


def free_network(site: Site) -> str:
    """A subnet nobody has, for the next zone; "" where 10.10.0.0/16 is full."""
    taken = [bounds(network) for network, _ in _networks(site, None)]
    taken += [bounds(a.ip) for a in site.addresses if is_address(a.ip)]
    for number in range(1, 255):
        first, last = bounds(f"10.10.{number}.0/24")
        if all(last < low or high < first for low, high in taken):
            return f"10.10.{number}.0/24"
    return ""


def _free(site: Site) -> str:
    free = free_network(site)
    return f"Free: {free}." if free else ""


def bridge_problem(site: Site, bridge: str, number: int) -> str:
    """Why a zone can't have a bridge of this name, with one that would do; "" when it can."""
    prefix = site.bridge_prefix
    would_do = next(n for i in range(number, number + 300) if (n := f"{prefix}{i}") not in _bridges(site, number))
    if not INTERFACE.fullmatch(bridge):
        return f"{bridge[:40]} can't be a bridge's name: letters, digits, . _ - and at most 15. {would_do} would do."
    if not bridge.startswith(prefix):
        return (
            f"{bridge} doesn't begin with {prefix}, the prefix of this host's bridges, so no rule would hold there. "
            f"{would_do} would do."
        )
    if bridge in _bridges(site, number):
        whose = next(z.name for z in site.zones if z.bridge == bridge and z.number != number)
        return f"{bridge} is the bridge of {whose}; each zone has its own. {would_do} would do."
    return ""


def _bridges(site: Site, but: int) -> set[str]:
    return {z.bridge for z in site.zones if z.number != but}


def nic_problem(site: Site, nic: str) -> str:
    """Why a rule can't speak of this network card; "" when it can, or when the host's cards are not known."""
    if not site.cards or nic in site.cards:
        return ""
    return f"This host has no card {nic}. It has {', '.join(site.cards)}."


def zones(site: Site) -> Iterator[Problem]:
    for index, zone in enumerate(site.zones):
        before = site.zones[:index]
        for field, sentence in _zone(site, zone, before):
            yield Problem(about=f"zone {zone.name}", field=field, sentence=sentence)


def _zone(site: Site, zone: Zone, before: Sequence[Zone]) -> Iterator[tuple[str, str]]:
    if zone.name in RESERVED:
        yield "name", f"{zone.name} already means something else here. z{zone.name.capitalize()} would do."
    if any(z.name == zone.name for z in before):
        yield "name", f"Two zones are called {zone.name}; give one of them another name, such as {zone.name}2."
    if said := bridge_problem(site, zone.bridge, zone.number):
        yield "bridge", said
    # Of two that overlap the later one is told.
    others = Site(zones=tuple(before), vpn=site.vpn, addresses=site.addresses)
    if said := network_problem(others, zone.network, but=zone.number):
        yield "network", said
    elif not (is_address(zone.gateway) and zone.holds(zone.gateway)):
        yield "gateway", f"{zone.gateway} is not in {zone.network}. {IPv4Network(zone.network)[1]} would do."
    yield from _way_out(site, zone)


def _way_out(site: Site, zone: Zone) -> Iterator[tuple[str, str]]:
    if zone.external is None:
        return
    known = ", ".join(a.ip for a in site.addresses) or "none yet"
    if zone.external not in site.nic_of:
        yield "external", f"{zone.external} is no external address of this host. It has {known}."
    elif site.nic_of[zone.external] != zone.nic:
        on = site.nic_of[zone.external]
        yield "external", f"{zone.external} is on {on}, not on {zone.nic}: what leaves there must come from {on}."


def addresses(site: Site) -> Iterator[Problem]:
    seen: set[str] = set()
    for address in site.addresses:
        for field, sentence in _address(site, address, seen):
            yield Problem(about=f"address {address.ip}", field=field, sentence=sentence)
        seen.add(address.ip)


def _address(site: Site, address: Address, seen: set[str]) -> Iterator[tuple[str, str]]:
    if not is_address(address.ip):
        yield "address", f"{address.ip[:40]} is no address. Write one such as 203.0.113.9."
        return
    if address.ip in seen:
        yield "address", f"{address.ip} stands here twice; one address lives on one card."
    if said := nic_problem(site, address.nic):
        yield "nic", said
    vpn = site.vpn.network if site.vpn else None
    if vpn and is_network(vpn) and IPv4Address(address.ip) in IPv4Network(vpn):
        yield (
            "address",
            f"{address.ip} is in the admin VPN ({vpn}): what is published there could take the panel's own way in. "
            "Use an address of a network card.",
        )


def admin(site: Site) -> Iterator[Problem]:
    """The admin's ways in must stay: what would take them away, by whichever object."""
    about = "the admin's ssh"
    for what, port in (("ssh", site.ssh_port), ("panel", site.panel_port)):
        if port is not None and not 0 < port < 65536:
            yield Problem(about=f"the admin's {what}", sentence=f"{port} is no port; they go from 1 to 65535.")
    if site.panel_port == site.ssh_port:
        yield Problem(about="the admin's panel", sentence=f"ssh and the panel can't both have tcp {site.ssh_port}.")
    if not site.nics and not site.vpn:
        yield Problem(
            about=about,
            sentence="No card and no admin VPN of this host is known, so these rules would shut everybody out. "
            "Name the cards in /etc/fridu/host.toml and restart the worker.",
        )
    yield from _interfaces(site)
    ssh = Ports(proto="tcp", first=site.ssh_port, last=site.ssh_port)
    takers = {s.external for s in site.services if s.target is not None and s.ports.overlaps(ssh)}
    if site.addresses and all(a.ip in takers for a in site.addresses):
        yield Problem(
            about=about,
            field="port_first",
            sentence=f"tcp {site.ssh_port} of every external address would lead to a machine, and dom0's own ssh "
            "nowhere. Leave it on one address.",
        )


def _interfaces(site: Site) -> Iterator[Problem]:
    """DNAT and anti-spoofing know friend from foe by an interface's name."""
    vpn = site.vpn.interface.removesuffix("+") if site.vpn else ""
    for interface in (*site.nics, *((vpn,) if vpn else ())):
        if interface.startswith(site.bridge_prefix):
            yield Problem(
                about=f"card {interface}",
                sentence=f"{interface} begins with {site.bridge_prefix}, the prefix of the zones' bridges, so it would "
                "be taken for a zone. Give the bridges another prefix in /etc/fridu/host.toml, such as xen-br.",
            )
    if vpn and any(
        nic.startswith(vpn) if site.vpn and site.vpn.interface.endswith("+") else nic == vpn for nic in site.nics
    ):
        yield Problem(about="the admin VPN", sentence=f"{vpn} can't be the admin VPN and a card towards the Internet.")
    if site.vpn and site.vpn.network and not is_network(site.vpn.network):
        yield Problem(
            about="the admin VPN", sentence=f"{site.vpn.network[:40]} is no network. Write one such as 10.10.95.0/24."
        )


def shadowed(site: Site) -> Iterator[Problem]:
    """dom0's own services that a machine's service takes away: DNAT comes first."""
    machines = [s for s in site.services if s.target is not None]
    for own in (s for s in site.services if s.target is None):
        # A range is hidden by several services together only port by port; one that covers it is what happens.
        takers: dict[str, Service] = {
            s.external: s for s in machines if s.external and all(_covers(s, one.ports) for one in own.each)
        }
        where = site.addresses_of(own)
        if taken := [takers[ip] for ip in where if ip in takers]:
            left = [ip for ip in where if ip not in takers]
            first = taken[0]
            yield Problem(
                about=f"service {own.name}",
                field="port_first",
                blocks=not left,
                sentence=f"{own.ports} of {first.external} leads to {first.target} ({first.name}), so {own.name} is "
                + (f"dom0's on {', '.join(left)} only." if left else "nowhere dom0's. Leave it on one address."),
            )


def _covers(service: Service, ports: Ports) -> bool:
    same = service.ports.overlaps(ports)
    return same and service.port_first <= ports.first and ports.last <= service.port_last
