"""Root inside a machine, on its bridge: who it claims to be, and what it puts on the wire."""

from __future__ import annotations

import struct

from dom0.members import KNOWN
from tests.host import bare, wire
from tests.host.bare import DOM0, NEIGHBOUR, World
from tests.host.wire import arp_reply, command, ether, mac
from tests.hostile import craft
from tests.hostile.craft import EVERYBODY
from tests.hostile.scene import (
    COMMON,
    EVIL,
    FOREIGN,
    STRAY,
    WEBFUL,
    attack,
    bridge_mac,
    by_gateway,
    datagram,
    heard,
    listening,
    send,
    to_common,
    to_internet,
    word,
)

IPV4, ARP, IPV6 = 0x0800, 0x0806, 0x86DD


def as_somebody_else(world: World, source: str, own_mac: str) -> bool:
    """Speak to a neighbour and, through dom0, to the Internet with that address and MAC."""
    near, far = word(), word()
    send(
        EVIL.ns,
        ether(COMMON.mac, own_mac, IPV4, datagram(source, COMMON.address, 5353, near)),
        ether(bridge_mac(), own_mac, IPV4, datagram(source, NEIGHBOUR, 5353, far)),
    )
    return heard(world, "common-udp", [near], to_common) | heard(world, "inet-udp", [far], to_internet)


@attack()
def with_a_neighbours_address(world: World) -> bool:
    return as_somebody_else(world, WEBFUL.address, EVIL.mac)


@attack()
def with_a_neighbours_mac(world: World) -> bool:
    return as_somebody_else(world, EVIL.address, WEBFUL.mac)


@attack()
def with_both_of_a_neighbour(world: World) -> bool:
    return as_somebody_else(world, WEBFUL.address, WEBFUL.mac)


@attack()
def with_another_zones_address(world: World) -> bool:
    return as_somebody_else(world, "10.10.2.2", EVIL.mac)


@attack()
def with_a_public_address(world: World) -> bool:
    return as_somebody_else(world, "203.0.113.9", EVIL.mac)


@attack()
def with_the_vpns_address(world: World) -> bool:
    return as_somebody_else(world, "10.10.95.2", EVIL.mac)


@attack()
def with_nobodys_address(world: World) -> bool:
    """0.0.0.0 is for the DHCP question alone."""
    bad = word()
    with listening(COMMON.ns) as came:
        send(EVIL.ns, ether(COMMON.mac, EVIL.mac, IPV4, datagram("0.0.0.0", COMMON.address, 5353, bad)))
        return any(bad in frame for frame in came(to_common))


@attack()
def as_the_gateway_that_answers_a_name(world: World) -> bool:
    """A forged DNS answer to a neighbour's open port."""
    bad = word()
    lie = craft.ipv4("10.10.1.1", COMMON.address, 17, craft.udp(53, 5353, bad))
    send(EVIL.ns, ether(COMMON.mac, EVIL.mac, IPV4, lie), ether(COMMON.mac, bridge_mac(), IPV4, lie))
    return heard(world, "common-udp", [bad], to_common)


def place(ns: str, interface: str, address: str) -> str:
    """The MAC a neighbour table has for an address."""
    words = command(ns, "ip", "neigh", "show", address, "dev", interface).split()
    return words[words.index("lladdr") + 1] if "lladdr" in words else ""


def poisoned(world: World, victim_ns: str, interface: str, to: str, own_ip: str, claimed: str, truth: str) -> bool:
    """Whether one of the lies about `claimed` gets into the victim's neighbour table."""
    request = struct.pack("!HHBBH", 1, IPV4, 6, 4, 1)
    ends = wire.socket.inet_aton(claimed), wire.socket.inet_aton(own_ip)
    lies = (
        (to, EVIL.mac, arp_reply(EVIL.mac, claimed, to, own_ip)),
        (EVERYBODY, EVIL.mac, arp_reply(EVIL.mac, claimed, EVERYBODY, claimed)),
        (EVERYBODY, EVIL.mac, request + mac(EVIL.mac) + ends[0] + bytes(6) + ends[0]),
        (to, EVIL.mac, request + mac(EVIL.mac) + ends[0] + bytes(6) + ends[1]),
        (to, EVIL.mac, arp_reply("aa:bb:00:00:00:99", claimed, to, own_ip)),
        (to, truth, arp_reply(EVIL.mac, claimed, to, own_ip)),
    )
    bitten = False
    for ether_to, ether_of, lie in lies:
        command(victim_ns, "ip", "neigh", "replace", claimed, "lladdr", truth, "dev", interface, "nud", "stale")
        send(EVIL.ns, ether(ether_to, ether_of, ARP, lie))
        if victim_ns == DOM0:
            heard(world, "inet-udp", [], to_internet)
        else:
            heard(world, "common-udp", [], to_common)
        bitten |= place(victim_ns, interface, claimed) != truth
    command(victim_ns, "ip", "neigh", "del", claimed, "dev", interface)
    return bitten


