"""The rendered files of the real sample, loaded by the real planner, judged by packets.

Three legs around a dom0 of our own: the Internet (an on-link neighbour, hostile), the admin VPN, and machines
as bare namespaces on the zones' bridges (one of them hostile).
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from dom0 import execute, members, probe
from dom0.bridge import Bridge
from dom0.errors import Refused
from dom0.host import HostConfig
from dom0.plan import Plan
from dom0.probe import Scope
from dom0.runner import run
from firewall import importer
from firewall import plan as planner
from firewall.plan import Wish
from firewall.specs import Cell, CustomRule, Ports, Restriction, Service, Site, Vpn, Zone
from tests.host import wire
from tests.host.wire import Server, answer, closed, command, connect, echoes, inside, ip, open_ports, pings

pytestmark = pytest.mark.host

RULES = Path(__file__).parent.parent / "fixtures" / "production.rules"
ONE, TWO = "91.121.65.140", "87.98.130.56"
DOM0, INET, VPN = "frt-dom0", "frt-inet", "frt-vpn"
HOST = Site(vpn=Vpn(interface="tun0", network="10.10.95.0/24"), panel_port=8000)
REDIS = 6379


@dataclass(frozen=True)
class Machine:
    ns: str
    vif: str
    bridge: str
    address: str
    mac: str
    known: bool = True


COMMON = Machine("frt-common", "fr1", "xen-br1", "10.10.1.2", "aa:bb:0a:0a:01:02")
WEBFUL = Machine("frt-webful", "fr2", "xen-br1", "10.10.1.3", "aa:bb:0a:0a:01:03")
WEBDOM = Machine("frt-webdom", "fr3", "xen-br2", "10.10.2.2", "aa:bb:0a:0a:02:02")
EVIL = Machine("frt-evil", "fr4", "xen-br1", "10.10.1.66", "aa:bb:0a:0a:01:42")
ADMIN = Machine("frt-admin", "fr5", "xen-br3", "10.10.3.5", "aa:bb:0a:0a:03:05")
FOREIGN = Machine("frt-foreign", "foreign0", "xen-br1", "10.10.1.77", "aa:bb:0a:0a:01:4d", known=False)
MACHINES = (COMMON, WEBFUL, WEBDOM, EVIL, ADMIN, FOREIGN)
ZONES = {"xen-br1": "10.10.1", "xen-br2": "10.10.2", "xen-br3": "10.10.3"}
ISOLATED = Zone(number=3, name="zAdmin", bridge="xen-br3", gateway="10.10.3.1", network="10.10.3.0/24")


@dataclass
class World:
    """The namespaces, and the way rules get into dom0: probe, plan, perform, as the worker does it."""

    config: HostConfig
    site: Site
    servers: dict[str, Server] = field(default_factory=dict)

    def wish(self, site: Site) -> Wish:
        return Wish(site=site, folder=f"{self.config.state}/firewall")

    def plan(self, site: Site) -> Plan:
        wish = self.wish(site)
        return inside(DOM0, lambda: planner.plan(wish, probe.probe(self.config, self.scope(wish))))

    def scope(self, wish: Wish) -> Scope:
        return Scope(
            files=planner.paths(wish),
            rules=planner.FAMILIES,
            sysctls=planner.sysctls(wish),
            links=wish.site.nics,
        )

    def apply(self, site: Site) -> Plan:
        """Carry the plan out; afterwards there must be nothing left to do."""
        plan = self.plan(site)
        wish = self.wish(site)

        def steps() -> None:
            state = probe.probe(self.config, self.scope(wish))
            for step in plan.steps:
                execute.perform(step, self.config, state, {})
                state = step.after(state)

        inside(DOM0, steps)
        assert [step.title for step in self.plan(site).steps] == []
        return plan


def up() -> None:
    for ns in (DOM0, INET, VPN, *(m.ns for m in MACHINES)):
        ip("netns", "add", ns)
        ip("-n", ns, "link", "set", "lo", "up")
    cable(INET, "eth0", "eth0")
    cable(VPN, "eth0", "tun0")
    ip("-n", DOM0, "addr", "add", f"{ONE}/24", "dev", "eth0")
    ip("-n", DOM0, "addr", "add", f"{TWO}/32", "dev", "eth0")
    ip("-n", DOM0, "addr", "add", "10.10.95.38/24", "dev", "tun0")
    ip("-n", INET, "addr", "add", "91.121.65.254/24", "dev", "eth0")
    ip("-n", INET, "route", "add", TWO, "dev", "eth0")
    # The neighbour on the link knows where the private networks are.
    ip("-n", INET, "route", "add", "10.10.0.0/16", "via", ONE)
    ip("-n", VPN, "addr", "add", "10.10.95.2/24", "dev", "eth0")
    ip("-n", VPN, "route", "add", "default", "via", "10.10.95.38")
    ip("-n", DOM0, "route", "add", "default", "via", "91.121.65.254")
    for bridge, net in ZONES.items():
        made = Bridge(name=bridge, mac=f"02:00:00:00:00:0{net[-1]}", address=f"{net}.1/24", sysctls=())
        command(DOM0, *made.add)
        ip("-n", DOM0, "addr", "add", f"{net}.1/24", "dev", bridge)
        ip("-n", DOM0, "link", "set", bridge, "up")
    for machine in MACHINES:
        cable(machine.ns, "eth0", machine.vif)
        ip("-n", machine.ns, "link", "set", "eth0", "address", machine.mac)
        ip("-n", DOM0, "link", "set", machine.vif, "master", machine.bridge)
        ip("-n", machine.ns, "addr", "add", f"{machine.address}/24", "dev", "eth0")
        ip("-n", machine.ns, "route", "add", "default", "via", f"{ZONES[machine.bridge]}.1")


def cable(ns: str, there: str, here: str) -> None:
    ip("link", "add", "frt-a", "netns", DOM0, "type", "veth", "peer", "name", "frt-b", "netns", ns)
    ip("-n", DOM0, "link", "set", "frt-a", "name", here)
    ip("-n", ns, "link", "set", "frt-b", "name", there)
    ip("-n", DOM0, "link", "set", here, "up")
    ip("-n", ns, "link", "set", there, "up")


def down() -> None:
    there = ip("netns", "list").split()
    for ns in (DOM0, INET, VPN, *(m.ns for m in MACHINES)):
        if ns in there:
            ip("netns", "del", ns)


def join() -> None:
    """Membership, as the zone and machine jobs put it in."""
    wished = [*members.host_members("10.10.95.0/24")]
    for bridge, net in ZONES.items():
        wished += members.zone_members(bridge, f"{net}.0/24")
    for machine in MACHINES:
        if machine.known:
            wished += members.machine_member(machine.vif, machine.mac, machine.address)
    for argv in (*members.create_sets(), *(m.add for m in wished)):
        run(argv)


def serve(stack: contextlib.ExitStack) -> dict[str, Server]:
    table = (
        ("common-smtp", COMMON.ns, 2525, False),
        ("webful-web", WEBFUL.ns, 8080, False),
        ("webdom-web", WEBDOM.ns, 8080, False),
        ("webdom-ssh", WEBDOM.ns, 22, False),
        ("webdom-udp", WEBDOM.ns, 5060, True),
        ("common-udp", COMMON.ns, 5353, True),
        ("admin-web", ADMIN.ns, 8080, False),
        ("inet-web", INET, 80, False),
        ("inet-smtp", INET, 25, False),
        ("inet-udp", INET, 5353, True),
        ("vpn-web", VPN, 80, False),
        ("dom0-ssh", DOM0, 22, False),
        ("dom0-vpnt", DOM0, 563, False),
        ("dom0-vpnu", DOM0, 44096, True),
        ("dom0-panel", DOM0, 8000, False),
        ("dom0-redis", DOM0, REDIS, False),
        ("dom0-dns", DOM0, 53, True),
        ("dom0-dhcp", DOM0, 67, True),
        ("dom0-other", DOM0, 9999, True),
    )
    made = {name: Server(ns, name, port, udp=udp) for name, ns, port, udp in table}
    for server in made.values():
        stack.callback(server.close)
    return made


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    assert os.geteuid() == 0, "these tests need root for network namespaces"
    folder = tmp_path_factory.mktemp("state")
    config = HostConfig(name="frt", libvirt="test:///default", volumes=str(folder), state=str(folder), run=str(folder))
    site = importer.read(RULES.read_text(), host=HOST).site
    down()
    with contextlib.ExitStack() as stack:
        stack.callback(down)
        up()
        inside(DOM0, join)
        # A foreign chain, as Docker leaves one: it must be there at the end.
        for words in ("-N DOCKER", "-A FORWARD -j DOCKER", "-A DOCKER -s 172.17.0.0/16 -j ACCEPT"):
            command(DOM0, "iptables", *words.split())
        yield World(config=config, site=site, servers=serve(stack))


@pytest.fixture
def world(built: World) -> World:
    """The production sample in force."""
    built.apply(built.site)
    return built


def until(so: Callable[[], bool], *, seconds: float = 3.0) -> bool:
    end = time.monotonic() + seconds
    while not so():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def without(site: Site, name: str) -> Site:
    return replace(site, services=tuple(s for s in site.services if s.name != name))


def web(name: str, port: int, target: Machine, *, proto: str = "tcp", inner: int = 8080, last: int = 0) -> Service:
    return Service(
        name=name,
        proto="udp" if proto == "udp" else "tcp",
        port_first=port,
        port_last=last or port,
        external=TWO,
        nic="eth0",
        target=target.address,
        target_port=inner,
        zone=2,
    )


# wanted traffic


@pytest.mark.parametrize(
    ("address", "port", "name"),
    [
        (ONE, 80, "webful-web"),
        (TWO, 80, "webdom-web"),
        (ONE, 25, "common-smtp"),
        (TWO, 25, "common-smtp"),
        (TWO, 22, "webdom-ssh"),
        (ONE, 22, "dom0-ssh"),
        (ONE, 563, "dom0-vpnt"),
        (TWO, 563, "dom0-vpnt"),
    ],
)
def test_what_the_sample_publishes_answers_from_the_internet(world: World, address: str, port: int, name: str) -> None:
    assert answer(INET, address, port) == f"{name} 91.121.65.254"


def test_dom0s_openvpn_answers_on_its_udp_port(world: World) -> None:
    assert answer(INET, ONE, 44096, udp=True) == "dom0-vpnu 91.121.65.254"


@pytest.mark.parametrize(("address", "expected"), [(ONE, {22, 25, 80, 563}), (TWO, {22, 25, 80, 563})])
def test_every_other_port_is_closed(world: World, address: str, expected: set[int]) -> None:
    ports = [*range(1, 800), REDIS, 2525, 8000, 8080, 44096, 65535]
    assert open_ports(INET, address, ports) == expected
    assert closed(INET, address, 9999, udp=True)
    assert closed(INET, address, 53, udp=True)


def test_dom0_answers_pings_from_the_internet_but_not_floods(world: World) -> None:
    answered = sum(pings(INET, ONE, timeout_s=0.05) for _ in range(120))
    assert 20 <= answered < 120


@pytest.mark.parametrize(("machine", "source"), [(WEBFUL, ONE), (COMMON, ONE), (WEBDOM, TWO)])
def test_a_machine_reaches_the_internet_with_its_zones_address(world: World, machine: Machine, source: str) -> None:
    assert answer(machine.ns, "91.121.65.254", 80) == f"inet-web {source}"
    assert answer(machine.ns, "91.121.65.254", 5353, udp=True) == f"inet-udp {source}"
    assert pings(machine.ns, "91.121.65.254")


def test_published_ports_answer_the_own_zone_and_the_neighbours(world: World) -> None:
    assert answer(WEBFUL.ns, ONE, 80) == "webful-web 10.10.1.1"
    assert answer(COMMON.ns, ONE, 80) == "webful-web 10.10.1.1"
    assert answer(WEBDOM.ns, ONE, 80) == "webful-web 10.10.2.2"
    assert answer(WEBFUL.ns, TWO, 80) == "webdom-web 10.10.1.3"
    assert answer(DOM0, ONE, 80).startswith("webful-web")


def test_zones_and_the_vpn_reach_each_other_as_the_four_lines_say(world: World) -> None:
    assert answer(WEBFUL.ns, WEBDOM.address, 8080) == "webdom-web 10.10.1.3"
    assert answer(WEBDOM.ns, COMMON.address, 2525) == "common-smtp 10.10.2.2"
    assert answer(VPN, WEBDOM.address, 8080) == "webdom-web 10.10.95.2"
    assert answer(WEBDOM.ns, "10.10.95.2", 80) == "vpn-web 10.10.2.2"
    assert answer(VPN, "10.10.95.38", 8000) == "dom0-panel 10.10.95.2"
    assert answer(VPN, "10.10.95.38", 22) == "dom0-ssh 10.10.95.2"


def test_machines_of_one_zone_talk_and_ask_dom0_for_names(world: World) -> None:
    assert answer(COMMON.ns, WEBFUL.address, 8080) == "webful-web 10.10.1.2"
    assert answer(COMMON.ns, "10.10.1.1", 53, udp=True) == "dom0-dns 10.10.1.2"
    assert pings(COMMON.ns, "10.10.1.1")


# dom0 and private addresses


@pytest.mark.parametrize("machine", [EVIL, WEBDOM], ids=lambda m: m.ns)
def test_no_machine_reaches_dom0s_redis_panel_or_ssh_on_any_of_its_addresses(world: World, machine: Machine) -> None:
    for address in ("10.10.1.1", "10.10.2.1", "10.10.95.38", ONE):
        assert open_ports(machine.ns, address, [22, 563, 8000, REDIS], wait_s=0.6) == set(), address
    assert open_ports(machine.ns, TWO, [563, 8000, REDIS], wait_s=0.6) == set()
    assert closed(machine.ns, "10.10.1.1", 9999, udp=True)
    other = "10.10.2.1" if machine.bridge == "xen-br1" else "10.10.1.1"
    assert closed(machine.ns, other, 53, udp=True)


def test_a_neighbour_on_the_internet_link_reaches_no_private_address(world: World) -> None:
    for machine in (COMMON, WEBFUL, WEBDOM):
        assert open_ports(INET, machine.address, [22, 2525, 8080], wait_s=0.6) == set()
        assert not pings(INET, machine.address, timeout_s=0.3)
    for gateway in ("10.10.1.1", "10.10.2.1", "10.10.95.38"):
        assert open_ports(INET, gateway, [22, 53, 8000], wait_s=0.6) == set()


def test_an_inside_source_from_outside_is_dropped(world: World) -> None:
    to = command(DOM0, "cat", "/sys/class/net/eth0/address").strip()
    own = command(INET, "cat", "/sys/class/net/eth0/address").strip()
    for source, word in (
        ("91.121.65.254", b"honest"),
        ("10.10.1.66", b"zone"),
        ("10.10.95.2", b"vpn"),
        ("127.0.0.1", b"lo"),
    ):
        packet = wire.udp_packet(source, ONE, 5000, 44096, word)
        wire.send_frame(INET, "eth0", wire.ether(to, own, 0x0800, packet))
    heard = world.servers["dom0-vpnu"].heard
    assert until(lambda: b"honest" in heard)
    assert not {b"zone", b"vpn", b"lo"} & set(heard)


def test_ipv6_opens_nothing_that_ipv4_closes(world: World) -> None:
    for ns, interface, here in ((INET, "eth0", "eth0"), (VPN, "eth0", "tun0")):
        shown = command(DOM0, "ip", "-6", "-o", "addr", "show", "dev", here)
        link_local = shown.split("inet6 ")[1].split("/")[0]
        assert closed(ns, f"{link_local}%{interface}", 22)
    assert command(DOM0, "ip", "-6", "-o", "addr", "show", "dev", "xen-br1") == ""


# root inside a machine


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
        assert saw(truth, 2.0)


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
    question = wire.udp_packet("0.0.0.0", "255.255.255.255", 68, 67, b"my-lease")
    forged = wire.udp_packet("0.0.0.0", "255.255.255.255", 68, 67, b"your-lease")
    wire.send_frame(EVIL.ns, "eth0", wire.ether("ff:ff:ff:ff:ff:ff", WEBFUL.mac, 0x0800, forged))
    wire.send_frame(EVIL.ns, "eth0", wire.ether("ff:ff:ff:ff:ff:ff", EVIL.mac, 0x0800, question))
    heard = world.servers["dom0-dhcp"].heard
    assert until(lambda: b"my-lease" in heard)
    assert b"your-lease" not in heard


def test_an_interface_nobody_put_on_the_list_reaches_nobody(world: World) -> None:
    assert closed(FOREIGN.ns, "10.10.1.1", 53, udp=True)
    assert closed(FOREIGN.ns, COMMON.address, 2525)
    assert closed(FOREIGN.ns, "91.121.65.254", 80)


# changes


def test_unpublishing_closes_the_port_and_cuts_what_is_open(world: World) -> None:
    cut, spared = connect(INET, TWO, 80), connect(INET, ONE, 80)
    with cut, spared:
        assert echoes(cut)
        assert echoes(spared)
        world.apply(without(world.site, "DomiWEB"))
        assert not echoes(cut, timeout_s=0.8)
        assert echoes(spared)
        assert closed(INET, TWO, 80)
    world.apply(world.site)
    assert answer(INET, TWO, 80) == "webdom-web 91.121.65.254"


def test_a_moved_service_leads_new_connections_to_the_new_machine(world: World) -> None:
    moved = replace(
        world.site,
        services=tuple(replace(s, target=WEBFUL.address) if s.name == "DomiWEB" else s for s in world.site.services),
    )
    with connect(INET, TWO, 80) as cut:
        assert echoes(cut)
        world.apply(moved)
        assert not echoes(cut, timeout_s=0.8)
    assert answer(INET, TWO, 80) == "webful-web 91.121.65.254"


def test_a_udp_sender_that_was_there_before_its_service_gets_through_at_once(world: World) -> None:
    import socket

    sender = inside(INET, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    with sender:
        sender.settimeout(0.3)
        sender.sendto(b"early", (TWO, 5060))
        with pytest.raises(TimeoutError):
            sender.recv(100)
        world.apply(
            replace(world.site, services=(*world.site.services, web("SIP", 5060, WEBDOM, proto="udp", inner=5060)))
        )
        sender.settimeout(2)
        sender.sendto(b"now", (TWO, 5060))
        assert sender.recv(100).startswith(b"webdom-udp")


def test_a_shifted_range_reaches_each_port_of_its_own(world: World) -> None:
    wide = web("Range", 3000, WEBDOM, inner=8079, last=3002)
    world.apply(replace(world.site, services=(*world.site.services, wide)))
    assert answer(INET, TWO, 3001) == "webdom-web 91.121.65.254"
    assert closed(INET, TWO, 3000)
    assert closed(INET, TWO, 3003)


def test_a_restriction_holds_for_the_way_round_by_a_neighbours_published_port(world: World) -> None:
    assert answer(WEBDOM.ns, ONE, 25) == "common-smtp 10.10.2.2"
    no_mail = Restriction(
        name="NOSMTP", zone=2, direction="out", action="REJECT", ports=Ports(proto="tcp", first=25, last=25)
    )
    with connect(WEBDOM.ns, "91.121.65.254", 25) as cut:
        assert echoes(cut)
        world.apply(replace(world.site, restrictions=(no_mail,)))
        assert not echoes(cut, timeout_s=0.8)
    assert closed(WEBDOM.ns, "91.121.65.254", 25)
    assert closed(WEBDOM.ns, ONE, 25)
    assert closed(WEBDOM.ns, TWO, 25)
    assert answer(WEBFUL.ns, "91.121.65.254", 25) == f"inet-smtp {ONE}"
    assert answer(INET, TWO, 25) == "common-smtp 91.121.65.254"


def test_a_closed_cell_closes_and_cuts_one_way_only(world: World) -> None:
    only = tuple(c for c in world.site.policy if (c.source, c.target) != ("zFulup", "zDominig"))
    with connect(WEBFUL.ns, WEBDOM.address, 8080) as cut:
        assert echoes(cut)
        world.apply(replace(world.site, policy=only))
        assert not echoes(cut, timeout_s=0.8)
    assert closed(WEBFUL.ns, WEBDOM.address, 8080)
    assert answer(WEBDOM.ns, WEBFUL.address, 8080) == "webful-web 10.10.2.2"
    # What is published stays so, for neighbours too.
    assert answer(WEBFUL.ns, TWO, 80) == "webdom-web 10.10.1.3"


def test_a_cell_of_single_ports_opens_just_these(world: World) -> None:
    cells = [c for c in world.site.policy if (c.source, c.target) != ("zFulup", "zDominig")]
    web_only = Cell(source="zFulup", target="zDominig", ports=(Ports(proto="tcp", first=8080, last=8081),))
    syslog = Cell(source="zDominig", target="dom0", ports=(Ports(proto="udp", first=9999, last=9999),))
    world.apply(replace(world.site, policy=(*cells, web_only, syslog)))
    assert answer(WEBFUL.ns, WEBDOM.address, 8080) == "webdom-web 10.10.1.3"
    assert closed(WEBFUL.ns, WEBDOM.address, 22)
    assert answer(WEBDOM.ns, "10.10.2.1", 9999, udp=True) == "dom0-other 10.10.2.2"
    assert closed(WEBFUL.ns, "10.10.1.1", 9999, udp=True)


def test_an_isolated_zone_has_no_way_out_by_any_door(world: World) -> None:
    cells = (Cell(source="vpn", target="zAdmin", everything=True),)
    site = replace(world.site, zones=(*world.site.zones, ISOLATED), policy=(*world.site.policy, *cells))
    world.apply(site)
    assert answer(VPN, ADMIN.address, 8080) == "admin-web 10.10.95.2"
    assert closed(ADMIN.ns, "91.121.65.254", 80)
    assert closed(ADMIN.ns, ONE, 80)
    assert closed(ADMIN.ns, WEBDOM.address, 8080)
    assert closed(ADMIN.ns, "10.10.95.2", 80)
    assert closed(WEBDOM.ns, ADMIN.address, 8080)
    assert answer(ADMIN.ns, "10.10.3.1", 53, udp=True) == "dom0-dns 10.10.3.5"


def test_a_zone_the_policy_does_not_know_yet_is_closed(world: World) -> None:
    assert closed(ADMIN.ns, "91.121.65.254", 80)
    assert closed(VPN, ADMIN.address, 8080)
    assert closed(ADMIN.ns, WEBDOM.address, 8080)


def test_the_operators_own_rule_is_judged_before_and_cannot_shut_the_admin_out(world: World) -> None:
    rule = CustomRule(place="before-input", rule="-i eth0 -p tcp -j DROP", reason="quiet")
    world.apply(replace(world.site, custom=(rule,)))
    assert closed(INET, ONE, 563)
    assert answer(INET, ONE, 22) == "dom0-ssh 91.121.65.254"


def test_files_that_do_not_load_are_refused_before_anything_changes(world: World) -> None:
    rule = CustomRule(place="before-input", rule="-p tcp --dport 99999 -j DROP")
    with pytest.raises(Refused, match=r"v4\.rules does not load") as refused:
        world.apply(replace(world.site, custom=(rule,)))
    assert "Nothing was changed" in refused.value.note
    assert answer(INET, TWO, 80) == "webdom-web 91.121.65.254"
    world.apply(world.site)


def test_a_foreign_chain_survives_every_apply_and_opens_nothing_of_ours(world: World) -> None:
    assert "-A DOCKER -s 172.17.0.0/16 -j ACCEPT" in command(DOM0, "iptables-save")
    command(DOM0, "iptables", "-A", "DOCKER", "-j", "ACCEPT")
    try:
        assert open_ports(INET, TWO, [2525, 8080], wait_s=0.6) == set()
        assert closed(ADMIN.ns, WEBDOM.address, 8080)
    finally:
        command(DOM0, "iptables", "-D", "DOCKER", "-j", "ACCEPT")


def test_planning_again_is_empty_and_what_somebody_changed_is_restored(world: World) -> None:
    assert world.plan(world.site).steps == ()
    command(DOM0, "iptables", "-I", "FORWARD", "-i", "eth0", "-j", "ACCEPT")
    command(DOM0, "iptables", "-t", "nat", "-F", "fr-dn-87.98.130.56")
    command(DOM0, "nft", "flush", "chain", "bridge", "fridu", "port")
    assert closed(INET, TWO, 80)
    plan = world.apply(world.site)
    assert {step.stage for step in plan.steps} == {"files", "dry run", "apply", "confirm"}
    assert answer(INET, TWO, 80) == "webdom-web 91.121.65.254"
    command(DOM0, "iptables", "-D", "FORWARD", "-i", "eth0", "-j", "ACCEPT")


def test_the_rules_hold_while_bridged_frames_are_shown_to_iptables_and_that_is_restored(world: World) -> None:
    switch = "net.bridge.bridge-nf-call-iptables"
    command(DOM0, "sysctl", "-qw", f"{switch}=1")
    assert answer(COMMON.ns, WEBFUL.address, 8080) == "webful-web 10.10.1.2"
    assert answer(INET, ONE, 80) == "webful-web 91.121.65.254"
    # A machine's way to its own published port is the one thing this switch breaks (the bridge would have to send
    # the frame out of the port it came in by), and so it is put back.
    assert closed(FOREIGN.ns, COMMON.address, 2525)
    assert closed(EVIL.ns, "10.10.1.1", REDIS)
    plan = world.apply(world.site)
    assert [step.title for step in plan.steps] == [f"Set {switch} to 0"]
    assert answer(WEBFUL.ns, ONE, 80) == "webful-web 10.10.1.1"


def test_membership_is_not_the_policys_business(world: World) -> None:
    before = command(DOM0, "ipset", "save"), command(DOM0, "nft", "list", "set", "bridge", "fridu", "members")
    world.apply(without(world.site, "DomiSSH"))
    world.apply(world.site)
    after = command(DOM0, "ipset", "save"), command(DOM0, "nft", "list", "set", "bridge", "fridu", "members")
    assert before == after
    for member in members.machine_member(COMMON.vif, COMMON.mac, COMMON.address):
        inside(DOM0, lambda member=member: run(member.remove))
    try:
        assert closed(INET, ONE, 25)
    finally:
        for member in members.machine_member(COMMON.vif, COMMON.mac, COMMON.address):
            inside(DOM0, lambda member=member: run(member.add))
    assert answer(INET, ONE, 25).startswith("common-smtp")
