"""Point 1, against the real machines: what root inside WEB-Ful puts on the wire, and a neighbour on the link.

The frames are sent from WEB-Ful's own network namespace, entered from outside: what its root can send, no more. The
whole list of attacks, each shown to bite where no policy is loaded, is played in tests/hostile.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.demo.conftest import NAME, Demo, until
from tests.host import wire
from tests.host.wire import Probe, arp_reply, command, ether, inside
from tests.hostile import craft
from tests.hostile.scene import datagram, listening, send, word

pytestmark = pytest.mark.demo
ONE, TWO = "91.121.65.140", "87.98.130.56"
IPV4, ARP, IPV6 = 0x0800, 0x0806, 0x86DD
EVERYBODY = craft.EVERYBODY
SIOCGIFHWADDR = 0x8927
SWITCH = "net.bridge.bridge-nf-call-iptables"


@pytest.fixture(scope="module", autouse=True, params=["switch as applied", "switch on again"])
def bridged_packets_meet_iptables(demo: Demo, request: pytest.FixtureRequest) -> Iterator[None]:
    """All of it once more after something on dom0 let bridged packets through iptables; that is told, and restored."""
    assert dom0(demo, "sysctl", "-n", SWITCH).strip() == "0"
    if request.param == "switch as applied":
        yield
        return
    dom0(demo, "sysctl", "-qw", f"{SWITCH}=1")
    yield
    told = "select drift from firewall_watched"
    assert until(lambda: "bridge-nf-call-iptables is 1 instead of 0" in str(demo.sql(told))), demo.sql(told)
    done = demo.fridu("firewall", "apply", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert dom0(demo, "sysctl", "-n", SWITCH).strip() == "0"
    assert until(lambda: demo.sql(told) == [("[]",)]), demo.sql(told)


@dataclass(frozen=True)
class Guest:
    """A machine's network as the box sees it: its namespace, and what it is on its bridge."""

    ns: str
    mac: str
    address: str
    vif: str


def _mac() -> str:
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        answer = fcntl.ioctl(any_socket, SIOCGIFHWADDR, struct.pack("256s", b"eth0"))
    return ":".join(f"{byte:02x}" for byte in answer[18:24])


def networks() -> dict[str, str]:
    """Every network namespace in use by this demo's machines: a path to it, by its eth0's MAC."""
    found: dict[str, str] = {}
    met: set[int] = set()
    for entry in Path("/proc").glob("[0-9]*/ns/net"):
        with contextlib.suppress(OSError):
            # Another demo on the box has machines of the same MACs.
            ours = f"fridu-{NAME}/" in (entry.parents[1] / "cgroup").read_text()
            if ours and (number := entry.stat().st_ino) not in met:
                met.add(number)
                found[inside(str(entry), _mac)] = str(entry)
    return found


@pytest.fixture(scope="module")
def guests(demo: Demo) -> dict[str, Guest]:
    rows, there = demo.sql("select name, mac, address, vif from machines_machine"), networks()
    return {name: Guest(there[mac], mac, address, vif) for name, mac, address, vif in rows if mac in there}


@pytest.fixture
def evil(guests: dict[str, Guest]) -> Guest:
    return guests["WEB-Ful"]


@pytest.fixture
def common(guests: dict[str, Guest]) -> Guest:
    return guests["Common"]


def dom0(demo: Demo, *argv: str) -> str:
    return command(demo.state["netns"]["dom0"], *argv)


def mac_on_dom0(demo: Demo, interface: str) -> str:
    return dom0(demo, "cat", f"/sys/class/net/{interface}/address").strip()


def honest(evil: Guest, to: Guest) -> Callable[[bytes], None]:
    return lambda good: send(evil.ns, ether(to.mac, evil.mac, IPV4, datagram(evil.address, to.address, 5353, good)))


def came_through(evil: Guest, to: Guest, bad: bytes, *frames: bytes) -> bool:
    with listening(to.ns) as came:
        send(evil.ns, *frames)
        return any(bad in frame for frame in came(honest(evil, to)))


def test_a_machine_speaks_only_as_itself(demo: Demo, evil: Guest, common: Guest):
    bad = word()
    frames = [
        ether(common.mac, of, IPV4, datagram(source, common.address, 5353, bad))
        for of, source in (
            (evil.mac, "10.10.1.77"), (evil.mac, "10.10.1.1"), (evil.mac, "10.10.2.2"), (evil.mac, ONE),
            (evil.mac, "10.10.95.2"), (common.mac, evil.address), (mac_on_dom0(demo, "xen-br1"), "10.10.1.1"),
        )
    ]  # fmt: skip
    assert not came_through(evil, common, bad, *frames)


def test_nor_towards_the_internet(demo: Demo, evil: Guest):
    bad, gateway, internet = word(), mac_on_dom0(demo, "xen-br1"), demo.state["netns"]["internet"]
    with listening(internet) as came:
        for source in ("10.10.1.2", "10.10.2.2", TWO, "203.0.113.9", "10.10.95.2"):
            send(evil.ns, ether(gateway, evil.mac, IPV4, datagram(source, "198.51.100.7", 5353, bad)))

        def own(good: bytes) -> None:
            send(evil.ns, ether(gateway, evil.mac, IPV4, datagram(evil.address, "198.51.100.7", 5353, good)))

        assert not any(bad in frame for frame in came(own))


