"""A neighbour on the Internet link, who knows every private address and where dom0's card is."""

from __future__ import annotations

from tests.host import bare, wire
from tests.host.bare import ADMIN_PC, DOM0, INET, NEIGHBOUR, ONE, TWO, VPN, VPN_ADDRESS, World
from tests.host.wire import Probe, command, ether
from tests.hostile import craft
from tests.hostile.scene import (
    ADMIN,
    COMMON,
    FAR,
    GATEWAYS,
    OTHER,
    PANEL,
    REDIS,
    SSH,
    WEBDOM,
    WEBFUL,
    attack,
    datagram,
    from_internet,
    heard,
    in_zone_two,
    listening,
    send,
    to_common,
    word,
)

IPV4, IPV6 = 0x0800, 0x86DD


def to_dom0(*packets: bytes, kind: int = IPV4) -> None:
    to, of = bare.mac_of(DOM0, "eth0"), bare.mac_of(INET, "eth0")
    send(INET, *(ether(to, of, kind, packet) for packet in packets))


@attack()
def reaches_private_addresses(world: World) -> bool:
    inside = (COMMON.address, WEBFUL.address, WEBDOM.address, ADMIN.address)
    probes = [Probe(INET, at, port) for at in inside for port in (8080, 2525)]
    probes += [Probe(INET, WEBDOM.address, 5060, udp=True), Probe(INET, ADMIN_PC, 80)]
    probes += [Probe(INET, at, port) for at in (*GATEWAYS, VPN_ADDRESS) for port in (SSH, PANEL)]
    return any(wire.answers(probes).values()) or wire.pings(INET, COMMON.address, timeout_s=0.2)


@attack()
def reaches_dom0s_inner_services(world: World) -> bool:
    probes = [Probe(INET, at, port) for at in (ONE, TWO) for port in (PANEL, REDIS, 53)]
    probes += [Probe(INET, ONE, port, udp=True) for port in (53, 67, OTHER)]
    return any(wire.answers(probes).values())


@attack()
def comes_under_an_inside_address(world: World) -> bool:
    """To dom0's open port, and to machines through it."""
    own, near = word(), word()
    for source in ("10.10.1.66", "10.10.3.5", ADMIN_PC, VPN_ADDRESS, "127.0.0.1", "10.10.1.1", ONE, TWO):
        to_dom0(datagram(source, ONE, 44096, own), datagram(source, COMMON.address, 5353, near))
    return heard(world, "dom0-vpnu", [own], from_internet) | heard(world, "common-udp", [near], to_common)


@attack()
def comes_from_the_vpn_under_another_address(world: World) -> bool:
    """A client of the VPN as a machine, as dom0, as the Internet."""
    own, near = word(), word()
    to, of = bare.mac_of(DOM0, "tun0"), bare.mac_of(VPN, "eth0")
    for source in ("10.10.1.66", ONE, NEIGHBOUR, "127.0.0.1", "10.10.2.1"):
        packets = (datagram(source, VPN_ADDRESS, 44096, own), datagram(source, COMMON.address, 5353, near))
        send(VPN, *(ether(to, of, IPV4, packet) for packet in packets))
    return heard(world, "dom0-vpnu", [own], from_internet) | heard(world, "common-udp", [near], to_common)


@attack()
def asks_dom0s_loopback_from_the_link(world: World) -> bool:
    bad = word()
    to_dom0(datagram(NEIGHBOUR, "127.0.0.1", OTHER, bad), datagram(NEIGHBOUR, "127.0.0.1", 44096, bad))
    return heard(world, "dom0-vpnu", [bad], from_internet) | _dom0_heard(world, bad)


def _dom0_heard(world: World, bad: bytes) -> bool:
    return any(bad in data for data in world.servers["dom0-other"].heard)


@attack()
def answers_a_name_nobody_asked_it(world: World) -> bool:
    """A forged DNS answer to an open port of dom0's, and to one of a machine's."""
    bad = word()
    to_dom0(*(craft.ipv4("8.8.8.8", at, 17, craft.udp(53, port, bad)) for at, port in ((ONE, OTHER), (ONE, 53))))
    to_dom0(craft.ipv4("8.8.8.8", COMMON.address, 17, craft.udp(53, 5353, bad)))
    from_there = heard(world, "common-udp", [bad], to_common)
    return heard(world, "dom0-vpnu", [], from_internet) | _dom0_heard(world, bad) | from_there


@attack()
def routes_by_source_to_a_machine(world: World) -> bool:
    bad = word()
    with listening(WEBDOM.ns) as came:
        for target in (ONE, WEBDOM.address, FAR):
            packet = craft.ipv4(
                NEIGHBOUR, target, 17, craft.udp(4000, 5060, bad), options=craft.loose_route(WEBDOM.address)
            )
            to_dom0(packet)
        return any(bad in frame for frame in came(in_zone_two))


@attack()
def sends_fragments_to_a_machine(world: World) -> bool:
    bad = word()
    whole = datagram(NEIGHBOUR, WEBDOM.address, 5060, bad + bytes(40))
    to_dom0(*craft.fragments(whole, 8, ident=1), *craft.fragments(whole, 24, ident=2))
    return heard(world, "webdom-udp", [bad], in_zone_two)


@attack()
def crafts_vlan_frames_to_a_machine(world: World) -> bool:
    """A priority tag is stripped by Linux: the packet in it is an ordinary one then."""
    bad = word()
    for tag in (0x8100, 0x88A8):
        for number in (0, 5):
            kind, body = craft.tagged(number, IPV4, datagram(NEIGHBOUR, WEBDOM.address, 5060, bad), tag=tag)
            to_dom0(body, kind=kind)
    return heard(world, "webdom-udp", [bad], in_zone_two)


@attack()
def plays_router_to_dom0_from_the_link(world: World) -> bool:
    mac = bare.mac_of(INET, "eth0")
    send(INET, ether("33:33:00:00:00:01", mac, IPV6, craft.router_advertisement(mac)))
    heard(world, "dom0-vpnu", [], from_internet)
    bitten = bool(command(DOM0, "ip", "-6", "route", "show", "default", "dev", "eth0"))
    command(DOM0, "ip", "-6", "route", "flush", "default")
    return bitten


@attack()
def speaks_ipv6_to_dom0(world: World) -> bool:
    """SSH and panel by link-local addresses, from the Internet link; the VPN has IPv4 only."""
    ways = ((INET, "eth0", "eth0"), (VPN, "eth0", "tun0"))
    return any(
        not wire.closed(ns, f"{bare.link_local(DOM0, here)}%{there}", port)
        for ns, there, here in ways
        for port in (SSH, PANEL)
    )


@attack()
def redirects_dom0_to_another_router(world: World) -> bool:
    """About an answer dom0 really gave, so conntrack takes it for related."""
    mac = bare.mac_of(INET, "eth0")
    command(DOM0, "ip", "neigh", "replace", "91.121.65.77", "lladdr", mac, "dev", "eth0")
    to_dom0(craft.echo(FAR, ONE, 7))
    to_dom0(craft.redirect(NEIGHBOUR, ONE, "91.121.65.77", craft.echo(ONE, FAR, 7, reply=True)))
    heard(world, "dom0-vpnu", [], from_internet)
    bitten = "91.121.65.77" in command(DOM0, "ip", "route", "get", FAR)
    command(DOM0, "ip", "route", "flush", "cache")
    return bitten
