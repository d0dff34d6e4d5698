"""The policy grid: who may open connections to whom."""

from __future__ import annotations

from dataclasses import replace

import pytest

from firewall.specs import Cell, Ports
from tests.host.bare import ONE, TWO, VPN, World
from tests.host.packets.sample import ADMIN, COMMON, ISOLATED, WEBDOM, WEBFUL
from tests.host.wire import answer, closed, connect, echoes, pings

pytestmark = pytest.mark.host


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
