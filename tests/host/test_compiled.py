"""What the compiler makes of the less usual objects, proved by packets: two providers, both protocols, ranges among
many services, restrictions to public addresses, ping, leases a machine can read, and partial loads in a real kernel.
"""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings

from dom0 import chains
from dom0.runner import run
from firewall import render
from firewall.specs import PING, Address, Cell, CustomRule, Ports, Restriction, Service, Site, Zone
from tests.firewall.sites import sites
from tests.host import bare, wire
from tests.host.bare import DOM0, HOST, INET, ONE, TWO, VPN, Card, Layout, Machine, World, mac_of, service
from tests.host.wire import answer, closed, command, connect, echoes, inside, pings

pytestmark = pytest.mark.host

#: The second provider's card, address and router; FAR is somebody on the Internet whom both routers reach.
SECOND, ROUTER, FAR = "203.0.113.9", "203.0.113.254", "198.51.100.7"
ETH1 = Card("eth1", (f"{SECOND}/24",), (f"{ROUTER}/24", f"{FAR}/32"))
ETH0 = replace(bare.ETH0, neighbours=(*bare.ETH0.neighbours, f"{FAR}/32"))

MAIL = Machine("mail", "fr1", "xen-br1", "10.10.1.2", "aa:bb:0a:0a:01:02")
WEB = Machine("web", "fr2", "xen-br2", "10.10.2.2", "aa:bb:0a:0a:02:02")
AWAY = Machine("away", "fr3", "xen-br3", "10.10.3.2", "aa:bb:0a:0a:03:02")
LAYOUT = Layout(
    zones={"xen-br1": "10.10.1", "xen-br2": "10.10.2", "xen-br3": "10.10.3"},
    machines=(MAIL, WEB, AWAY),
    cards=(ETH0, ETH1),
)
SERVERS = (
    ("mail-smtp", MAIL.ns, 2525, False),
    ("mail-dns", MAIL.ns, 53, False),
    ("mail-dns", MAIL.ns, 53, True),
    ("mail-7040", MAIL.ns, 7040, False),
    ("mail-7064", MAIL.ns, 7064, False),
    ("mail-21500", MAIL.ns, 21500, False),
    ("web-web", WEB.ns, 8080, False),
    ("away-web", AWAY.ns, 8080, False),
    ("inet0-web", INET, 80, False),
    ("inet0-smtp", INET, 25, False),
    ("inet1-web", ETH1.ns, 80, False),
    ("dom0-ssh", DOM0, 22, False),
    ("dom0-vpnt", DOM0, 563, False),
    ("dom0-only1", DOM0, 777, False),
)


def zone(number: int, name: str, external: str, nic: str) -> Zone:
    net = f"10.10.{number}"
    return Zone(
        number=number,
        name=name,
        bridge=f"xen-br{number}",
        gateway=f"{net}.1",
        network=f"{net}.0/24",
        external=external,
        nic=nic,
    )


