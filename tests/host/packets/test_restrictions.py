"""Zone restrictions, by the port sent to and the port arrived at."""

from __future__ import annotations

from dataclasses import replace

import pytest

from firewall.specs import Ports, Restriction
from tests.host.bare import INET, ONE, TWO, World
from tests.host.packets.sample import COMMON, WEBDOM, WEBFUL
from tests.host.wire import answer, closed, connect, echoes

pytestmark = pytest.mark.host


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


def test_what_is_accepted_first_is_no_way_round_for_what_was_sent_elsewhere(world: World) -> None:
    """Mail to the neighbour's 25 arrives at 2525: that 2525 is free of restriction does not free 25."""
    free = Restriction(
        name="FREE", zone=2, direction="out", action="ACCEPT", ports=Ports(proto="tcp", first=2525, last=2525)
    )
    no_mail = Restriction(
        name="NOSMTP", zone=2, direction="out", action="DROP", ports=Ports(proto="tcp", first=25, last=25)
    )
    world.apply(replace(world.site, restrictions=(free, no_mail)))
    assert closed(WEBDOM.ns, ONE, 25)
    assert closed(WEBDOM.ns, "91.121.65.254", 25)
    assert answer(WEBDOM.ns, COMMON.address, 2525) == "common-smtp 10.10.2.2"
