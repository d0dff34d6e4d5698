"""Small graphs: inside their box, with their gaps, never a broken path."""

from __future__ import annotations

import re

import pytest

from ui import sparks

BOX = {"since": 0.0, "until": 100.0, "top": 10.0, "gap": 25.0}


def test_a_line_goes_from_left_to_right_and_high_values_stand_high():
    assert sparks.line([(0, 0), (20, 5), (40, 10)], **BOX) == "M0 40L28.8 20L57.6 0"


def test_a_gap_is_left_open():
    assert sparks.line([(0, 1), (10, 1), (60, 1), (70, 1)], **BOX).count("M") == 2


def test_a_single_value_is_seen():
    assert sparks.line([(50, 10)], **BOX) == "M72 0L72.5 0"


def test_an_area_is_closed_at_the_lower_edge():
    assert sparks.area([(0, 10), (10, 10)], **BOX) == "M0 0L14.4 0L14.4 40L0 40z"


@pytest.mark.parametrize("points", [[], [(-5, 1)], [(200, 1)]])
def test_nothing_to_draw_is_an_empty_path(points):
    assert sparks.line(points, **BOX) == ""


@pytest.mark.parametrize("top", [0.0, 10.0])
def test_it_stays_inside_whatever_comes(top):
    path = sparks.line([(at, value) for at, value in enumerate((-5, 1e12, 3.3333333, 0))], **{**BOX, "top": top})
    numbers = [float(n) for n in re.findall(r"-?[\d.e+]+", path)]
    assert all(0 <= n <= 144 for n in numbers)