@attack()
def takes_the_gateways_place_by_arp(world: World) -> bool:
    return poisoned(world, COMMON.ns, "eth0", COMMON.mac, COMMON.address, "10.10.1.1", bridge_mac())


@attack()
def takes_a_neighbours_place_by_arp(world: World) -> bool:
    return poisoned(world, COMMON.ns, "eth0", COMMON.mac, COMMON.address, WEBFUL.address, WEBFUL.mac)


@attack()
def takes_a_neighbours_place_at_dom0_by_arp(world: World) -> bool:
    return poisoned(world, DOM0, "xen-br1", bridge_mac(), "10.10.1.1", WEBFUL.address, WEBFUL.mac)


def table(bridge: str = "xen-br1") -> str:
    return command(DOM0, "bridge", "fdb", "show", "br", bridge)


def moved(world: World, *frames: bytes) -> bool:
    """Whether WEBFUL's place on the bridge goes to the sender of these frames."""
    # One datagram: of a connection's end WEBFUL would say something later, and have its place back.
    assert wire.answer(WEBFUL.ns, COMMON.address, 5353, udp=True)
    send(EVIL.ns, *frames)
    heard(world, "common-udp", [], to_common)
    return f"{WEBFUL.mac} dev {EVIL.vif}" in table()


@attack()
def steals_a_neighbours_place_on_the_bridge(world: World) -> bool:
    theft = datagram(EVIL.address, COMMON.address, 9, b"x")
    return moved(world, ether(COMMON.mac, WEBFUL.mac, IPV4, theft), ether(EVERYBODY, WEBFUL.mac, 0x9000, bytes(46)))


@attack()
def steals_it_by_link_local_frames(world: World) -> bool:
    """01:80:c2:00:00:0X: these pass no rule, the bridge itself must not learn from them."""
    return moved(
        world,
        *(
            ether(f"01:80:c2:00:00:{group:02x}", WEBFUL.mac, kind, bytes(46))
            for group in range(16)
            for kind in (0x88CC, 0x0027)
        ),
    )


@attack()
def sends_link_local_frames_to_a_neighbour(world: World) -> bool:
    """A bridge without STP passes 01:80:c2:00:00:00 on, so that loops are found."""
    bad = word()
    with listening(COMMON.ns) as came:
        for group in range(16):
            to = f"01:80:c2:00:00:{group:02x}"
            send(EVIL.ns, *(ether(to, EVIL.mac, kind, bad + bytes(30)) for kind in (0x0026, 0x88CC, IPV4)))
        return any(bad in frame for frame in came(to_common))


@attack()
def fills_the_bridges_table(world: World) -> bool:
    before = table().count("\n")
    lies = (ether(EVERYBODY, f"aa:bb:ff:00:{n >> 8:02x}:{n & 255:02x}", 0x9000, bytes(46)) for n in range(400))
    send(EVIL.ns, *lies)
    heard(world, "common-udp", [], to_common)
    return table().count("\n") > before + 100


def answers_dhcp(world: World, *packets: bytes) -> bool:
    """Whether a neighbour's DHCP client would take one of these for an offer.

    Clients listen raw, beneath every check of the kernel's: what is judged here is what their filter
    judges (ether type, protocol, no fragment, destination port), and that is less than the kernel does.
    """
    with listening(COMMON.ns) as came:
        for to in (EVERYBODY, COMMON.mac):
            send(EVIL.ns, *(ether(to, EVIL.mac, IPV4, packet) for packet in packets))
        return any(_taken_for_an_offer(frame) for frame in came(to_common))


def _taken_for_an_offer(frame: bytes) -> bool:
    if frame[12:14] != b"\x08\0" or frame[23] != 17 or struct.unpack("!H", frame[20:22])[0] & 0x1FFF:
        return False
    head = 14 + 4 * (frame[14] & 15)
    return frame[head + 2 : head + 4] == b"\0\x44"


OFFER = craft.udp(67, 68, b"rogue-offer" + bytes(40))


