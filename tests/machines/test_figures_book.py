"""What the rounds book of what machines use: half-minutes, ten-minutes, totals; as many queries for many as for one."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from types import MappingProxyType
from unittest.mock import patch

import pytest
from django.utils import timezone

from dom0.state import Domain, State
from hosts.models import Host
from machines.figures_book import book
from machines.models import Figures, Machine

pytestmark = pytest.mark.django_db
BEGAN = dt.datetime(2026, 11, 20, 12, 0, tzinfo=dt.UTC)


def seen(machine: Machine, seconds: int, *, run: int = 5, running: bool = True, disks: str = "uuid") -> State:
    """The host after `seconds` in which the machine used half a processor, took 1000 and sent 500 bytes a second."""
    domain = Domain(
        name=machine.name, uuid=str(machine.uuid), running=running, number=run if running else 0,
        cpu_ns=seconds * 500_000_000, memory_kib=48 << 10,
    )  # fmt: skip
    name = str(machine.uuid) if disks == "uuid" else disks
    return State(
        host="ns3100421",
        domains=MappingProxyType({machine.name: domain}),
        traffic=MappingProxyType({machine.vif: (seconds * 1000, seconds * 500), "frother": (7, 7)}),
        disks=MappingProxyType({name: (seconds * 10, seconds * 20)}),
    )


@contextmanager
def at_second(second: int) -> Iterator[None]:
    with patch.object(timezone, "now", lambda: BEGAN + dt.timedelta(seconds=second)):
        yield


def rounds(host: Host, machine: Machine, seconds: range, **facts) -> Figures | None:
    for at in seconds:
        with at_second(at):
            host.refresh_from_db()
            book(host, seen(machine, at, **facts))
    return Figures.objects.filter(machine=machine).first()


def test_a_first_look_books_counters_and_no_rate(host, web_dom):
    figures = rounds(host, web_dom, range(2, 3))
    assert figures.counters["cpu_ns"] == 1_000_000_000
    assert (figures.now, figures.hour, figures.day) == ({}, [], [])


def test_half_a_minute_later_it_knows_what_was_used(host, web_dom):
    figures = rounds(host, web_dom, range(2, 40, 2))
    assert len(figures.hour) == 1
    assert figures.now["sample"][1:] == [500, 48, 1000, 500, 10, 20]


def test_rounds_in_between_cost_no_query(host, web_dom, django_assert_num_queries):
    rounds(host, web_dom, range(2, 3))
    with at_second(12), django_assert_num_queries(0):
        book(host, seen(web_dom, 12))


def test_an_hour_has_half_minutes_and_a_day_has_tens(host, web_dom):
    figures = rounds(host, web_dom, range(0, 3 * 3600, 30))
    assert len(figures.hour) == 120
    assert 16 <= len(figures.day) <= 18
    gaps = {after[0] - before[0] for before, after in zip(figures.day, figures.day[1:], strict=False)}
    assert gaps == {600}
    assert all(line[1:] == [500, 48, 1000, 500, 10, 20] for line in (*figures.hour, *figures.day))


def test_a_machine_that_stopped_keeps_its_past_and_has_no_present(host, web_dom):
    rounds(host, web_dom, range(0, 120, 30))
    figures = rounds(host, web_dom, range(120, 200, 30), running=False)
    assert (figures.counters, figures.now) == ({}, {})
    assert len(figures.hour) == 3
    again = rounds(host, web_dom, range(600, 640, 30), run=6)
    assert len(again.hour) == 4, "the time it was off is no sample"


def test_one_that_was_restarted_from_inside_is_up_since_then(host, web_dom):
    Machine.objects.update(since=BEGAN - dt.timedelta(days=3))
    rounds(host, web_dom, range(0, 60, 30))
    web_dom.refresh_from_db()
    assert web_dom.since == BEGAN - dt.timedelta(days=3)
    rounds(host, web_dom, range(60, 90, 30), run=9)
    web_dom.refresh_from_db()
    assert web_dom.since == BEGAN + dt.timedelta(seconds=60)


def test_logical_volumes_are_added_up(host, web_dom):
    Machine.objects.update(volume_group="vg0")
    figures = rounds(host, web_dom, range(0, 60, 30), disks=f"vg0/{web_dom.name}-root")
    assert figures.now["sample"][-2:] == [10, 20]


def test_a_disk_nobody_counts_is_not_called_idle(host, web_dom):
    figures = rounds(host, web_dom, range(0, 60, 30), disks="vg0/other-root")
    assert figures.now["sample"][-2:] == [-1, -1]


def test_the_host_has_the_sum_of_all(host, web_dom):
    rounds(host, web_dom, range(0, 60, 30))
    host.refresh_from_db()
    totals = host.figures["machines"]
    assert (totals["running"], totals["cpu"], totals["net_in"], totals["disk_written"]) == (1, 500, 1000, 20)


@pytest.mark.parametrize("machines", [1, 40])
def test_it_costs_the_same_queries_for_one_machine_or_many(machines, host, web_dom, django_assert_num_queries):
    many = [web_dom]
    for n in range(machines):
        web_dom.pk, web_dom.uuid = None, Machine._meta.get_field("uuid").default()
        web_dom.name, web_dom.address, web_dom.mac = f"M{n}", f"10.10.2.{n + 10}", f"aa:bb:cc:dd:ee:{n:02x}"
        web_dom.vif, web_dom.uid_base = f"fr{n + 10}", 65_536 * (100 + n)
        web_dom.save()
        many.append(Machine.objects.get(pk=web_dom.pk))

    def state(seconds: int) -> State:
        parts = [seen(machine, seconds) for machine in many[1:]]
        return State(
            host="ns3100421",
            **{
                room: MappingProxyType({key: value for part in parts for key, value in getattr(part, room).items()})
                for room in ("domains", "traffic", "disks")
            },
        )

    for seconds in (0, 30, 700):
        with at_second(seconds):
            host.refresh_from_db()
            if seconds < 700:
                book(host, state(seconds))
            else:
                with django_assert_num_queries(6):
                    book(host, state(seconds))
    assert Figures.objects.exclude(now={}).count() == machines
    assert Figures.objects.exclude(day=[]).count() == machines
