"""dom0's own services and the private addresses."""

from __future__ import annotations

import pytest

from tests.host import wire
from tests.host.bare import DOM0, INET, ONE, TWO, VPN, Machine, World, until
from tests.host.packets.sample import COMMON, EVIL, REDIS, WEBDOM, WEBFUL
from tests.host.wire import Probe, answers, closed, command, pinged

pytestmark = pytest.mark.host


@pytest.mark.parametrize("machine", [EVIL, WEBDOM], ids=lambda m: m.name)
def test_no_machine_reaches_dom0s_redis_panel_or_ssh_on_any_of_its_addresses(world: World, machine: Machine) -> None:
    inner = ("10.10.1.1", "10.10.2.1", "10.10.95.38", ONE)
    probes = [Probe(machine.ns, address, port) for address in inner for port in (22, 563, 8000, REDIS)]
    probes += [Probe(machine.ns, TWO, port) for port in (563, 8000, REDIS)]
    probes += [Probe(machine.ns, "10.10.1.1", 9999, udp=True)]
    other = "10.10.2.1" if machine.bridge == "xen-br1" else "10.10.1.1"
    probes += [Probe(machine.ns, other, 53, udp=True)]
    assert set(answers(probes).values()) == {""}


def test_a_neighbour_on_the_internet_link_reaches_no_private_address(world: World) -> None:
    inside = (COMMON.address, WEBFUL.address, WEBDOM.address)
    probes = [Probe(INET, address, port) for address in inside for port in (22, 2525, 8080)]
    probes += [Probe(INET, at, port) for at in ("10.10.1.1", "10.10.2.1", "10.10.95.38") for port in (22, 53, 8000)]
    assert set(answers(probes).values()) == {""}
    assert pinged((INET, address) for address in inside) == set()


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


def test_an_ipv6_connection_from_before_the_rules_does_not_outlive_them(world: World) -> None:
    """Else somebody could keep, over it, a revision that shuts the panel; nobody forgets IPv6 flows."""
    shown = command(DOM0, "ip", "-6", "-o", "addr", "show", "dev", "eth0")
    at = f"{shown.split('inet6 ')[1].split('/')[0]}%eth0"
    panel = wire.Server(DOM0, "panel6", 8006)
    try:
        opened = ("fr-in", "-p", "tcp", "--dport", "8006", "-j", "ACCEPT")
        command(DOM0, "ip6tables", "-I", *opened)
        old = wire.connect(INET, at, 8006)
        assert wire.echoes(old)
        command(DOM0, "ip6tables", "-D", *opened)
        assert not wire.echoes(old, timeout_s=1)
        old.close()
    finally:
        panel.close()
