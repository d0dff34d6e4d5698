"""What a change does to connections that are open, and to senders that were there before."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest

from tests.host.bare import INET, ONE, TWO, World, without
from tests.host.packets.sample import WEBDOM, WEBFUL, web
from tests.host.wire import answer, closed, connect, echoes, inside

pytestmark = pytest.mark.host


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
