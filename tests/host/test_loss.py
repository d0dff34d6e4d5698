"""Nothing is lost and nothing leaks while rules are applied: 1000 services, 1000 new connections a second."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial

import pytest

from tests.host import loss
from tests.host.bare import World
from tests.host.loss import HERE

pytestmark = pytest.mark.host
SERVICES, RATE = 1000, 1000
APPLIES = 50 if os.environ.get("FRIDU_SOAK") else 5


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with loss.scene(tmp_path_factory.mktemp("loss")) as made:
        made.apply(loss.site(SERVICES, HERE))
        yield made


def test_applies_lose_no_connection_and_let_none_in(world: World) -> None:
    found = loss.measured(world, world.apply, services=SERVICES, applies=APPLIES, rate=RATE)
    print(found)
    assert found.open > RATE * found.seconds * 0.7
    assert (found.lost, found.leaked) == (0, 0)
    assert found.transfer_alive
    assert found.transferred > 0
    assert found.transfer_gap_ms < 1000


def test_flushing_and_adding_again_is_seen_to_lose_and_to_leak(world: World) -> None:
    """The measure itself: the seed's way, on the same scene."""
    seeds_way = partial(loss.flush_and_add, most=300)
    found = loss.measured(world, seeds_way, services=SERVICES, applies=2, rate=RATE)
    print(found)
    assert found.lost + found.late > 0
    assert found.leaked > 0
