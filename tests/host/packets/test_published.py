"""What is published and wanted answers, and nothing else does."""

from __future__ import annotations

import contextlib
import socket
import time
from dataclasses import replace

import pytest

from tests.host.bare import INET, ONE, TWO, Machine, World
from tests.host.packets.sample import COMMON, REDIS, WEBDOM, WEBFUL, web
from tests.host.wire import answer, closed, inside, open_ports, pings
from tests.hostile.craft import echo

pytestmark = pytest.mark.host


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
    assert pings(INET, ONE)
    answered, seconds = flooded(INET, ONE, 1000)
    assert 0 < answered <= 40 + 20 * seconds + 1


def flooded(ns: str, address: str, count: int) -> tuple[int, float]:
    """How many of so many pings at once are answered, and the seconds they were sent in."""
    with inside(ns, lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)) as made:
        began = time.monotonic()
        for number in range(count):
            made.sendto(echo("0.0.0.0", address, number)[20:], (address, 0))
        seconds, answered = time.monotonic() - began, 0
        made.settimeout(1)
        with contextlib.suppress(TimeoutError):
            while True:
                answered += made.recv(200)[20] == 0
    return answered, seconds


@pytest.mark.parametrize(("machine", "source"), [(WEBFUL, ONE), (COMMON, ONE), (WEBDOM, TWO)])
def test_a_machine_reaches_the_internet_with_its_zones_address(world: World, machine: Machine, source: str) -> None:
    assert answer(machine.ns, "91.121.65.254", 80) == f"inet-web {source}"
    assert answer(machine.ns, "91.121.65.254", 5353, udp=True) == f"inet-udp {source}"
    assert pings(machine.ns, "91.121.65.254")


def test_a_shifted_range_reaches_each_port_of_its_own(world: World) -> None:
    wide = web("Range", 3000, WEBDOM, inner=8079, last=3002)
    world.apply(replace(world.site, services=(*world.site.services, wide)))
    assert answer(INET, TWO, 3001) == "webdom-web 91.121.65.254"
    assert closed(INET, TWO, 3000)
    assert closed(INET, TWO, 3003)
