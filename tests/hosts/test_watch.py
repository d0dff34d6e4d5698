"""How often the watcher looks."""

from __future__ import annotations

import pytest

from hosts.management.commands.watch import LONGEST_REST_S, rest_s


@pytest.mark.parametrize(("took", "rests"), [(0.05, 2.0), (0.4, 2.0), (1.0, 5.0), (2.0, 10.0), (60.0, LONGEST_REST_S)])
def test_a_slow_host_is_looked_at_more_rarely_and_none_so_rarely_that_it_counts_as_silent(took: float, rests: float):
    assert rest_s(2.0, took) == rests
