"""`fridu firewall`: shown, checked, tried, kept, taken back, closed."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest
from django.utils import timezone

from firewall.models import PublishedService, Revision, Watched, ZoneRestriction
from fridu_site.cli import countdown, firewall
from hosts.models import Job
from zones.models import Zone

pytestmark = pytest.mark.django_db


def test_a_firewall_job_that_waits_names_the_way_out(run, bare_host, rules):
    run(f"import {rules} --yes")
    run("firewall apply")
    job = Job.objects.get(kind="firewall.apply")
    code, said = run("firewall apply")
    assert code == 1
    assert f"Note: Job {job.pk} waits for approval: fridu job {job.pk} --yes" in said


def test_dump_prints_commands_and_export_the_seeds_format(run, bare_host, rules):
    run(f"import {rules} --yes")
    code, said = run("firewall dump")
    assert code == 0
    assert "iptables" in said
    code, said = run("firewall export")
    assert code == 0
    assert "CreateZone NAME=zFulup" in said


def test_apply_shows_the_difference_and_asks_for_the_job(run, bare_host, rules):
    run(f"import {rules} --yes")
    code, said = run("firewall apply --yes --reason first")
    assert code == 0, said
    assert "91.121.65.140" in said
    job = Job.objects.get(kind="firewall.apply")
    assert job.reason == "first"


@pytest.fixture
def imported(run, bare_host, rules):
    run(f"import {rules} --yes")
    return bare_host


def states() -> list[str]:
    return [revision.state for revision in Revision.objects.order_by("number")]


def test_a_trial_is_kept_when_one_says_so_in_time(run, imported):
    code, said = run("firewall apply --yes --confirm-within 90", answer="y")
    assert code == 0, said
    assert "Keep firewall revision 1: done" in said
    assert states() == ["live"]
    assert Job.objects.get(kind="firewall.apply").args["seconds"] == 90


@pytest.mark.parametrize("answer", ["", "n"])
def test_a_trial_is_returned_from_when_one_does_not_want_it(run, imported, answer):
    code, said = run("firewall apply --yes", answer=answer)
    assert code == 1
    assert "Return from firewall revision 1: done" in said
    assert states() == ["returned"]


def test_when_nobody_answers_in_time_it_says_that_the_host_goes_back(run, imported):
    code, said = run("firewall apply --yes", late=True)
    assert code == 1
    assert "takes revision 1 back. The wishes are kept." in said
    assert states() == ["trial"], "the host decides"


def test_a_host_that_fell_silent_is_no_host_to_keep_it_on(run, imported, worker, monkeypatch):
    monkeypatch.setattr(firewall, "HEARD_S", 0)
    code, said = run("firewall apply --yes", answer="y")
    assert code == 1
    assert "has not been heard of since revision 1 was loaded, so it is not kept" in said
    assert states() == ["trial"]


def test_without_a_terminal_it_says_how_to_keep_it_and_each_way_works(run, imported):
    code, said = run("firewall apply --yes")
    assert code == 0
    assert "Revision 1 is on trial for 60 s more." in said
    assert "fridu firewall confirm" in said
    _, said = run("firewall show")
    assert "No revision is live" in said
    assert "Revision 1 is on trial, 60 s left to keep it: fridu firewall confirm, or rollback" in said
    code, said = run("firewall apply --yes")
    assert (code, "Revision 1 is on trial on ns3100421" in said) == (1, True)
    assert run("firewall confirm")[0] == 0
    assert states() == ["live"]
    code, said = run("firewall confirm")
    assert (code, said.splitlines()[0]) == (1, "FATAL Nothing is on trial on ns3100421; revision 1 is live.")
    assert "Revision 1 is live, since" in run("firewall show")[1]


def test_rollback_returns_from_the_trial_or_tries_a_former_one_again(run, imported):
    run("firewall apply --yes")
    assert run("firewall rollback")[0] == 0
    assert states() == ["returned"]
    code, said = run("firewall rollback")
    assert (code, "A former revision is applied again by its number" in said) == (1, True)
    code, said = run("firewall rollback 1 --yes", answer="y")
    assert code == 0, said
    assert states() == ["live"]
    assert "never had a revision 7" in run("firewall rollback 7")[1]


def test_stop_needs_a_reason_and_a_yes(run, imported):
    assert run("firewall stop")[0] == 2
    code, said = run("firewall stop --reason attack")
    assert (code, "Nothing was closed." in said) == (1, True)
    assert run("firewall stop --reason attack", answer="n")[0] == 1
    assert not Job.objects.filter(kind="firewall.stop").exists()
    code, said = run("firewall stop --yes --reason", words=("an attack",))
    assert code == 0, said
    assert Job.objects.get(kind="firewall.stop").reason == "an attack"


def test_show_tells_what_waits_and_what_differs(run, imported):
    run("firewall apply --yes", answer="y")
    rule = {"name": "NOSMTP", "direction": "out", "proto": "tcp", "port": 25, "port_last": 25}
    ZoneRestriction.objects.create(zone=Zone.objects.first(), **rule)
    line = {"family": "kernel", "gone": False, "where": "", "text": "x = 1", "words": "x is 1 instead of 0"}
    Watched.objects.update(drift=[line], drift_since=timezone.now())
    code, said = run("firewall show")
    assert code == 0
    assert "1 change not applied:\n  closes tcp 25 out of" in said
    assert "The host differs from revision 1:\n  x is 1 instead of 0" in said


def test_check_lints_and_tries_on_the_host_and_changes_nothing(run, imported):
    code, said = run("firewall check")
    assert code == 0, said
    assert "The wishes load on ns3100421" in said
    assert [job.kind for job in Job.objects.filter(kind__startswith="firewall.")] == ["firewall.try"]
    assert not Revision.objects.exists()
    PublishedService.objects.update(target="10.10.77.7")
    code, said = run("firewall check")
    assert code == 1
    assert "!! " in said
    assert "Mend what !! marks." in said


def test_a_countdown_counts_takes_an_answer_and_ends(monkeypatch, capsys):
    reading, writing = os.pipe()
    monkeypatch.setattr(countdown.sys, "stdin", os.fdopen(reading))
    asked: list[int] = []

    def question(left: int) -> str:
        asked.append(left)
        return f"{left} s?"

    assert countdown.wait_for_answer(question, timezone.now() + timedelta(seconds=0.3)) is None
    os.write(writing, b"y\n")
    assert countdown.wait_for_answer(question, timezone.now() + timedelta(seconds=30)) == "y\n"
    os.close(writing)
    assert countdown.wait_for_answer(question, timezone.now() + timedelta(seconds=30)) == "", "the terminal went away"
    assert asked == [1, 30, 30]
    assert "\r30 s?" in capsys.readouterr().out