@attack()
def plays_dhcp_server(world: World) -> bool:
    other_port = craft.udp(1067, 68, b"rogue-offer" + bytes(40))
    return answers_dhcp(
        world,
        craft.ipv4(EVIL.address, "255.255.255.255", 17, OFFER),
        craft.ipv4(EVIL.address, "255.255.255.255", 17, other_port),
        craft.ipv4(EVIL.address, COMMON.address, 17, other_port),
    )


@attack()
def plays_dhcp_server_behind_ip_options(world: World) -> bool:
    return answers_dhcp(world, craft.ipv4(EVIL.address, "255.255.255.255", 17, OFFER, options=craft.NOP * 8))


@attack()
def plays_dhcp_server_in_a_packet_no_kernel_would_take(world: World) -> bool:
    """A wrong version or length: nft sees no UDP in it, a client that reads raw frames does."""
    return answers_dhcp(
        world,
        craft.ipv4(EVIL.address, "255.255.255.255", 17, OFFER, version=5),
        craft.ipv4(EVIL.address, "255.255.255.255", 17, OFFER, claimed=1400),
        craft.ipv4(EVIL.address, "255.255.255.255", 17, OFFER, claimed=22),
    )


@attack()
def plays_dhcp_server_in_fragments(world: World) -> bool:
    whole = craft.ipv4(EVIL.address, "255.255.255.255", 17, OFFER)
    return answers_dhcp(world, *craft.fragments(whole, 8), *craft.fragments(whole, 24, ident=78))


@attack()
def asks_for_a_neighbours_lease(world: World) -> bool:
    bad = word()
    question = datagram("0.0.0.0", "255.255.255.255", 67, craft.lease_question(WEBFUL.mac, bad), sport=68)
    send(EVIL.ns, *(ether(EVERYBODY, of, IPV4, question) for of in (WEBFUL.mac, EVIL.mac)))

    def honest(good: bytes) -> None:
        own = datagram("0.0.0.0", "255.255.255.255", 67, craft.lease_question(EVIL.mac, good), sport=68)
        send(EVIL.ns, ether(EVERYBODY, EVIL.mac, IPV4, own))

    return heard(world, "dom0-dhcp", [bad], honest)


def router(ns: str, interface: str) -> str:
    return command(ns, "ip", "-6", "route", "show", "default", "dev", interface)


@attack()
def plays_router_to_dom0_and_the_neighbour(world: World) -> bool:
    """A router advertisement, plain and in tags that Linux strips."""
    body = craft.router_advertisement(EVIL.mac)
    forms = ((IPV6, body), craft.tagged(0, IPV6, body), craft.tagged(0, IPV6, body, tag=0x88A8))
    send(EVIL.ns, *(ether("33:33:00:00:00:01", EVIL.mac, kind, form) for kind, form in forms))
    heard(world, "common-udp", [], to_common)
    bitten = bool(router(DOM0, "xen-br1") or router(COMMON.ns, "eth0"))
    for ns in (DOM0, COMMON.ns):
        command(ns, "ip", "-6", "route", "flush", "default")
    return bitten


@attack()
def speaks_ipv6_to_the_neighbour_and_to_dom0(world: World) -> bool:
    ends = [bare.link_local(COMMON.ns, "eth0")]
    if "inet6" in command(DOM0, "ip", "-6", "-o", "addr", "show", "dev", "xen-br1"):
        ends.append(bare.link_local(DOM0, "xen-br1"))
    # A datagram needs no answer: the frame itself is looked for.
    bad = word()
    with listening(COMMON.ns) as near, listening(DOM0, "xen-br1") as dom0:
        for to in (COMMON.mac, bridge_mac(), EVERYBODY):
            head = struct.pack("!IHBB", 6 << 28, len(bad), 59, 64)
            send(EVIL.ns, ether(to, EVIL.mac, IPV6, head + craft.link_local(EVIL.mac) * 2 + bad))
        bitten = any(bad in f for f in near(to_common)) or any(bad in f for f in dom0(to_internet))
    return bitten or any(not wire.closed(EVIL.ns, f"{end}%eth0", 22) for end in ends[1:])


