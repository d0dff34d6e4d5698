"""Power, delete and jobs: followed, told, cancelled, gone on with."""

from __future__ import annotations

import pytest

from audit.models import Entry
from fridu_site.cli import follow, main
from hosts.models import Job, JobStep

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("verb", ["start", "stop", "reboot"])
def test_power_needs_no_question(run, web_dom, verb):
    code, said = run(f"{verb} WEB-Dom --reason disk")
    assert code == 0
    assert "WEB-Dom: done. Job" in said
    job = Job.objects.get()
    assert (job.kind, job.reason, job.actor.username) == (f"machine.{verb}", "disk", "fulup")


def test_delete_shows_what_it_destroys(run, web_dom):
    code, said = run("delete WEB-Dom", answer="n")
    assert code == 1
    assert "DESTROYS whatever the volume holds" in said


def test_what_is_so_already_is_a_good_end(run, web_dom, worker):
    worker.end = Job.State.NOTHING
    code, said = run("start WEB-Dom")
    assert code == 0
    assert "Start WEB-Dom: already so, nothing was done." in said


@pytest.mark.parametrize("state", [Job.State.FAILED, Job.State.REFUSED, Job.State.DRIFTED])
def test_a_job_that_did_not_end_well_is_fatal_with_its_own_words(run, web_dom, worker, state):
    worker.end, worker.message, worker.note = state, "The archive ends early.", "Add the image again."
    code, said = run("start WEB-Dom --verbose")
    assert code == 1
    assert "FATAL at installroot: The archive ends early. (job " in said
    assert "Note: Add the image again." in said
    assert "InstallRoot Put the image on WEB-Dom: FAILED" in said
    assert not Entry.objects.filter(outcome="refused").exists(), "the worker writes that, once"


def test_a_second_job_on_the_same_machine_is_refused_and_logged(run, web_dom, fulup):
    Job.objects.create(
        kind="machine.stop", host=web_dom.host, title="Stop WEB-Dom", target_kind="machine", target_id=web_dom.pk,
        target_text="WEB-Dom", actor=fulup,
    )  # fmt: skip
    code, said = run("start WEB-Dom")
    assert code == 1
    assert "(Stop WEB-Dom) is still open" in said
    entry = Entry.objects.get(outcome="refused")
    assert (entry.action, entry.actor_name, entry.object_text) == ("machine.start", "fulup", "WEB-Dom")


def test_jobs_lists_them_and_job_tells_one(run, web_dom):
    run("stop WEB-Dom")
    code, said = run("jobs")
    assert code == 0
    assert "Stop WEB-Dom  (fulup," in said
    code, said = run(f"job {Job.objects.get().pk} -v")
    assert code == 0
    assert "cp golden volume" in said
    assert "Stop WEB-Dom: done." in said


def test_a_job_that_stopped_goes_on(run, web_dom, worker):
    worker.end = Job.State.FAILED
    run("start WEB-Dom")
    worker.end = Job.State.DONE
    JobStep.objects.all().delete()
    code, said = run(f"job {Job.objects.get().pk} --go-on")
    assert code == 0, said


def test_a_job_that_ended_is_not_cancelled(run, web_dom):
    run("start WEB-Dom")
    code, said = run(f"job {Job.objects.get().pk} --cancel")
    assert code == 1
    assert "can't be cancelled any more" in said


def test_an_owner_cancels_no_operators_job(run, web_dom, monkeypatch, dominig):
    run("delete WEB-Dom")
    job = Job.objects.get()
    monkeypatch.setattr(main, "login", lambda: "dominig")
    code, said = run(f"job {job.pk} --cancel")
    assert code == 1
    assert f"Only an operator, or who asked for it, cancels job {job.pk}." in said
    job.refresh_from_db()
    assert job.state == Job.State.PLANNED


def test_interrupting_leaves_the_job_alone_and_says_how_to_look(run, web_dom, monkeypatch):
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(follow.time, "sleep", interrupt)
    code, said = run("start WEB-Dom")
    assert code == 1
    assert "is on its own now" in said
    assert Job.objects.get().is_open


def test_a_worker_that_does_not_answer_is_named(run, web_dom):
    web_dom.host.seen_at = None
    web_dom.host.save()
    _, said = run("start WEB-Dom")
    assert "The worker on ns3100421 does not answer" in said
