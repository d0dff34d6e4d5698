"""Every attack is played four times: once where no policy is loaded, to see it bite; then against ours, on a host
that had bridge-nf-call-iptables off, on one that had it on, and after something switched it on again.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.host import bare
from tests.host.bare import DOM0, World
from tests.host.wire import command
from tests.hostile import from_the_internet, on_the_link, through_dom0
from tests.hostile.scene import ATTACKS, LAYOUT, SERVERS, Attack, site, wanted_flows

pytestmark = pytest.mark.host
SWITCH = "net.bridge.bridge-nf-call-iptables"
PARTS = (on_the_link, through_dom0, from_the_internet)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with bare.built(LAYOUT, tmp_path_factory.mktemp("hostile")) as made:
        made.serve(SERVERS)
        yield made


@pytest.fixture(scope="module")
def careless(world: World) -> World:
    """A dom0 that routes and translates, as the seed's did before its rules, with a careless kernel."""
    world.careless(site())
    learn_from_link_local(True)
    return world


def learn_from_link_local(learn: bool) -> None:
    """Whether bridges learn from frames that pass no rule; the zones' job makes them so that they don't."""
    for bridge in LAYOUT.zones:
        command(DOM0, "ip", "link", "set", bridge, "type", "bridge", "no_linklocal_learn", str(int(not learn)))


@pytest.fixture(scope="module", params=["which had it off", "which had it on", "on which it came on again"])
def guarded(world: World, request: pytest.FixtureRequest) -> World:
    """Our policy on a host with that switch."""
    world.careless(site())
    learn_from_link_local(False)
    # The kernel's own default; nothing of the policy speaks of it.
    command(DOM0, "sysctl", "-qw", *(f"net.ipv4.conf.{at}.accept_local=0" for at in ("all", "eth0", *LAYOUT.zones)))
    command(DOM0, "sysctl", "-qw", f"{SWITCH}={int(request.param != 'which had it off')}")
    world.apply(site())
    assert command(DOM0, "sysctl", "-n", SWITCH).strip() == "0"
    if request.param == "on which it came on again":
        command(DOM0, "sysctl", "-qw", f"{SWITCH}=1")
    return world


@pytest.mark.parametrize("one", [a for a in ATTACKS if a.bites], ids=lambda a: a.name)
def test_it_bites_a_host_without_a_policy(careless: World, one: Attack) -> None:
    assert any(one.play(careless) for _ in range(3)), "on a busy box an answer may come too late to be seen"


@pytest.mark.parametrize("one", ATTACKS, ids=lambda a: a.name)
def test_nothing_comes_of_it_on_a_host(guarded: World, one: Attack) -> None:
    assert not one.play(guarded)


def test_what_is_wanted_flows_all_the_same_on_a_host(guarded: World) -> None:
    wanted_flows(hairpin=command(DOM0, "sysctl", "-n", SWITCH).strip() == "0")


def test_the_switch_that_came_on_again_is_seen_and_put_back(world: World) -> None:
    world.apply(site())
    command(DOM0, "sysctl", "-qw", f"{SWITCH}=1")
    assert world.drift() == (f"{SWITCH}=0",)
    assert world.apply(site()) == (f"{SWITCH}=0",)
    assert world.drift() == ()
    wanted_flows()
