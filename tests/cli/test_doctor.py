"""fridu doctor: each finding in a line, the first trouble at the end, and an exit code."""

from __future__ import annotations

import pytest

from dom0 import verdicts
from hosts.models import Job, JobStep


class Looks:
    """A worker that finds one thing a tick."""

    def __init__(self, *found):
        self.found = list(found)

    def __call__(self, _):
        job = Job.objects.get()
        if not self.found:
            Job.objects.filter(pk=job.pk).update(state="done")
            return
        number = job.steps.count() + 1
        JobStep.objects.create(
            job=job, number=number, stage=f"s{number}", title=f"Question {number}?", state="done",
            output=self.found.pop(0).text,
        )  # fmt: skip


@pytest.fixture
def finds(monkeypatch):
    def arm(*found):
        monkeypatch.setattr("fridu_site.cli.doctor.time.sleep", Looks(*found))

    return arm


def test_it_says_what_is_wrong_and_ends_with_1(run, dominig, web_dom, finds):
    finds(verdicts.good("It runs."), verdicts.bad("Its interface is in no bridge.", "Restart it."))
    code, out = run("doctor WEB-Dom --as dominig")
    assert code == 1
    assert "ok   Question 1? It runs." in out
    assert "BAD  Question 2? Its interface is in no bridge.\n      Restart it." in out
    assert "This stands in the way first: Its interface is in no bridge." in out


def test_of_a_machine_in_order_it_ends_with_0(run, dominig, web_dom, finds):
    finds(verdicts.good("It runs."), verdicts.unsure("It did not ask."))
    code, out = run("doctor WEB-Dom --as dominig")
    assert code == 0
    assert "Nothing found that is wrong. 1 of 2 could not be told." in out


def test_without_a_name_it_is_the_host_and_for_operators(run, dominig, host, finds):
    finds(verdicts.good("libvirt answers."))
    code, _ = run("doctor --as fulup")
    assert (code, Job.objects.get().kind) == (0, "host.doctor")
    code, err = run("doctor --as dominig")
    assert code == 1
    assert "may not diagnose a host" in err


def test_somebody_elses_machine_is_not_there(run, web_dom, brendan):
    code, err = run("doctor WEB-Dom --as brendan")
    assert code == 1
    assert "There is no machine called WEB-Dom." in err