@attack()
def crafts_vlan_frames(world: World) -> bool:
    """802.1Q, a priority tag (Linux strips it), QinQ; with its own address inside and with a neighbour's."""
    near, bads = [], []
    for number in (0, 1, 5, 4095):
        for tag in (0x8100, 0x88A8, 0x9100):
            for source in (EVIL.address, WEBFUL.address):
                bads.append(word())
                packet = datagram(source, COMMON.address, 5353, bads[-1])
                near.append(craft.tagged(number, IPV4, packet, tag=tag))
                kind, inner = craft.tagged(7, IPV4, packet)
                near.append(craft.tagged(number, kind, inner, tag=tag))
    lie = arp_reply(EVIL.mac, "10.10.1.1", COMMON.mac, COMMON.address) + (mark := word())
    near.append(craft.tagged(0, ARP, lie))
    with listening(COMMON.ns) as came:
        send(EVIL.ns, *(ether(COMMON.mac, EVIL.mac, kind, body) for kind, body in near))
        frames = came(to_common)
    return any(bad in frame for frame in frames for bad in (*bads, mark))


@attack()
def speaks_other_protocols(world: World) -> bool:
    """PPPoE, MPLS, LLDP, RARP, 802.3 with SNAP, AoE, and 802.1X."""
    bad = word()
    packet = datagram(WEBFUL.address, COMMON.address, 5353, bad)
    snap = b"\xaa\xaa\x03\0\0\0\x08\0" + packet
    kinds = ((0x8864, b"\x11\0\0\x01\0\x50\0\x21" + packet), (0x8847, b"\0\x01\x01\x40" + packet), (0x88CC, bad),
             (0x8035, bad), (len(snap), snap), (0x88A2, bad), (0x888E, bad))  # fmt: skip
    with listening(COMMON.ns) as came:
        for to in (COMMON.mac, EVERYBODY, "01:00:5e:00:00:fb"):
            send(EVIL.ns, *(ether(to, EVIL.mac, kind, body) for kind, body in kinds))
        return any(bad in frame for frame in came(to_common))


@attack()
def comes_by_an_interface_nobody_knows(world: World) -> bool:
    """One of a foreign name, one of a name like ours; with the mark of a judged frame on its packets too."""
    near, far, dom0 = word(), word(), word()
    for machine in (FOREIGN, STRAY):
        for mark in (0, KNOWN, -1):
            frames = (
                ether(COMMON.mac, machine.mac, IPV4, datagram(machine.address, COMMON.address, 5353, near)),
                by_gateway(machine, datagram(machine.address, NEIGHBOUR, 5353, far)),
                by_gateway(machine, datagram(machine.address, "10.10.1.1", 53, dom0)),
            )
            send(machine.ns, *frames, mark=mark)
    bitten = heard(world, "common-udp", [near], to_common) | heard(world, "inet-udp", [far], to_internet)

    def ask(good: bytes) -> None:
        send(EVIL.ns, by_gateway(EVIL, datagram(EVIL.address, "10.10.1.1", 53, good)))

    return bitten | heard(world, "dom0-dns", [dom0], ask)


@attack()
def hears_what_is_for_a_neighbour(world: World) -> bool:
    """An interface nobody knows gets no frame of the zone's machines."""
    bad = word()
    with listening(FOREIGN.ns) as came:
        send(EVIL.ns, ether(FOREIGN.mac, EVIL.mac, IPV4, datagram(EVIL.address, FOREIGN.address, 5353, bad)))

        def honest(good: bytes) -> None:
            # From dom0 itself: what the kernel says to a port is nobody's secret.
            command(DOM0, "ip", "neigh", "replace", FOREIGN.address, "lladdr", FOREIGN.mac, "dev", "xen-br1")
            with wire.inside(DOM0, lambda: wire.socket.socket(wire.socket.AF_INET, wire.socket.SOCK_DGRAM)) as made:
                made.sendto(good, (FOREIGN.address, 5353))

        return any(bad in frame for frame in came(honest))


@attack()
def redirects_a_neighbour_to_itself(world: World) -> bool:
    """ICMP: "send that by me", in the gateway's name."""
    open_to_it = (
        f"net.ipv4.conf.{at}.{s}" for at in ("all", "eth0") for s in ("accept_redirects=1", "secure_redirects=0")
    )
    command(COMMON.ns, "sysctl", "-qw", *open_to_it)
    about = craft.echo(COMMON.address, NEIGHBOUR, 7, reply=True)
    lie = craft.redirect("10.10.1.1", COMMON.address, EVIL.address, about)
    send(EVIL.ns, ether(COMMON.mac, EVIL.mac, IPV4, lie))
    heard(world, "common-udp", [], to_common)
    bitten = EVIL.address in command(COMMON.ns, "ip", "route", "get", NEIGHBOUR)
    command(COMMON.ns, "ip", "route", "flush", "cache")
    return bitten
