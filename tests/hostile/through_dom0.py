"""Root inside a machine, through dom0: to dom0 itself, to other zones, out of an isolated one."""

from __future__ import annotations

import socket

from tests.host import bare, wire
from tests.host.bare import ADMIN_PC, DOM0, INET, NEIGHBOUR, ONE, TWO, VPN, VPN_ADDRESS, World
from tests.host.wire import Probe, ether, inside
from tests.hostile import craft
from tests.hostile.craft import EVERYBODY
from tests.hostile.scene import (
    ADMIN,
    COMMON,
    EVIL,
    GATEWAYS,
    OTHER,
    PANEL,
    REDIS,
    SSH,
    WEBDOM,
    attack,
    bridge_mac,
    by_gateway,
    datagram,
    heard,
    in_zone_two,
    listening,
    send,
    to_common,
    to_internet,
    word,
)

IPV4 = 0x0800
DOM0S = (*GATEWAYS, VPN_ADDRESS, ONE, TWO)


def got_through(*probes: Probe) -> bool:
    return any(wire.answers(probes).values())


@attack()
def asks_dom0s_services_on_every_address(world: World) -> bool:
    ports = (SSH, PANEL, REDIS)
    probes = [Probe(EVIL.ns, address, port) for address in DOM0S for port in ports]
    probes += [Probe(EVIL.ns, address, OTHER, udp=True) for address in DOM0S]
    probes += [Probe(EVIL.ns, address, 53, udp=True) for address in DOM0S if address != EVIL.gateway]
    probes += [Probe(ADMIN.ns, address, port) for address in DOM0S for port in (SSH, PANEL)]
    return got_through(*probes)


def to_own_gateway(good: bytes) -> None:
    send(EVIL.ns, by_gateway(EVIL, datagram(EVIL.address, EVIL.gateway, 53, good)))


@attack()
def asks_dom0s_loopback(world: World) -> bool:
    """A frame to 127.0.0.1, on a host that routes loopback as some container engines make it do."""
    bad = word()
    for target in ("127.0.0.1", "127.1.2.3"):
        send(EVIL.ns, *(by_gateway(EVIL, datagram(EVIL.address, target, port, bad)) for port in (OTHER, 53)))
    return heard(world, "dom0-other", [bad], _to_other) | heard(world, "dom0-dns", [bad], to_own_gateway)


