"""A machine's state in words, and the same order in SQL."""

from __future__ import annotations

from datetime import timedelta
from itertools import product

import pytest
from django.utils import timezone

from hosts.models import Job
from machines.listing import rank_case
from machines.models import Machine
from machines.states import Rank, lasting, notable_jobs, shown

pytestmark = pytest.mark.django_db


def job_of(machine: Machine, state: str, kind: str = "machine.start", **more) -> Job:
    return Job.objects.create(
        kind=kind,
        host=machine.host,
        title=f"{kind} {machine.name}",
        target_kind="machine",
        target_id=machine.pk,
        target_text=machine.name,
        actor=machine.owner.person,
        state=state,
        **more,
    )


@pytest.mark.parametrize("built", [True, False])
@pytest.mark.parametrize("job", [None, *Job.State.values])
def test_the_database_ranks_as_the_words_do(web_dom, built, job):
    web_dom.built_at = timezone.now() if built else None
    if job:
        job_of(web_dom, job, ended=timezone.now(), attempt=1)
    for seen, wish in product(Machine.Observed.values, Machine.Wanted.values):
        web_dom.observed, web_dom.wanted = seen, wish
        web_dom.save()
        jobs = notable_jobs()
        in_sql = Machine.objects.annotate(rank=rank_case(jobs)).get().rank
        assert in_sql == shown(web_dom, jobs.get(web_dom.pk)).rank, (seen, wish)


@pytest.mark.parametrize(
    ("state", "mark", "word"),
    [
        ("planning", "busy", "start asked for"),
        ("planned", "wait", "waits for approval"),
        ("approved", "busy", "start asked for"),
        ("running", "busy", "starting"),
        ("failed", "bad", "start failed"),
        ("drifted", "wait", "drifted"),
        ("done", "run", "running"),
        ("cancelled", "run", "running"),
    ],
)
def test_a_job_says_its_state_before_the_host_does(web_dom, state, mark, word):
    job_of(web_dom, state, ended=timezone.now(), attempt=1)
    said = shown(web_dom, notable_jobs().get(web_dom.pk))
    assert (said.mark, said.word) == (mark, word)


def test_a_job_asked_for_says_that_it_waits_for_the_worker(web_dom):
    job_of(web_dom, "approved")
    assert shown(web_dom, notable_jobs()[web_dom.pk]).sub == "waits for the worker"


def test_a_job_that_failed_is_forgotten_once_a_later_one_ended_well(web_dom):
    job_of(web_dom, "failed", ended=timezone.now())
    job_of(web_dom, "done", ended=timezone.now())
    assert notable_jobs() == {}


def test_a_cancelled_job_does_not_hide_the_one_that_failed_before(web_dom):
    failed = job_of(web_dom, "failed", ended=timezone.now())
    job_of(web_dom, "cancelled", ended=timezone.now())
    assert notable_jobs() == {web_dom.pk: failed}


def test_a_refusal_before_anything_changed_leaves_the_machine_as_it_is(web_dom):
    job_of(web_dom, "refused", ended=timezone.now())
    assert shown(web_dom, notable_jobs()[web_dom.pk]).rank is Rank.RUNNING


def test_a_refused_creation_is_trouble(web_dom):
    web_dom.built_at = None
    job_of(web_dom, "refused", kind="machine.create", ended=timezone.now())
    assert shown(web_dom, notable_jobs()[web_dom.pk]).word == "creation refused"


def test_a_machine_not_on_the_host_is_missing_and_not_gone(web_dom):
    web_dom.observed, web_dom.since = "missing", timezone.now()
    said = shown(web_dom, None)
    assert (said.mark, said.word) == ("miss", "missing")
    assert said.sub.startswith("not on the host since ")


def test_a_machine_that_is_off_though_meant_to_run_stopped_by_itself(web_dom):
    web_dom.observed = "stopped"
    assert shown(web_dom, None).word == "stopped by itself"
    web_dom.wanted = "stopped"
    assert shown(web_dom, None).word == "stopped"


@pytest.mark.parametrize(
    ("span", "said"),
    [
        (timedelta(seconds=3), "for less than 2 minutes"),
        (timedelta(minutes=5), "for 5 minutes"),
        (timedelta(hours=30), "for 30 hours"),
        (timedelta(days=41, hours=3), "for 41 days"),
    ],
)
def test_how_long_it_has_been_so_is_said_coarsely_enough_not_to_change_at_each_look(span, said):
    assert lasting(span) == said