SITE = replace(
    HOST,
    addresses=(Address(ip=ONE, nic="eth0"), Address(ip=TWO, nic="eth0"), Address(ip=SECOND, nic="eth1")),
    zones=(zone(1, "zMail", ONE, "eth0"), zone(2, "zWeb", TWO, "eth0"), zone(3, "zAway", SECOND, "eth1")),
    services=(
        service("SMTP", 25, MAIL, zone=1, external=ONE, inner=2525),
        service("SMTP2", 25, MAIL, zone=1, external=TWO, inner=2525),
        replace(service("DNS", 53, MAIL, zone=1, external=ONE), proto="both"),
        service("WEB", 80, WEB, zone=2, external=TWO, inner=8080),
        service("WEBSSH", 22, WEB, zone=2, external=TWO, inner=8080),
        replace(service("AWAY", 80, AWAY, zone=3, external=SECOND, inner=8080), nic="eth1"),
        Service(name="VPNT", proto="tcp", port_first=563, port_last=563),
        Service(name="ONLY1", proto="tcp", port_first=777, port_last=777, nic="eth1"),
    ),
    policy=tuple(Cell(source=z, target="internet", everything=True) for z in ("zMail", "zWeb", "zAway")),
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with bare.built(LAYOUT, tmp_path_factory.mktemp("state")) as world:
        world.serve(SERVERS)
        yield world


@pytest.fixture
def world(built: World) -> World:
    built.apply(SITE)
    return built


@contextlib.contextmanager
def second_provider() -> Iterator[None]:
    """docs/operations.md, "A second provider", word by word."""
    lines = (
        f"route add default via {ROUTER} dev eth1 table 102",
        "rule add pref 100 lookup main suppress_prefixlength 0",
        f"rule add pref 102 from {SECOND} lookup 102",
        "rule add pref 102 from 10.10.3.0/24 lookup 102",
    )
    bare.ip_batch(DOM0, lines)
    try:
        yield
    finally:
        bare.ip_batch(DOM0, ("rule del pref 100", "rule del pref 102", "rule del pref 102", "route flush table 102"))


# several cards and addresses


def test_a_zone_never_leaves_by_another_card_than_its_own(world: World) -> None:
    assert answer(MAIL.ns, FAR, 80) == f"inet0-web {ONE}"
    assert closed(AWAY.ns, FAR, 80)


def test_with_its_providers_route_a_zone_leaves_by_the_second_card_with_its_own_address(world: World) -> None:
    with second_provider():
        assert answer(AWAY.ns, FAR, 80) == f"inet1-web {SECOND}"
        assert answer(MAIL.ns, FAR, 80) == f"inet0-web {ONE}"
        # Between zones nothing changes: the rest of the house is nearer than any provider.
        assert answer(AWAY.ns, TWO, 80) == "web-web 10.10.3.2"
        assert answer(MAIL.ns, SECOND, 80) == "away-web 10.10.1.2"


def test_answers_leave_by_the_card_the_question_came_in_by(world: World) -> None:
    came = {name: sent(ETH1.ns, FAR, SECOND, port) for name, port in (("published", 80), ("dom0", 22))}
    assert came == {"published": False, "dom0": False}
    with second_provider():
        came = {name: sent(ETH1.ns, FAR, SECOND, port) for name, port in (("published", 80), ("dom0", 22))}
    assert came == {"published": True, "dom0": True}


def sent(ns: str, source: str, target: str, port: int) -> bool:
    """Whether a connection from exactly this address comes about."""
    made = inside(ns, lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    with made, contextlib.suppress(OSError):
        made.settimeout(0.7)
        made.bind((source, 0))
        made.connect((target, port))
        return True
    return False


def test_a_service_on_every_address_of_one_card_answers_there_alone(world: World) -> None:
    assert answer(ETH1.ns, SECOND, 777) == f"dom0-only1 {ROUTER}"
    assert closed(INET, ONE, 777)
    assert answer(ETH1.ns, SECOND, 563) == f"dom0-vpnt {ROUTER}"
    # dom0's address of the other card, asked for through this one.
    command(INET, "ip", "route", "add", SECOND, "via", ONE)
    try:
        assert closed(INET, SECOND, 777)
    finally:
        command(INET, "ip", "route", "del", SECOND)


# protocols and ports


def test_one_service_of_both_protocols_answers_on_both(world: World) -> None:
    assert answer(INET, ONE, 53) == f"mail-dns {bare.NEIGHBOUR}"
    assert answer(INET, ONE, 53, udp=True) == f"mail-dns {bare.NEIGHBOUR}"
    assert closed(INET, TWO, 53)
    assert closed(INET, TWO, 53, udp=True)


@pytest.mark.parametrize("sparse", [False, True], ids=["buckets", "shelves"])
def test_among_hundreds_of_services_ranges_reach_each_port_of_their_own(world: World, sparse: bool) -> None:
    """7040 and 7064 are in two buckets of 64 ports; the wide range is over many; one more changes nothing else."""
    step = 60 if sparse else 1
    many = tuple(service(f"S{n}", 30_000 + n * step, MAIL, zone=1, external=ONE, inner=2525) for n in range(330))
    ranges = (
        service("SHIFTED", 6030, MAIL, zone=1, external=ONE, inner=7030, last=6070),
        service("WIDE", 20_000, MAIL, zone=1, external=ONE, last=29_999),
    )
    world.apply(replace(SITE, services=(*SITE.services, *many, *ranges)))
    assert answer(INET, ONE, 6040) == f"mail-7040 {bare.NEIGHBOUR}"
    assert answer(INET, ONE, 6064) == f"mail-7064 {bare.NEIGHBOUR}"
    assert answer(INET, ONE, 21500) == f"mail-21500 {bare.NEIGHBOUR}"
    for n in (0, 1, 200, 329):
        assert answer(INET, ONE, 30_000 + n * step) == f"mail-smtp {bare.NEIGHBOUR}"
    assert answer(INET, ONE, 25) == f"mail-smtp {bare.NEIGHBOUR}"
    for port in (6029, 6071, 30_000 + 330 * step, 24):
        assert closed(INET, ONE, port)


def test_a_cell_of_ping_lets_ping_through_and_nothing_else(world: World) -> None:
    assert not pings(MAIL.ns, WEB.address, timeout_s=0.3)
    ping_only = Cell(source="zMail", target="zWeb", ports=(PING,))
    world.apply(replace(SITE, policy=(*SITE.policy, ping_only)))
    assert pings(MAIL.ns, WEB.address)
    assert not pings(WEB.ns, MAIL.address, timeout_s=0.3)
    assert closed(MAIL.ns, WEB.address, 8080)


def test_an_error_about_a_flow_comes_back_through_dom0(world: World) -> None:
    """Nobody listens on udp 99 there: the machine's "port unreachable" (RELATED) reaches who asked."""
    world.apply(replace(SITE, policy=(*SITE.policy, Cell(source="zMail", target="zWeb", everything=True))))
    made = inside(MAIL.ns, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    with made:
        made.settimeout(2)
        made.connect((WEB.address, 99))
        made.send(b"anybody?")
        with pytest.raises(ConnectionRefusedError):
            made.recv(10)


# restrictions


def restricted(**changes: object) -> Site:
    base = Restriction(name="R", zone=2, direction="out", action="DROP", ports=Ports(proto="tcp", first=25, last=25))
    return replace(SITE, restrictions=(replace(base, **changes),))


def test_only_to_a_public_address_holds_although_the_packet_goes_to_a_machine_by_then(world: World) -> None:
    with connect(WEB.ns, ONE, 25) as cut, connect(WEB.ns, TWO, 25) as spared:
        assert echoes(cut)
        assert echoes(spared)
        world.apply(restricted(address=ONE))
        assert not echoes(cut, timeout_s=0.8)
        assert echoes(spared)
    assert closed(WEB.ns, ONE, 25)
    assert answer(WEB.ns, TWO, 25) == "mail-smtp 10.10.2.2"
    assert answer(WEB.ns, bare.NEIGHBOUR, 25) == f"inet0-smtp {TWO}"
    assert answer(WEB.ns, ONE, 53).startswith("mail-dns")


def test_only_to_a_machine_holds_by_every_address_it_is_published_on(world: World) -> None:
    world.apply(restricted(address=MAIL.address))
    assert closed(WEB.ns, ONE, 25)
    assert closed(WEB.ns, TWO, 25)
    assert answer(WEB.ns, bare.NEIGHBOUR, 25) == f"inet0-smtp {TWO}"


def test_only_from_a_subnet_holds_both_ways_round(world: World) -> None:
    into = {"zone": 1, "direction": "in", "address": "10.10.2.0/24"}
    # By the port it was sent to …
    world.apply(restricted(**into))
    assert closed(WEB.ns, ONE, 25)
    assert answer(INET, ONE, 25).startswith("mail-smtp")
    # … and by the one it arrives at.
    world.apply(restricted(**into, ports=Ports(proto="both", first=2525, last=2525)))
    assert closed(WEB.ns, ONE, 25)
    assert answer(INET, ONE, 25).startswith("mail-smtp")
    assert answer(WEB.ns, ONE, 53, udp=True).startswith("mail-dns")


def test_a_restriction_of_both_protocols_holds_for_both_and_an_exemption_for_what_was_sent_there(
    world: World,
) -> None:
    dns = Ports(proto="both", first=53, last=53)
    world.apply(restricted(ports=dns, action="REJECT"))
    assert closed(WEB.ns, ONE, 53)
    assert closed(WEB.ns, ONE, 53, udp=True)
    whole = Restriction(
        name="ALL", zone=2, direction="out", action="DROP", ports=Ports(proto="both", first=1, last=65535)
    )
    but = Restriction(name="BUT", zone=2, direction="out", action="ACCEPT", ports=dns, address=ONE)
    world.apply(replace(SITE, restrictions=(but, whole)))
    assert answer(WEB.ns, ONE, 53, udp=True).startswith("mail-dns")
    assert closed(WEB.ns, ONE, 25)
    assert closed(WEB.ns, bare.NEIGHBOUR, 80)


# the admin, and what an apply leaves alive


def test_connections_to_dom0_live_on_over_an_apply_that_leaves_their_ports_open(world: World) -> None:
    with connect(INET, ONE, 22) as ssh, connect(INET, ONE, 563) as vpn, connect(VPN, "10.10.95.38", 22) as inner:
        world.apply(bare.without(SITE, "SMTP2"))
        assert echoes(ssh)
        assert echoes(vpn)
        assert echoes(inner)
        world.apply(bare.without(SITE, "VPNT"))
        assert echoes(ssh)
        assert not echoes(vpn, timeout_s=0.8)


@pytest.mark.parametrize(
    "rule",
    [
        CustomRule(place="before-output", rule="-j DROP"),
        CustomRule(place="before-output", rule="-p tcp -m tcp --sport 22 -j DROP"),
        CustomRule(place="before-input", rule="-j DROP"),
        CustomRule(place="before-input", rule="-p tcp -m tcp --dport 22 -j REJECT --reject-with icmp-port-unreachable"),
    ],
    ids=lambda rule: f"{rule.place} {rule.rule}",
)
def test_no_rule_of_the_operators_takes_the_admins_ssh_even_where_the_linter_would_stop_it(
    world: World, rule: CustomRule
) -> None:
    with connect(INET, ONE, 22) as open_before:
        world.apply(replace(SITE, custom=(rule,)))
        assert echoes(open_before)
        assert answer(INET, ONE, 22) == f"dom0-ssh {bare.NEIGHBOUR}"
        assert answer(VPN, "10.10.95.38", 22).startswith("dom0-ssh")


def tcp_packet(source: str, target: str, sport: int, dport: int, flags: int) -> bytes:
    tcp = struct.pack("!HHIIBBHHH", sport, dport, 1000, 2000, 5 << 4, flags, 1000, 0, 0)
    ends = socket.inet_aton(source) + socket.inet_aton(target)
    total = wire.checksum(ends + struct.pack("!BBH", 0, 6, len(tcp)) + tcp)
    tcp = tcp[:16] + struct.pack("!H", total) + tcp[18:]
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 1, 0, 64, 6, 0)
    return head[:10] + struct.pack("!H", wire.checksum(head + ends)) + ends + tcp


@pytest.mark.parametrize(
    ("target", "port", "reset"),
    [
        (ONE, 22, True),  # dom0's own ssh
        (ONE, 563, True),  # dom0's own service
        (TWO, 22, False),  # led to a machine: its connection is not dom0's to end
        (ONE, 25, False),
        (ONE, 6379, False),  # closed
        (ONE, 8000, False),  # the panel is not for the Internet
    ],
)
def test_a_stray_packet_is_answered_only_where_dom0_itself_is_open(
    world: World, target: str, port: int, reset: bool
) -> None:
    ack = tcp_packet(bare.NEIGHBOUR, target, 4321, port, 0x10)
    with wire.sniffing(INET, "eth0") as saw:
        wire.send_frame(INET, "eth0", wire.ether(mac_of(DOM0, "eth0"), mac_of(INET, "eth0"), 0x0800, ack))
        answered = socket.inet_aton(target) + socket.inet_aton(bare.NEIGHBOUR) + struct.pack("!HH", port, 4321)
        assert saw(answered, wire.PATIENCE_S if reset else 0.4) is reset


# leases


def test_a_machine_gets_dhcp_answers_whose_checksum_is_whole(world: World) -> None:
    """Between dom0 and a machine no card fills checksums in: what leaves partial arrives partial, as port 68 shows."""
    assert not arrives_whole(from_port=5353)
    assert arrives_whole(from_port=67)


def arrives_whole(*, from_port: int) -> bool:
    sender = inside(DOM0, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    catcher = inside(MAIL.ns, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800)))
    with sender, catcher:
        catcher.bind(("eth0", 0x0800))
        catcher.settimeout(wire.PATIENCE_S)
        sender.bind(("10.10.1.1", from_port))
        sender.sendto(b"your lease, and an odd byte", (MAIL.address, 68))
        end = time.monotonic() + wire.PATIENCE_S
        while time.monotonic() < end:
            frame = catcher.recv(2000)
            packet = frame[14:]
            if packet[9] == 17 and struct.unpack("!HH", packet[20:24]) == (from_port, 68):
                udp = packet[20 : struct.unpack("!H", packet[2:4])[0]]
                pseudo = packet[12:20] + struct.pack("!BBH", 0, 17, len(udp))
                return wire.checksum(pseudo + udp) in (0, 0xFFFF)
    raise AssertionError("no datagram came")


# partial loads in a real kernel


def live() -> str:
    return command(DOM0, "iptables-save")


def load(site: Site) -> str:
    """What one has to load to get from what is live to the site, after loading it."""
    text = ""
    for program, rules in (("iptables", render.v4(site)), ("ip6tables", render.v6(site))):
        spliced = chains.splice(rules, command(DOM0, f"{program}-save"))
        if spliced:
            inside(DOM0, lambda: run((f"{program}-restore", "--noflush"), stdin=spliced))  # noqa: B023
        text += spliced
    return text


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sites())
def test_from_any_rules_to_any_others_the_kernel_prints_what_was_wanted(world: World, site: Site) -> None:
    """Each example starts where the one before ended."""
    load(site)
    for program, text in (("iptables", render.v4(site)), ("ip6tables", render.v6(site))):
        assert chains.ours(command(DOM0, f"{program}-save")) == chains.wanted(text)
    assert load(site) == ""


