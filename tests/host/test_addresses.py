"""An external address goes on a card for real, unless somebody is in need of it where he is."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dom0 import addresses
from dom0.errors import Refused
from dom0.host import HostConfig, Nic
from tests.host import wire
from tests.host.bare import until
from tests.host.wire import inside

pytestmark = pytest.mark.host
DOM0, GATEWAY, ADMIN = "91.121.65.140", "91.121.65.254", "198.51.100.7"


@pytest.fixture
def net(tmp_path: Path) -> Iterator[tuple[HostConfig, str, str]]:
    """dom0 and its gateway, where the admin and another server are too: host file and both namespaces."""
    dom0, link = (f"fra{os.getpid()}{end}" for end in "di")
    for ns in (dom0, link):
        wire.ip("netns", "add", ns)
    try:
        wire.ip("link", "add", "eth0", "netns", dom0, "type", "veth", "peer", "name", "eth0", "netns", link)
        for ns, held in ((dom0, (f"{DOM0}/24",)), (link, (f"{GATEWAY}/24", f"{ADMIN}/32", "87.98.130.56/32"))):
            for each in held:
                wire.ip("-n", ns, "addr", "add", each, "dev", "eth0")
            wire.ip("-n", ns, "link", "set", "eth0", "up")
        wire.ip("-n", dom0, "route", "add", "default", "via", GATEWAY)
        card = Nic(name="eth0", addresses=(DOM0,), may_add=("0.0.0.0/0",))
        config = HostConfig(
            name="ns1", libvirt="lxc:///system", volumes="", state=str(tmp_path), run=str(tmp_path), nics=(card,)
        )
        yield config, dom0, link
    finally:
        for ns in (dom0, link):
            subprocess.run(("ip", "netns", "del", ns), check=True)


def add(config: HostConfig, ns: str, address: str) -> list[str]:
    """Put it on the card; what the card has then."""
    inside(ns, lambda: addresses.address_add(config, {"nic": "eth0", "address": address}, ""))
    return on_card(ns)


def on_card(ns: str) -> list[str]:
    found = json.loads(wire.ip("-n", ns, "-json", "-4", "address", "show", "dev", "eth0"))
    return [each["local"] for each in found[0]["addr_info"]]


def test_one_that_nobody_has_goes_on_the_card_and_may_be_asked_for_again(net: tuple[HostConfig, str, str]) -> None:
    config, dom0, _ = net
    for _ in range(2):
        assert add(config, dom0, "87.98.130.57") == [DOM0, "87.98.130.57"]


@pytest.mark.parametrize(
    ("address", "why"),
    [
        (GATEWAY, "is the gateway"),
        ("91.121.65.255", "of the whole link"),
        (ADMIN, "talks to this host"),
        ("87.98.130.56", "a ping there is answered"),
    ],
)
def test_an_address_somebody_needs_where_he_is_stays_his(
    net: tuple[HostConfig, str, str], address: str, why: str
) -> None:
    """Nothing takes an address back by itself: with any of these the admin would be locked out, at each boot."""
    config, dom0, link = net
    subprocess.run(
        ("ip", "netns", "exec", link, "ip", "route", "replace", "91.121.65.0/24", "dev", "eth0", "src", ADMIN),
        check=True,
    )
    server = wire.Server(dom0, "ssh", 22)
    session = wire.connect(link, DOM0, 22)
    try:
        assert wire.echoes(session)
        with pytest.raises(Refused, match=why):
            add(config, dom0, address)
        assert on_card(dom0) == [DOM0]
        assert addresses.kept(config) == ()
        assert wire.echoes(session)
    finally:
        session.close()
        server.close()


def test_what_the_host_file_does_not_allow_is_not_even_asked_about(net: tuple[HostConfig, str, str]) -> None:
    config, dom0, _ = net
    closed = replace(config, nics=(Nic(name="eth0", addresses=(DOM0,)),))
    with pytest.raises(Refused, match="does not allow"):
        add(closed, dom0, "87.98.130.57")


def test_a_neighbour_that_knew_it_on_another_box_learns_at_once_where_it_is(net: tuple[HostConfig, str, str]) -> None:
    """The other box has just gone: without a word its MAC would be sent to until the neighbour asks anew."""
    config, dom0, link = net
    moved, former = "87.98.130.57", "02:00:00:00:00:99"
    mac = json.loads(wire.ip("-n", dom0, "-json", "link", "show", "dev", "eth0"))[0]["address"]
    wire.ip("-n", link, "neighbour", "replace", moved, "lladdr", former, "dev", "eth0", "nud", "stale")
    assert known_to(link, moved) == former
    add(config, dom0, moved)
    assert until(lambda: known_to(link, moved) == mac)


def known_to(ns: str, address: str) -> str:
    """The MAC the namespace would send to."""
    found = json.loads(wire.ip("-n", ns, "-json", "neighbour", "show", "to", address) or "[]")
    return str(found[0].get("lladdr", "")) if found else ""
