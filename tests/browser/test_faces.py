"""Every page of the frame, the overview, jobs and hosts: two widths, two colour schemes, nothing wrong with any."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from audit import log
from audit.log import Actor, Thing
from hosts.models import Job, JobStep
from tests.browser.faces import every_face

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

STEPS = (
    (
        "lvmcreate",
        "Create the volume WEB-New-root of 128 MB",
        "truncate -s 134217728 /srv/volumes/WEB-New-root.img",
        0.2,
    ),
    ("installroot", "Copy the golden tiny onto it", "fridu-hand install name=WEB-New digest=" + "ab12" * 16, 0.3),
    ("tuneroot", "Set name, DHCP and the root keys", "fridu-hand tune name=WEB-New <<'END'\nroot=****\nEND", 0.4),
    ("start", "Start WEB-New and wait for its first answer", "virsh -c lxc:///system start WEB-New", 1.0),
)


def make_job(user, host, machine, state, *, done=0, at="", kind="machine.create", destroys="", **more) -> Job:
    """A job in `state`, its first `done` steps done, the next one in step state `at`."""
    now = timezone.now()
    job = Job.objects.create(
        kind=kind, host=host, title=f"Create {machine.name}", target_kind="machine", target_id=machine.pk,
        target_text=machine.name, actor=user, reason="for the regatta", state=state, digest="9f3c51a0" * 8,
        approver=user, approved_at=now, first_step_at=now - timedelta(seconds=21) if done else None, **more,
    )  # fmt: skip
    for number, (stage, title, shown, about) in enumerate(STEPS, start=1):
        step = JobStep(job=job, number=number, stage=stage, title=title, shown=shown, about_s=about)
        if number <= done:
            step.state, step.started, step.ended = "done", now - timedelta(seconds=20), now - timedelta(seconds=18)
            step.output = "done in 1.8 s"
        elif number == done + 1 and at:
            step.state, step.started, step.output = at, now - timedelta(seconds=9), "copying 6 MB\nwrote 4 MB"
            step.ended = now if at == "failed" else None
        step.destroys = destroys if number == 2 else ""
        step.save()
    return job


@pytest.fixture
def places(fulup, dominig, fresh, isp, web_dom):
    """Every page this file speaks of: name → (path, user)."""
    states = {
        "planning": {"state": "planning"},
        "planned": {"state": "planned"},
        "planned-destroys": {"state": "planned", "destroys": "Everything on WEB-New-root is lost: 6 MB."},
        "approved": {"state": "approved"},
        "running": {"state": "running", "done": 1, "at": "now", "attempt": 1},
        "failed": {"state": "failed", "done": 1, "at": "failed", "attempt": 1,
                   "message": "The image is larger than the root volume.", "note": "Make the root 256 MB, then go on."},
        "refused": {"state": "refused", "message": "WEB-Dom exists on the host and is not ours.", "note": "Adopt it."},
        "drifted": {"state": "drifted", "done": 4, "attempt": 1, "message": "The host still differs."},
        "done": {"state": "done", "done": 4, "attempt": 1},
        "nothing": {"state": "nothing"},
        "cancelled": {"state": "cancelled"},
    }  # fmt: skip
    places = {}
    for name, more in states.items():
        job = make_job(fulup, fresh, web_dom, **{"ended": timezone.now(), **more})
        places[f"job-{name}"] = (f"/jobs/{job.pk}/", fulup)
    foreign = make_job(fulup, fresh, web_dom, "planned", kind="machine.delete")
    places["job-planned-by-another"] = (f"/jobs/{foreign.pk}/", dominig)
    actor = Actor(id=fulup.pk, name="fulup")
    log.record(actor, "machine.start", Thing(kind="machine", id="1", text="WEB-Dom"), why="after the outage", job=1)
    places |= {
        "jobs": ("/jobs/", fulup),
        "jobs-none": ("/jobs/?state=open&page=9", dominig),
        "hosts": ("/hosts/", fulup),
        "overview": ("/", fulup),
        "help": ("/help/", fulup),
        "help-owner": ("/help/", dominig),
        "search": ("/search/?q=nothing-like-it", fulup),
        "404": ("/no-such-page/", fulup),
    }
    return places


def test_every_page_is_accessible_and_fits(page_as, places):
    wrong, pages = {}, {}
    for name, (path, user) in places.items():
        if user.pk not in pages:
            pages[user.pk] = page_as(user)
        page = pages[user.pk]
        page.goto(path)
        assert page.url.endswith(path), name
        assert page.locator("h1").count() == 1, name
        if found := every_face(page, name):
            wrong[name] = found
    assert wrong == {}
