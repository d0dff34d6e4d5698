"""Sites nobody would draw by hand: few ports and addresses, so that everything meets everything."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

from firewall import lint
from firewall.specs import (
    DOM0,
    INTERNET,
    PING,
    VPN,
    Action,
    Address,
    Cell,
    Direction,
    Ports,
    Proto,
    Restriction,
    Service,
    Site,
    Zone,
)
from tests.host.bare import HOST, NEIGHBOUR, ONE, TWO, VPN_NETWORK

THREE = "203.0.113.10"
ADDRESSES = (Address(ip=ONE, nic="eth0"), Address(ip=TWO, nic="eth0"), Address(ip=THREE, nic="eth1"))
RANGE = range(20, 30)
PANEL, NAMES = 8000, 53
#: Every port anybody listens on; 22 is dom0's SSH.
UNIVERSE = (*RANGE, NAMES, PANEL)
PROTOS: tuple[Proto, ...] = ("tcp", "tcp", "udp", "both")
ACTIONS: tuple[Action, ...] = ("DROP", "REJECT", "ACCEPT")
DIRECTIONS: tuple[Direction, ...] = ("out", "in")


def random_site(chance: random.Random) -> Site:
    """A site without anything the lint refuses, on four bridges and three external addresses."""
    site = replace(HOST, addresses=ADDRESSES, zones=tuple(_zones(chance)), cards=("eth0", "eth1"))
    for add in (_service, _restriction, _cell):
        for number in range(chance.randint(0, 14)):
            candidate = add(chance, site, number)
            if candidate is not None and not lint.blocking(candidate):
                site = candidate
    return site


def _zones(chance: random.Random) -> Iterator[Zone]:
    for number in (1, 2, 3, 4):
        outside = chance.choice((*ADDRESSES, None)) if number > 1 else ADDRESSES[0]
        yield Zone(
            number=number,
            name=f"z{number}",
            bridge=f"xen-br{number}",
            gateway=f"10.10.{number}.1",
            network=f"10.10.{number}.0/24",
            external=outside.ip if outside else None,
            nic=outside.nic if outside else None,
        )


def _span(chance: random.Random) -> tuple[int, int]:
    first = chance.choice(RANGE)
    return first, min(RANGE[-1], first + chance.choice((0, 0, 0, 1, 3, 9)))


def _ports(chance: random.Random) -> Ports:
    first, last = _span(chance)
    return Ports(proto=chance.choice(PROTOS), first=first, last=last)


def _service(chance: random.Random, site: Site, number: int) -> Site:
    first, last = _span(chance)
    made = Service(name=f"s{number}", proto=chance.choice(PROTOS), port_first=first, port_last=last)
    if chance.random() < 0.2:
        where = chance.choice(ADDRESSES)
        made = replace(made, nic=chance.choice((None, where.nic)), external=chance.choice((None, where.ip)))
        made = replace(made, nic=where.nic if made.external else made.nic)
    else:
        where, zone = chance.choice(ADDRESSES), chance.choice(site.zones)
        inner = chance.randint(RANGE[0], RANGE[-1] - (last - first))
        made = replace(
            made,
            external=where.ip,
            nic=where.nic,
            target=f"10.10.{zone.number}.{chance.choice((2, 3))}",
            target_port=inner,
            zone=zone.number,
        )
    return replace(site, services=(*site.services, made))


def _restriction(chance: random.Random, site: Site, number: int) -> Site:
    zone, direction = chance.choice(site.zones), chance.choice(DIRECTIONS)
    machines = [f"10.10.{z.number}.{n}" for z in site.zones for n in (2, 3)]
    ends = (None, None, None, *machines, *(z.network for z in site.zones), *(a.ip for a in ADDRESSES), NEIGHBOUR,
            VPN_NETWORK)  # fmt: skip
    made = Restriction(
        name=f"r{number}", zone=zone.number, direction=direction, action=chance.choice(ACTIONS), ports=_ports(chance),
        address=chance.choice(ends),
    )  # fmt: skip
    return replace(site, restrictions=(*site.restrictions, made))


def _cell(chance: random.Random, site: Site, number: int) -> Site | None:
    names = [z.name for z in site.zones]
    source, target = chance.choice((INTERNET, VPN, *names, *names)), chance.choice((INTERNET, VPN, DOM0, *names))
    if source == target or any((c.source, c.target) == (source, target) for c in site.policy):
        return None
    everything = chance.random() < 0.4
    ports = () if everything else tuple(_ports(chance) for _ in range(chance.randint(1, 3)))
    if not everything and chance.random() < 0.3:
        ports = (*ports, PING)
    made = Cell(source=source, target=target, everything=everything, ports=ports)
    return replace(site, policy=(*site.policy, made))
