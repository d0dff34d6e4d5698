"""What a site's objects mean, as simply as it can be said: asked one connection at a time, knowing no rule.

Written from the meaning of the objects alone and independent of the compiler; `test_model` holds both against each
other by real packets.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from firewall.specs import DOM0, ICMP, INTERNET, PING, VPN, Cell, Restriction, Service, Site, Zone

SILENCE, REFUSED = "", "refused"


@dataclass(frozen=True)
class Place:
    """Where everything is: what dom0 calls its own, and who is beyond which card."""

    own: frozenset[str]  # every address of dom0
    beyond: dict[str, str]  # Internet address → dom0's card towards it
    vpn_client: str


@dataclass(frozen=True)
class Asker:
    """Who opens a connection: a party of the policy ("internet", "vpn", "dom0", or a zone's name) and its address."""

    party: str
    address: str


@dataclass(frozen=True)
class Question:
    """What is asked for; `proto` "icmp" is a ping and has no port."""

    address: str
    proto: str
    port: int = 0


def expected(site: Site, place: Place, asker: Asker, asked: Question) -> str:
    """ "ADDRESS:PORT SOURCE": who answers, and under which address it sees the asker; else SILENCE or REFUSED."""
    leads = _published(site, asked)
    if leads is not None:
        target = Question(leads.target or "", asked.proto, _inner(leads, asked.port))
        return _to_machine(site, asker, asked, target, published=True)
    if asked.address in place.own:
        answers = asker.party == DOM0 or _dom0_takes(site, place, asker, asked)
        return _said(asked, asker.address) if answers else SILENCE
    if site.zone_of(asked.address):
        return _to_machine(site, asker, asked, asked, published=False)
    return _outside(site, place, asker, asked)


def _said(target: Question, source: str) -> str:
    return f"{target.address}:{target.port} {source}"


def _published(site: Site, asked: Question) -> Service | None:
    for service in site.services:
        fits = service.target is not None and service.external == asked.address
        if fits and service.port_first <= asked.port <= service.port_last and service.proto in (asked.proto, "both"):
            return service
    return None


def _inner(service: Service, port: int) -> int:
    first = service.port_first if service.target_port is None else service.target_port
    return first + port - service.port_first


def _opens(cell: Cell, proto: str, port: int) -> bool:
    if proto == ICMP:
        return cell.everything or PING in cell.ports
    return cell.everything or any(p.first <= port <= p.last and p.proto in (proto, "both") for p in cell.ports)


def _dom0_takes(site: Site, place: Place, asker: Asker, asked: Question) -> bool:
    """Whether dom0 itself answers."""
    tcp, port = asked.proto == "tcp", asked.port
    cell = site.cell(asker.party, DOM0)
    if asker.party == INTERNET:
        if asked.address not in site.nic_of:
            return False
        if asked.proto == ICMP or (tcp and port == site.ssh_port) or _opens(cell, asked.proto, port):
            return True
        return any(_dom0s_own(s, asked, place.beyond[asker.address]) for s in site.services if s.target is None)
    if asker.party == VPN:
        admins = tcp and port in (site.ssh_port, site.panel_port)
        return asked.proto == ICMP or admins or _opens(cell, asked.proto, port)
    zone = next(z for z in site.zones if z.name == asker.party)
    if asked.address != zone.gateway:
        return False
    return asked.proto == ICMP or port == 53 or _opens(cell, asked.proto, port)


def _dom0s_own(service: Service, asked: Question, card: str) -> bool:
    return (
        service.external in (None, asked.address)
        and service.nic in (None, card)
        and service.port_first <= asked.port <= service.port_last
        and service.proto in (asked.proto, "both")
    )


def _to_machine(site: Site, asker: Asker, asked: Question, target: Question, *, published: bool) -> str:
    into = site.zone_of(target.address)
    assert into is not None
    home = next((z for z in site.zones if z.name == asker.party), None)
    if asker.party == DOM0:
        return _said(target, asker.address)
    if home == into and not published:
        return _said(target, asker.address)  # dom0 does not see it
    if asker.party == INTERNET and not published:
        return SILENCE
    verdict = _restricted(site, home, "out", asker, asked, target) if home else ""
    if not verdict and home and home.isolated and published:
        return SILENCE
    if verdict := verdict or _restricted(site, into, "in", asker, asked, target):
        return SILENCE if verdict == "DROP" else REFUSED
    if not published and not _opens(site.cell(asker.party, into.name), target.proto, target.port):
        return SILENCE
    return _said(target, into.gateway if home == into else asker.address)


def _outside(site: Site, place: Place, asker: Asker, asked: Question) -> str:
    """To the Internet, or to a client of the VPN."""
    party = VPN if asked.address == place.vpn_client else INTERNET
    home = next((z for z in site.zones if z.name == asker.party), None)
    if home and (verdict := _restricted(site, home, "out", asker, asked, asked)):
        return SILENCE if verdict == "DROP" else REFUSED
    if asker.party == DOM0:
        return _said(asked, asker.address)
    if asker.party == party or not _opens(site.cell(asker.party, party), asked.proto, asked.port):
        return SILENCE
    if party == VPN:
        return _said(asked, asker.address) if home else SILENCE
    card = place.beyond[asked.address]
    if home is None:
        return _said(asked, next(a.ip for a in site.addresses if a.nic == card))
    return _said(asked, home.external or "") if home.external and home.nic == card else SILENCE


def _restricted(site: Site, zone: Zone, direction: str, asker: Asker, asked: Question, target: Question) -> str:
    """DROP or REJECT of the first restriction that speaks of it, unless one that accepts comes first."""
    for one in site.restrictions:
        if one.zone == zone.number and one.direction == direction and _concerns(one, asker, asked, target):
            return "" if one.action == "ACCEPT" else one.action
    return ""


def _concerns(one: Restriction, asker: Asker, asked: Question, target: Question) -> bool:
    """By the port it goes to and by the one it was sent to; out of a zone, only the latter ever exempts."""
    if asked.proto == ICMP or one.ports.proto not in (asked.proto, "both"):
        return False
    sent, goes = (one.ports.first <= q.port <= one.ports.last for q in (asked, target))
    if one.direction == "out" and one.action == "ACCEPT":
        goes = False
    if one.address is None:
        return sent or goes
    network = IPv4Network(one.address)
    if one.direction == "in":
        return IPv4Address(asker.address) in network and (sent or goes)
    return any(IPv4Address(q.address) in network for q in (asked, target)) and (sent or goes)
