"""One machine tries to fill dom0's table of connections. The table's size is the whole box's and can't be made small
for a test, so what is judged is how many entries one machine can hold, and that others are served meanwhile.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator

import pytest

from firewall.rules import CONNECTIONS_PER_MACHINE, NEW_PER_SECOND, NEWLIMIT
from tests.host import bare
from tests.host.bare import DOM0, NEIGHBOUR, World
from tests.host.wire import command, ether, inside
from tests.hostile import craft
from tests.hostile.scene import (
    COMMON,
    EVIL,
    LAYOUT,
    SERVERS,
    bridge_mac,
    datagram,
    site,
    wanted_flows,
)

pytestmark = pytest.mark.host
#: How many connections a machine tries to open: six times its share.
FLOWS = 12_000
#: What all others together have open in these tests.
OTHERS = 200


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with bare.built(LAYOUT, tmp_path_factory.mktemp("full")) as made:
        made.serve(SERVERS)
        yield made


def held() -> int:
    """Entries in dom0's table."""
    return int(command(DOM0, "conntrack", "-C"))


def flood(packet: Callable[[int], bytes], to: str) -> None:
    """Thousands of packets, each the first of a connection, as fast as the card takes them."""
    with inside(EVIL.ns, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)) as made:
        made.bind(("eth0", 0))
        head = ether(to, EVIL.mac, 0x0800, b"")
        for number in range(FLOWS):
            made.send(head + packet(number))


def swap_port(packet: bytes) -> Callable[[int], bytes]:
    """The packet with another port of its own each time; UDP without checksum allows that."""
    return lambda number: packet[:20] + struct.pack("!H", 2000 + number) + packet[22:]


def pings(target: str) -> Callable[[int], bytes]:
    return lambda number: craft.echo(EVIL.address, target, number)


LEASE = craft.lease_question(EVIL.mac, b"x")
UDP = {
    "to the Internet": (datagram(EVIL.address, NEIGHBOUR, 5353, b"x"), bridge_mac()),
    "to dom0's names": (datagram(EVIL.address, EVIL.gateway, 53, b"x"), bridge_mac()),
    "to dom0's leases": (datagram(EVIL.address, EVIL.gateway, 67, LEASE), bridge_mac()),
    "to everybody's leases": (datagram(EVIL.address, "255.255.255.255", 67, LEASE), craft.EVERYBODY),
    "to a neighbour": (datagram(EVIL.address, COMMON.address, 5353, b"x"), COMMON.mac),
}
FLOODS = {
    **{name: (swap_port(packet), to) for name, (packet, to) in UDP.items()},
    "pings": (pings(NEIGHBOUR), bridge_mac()),
    "pings to dom0": (pings(EVIL.gateway), bridge_mac()),
}


@pytest.mark.parametrize("name", FLOODS)
def test_without_a_policy_one_machine_holds_far_more_than_a_share(world: World, name: str) -> None:
    world.careless(site())
    command(DOM0, "sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1")
    flood(*FLOODS[name])
    assert held() > 2 * CONNECTIONS_PER_MACHINE


@pytest.mark.parametrize("switch", ["0", "1"])
@pytest.mark.parametrize("name", FLOODS)
def test_a_machine_holds_its_share_and_all_others_are_served(world: World, name: str, switch: str) -> None:
    world.apply(site())
    command(DOM0, "sysctl", "-qw", f"net.bridge.bridge-nf-call-iptables={switch}")
    command(DOM0, "conntrack", "-F")
    flood(*FLOODS[name])
    assert held() <= CONNECTIONS_PER_MACHINE + OTHERS
    others_are_served()
    world.apply(site())


def others_are_served() -> None:
    wanted_flows(hairpin=False, but=EVIL.ns)


def ended_at_once(number: int) -> bytes:
    """The first packet of a connection to a server that takes it. The machine's kernel knows nothing of it and
    ends it with a reset when the answer comes: connlimit forgets it then, the table keeps it for ten seconds."""
    segment = craft.tcp(EVIL.address, NEIGHBOUR, 2000 + number, 80, flags=craft.SYN)
    return craft.ipv4(EVIL.address, NEIGHBOUR, 6, segment)


def held_after_ending_many() -> tuple[int, float]:
    """Entries in the table when thousands were opened and ended at once; the seconds all of it took."""
    command(DOM0, "conntrack", "-F")
    began = time.monotonic()
    flood(ended_at_once, bridge_mac())
    return held(), time.monotonic() - began


def test_connections_ended_at_once_are_not_a_way_round_the_share(world: World) -> None:
    """What connlimit lets pass, the limit by the second stops: beyond the burst no more than that many came in."""
    world.apply(site())
    command(DOM0, "iptables", "-D", "fr-share", *NEWLIMIT.split())
    many, _ = held_after_ending_many()
    assert many > 2 * CONNECTIONS_PER_MACHINE
    world.apply(site())
    few, seconds = held_after_ending_many()
    assert few <= CONNECTIONS_PER_MACHINE + seconds * NEW_PER_SECOND + OTHERS
    assert command(DOM0, "sysctl", "-n", "net.netfilter.nf_conntrack_tcp_timeout_time_wait").strip() == "30"
    others_are_served()
