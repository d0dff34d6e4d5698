"""What the watcher's rounds make of the rows: the wish stays, the fact is booked with its time."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from dom0.state import Domain, State
from machines.models import Machine
from machines.observe import book

pytestmark = pytest.mark.django_db


def seen(*domains: Domain) -> State:
    return State(host="ns3100421", domains=MappingProxyType({d.name: d for d in domains}))


def of(machine: Machine, **facts) -> Domain:
    return Domain(name=machine.name, uuid=str(machine.uuid), **facts)


def observed(machine: Machine) -> str:
    machine.refresh_from_db()
    return machine.observed


def test_states_follow_what_the_host_says(host, web_dom):
    for facts, word in (({"running": True}, "running"), ({"running": True, "paused": True}, "paused"), ({}, "stopped")):
        book(host, seen(of(web_dom, **facts)))
        assert observed(web_dom) == word


def test_since_moves_with_the_state_alone_and_the_look_with_every_round(host, web_dom):
    book(host, seen(of(web_dom)))
    web_dom.refresh_from_db()
    since, looked = web_dom.since, web_dom.observed_at
    book(host, seen(of(web_dom)))
    web_dom.refresh_from_db()
    assert web_dom.since == since
    assert web_dom.observed_at > looked


def test_a_crash_is_told_from_a_shutdown_where_the_hypervisor_does(host, web_dom):
    book(host, seen(of(web_dom, crashed=True)))
    assert observed(web_dom) == "crashed"
    assert web_dom.wanted == "running"


def test_an_empty_host_makes_machines_missing_and_removes_none(host, web_dom):
    book(host, seen())
    assert observed(web_dom) == "missing"
    assert web_dom.wanted == "running"
    book(host, seen(of(web_dom, running=True)))
    assert observed(web_dom) == "running"


def test_a_machine_that_was_never_finished_is_not_missing(host, web_dom):
    Machine.objects.update(built_at=None)
    book(host, seen())
    assert observed(web_dom) == "unknown"


def test_another_machine_of_the_same_name_is_not_ours(host, web_dom):
    book(host, seen(Domain(name=web_dom.name, uuid="0" * 36, running=True)))
    assert observed(web_dom) == "missing"


@pytest.mark.parametrize("machines", [1, 40])
def test_a_round_costs_the_same_queries_for_one_machine_or_many(machines, host, web_dom, django_assert_num_queries):
    for n in range(machines):
        web_dom.pk, web_dom.uuid = None, None
        web_dom.uuid = Machine._meta.get_field("uuid").default()
        web_dom.name, web_dom.address, web_dom.mac = f"M{n}", f"10.10.2.{n + 10}", f"aa:bb:cc:dd:ee:{n:02x}"
        web_dom.vif, web_dom.uid_base = f"fr{n + 10}", 65_536 * (100 + n)
        web_dom.save()
    with django_assert_num_queries(3):
        book(host, seen())
