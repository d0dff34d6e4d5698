"""A free port near the one wanted."""

from __future__ import annotations

import random

import pytest

from firewall.ports import Taken, free_near, in_the_way


def taken(*spans: tuple[int, int]) -> list[Taken]:
    return [Taken(first=first, last=last, by="S", to="M") for first, last in spans]


@pytest.mark.parametrize(
    ("busy", "wanted", "size", "near"),
    [
        ([], 443, 1, (443,)),
        ([(443, 443)], 443, 1, (8443, 8444, 8442)),
        ([(80, 80), (8080, 8080)], 80, 1, (8081, 8079, 8082)),
        ([(5000, 5010)], 5005, 1, (5011, 4999, 5012)),
        ([(5000, 5010)], 4995, 10, (4990, 5011, 5012)),
        ([(65530, 65535)], 65535, 1, (65529,)),
        ([(1, 65535)], 80, 1, ()),
        ([], 65535, 2, (65534,)),
    ],
)
def test_the_nearest_free_ports_are_proposed(busy, wanted, size, near) -> None:
    assert free_near(taken(*busy), wanted, size=size) == near


def test_what_is_proposed_is_free_and_there_is_something_whenever_something_is_free() -> None:
    for seed in range(300):
        rng = random.Random(seed)
        busy = taken(*((a, min(65535, a + rng.randrange(400))) for a in rng.sample(range(1, 65535), 40)))
        size, wanted = rng.choice((1, 1, 5, 50)), rng.randrange(1, 65536)
        found = free_near(busy, wanted, size=size)
        assert found, seed
        for port in found:
            assert 1 <= port <= port + size - 1 <= 65535, seed
            assert in_the_way(busy, port, port + size - 1) is None, seed
