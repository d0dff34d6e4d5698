"""Diagnosis, differences, adoption and rescue as a person meets them: in every face, and without script."""

from __future__ import annotations

import copy

import pytest
from django.urls import reverse
from django.utils import timezone

from dom0 import verdicts
from hosts.models import Job, JobStep
from machines.models import Machine
from tests.browser.faces import every_face
from tests.test_access_matrix import STRANGER

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

FOUND = (
    verdicts.good("WEB-Dom runs."),
    verdicts.good("The bridge xen-br2 of zone zDominig is up and has 10.10.2.1."),
    verdicts.bad(
        "Inside, its interface has the MAC 02:00:00:00:00:99; the panel gave it aa:bb:cc:dd:02:02, and the firewall "
        "drops all others.",
        "Inside: ip link set eth0 address aa:bb:cc:dd:02:02, and take out what sets another one; or restart it.",
        seen=("02:00:00:00:00:99 (10.10.2.2) asks who has 10.10.2.1",),
    ),
    verdicts.unsure("It did not ask for an address within 3 s; that is usual while it has one."),
)
DRIFT = {
    "digest": "d" * 64,
    "items": [
        {"what": "memory", "wished": "64 MB", "found": "48 MB", "adopt": {"memory_mib": 48}},
        {"what": "network interface", "wished": "aa:bb:cc:dd:02:02 in xen-br2 as fr1",
         "found": "02:00:00:00:00:09 in no bridge as any", "adopt": {}},
    ],
}  # fmt: skip


def looked(machine, user, state="done", kind="machine.doctor", target="diagnosis"):
    job = Job.objects.create(
        kind=kind, host=machine.host, title="Diagnose", target_kind=target, target_id=machine.pk,
        target_text=machine.name, actor=user, state=state, ended=timezone.now(),
    )  # fmt: skip
    for number, found in enumerate(FOUND, start=1):
        JobStep.objects.create(
            job=job, number=number, stage=f"s{number}", title=f"Question {number}?", state="done", output=found.text
        )
    return job


def test_the_diagnosis_grows_while_one_looks_and_says_what_is_in_the_way(page_as, dominig, web_dom):
    job = looked(web_dom, dominig, state="running")
    later = job.steps.last()
    JobStep.objects.filter(pk=later.pk).update(state="now", output="")
    page = page_as(dominig)
    page.goto(reverse("machines:doctor", args=(web_dom.pk,)))
    page.get_by_text("looking", exact=True).wait_for()
    assert page.get_by_text("Looking: 3 of 4.").is_visible()
    JobStep.objects.filter(pk=later.pk).update(state="done", output=FOUND[3].text)
    Job.objects.filter(pk=job.pk).update(state="done")
    page.get_by_text("This stands in the way first: Inside, its interface has the MAC").wait_for(timeout=10_000)
    assert every_face(page, "diagnosis") == []


def test_differences_unknown_machines_and_rescue_have_a_quiet_page_in_every_face(page_as, fulup, isp, web_dom):
    isp.figures["unknown"] = [copy.deepcopy(STRANGER)]
    isp.save()
    Machine.objects.filter(pk=web_dom.pk).update(drift=DRIFT, rescue=web_dom.image)
    looked(web_dom, fulup)
    page = page_as(fulup)
    wrong = {}
    for name, path in {
        "drift": reverse("machines:drift", args=(web_dom.pk,)),
        "unknown": reverse("machines:unknown"),
        "adopt": reverse("machines:adopt", args=(isp.pk, STRANGER["uuid"])),
        "rescue": reverse("machines:rescue", args=(web_dom.pk,)),
        "machine-rescued": reverse("machines:detail", args=(web_dom.pk,)),
        "list-with-unknown": reverse("machines:list"),
        "host-doctor": reverse("hosts:doctor", args=(isp.pk,)),
        "hosts": reverse("hosts:list"),
    }.items():
        assert page.goto(path).status == 200, name
        if found := every_face(page, f"p7-{name}"):
            wrong[name] = found
    assert wrong == {}


def test_an_owner_without_script_asks_for_a_diagnosis_and_reads_it(page_as, dominig, web_dom):
    page = page_as(dominig, script=False)
    page.goto(reverse("machines:doctor", args=(web_dom.pk,)))
    page.get_by_role("button", name="Diagnose WEB-Dom").click()
    assert page.get_by_text("Waits for the host’s worker.").first.is_visible()
    assert Job.objects.get().kind == "machine.doctor"