def _to_other(good: bytes) -> None:
    with inside(DOM0, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as made:
        made.sendto(good, ("127.0.0.1", OTHER))


@attack()
def comes_from_dom0s_loopback(world: World) -> bool:
    bad = word()
    for source in ("127.0.0.1", EVIL.gateway, ONE, "10.10.2.1"):
        send(EVIL.ns, by_gateway(EVIL, datagram(source, EVIL.gateway, OTHER, bad)))
        send(EVIL.ns, by_gateway(EVIL, datagram(source, EVIL.gateway, 53, bad)))
    return heard(world, "dom0-other", [bad], _to_other) | heard(world, "dom0-dns", [bad], to_own_gateway)


@attack()
def calls_dom0_by_broadcast_and_multicast(world: World) -> bool:
    bad = word()
    targets = (("255.255.255.255", EVERYBODY), ("10.10.1.255", EVERYBODY), ("224.0.0.1", "01:00:5e:00:00:01"))
    for target, to in (*targets, ("255.255.255.255", bridge_mac())):
        send(EVIL.ns, ether(to, EVIL.mac, IPV4, datagram(EVIL.address, target, OTHER, bad)))
        send(EVIL.ns, ether(to, EVIL.mac, IPV4, datagram(EVIL.address, target, 53, bad)))
    return heard(world, "dom0-other", [bad], _to_other) | heard(world, "dom0-dns", [bad], to_own_gateway)


@attack()
def speaks_dhcp_to_another_zones_server(world: World) -> bool:
    bad = word()
    wish = craft.lease_question(EVIL.mac, bad)
    others = [at for at in DOM0S if at != EVIL.gateway]
    send(EVIL.ns, *(by_gateway(EVIL, datagram(EVIL.address, at, 67, wish, sport=68)) for at in others))

    def ask(good: bytes) -> None:
        own = craft.lease_question(EVIL.mac, good)
        send(EVIL.ns, by_gateway(EVIL, datagram(EVIL.address, EVIL.gateway, 67, own, sport=68)))

    return heard(world, "dom0-dhcp", [bad], ask)


@attack()
def reaches_a_closed_zone(world: World) -> bool:
    probes = [Probe(EVIL.ns, WEBDOM.address, port) for port in (8080, 2525)]
    probes += [Probe(EVIL.ns, ADMIN.address, 8080), Probe(EVIL.ns, WEBDOM.address, 5060, udp=True)]
    probes += [Probe(EVIL.ns, ADMIN_PC, 80), Probe(WEBDOM.ns, ADMIN.address, 8080)]
    return got_through(*probes) or wire.pings(EVIL.ns, WEBDOM.address, timeout_s=0.2)


@attack()
def broadcasts_into_another_zone(world: World) -> bool:
    """Directed and limited broadcast, multicast; as a frame to dom0, to everybody, and to the group."""
    bad = word()
    for target in ("10.10.2.255", "10.10.2.0", "224.0.0.251", "239.1.1.1", "255.255.255.255"):
        for to in (bridge_mac(), EVERYBODY, "01:00:5e:00:00:fb"):
            send(EVIL.ns, ether(to, EVIL.mac, IPV4, datagram(EVIL.address, target, 5060, bad)))
    return heard(world, "webdom-udp", [bad], in_zone_two)


@attack()
def sends_fragments_to_a_closed_zone(world: World) -> bool:
    """Whole, with a first fragment of eight bytes, overlapping, and the last one first."""
    bad = word()
    whole = datagram(EVIL.address, WEBDOM.address, 5060, bad + bytes(40))
    plain = [*craft.fragments(whole, 24, ident=1)]
    tiny = [*craft.fragments(whole, 8, ident=2)]
    backwards = [*craft.fragments(whole, 16, ident=3)][::-1]
    harmless = craft.udp(4000, 53, bytes(48))
    overlapping = [
        craft.ipv4(EVIL.address, WEBDOM.address, 17, harmless[:32], more=True, ident=4),
        craft.ipv4(EVIL.address, WEBDOM.address, 17, whole[20:52], more=True, ident=4),
        craft.ipv4(EVIL.address, WEBDOM.address, 17, whole[28:], offset=8, ident=4),
    ]
    send(EVIL.ns, *(by_gateway(EVIL, packet) for packet in (*plain, *tiny, *backwards, *overlapping)))
    return heard(world, "webdom-udp", [bad], in_zone_two)


@attack()
def hides_behind_ip_options(world: World) -> bool:
    """Record route, timestamp, router alert, padding: none moves the ports out of the rules' sight."""
    bad = word()
    for options in (b"\x07\x07\x04" + bytes(4) + b"\0", b"\x44\x08\x05\0" + bytes(4), b"\x94\x04\0\0", craft.NOP * 40):
        packet = craft.ipv4(EVIL.address, WEBDOM.address, 17, craft.udp(4000, 5060, bad), options=options)
        send(EVIL.ns, by_gateway(EVIL, packet))
    return heard(world, "webdom-udp", [bad], in_zone_two)


@attack()
def routes_by_source_into_a_closed_zone(world: World) -> bool:
    """To dom0 itself, with the wish to be sent on."""
    bad = word()
    with listening(WEBDOM.ns) as came:
        for to in (EVIL.gateway, ONE, NEIGHBOUR):
            body = craft.udp(4000, 5060, bad)
            packet = craft.ipv4(EVIL.address, to, 17, body, options=craft.loose_route(WEBDOM.address))
            send(EVIL.ns, by_gateway(EVIL, packet))
        return any(bad in frame for frame in came(in_zone_two))


@attack()
def sends_mail_by_a_neighbours_published_port(world: World) -> bool:
    """Straight to the Internet; by the neighbour's published 25, which arrives at 2525; by its own zone's."""
    return got_through(Probe(EVIL.ns, NEIGHBOUR, 25), Probe(EVIL.ns, TWO, 25), Probe(EVIL.ns, ONE, 25))


@attack()
def sends_mail_in_fragments(world: World) -> bool:
    """The SYN cut behind its ports."""
    bad = word()
    segment = craft.tcp(EVIL.address, NEIGHBOUR, 4001, 25, flags=craft.SYN, body=bad)
    whole = craft.ipv4(EVIL.address, NEIGHBOUR, 6, segment)
    with listening(INET) as came:
        for first in (8, 16):
            send(EVIL.ns, *(by_gateway(EVIL, p) for p in craft.fragments(whole, first, ident=first)))
        return any(bad in frame for frame in came(to_internet))


@attack()
def begins_in_the_middle_of_a_stream(world: World) -> bool:
    """Segments of a connection nobody opened: what was cut would live on by them."""
    bad = word()
    with listening(INET) as far, listening(COMMON.ns) as near:
        for sport in (4002, 4003):
            segment = craft.tcp(EVIL.address, NEIGHBOUR, sport, 80, flags=craft.ACK, body=bad)
            send(EVIL.ns, by_gateway(EVIL, craft.ipv4(EVIL.address, NEIGHBOUR, 6, segment)))
        back = craft.tcp(NEIGHBOUR, ONE, 4004, 25, flags=craft.ACK, body=bad)
        frame = ether(bare.mac_of(DOM0, "eth0"), bare.mac_of(INET, "eth0"), IPV4, craft.ipv4(NEIGHBOUR, ONE, 6, back))
        send(INET, frame)
        return any(bad in f for f in far(to_internet)) or any(bad in f for f in near(to_common))


@attack()
def sends_errors_about_others_connections(world: World) -> bool:
    """ICMP into a closed zone, about a connection of its own that the sender has no part in."""
    bad = word()
    with wire.connect(VPN, ADMIN.address, 8080) as talk, listening(ADMIN.ns) as came:
        port = talk.getsockname()[1]
        theirs = craft.tcp(ADMIN.address, ADMIN_PC, 8080, port, flags=craft.ACK)
        about = craft.ipv4(ADMIN.address, ADMIN_PC, 6, theirs + bad)
        for kind, code in ((3, 3), (3, 4), (11, 0), (5, 1)):
            send(EVIL.ns, by_gateway(EVIL, craft.error(EVIL.address, ADMIN.address, kind, code, about)))
        assert wire.echoes(talk)
        return any(bad in frame for frame in came(lambda good: talk.sendall(good)))


@attack()
def leaves_an_isolated_zone(world: World) -> bool:
    """By TCP, UDP, ping, GRE; to the Internet, to what neighbours publish, to other zones, to the VPN."""
    bad = word()
    probes = [Probe(ADMIN.ns, at, 80) for at in (NEIGHBOUR, ONE, TWO, ADMIN_PC)]
    probes += [Probe(ADMIN.ns, at, 25) for at in (NEIGHBOUR, ONE, TWO)]
    probes += [Probe(ADMIN.ns, NEIGHBOUR, port, udp=True) for port in (53, 5353)]
    probes += [Probe(ADMIN.ns, WEBDOM.address, 8080), Probe(ADMIN.ns, COMMON.address, 5353, udp=True)]
    with listening(INET) as came:
        for proto in (1, 4, 41, 47, 50, 132):
            send(ADMIN.ns, by_gateway(ADMIN, craft.ipv4(ADMIN.address, NEIGHBOUR, proto, b"\x08\0" + bytes(6) + bad)))
        bitten = any(bad in frame for frame in came(to_internet))
    return bitten | got_through(*probes)


@attack()
def leaves_an_isolated_zone_under_anothers_address(world: World) -> bool:
    bad = word()
    for source in (EVIL.address, WEBDOM.address, ONE, ADMIN_PC):
        send(ADMIN.ns, by_gateway(ADMIN, datagram(source, NEIGHBOUR, 5353, bad)))
        send(ADMIN.ns, by_gateway(ADMIN, datagram(source, COMMON.address, 5353, bad)))
    return heard(world, "inet-udp", [bad], to_internet) | heard(world, "common-udp", [bad], to_common)


@attack()
def asks_another_zones_names(world: World) -> bool:
    """The isolated zone at the gateways of those that may ask the Internet."""
    return got_through(*(Probe(ADMIN.ns, at, 53, udp=True) for at in (*GATEWAYS[:2], VPN_ADDRESS, ONE, NEIGHBOUR)))


@attack()
def uses_dom0_as_a_proxy_to_itself(world: World) -> bool:
    """Hairpin with what is not published, and under a neighbour's address, which dom0's own would hide."""
    bad = word()
    lie = craft.tcp("10.10.1.3", ONE, 4005, 25, flags=craft.SYN, body=bad)
    with listening(COMMON.ns) as came:
        send(EVIL.ns, by_gateway(EVIL, craft.ipv4("10.10.1.3", ONE, 6, lie)))
        return any(bad in frame for frame in came(to_common))
