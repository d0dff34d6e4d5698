"""A job in the browser, from the plan to its end, with the rows a worker would write."""

from __future__ import annotations

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from hosts.models import Job, JobStep

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

PASSWORD = "correct horse battery"


@pytest.fixture
def job(fulup, host, web_dom, monkeypatch):
    monkeypatch.setattr("hosts.services.job_send", lambda job: True)
    job = Job.objects.create(
        kind="machine.create", host=host, title="Create WEB-Dom", target_kind="machine", target_id=web_dom.pk,
        target_text="WEB-Dom", actor=fulup, state="planning",
    )  # fmt: skip
    return job


def worker(job, **change):
    """What the worker does to the row."""
    Job.objects.filter(pk=job.pk).update(**change)


def plan(job, destroys=""):
    for number, stage in enumerate(("lvmcreate", "installroot", "start"), start=1):
        job.steps.create(number=number, stage=stage, title=f"Do {stage}", shown=f"true {stage}", destroys=destroys)
    worker(job, state="planned", digest="ab" * 32)


def test_a_job_goes_by_live_from_planning_to_done(page_as, fulup, job):
    page = page_as(fulup)
    page.goto(f"/jobs/{job.pk}/")
    expect(page.locator("h1 + .st")).to_have_text("being planned")
    plan(job)
    expect(page.get_by_role("heading", name="The plan")).to_be_visible()
    page.locator("#s2").click()
    expect(page.get_by_text("true installroot")).to_be_visible()
    page.get_by_role("button", name="Create WEB-Dom").click()
    expect(page.locator("h1 + .st")).to_have_text("waits for the worker")
    worker(job, state="running", attempt=1, first_step_at=timezone.now())
    JobStep.objects.filter(job=job, number=1).update(state="now", started=timezone.now())
    expect(page.locator("h1 + .st")).to_have_text("runs, step 1 of 3")
    JobStep.objects.filter(job=job, number=1).update(state="done", ended=timezone.now())
    JobStep.objects.filter(job=job, number=2).update(state="now", started=timezone.now(), output="copying 6 MB")
    expect(page.locator("li.now pre.tail")).to_have_text("copying 6 MB")
    page.locator("li.now summary").click()
    page.locator("li.now summary").focus()
    JobStep.objects.filter(job=job, number=2).update(output="copying 6 MB\nwrote 4 MB")
    expect(page.locator("li.now pre.tail")).to_contain_text("wrote 4 MB")
    expect(page.get_by_text("true installroot")).to_be_visible()  # what the reader opened stays open
    assert page.evaluate("document.activeElement.id") == "s2"
    JobStep.objects.filter(job=job).update(state="done", started=timezone.now(), ended=timezone.now())
    worker(job, state="done", ended=timezone.now())
    expect(page.locator("h1 + .st")).to_have_text("done")
    expect(page.locator("#job-said")).to_have_text("done")
    assert page.locator("#job[hx-get]").count() == 0


def test_a_plan_that_destroys_is_approved_by_name_and_password(page_as, fulup, job):
    plan(job, "Everything on WEB-Dom-root is lost.")
    page = page_as(fulup, width=390)
    page.goto(f"/jobs/{job.pk}/")
    page.get_by_label("Type WEB-Dom to go on").fill("WEB-Dum")
    page.get_by_label("Your password again").fill(PASSWORD)
    page.get_by_role("button", name="Create WEB-Dom").click()
    name = page.get_by_label("Type WEB-Dom to go on")
    expect(name).to_have_value("WEB-Dum")
    expect(name).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#id_name_err")).to_contain_text("type exactly that name")
    name.fill("WEB-Dom")
    page.get_by_label("Your password again").fill(PASSWORD)
    page.get_by_role("button", name="Create WEB-Dom").click()
    expect(page.locator("h1 + .st")).to_have_text("waits for the worker")


def test_a_failed_job_is_gone_on_with(page_as, fulup, job):
    plan(job)
    JobStep.objects.filter(job=job, number=1).update(state="failed", started=timezone.now(), ended=timezone.now())
    worker(job, state="failed", attempt=1, message="The archive ends early.", ended=timezone.now())
    page = page_as(fulup)
    page.goto(f"/jobs/{job.pk}/")
    expect(page.locator("h1 + .st")).to_have_text("failed at step 1 of 3")
    page.get_by_role("button", name="Go on").click()
    expect(page.locator("h1 + .st")).to_have_text("being planned")


def test_a_job_can_be_approved_without_script(page_as, fulup, job):
    plan(job)
    page = page_as(fulup, script=False)
    page.goto(f"/jobs/{job.pk}/")
    page.get_by_role("button", name="Create WEB-Dom").click()
    expect(page.locator("h1 + .st")).to_have_text("waits for the worker")
    assert page.locator('noscript meta[http-equiv="refresh"], meta[http-equiv="refresh"]').count() == 1


def test_the_list_of_jobs_keeps_itself_up_to_date(page_as, fulup, job):
    page = page_as(fulup)
    page.goto("/jobs/")
    expect(page.locator("#rows")).to_contain_text("being planned")
    plan(job)
    expect(page.locator("#rows")).to_contain_text("waits for approval", timeout=12_000)


def test_an_ended_session_leads_to_the_sign_in_page_not_into_a_fragment(page_as, fulup, job):
    page = page_as(fulup)
    page.goto(f"/jobs/{job.pk}/")
    page.context.clear_cookies()
    page.wait_for_url("**/sign-in/**")
    assert page.locator("#job").count() == 0
