"""Root inside a machine, on its bridge: only itself, only ARP and IPv4."""

from __future__ import annotations

import pytest

from tests.host import wire
from tests.host.bare import DOM0, ONE, World, until
from tests.host.packets.sample import COMMON, EVIL, FOREIGN, WEBDOM, WEBFUL
from tests.host.wire import answer, closed, command
from tests.hostile.craft import lease_question

pytestmark = pytest.mark.host


def test_a_machine_speaks_only_as_itself(world: World) -> None:
    gateway = command(DOM0, "cat", "/sys/class/net/xen-br1/address").strip()
    frames = {
        b"honest": (EVIL.mac, EVIL.address),
        b"neighbours-ip": (EVIL.mac, WEBFUL.address),
        b"neighbours-mac": (WEBFUL.mac, EVIL.address),
        b"both-of-them": (WEBFUL.mac, WEBFUL.address),
        b"other-zone": (EVIL.mac, WEBDOM.address),
        b"public-source": (EVIL.mac, ONE),
        b"gateways-ip": (EVIL.mac, "10.10.1.1"),
    }
    for word, (mac, source) in frames.items():
        beside = wire.udp_packet(source, COMMON.address, 4000, 5353, word)
        out = wire.udp_packet(source, "91.121.65.254", 4000, 5353, word)
        wire.send_frame(EVIL.ns, "eth0", wire.ether(COMMON.mac, mac, 0x0800, beside))
        wire.send_frame(EVIL.ns, "eth0", wire.ether(gateway, mac, 0x0800, out))
    for server in ("common-udp", "inet-udp"):
        heard = world.servers[server].heard
        assert until(lambda heard=heard: b"honest" in heard)
        assert not (frames.keys() - {b"honest"}) & set(heard), server


def test_nobody_takes_the_gateways_or_a_neighbours_place_by_arp(world: World) -> None:
    with wire.sniffing(COMMON.ns, "eth0") as saw:
        for claimed in ("10.10.1.1", WEBFUL.address):
            lie = wire.arp_reply(EVIL.mac, claimed, COMMON.mac, COMMON.address)
            wire.send_frame(EVIL.ns, "eth0", wire.ether(COMMON.mac, EVIL.mac, 0x0806, lie))
            assert not saw(lie)
        half = wire.arp_reply(WEBFUL.mac, EVIL.address, COMMON.mac, COMMON.address)
        wire.send_frame(EVIL.ns, "eth0", wire.ether(COMMON.mac, EVIL.mac, 0x0806, half))
        assert not saw(half)
        truth = wire.arp_reply(EVIL.mac, EVIL.address, COMMON.mac, COMMON.address)
        wire.send_frame(EVIL.ns, "eth0", wire.ether(COMMON.mac, EVIL.mac, 0x0806, truth))
        assert saw(truth, wire.PATIENCE_S)


def test_a_frame_with_a_neighbours_mac_does_not_move_its_place_on_the_bridge(world: World) -> None:
    assert answer(COMMON.ns, WEBFUL.address, 8080)
    for _ in range(5):
        theft = wire.udp_packet(WEBFUL.address, COMMON.address, 4000, 4001, b"x")
        wire.send_frame(EVIL.ns, "eth0", wire.ether(COMMON.mac, WEBFUL.mac, 0x0800, theft))
    place = command(DOM0, "bridge", "fdb", "show", "br", "xen-br1")
    assert f"{WEBFUL.mac} dev {EVIL.vif}" not in place


@pytest.mark.parametrize("group", range(16))
def test_a_link_local_frame_does_not_move_it_either(world: World, group: int) -> None:
    assert answer(COMMON.ns, WEBFUL.address, 8080)
    theft = wire.ether(f"01:80:c2:00:00:{group:02x}", WEBFUL.mac, 0x88CC, bytes(50))
    wire.send_frame(EVIL.ns, "eth0", theft)
    place = command(DOM0, "bridge", "fdb", "show", "br", "xen-br1")
    assert f"{WEBFUL.mac} dev {WEBFUL.vif}" in place


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (0x86DD, b"\x60\0\0\0router-advertisement"),
        (0x8100, b"\0\x05\x08\0vlan-tagged-frame"),
        (0x88CC, b"some-other-protocol"),
    ],
    ids=["ipv6", "vlan", "lldp"],
)
def test_only_arp_and_ipv4_cross_a_bridge(world: World, kind: int, body: bytes) -> None:
    with wire.sniffing(COMMON.ns, "eth0") as saw, wire.sniffing(DOM0, "xen-br1") as dom0_saw:
        wire.send_frame(EVIL.ns, "eth0", wire.ether(COMMON.mac, EVIL.mac, kind, body + bytes(40)))
        wire.send_frame(EVIL.ns, "eth0", wire.ether("ff:ff:ff:ff:ff:ff", EVIL.mac, kind, body + bytes(40)))
        assert not saw(body[-12:])
        assert not dom0_saw(body[-12:])


def test_no_machine_answers_dhcp_but_each_may_ask(world: World) -> None:
    with wire.sniffing(COMMON.ns, "eth0") as saw:
        # A client looks at the port an offer comes to, not at the one it comes from.
        for sport, to in ((67, "ff:ff:ff:ff:ff:ff"), (1067, "ff:ff:ff:ff:ff:ff"), (1067, COMMON.mac)):
            lie = wire.udp_packet(EVIL.address, "255.255.255.255", sport, 68, b"rogue-offer")
            wire.send_frame(EVIL.ns, "eth0", wire.ether(to, EVIL.mac, 0x0800, lie))
            assert not saw(b"rogue-offer")
    question = wire.udp_packet("0.0.0.0", "255.255.255.255", 68, 67, lease_question(EVIL.mac, b"my-lease"))
    forged = wire.udp_packet("0.0.0.0", "255.255.255.255", 68, 67, lease_question(WEBFUL.mac, b"your-lease"))
    wire.send_frame(EVIL.ns, "eth0", wire.ether("ff:ff:ff:ff:ff:ff", WEBFUL.mac, 0x0800, forged))
    wire.send_frame(EVIL.ns, "eth0", wire.ether("ff:ff:ff:ff:ff:ff", EVIL.mac, 0x0800, question))
    heard = world.servers["dom0-dhcp"].heard
    assert until(lambda: any(b"my-lease" in data for data in heard))
    assert not any(b"your-lease" in data for data in heard)


def test_an_interface_nobody_put_on_the_list_reaches_nobody(world: World) -> None:
    assert closed(FOREIGN.ns, "10.10.1.1", 53, udp=True)
    assert closed(FOREIGN.ns, COMMON.address, 2525)
    assert closed(FOREIGN.ns, "91.121.65.254", 80)
