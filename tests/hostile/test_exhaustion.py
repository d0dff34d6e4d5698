"""One machine tries to fill dom0's table of connections. The table's size is the whole box's and can't be made small
for a test, so what is judged is how many entries one machine can hold, and that others are served meanwhile.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from firewall.rules import CONNECTIONS_PER_MACHINE, NEW_PER_SECOND
from tests.host import bare
from tests.host.bare import DOM0, INET, NEIGHBOUR, World
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
def test_without_a_policy_one_machine_holds_all_it_wants(world: World, name: str) -> None:
    world.careless(site())
    command(DOM0, "sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1")
    flood(*FLOODS[name])
    assert held() > FLOWS * 0.9


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


@contextlib.contextmanager
def accepting() -> Iterator[int]:
    """A helper on the Internet that takes connections and ends them; gives its port."""
    with inside(INET, lambda: socket.create_server((NEIGHBOUR, 0), backlog=4000)) as server:

        def take() -> None:
            with contextlib.suppress(OSError):
                while True:
                    server.accept()[0].close()

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def open_and_close(port: int, count: int) -> float:
    """Connections made and ended at once, so far as they come about; the seconds it took."""
    began = time.monotonic()

    def work() -> None:
        for _ in range(count):
            with contextlib.suppress(OSError), socket.socket() as made:
                made.settimeout(0.02)
                made.connect((NEIGHBOUR, port))
                made.recv(1)

    inside(EVIL.ns, work)
    return time.monotonic() - began


def test_connections_ended_at_once_are_not_a_way_round_the_share(world: World) -> None:
    """connlimit forgets these, the table keeps them for their timeout: so there is a limit by the second too."""
    with accepting() as port:
        world.careless(site())
        assert open_and_close(port, 4000) < 10
        assert held() > 3800
        world.apply(site())
        command(DOM0, "conntrack", "-F")
        seconds = open_and_close(port, 4000)
    assert held() <= CONNECTIONS_PER_MACHINE + seconds * NEW_PER_SECOND + OTHERS
    assert command(DOM0, "sysctl", "-n", "net.netfilter.nf_conntrack_tcp_timeout_time_wait").strip() == "30"
    others_are_served()
