"""A published port asked for from inside: the own zone, a neighbour's, dom0 itself."""

from __future__ import annotations

import pytest

from tests.host.bare import DOM0, ONE, TWO, World
from tests.host.packets.sample import COMMON, WEBDOM, WEBFUL
from tests.host.wire import answer

pytestmark = pytest.mark.host


def test_published_ports_answer_the_own_zone_and_the_neighbours(world: World) -> None:
    assert answer(WEBFUL.ns, ONE, 80) == "webful-web 10.10.1.1"
    assert answer(COMMON.ns, ONE, 80) == "webful-web 10.10.1.1"
    assert answer(WEBDOM.ns, ONE, 80) == "webful-web 10.10.2.2"
    assert answer(WEBFUL.ns, TWO, 80) == "webdom-web 10.10.1.3"
    assert answer(DOM0, ONE, 80).startswith("webful-web")