def test_one_changed_service_touches_one_chain_and_keeps_all_other_counters(world: World) -> None:
    assert answer(INET, ONE, 25).startswith("mail-smtp")
    moved = tuple(replace(s, target=MAIL.address, target_port=2525) if s.name == "WEB" else s for s in SITE.services)
    loaded = load(replace(SITE, services=moved))
    assert re.findall(r"^[:*]\S+", loaded, re.M) == ["*nat", f":fr-dn-{TWO}"]
    counted = command(DOM0, "iptables-save", "-t", "nat", "-c")
    smtp = next(line for line in counted.splitlines() if f"-A fr-dn-{ONE} " in line and "--comment SMTP " in line)
    assert not smtp.startswith("[0:0]")
    assert answer(INET, TWO, 80) == f"mail-smtp {bare.NEIGHBOUR}"


@pytest.mark.parametrize(
    "change",
    [
        ("iptables", "-I", "FORWARD", "-j", "ACCEPT"),
        ("iptables", "-P", "INPUT", "ACCEPT"),
        ("iptables", "-t", "nat", "-F", f"fr-dn-{TWO}"),
        ("ip6tables", "-I", "INPUT", "-j", "ACCEPT"),
        ("nft", "flush", "chain", "bridge", "fridu", "port"),
        ("nft", "delete", "table", "bridge", "fridu"),
    ],
    ids=" ".join,
)
def test_whatever_somebody_changes_is_seen_at_the_next_look_although_looks_are_kept(
    world: World, change: tuple[str, ...]
) -> None:
    assert world.drift() == ()
    assert world.drift() == ()
    command(DOM0, *change)
    assert world.drift() != ()
    if change[0] == "nft":
        inside(DOM0, lambda: bare.join(LAYOUT))
    else:
        command(DOM0, change[0], "-F", "FORWARD" if change[0] == "iptables" else "INPUT")
    world.apply(SITE)
