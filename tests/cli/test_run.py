"""Pause, resume, force and figures from the command line."""

from __future__ import annotations

import pytest
from django.utils import timezone

from audit.models import Entry
from hosts.models import Job
from machines.models import Figures
from machines.series import Sample, row

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(("verb", "wanted"), [("pause", "paused"), ("resume", "running")])
def test_pause_and_resume_are_one_word_each(run, web_dom, verb, wanted):
    code, said = run(f"{verb} WEB-Dom --reason backup")
    assert code == 0
    assert f"{verb.capitalize()} WEB-Dom: done" in said
    assert (Job.objects.get().kind, Job.objects.get().reason) == (f"machine.{verb}", "backup")
    web_dom.refresh_from_db()
    assert web_dom.wanted == wanted


def test_force_is_said_in_so_many_words(run, web_dom):
    run("stop WEB-Dom")
    assert Job.objects.latest("pk").args == {}
    code, said = run("stop WEB-Dom --force")
    assert code == 0
    assert "Force off WEB-Dom: done" in said
    assert Job.objects.latest("pk").args == {"force": True}


@pytest.mark.parametrize("line", ["start WEB-Dom --force", "delete WEB-Dom --force", "pause WEB-Dom --force"])
def test_force_belongs_to_stop_alone(run, web_dom, line):
    code, said = run(line)
    assert code == 2
    assert "fridu stop NAME --force" in said
    assert not Job.objects.exists()


def test_a_machine_that_does_not_stop_says_how_it_is_forced(run, web_dom, worker):
    worker.end, worker.message = Job.State.REFUSED, "WEB-Dom did not power off within 20 s. It still runs."
    code, said = run("stop WEB-Dom")
    assert code == 1
    assert "did not power off within 20 s" in said
    assert "fridu stop WEB-Dom --force" in said


def test_figures_stand_in_columns(run, web_dom):
    at = int(timezone.now().timestamp())
    ring = [row(Sample(at=at - 30 * n, cpu=250, memory_mib=33, net_in=1000, net_out=0)) for n in range(9, -1, -1)]
    Figures.objects.create(machine=web_dom, at=timezone.now(), now={"sample": ring[-1]}, hour=ring, day=ring[:1])
    code, said = run("figures WEB-Dom")
    assert code == 0
    lines = [line.split() for line in said.splitlines()]
    assert lines[0][:3] == ["now", "average,", "hour"]
    assert lines[1][:5] == ["CPU", "25", "%", "25", "%"]
    assert any(line[:4] == ["Network", "in", "8", "kbit/s"] for line in lines)
    assert "Disk" not in said, "nobody counts it here"


def test_before_the_first_minute_there_are_none(run, web_dom):
    code, said = run("figures WEB-Dom")
    assert code == 0
    assert "No figures of WEB-Dom yet" in said


def test_of_a_machine_that_is_off_the_past_is_told(run, web_dom):
    at = int(timezone.now().timestamp())
    Figures.objects.create(machine=web_dom, hour=[row(Sample(at=at - 300, cpu=10, memory_mib=3))])
    code, said = run("figures WEB-Dom")
    assert code == 0
    assert "not now" in said
    assert "it is off now" in said


@pytest.mark.parametrize("verb", ["pause", "resume", "figures"])
def test_what_one_may_not_see_is_not_there(run, web_dom, brendan, verb):
    code, said = run(f"{verb} WEB-Dom --as brendan")
    assert code == 1
    assert "There is no machine called WEB-Dom" in said
    assert not Job.objects.exists()
    if verb != "figures":
        assert Entry.objects.get(outcome="refused").action == f"machine.{verb}"
