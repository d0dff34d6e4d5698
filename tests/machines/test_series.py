"""Rates from counters, and what the rings keep."""

from __future__ import annotations

from dataclasses import replace

import pytest

from machines import series
from machines.series import Counted, Sample

BEFORE = Counted(
    run=7, cpu_ns=10_000_000_000, memory_kib=40 << 10, net_in=1000, net_out=500, disk_read=0, disk_written=9
)


def test_a_rate_is_what_two_looks_differ_by():
    now = replace(BEFORE, cpu_ns=25_000_000_000, net_in=31_000, net_out=500, disk_written=309, memory_kib=64 << 10)
    assert series.rate(BEFORE, now, 30.0, 99) == Sample(
        at=99, cpu=500, memory_mib=64, net_in=1000, net_out=0, disk_read=0, disk_written=10
    )


def test_a_first_look_knows_no_rate():
    assert series.rate(None, BEFORE, 30.0, 99) is None


@pytest.mark.parametrize("seconds", [0.0, -5.0])
def test_a_clock_that_stands_or_was_set_back_gives_no_rate(seconds):
    assert series.rate(BEFORE, BEFORE, seconds, 99) is None


def test_a_machine_that_began_anew_is_counted_from_zero():
    now = replace(BEFORE, run=8, cpu_ns=30_000_000_000, net_in=300, net_out=0, disk_written=0)
    sample = series.rate(BEFORE, now, 30.0, 99)
    assert sample is not None
    assert (sample.cpu, sample.net_in, sample.net_out, sample.disk_written) == (1000, 10, 0, 0)


def test_what_nobody_counts_stays_unknown():
    now = replace(BEFORE, disk_read=-1, disk_written=-1)
    sample = series.rate(BEFORE, now, 30.0, 99)
    assert sample is not None
    assert (sample.disk_read, sample.disk_written, sample.net_in) == (-1, -1, 0)


def test_counters_come_back_as_they_were_kept():
    assert series.counted(series.kept(BEFORE)) == BEFORE


@pytest.mark.parametrize("kept", [{}, {"run": 1}, {"run": "x", "cpu_ns": 1, "memory_kib": 1}, {"run": None}])
def test_what_another_version_kept_is_a_first_look(kept):
    assert series.counted(kept) is None


def test_a_ring_forgets_what_is_older_than_it_spans_and_never_grows_beyond_its_size():
    ring: list = []
    for at in range(0, 8000, 30):
        ring = series.pushed(ring, [at, 1], span_s=3600, most=series.HOUR_SAMPLES)
    assert len(ring) == 120
    assert ring[-1][0] - ring[0][0] < 3600
    for _ in range(300):
        ring = series.pushed(ring, [8000, 1], span_s=3600, most=series.HOUR_SAMPLES)
    assert len(ring) == 120


def test_an_average_leaves_out_what_is_not_known():
    ring = [[10, 100, 1, -1], [20, 200, 3, 50], [30, 300, 5, 70]]
    assert series.mean(ring, 10, 35) == [35, 250, 4, 60]
    assert series.mean([[10, 1, -1]], 0, 12) == [12, 1, -1]
    assert series.mean(ring, 30, 35) is None


def test_samples_of_another_shape_are_left_out():
    good = series.row(Sample(at=1, cpu=2, memory_mib=3))
    assert series.samples([[1, 2], good, []]) == [Sample(at=1, cpu=2, memory_mib=3)]