def test_nobody_takes_the_gateways_or_a_neighbours_place(demo: Demo, evil: Guest, common: Guest):
    mark = word()
    lies = [
        ether(to, evil.mac, ARP, arp_reply(evil.mac, claimed, to, common.address) + mark)
        for claimed in ("10.10.1.1", "10.10.1.77")
        for to in (common.mac, EVERYBODY)
    ]
    half = arp_reply("aa:bb:00:00:00:99", evil.address, common.mac, common.address)
    lies.append(ether(common.mac, evil.mac, ARP, half + mark))
    assert not came_through(evil, common, mark, *lies)


def test_a_neighbours_place_on_the_bridge_stays_his(demo: Demo, evil: Guest, common: Guest):
    groups = [f"01:80:c2:00:00:{group:02x}" for group in range(16)]
    thefts = [ether(to, common.mac, kind, bytes(46)) for to in (EVERYBODY, *groups) for kind in (0x88CC, 0x9000)]
    assert not came_through(evil, common, b"nothing to find", *thefts)
    assert f"{common.mac} dev {evil.vif} " not in dom0(demo, "bridge", "fdb", "show", "br", "xen-br1")


def test_no_machine_plays_dhcp_server_or_router(demo: Demo, evil: Guest, common: Guest):
    bad = word()
    offer = craft.udp(1067, 68, bad + bytes(40))
    packets = [
        craft.ipv4(evil.address, "255.255.255.255", 17, offer, version=version, options=options)
        for version in (4, 5)
        for options in (b"", craft.NOP * 8)
    ]
    packets.append(craft.ipv4(evil.address, "255.255.255.255", 17, offer, claimed=1400))
    frames = [ether(to, evil.mac, IPV4, packet) for to in (EVERYBODY, common.mac) for packet in packets]
    frames.append(ether("33:33:00:00:00:01", evil.mac, IPV6, craft.router_advertisement(evil.mac) + bad))
    assert not came_through(evil, common, bad, *frames)
    assert dom0(demo, "ip", "-6", "route", "show", "default", "dev", "xen-br1") == ""


def test_only_plain_arp_and_ipv4_cross_the_bridge(demo: Demo, evil: Guest, common: Guest):
    bad = word()
    packet = datagram(evil.address, common.address, 5353, bad)
    inner = craft.tagged(7, IPV4, packet)
    kinds = [craft.tagged(number, IPV4, packet, tag=tag) for number in (0, 5) for tag in (0x8100, 0x88A8)]
    kinds += [craft.tagged(5, *inner, tag=0x88A8), (IPV6, bytes(40) + bad), (0x8864, bad), (0x8847, bad), (0x88CC, bad)]
    assert not came_through(evil, common, bad, *(ether(common.mac, evil.mac, kind, body) for kind, body in kinds))


def test_dom0s_services_are_out_of_reach_on_every_address(demo: Demo, evil: Guest):
    addresses = ("10.10.1.1", "10.10.2.1", "10.10.95.38", ONE)
    probes = [Probe(evil.ns, at, port) for at in addresses for port in (22, 563, 6379, 8000, 16509)]
    probes += [Probe(evil.ns, at, 53, udp=True) for at in ("10.10.2.1", "10.10.95.38", ONE)]
    assert set(wire.answers(probes).values()) == {""}


def test_a_neighbour_on_the_link_gets_in_neither_plainly_nor_by_crafted_packets(demo: Demo, evil: Guest, common: Guest):
    internet = demo.state["netns"]["internet"]
    to, of, bad = mac_on_dom0(demo, "eth0"), command(internet, "cat", "/sys/class/net/eth0/address").strip(), word()
    plain = datagram("198.51.100.7", common.address, 5353, bad)
    routed = craft.ipv4("198.51.100.7", ONE, 17, craft.udp(1, 5353, bad), options=craft.loose_route(common.address))
    inside_source = datagram(evil.address, common.address, 5353, bad)
    with listening(common.ns) as came:
        for packet in (plain, routed, inside_source, *craft.fragments(plain, 8)):
            send(internet, ether(to, of, IPV4, packet))
            send(internet, ether(to, of, *craft.tagged(0, IPV4, packet)))
        assert not any(bad in frame for frame in came(honest(evil, common)))


def test_one_machine_cannot_fill_dom0s_table_of_connections(demo: Demo, evil: Guest, common: Guest):
    gateway = mac_on_dom0(demo, "xen-br1")
    before = int(dom0(demo, "conntrack", "-C"))
    packet = datagram(evil.address, "198.51.100.7", 5353, b"x")
    head = ether(gateway, evil.mac, IPV4, b"")
    send(evil.ns, *(head + packet[:20] + struct.pack("!H", 2000 + n) + packet[22:] for n in range(8000)))
    assert int(dom0(demo, "conntrack", "-C")) <= before + 2200
    assert "WEB-Dom" in demo.curl(f"http://{TWO}/")
    assert "Common" in demo.greeting(ONE, 25)
    dom0(demo, "conntrack", "-D", "--orig-src", evil.address)


def test_all_of_this_changed_nothing_for_those_who_are_wanted(demo: Demo, evil: Guest, common: Guest):
    assert "WEB-Ful" in demo.curl(f"http://{ONE}/")
    assert "WEB-Dom" in demo.curl(f"http://{TWO}/")
    assert "Common" in demo.greeting(TWO, 25)
    assert "Fridu" in demo.curl("http://10.10.95.38:8000/sign-in/", "vpn")
    assert wire.answer(evil.ns, common.address, 2525).startswith("220 ")
    assert wire.answer(evil.ns, ONE, 25).startswith("220 ")
    assert wire.pings(evil.ns, "10.10.1.1")
