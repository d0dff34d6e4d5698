"""The diagnosis of a machine: who may ask for it, what its page says, and what its plan looks at."""

from __future__ import annotations

import pytest
from django.core.exceptions import PermissionDenied
from django.urls import reverse
from django.utils import timezone

from audit.log import Actor
from dom0 import verdicts
from dom0.errors import Refused
from dom0.host import HostConfig
from dom0.state import State
from hosts import diagnosis
from hosts.kinds import kind_of
from hosts.models import Job, JobStep
from machines import doctor_kinds, doctor_services, plan_doctor
from machines.models import Grant

CONFIG = HostConfig(name="ns3100421", libvirt="lxc:///system", volumes="/v")


def url(machine):
    return reverse("machines:doctor", args=(machine.pk,))


def ended(machine, user, *found):
    job = Job.objects.create(
        kind="machine.doctor", host=machine.host, title="Diagnose", target_kind="diagnosis", target_id=machine.pk,
        target_text=machine.name, actor=user, state="done", ended=timezone.now(),
    )  # fmt: skip
    for number, verdict in enumerate(found, start=1):
        JobStep.objects.create(
            job=job, number=number, stage=f"s{number}", title=f"Question {number}?", state="done", output=verdict.text
        )
    return job


def test_its_owner_asks_for_it_and_it_holds_up_nothing_else(client, dominig, web_dom):
    client.force_login(dominig)
    assert client.post(url(web_dom)).status_code == 302
    job = Job.objects.get()
    assert (job.kind, job.target_kind, job.target_id) == ("machine.doctor", "diagnosis", web_dom.pk)
    client.post(reverse("machines:stop", args=(web_dom.pk,)))
    assert Job.objects.filter(kind="machine.stop").exists()
    assert "Waits for the host’s worker." in client.get(url(web_dom)).content.decode()


def test_two_at_once_are_refused(dominig, web_dom):
    actor = Actor(id=dominig.pk, name="dominig")
    doctor_services.machine_doctor(actor, web_dom)
    with pytest.raises(Refused):
        doctor_services.machine_doctor(actor, web_dom)


def test_others_find_nothing_and_a_guest_who_may_only_look_may_not(client, brendan, web_dom):
    client.force_login(brendan)
    assert client.get(url(web_dom)).status_code == 404
    Grant.objects.create(machine=web_dom, user=brendan, verbs=",view,")
    assert client.get(url(web_dom)).status_code == 403
    with pytest.raises(PermissionDenied):
        doctor_services.machine_doctor(Actor(id=brendan.pk, name="brendan"), web_dom)


def test_its_page_says_what_stands_in_the_way_first_and_what_to_do(client, dominig, web_dom):
    ended(
        web_dom, dominig, verdicts.good("It runs."), verdicts.bad("The bridge is down.", "Apply the zone."),
        verdicts.unsure("Not tried."), verdicts.bad("DNS does not answer.", "Apply it."),
    )  # fmt: skip
    client.force_login(dominig)
    html = client.get(url(web_dom)).content.decode()
    assert "This stands in the way first: The bridge is down." in html
    assert "What to do: Apply the zone." in html
    assert html.index("It runs.") < html.index("Not tried.")


def test_what_a_guest_wrote_stands_there_as_text(client, dominig, web_dom):
    ended(web_dom, dominig, verdicts.good("It runs.", seen=("<script>alert(1)</script>",)))
    client.force_login(dominig)
    html = client.get(url(web_dom)).content.decode()
    assert "<script>alert(1)" not in html
    assert "&lt;script&gt;alert(1)" in html


def test_while_it_reads_the_same_nothing_is_sent(client, dominig, web_dom):
    job = ended(web_dom, dominig, verdicts.good("It runs."))
    Job.objects.filter(pk=job.pk).update(state="running")
    job.refresh_from_db()
    client.force_login(dominig)
    seen = diagnosis.seen(job, diagnosis.lines(job))
    htmx = {"HX-Request": "true", "HX-Target": "diagnosis"}
    assert client.get(f"{url(web_dom)}?seen={seen}", headers=htmx).status_code == 204
    fresh = client.get(f"{url(web_dom)}?seen=other", headers=htmx).content.decode()
    assert fresh.lstrip().startswith('<div id="diagnosis"')


def test_the_plan_looks_at_each_thing_once_and_a_second_time_at_nothing(web_dom):
    patient = doctor_kinds.patient_of(web_dom, CONFIG)
    plan = plan_doctor.plan_doctor(patient, State(), ())
    assert [step.stage for step in plan.steps] == [look.stage for look in plan_doctor.LOOKS]
    assert not any(step.effect or step.destroys for step in plan.steps)
    shown = next(step.shown for step in plan.steps if step.stage == "snat")
    assert "external=87.98.130.56" in shown
    assert "gateway=10.10.2.1/24" in shown
    again = plan_doctor.plan_doctor(patient, State(), {look.stage for look in plan_doctor.LOOKS})
    assert again.steps == ()


def test_every_stage_of_the_plans_has_a_look_on_the_host():
    from dom0 import doctor, doctor_host, doctor_ways
    from hosts.doctor import LOOKS

    assert {look.stage for look in plan_doctor.LOOKS} == {*doctor.LOOKS, *doctor_ways.LOOKS}
    assert {stage for stage, _ in LOOKS} == set(doctor_host.LOOKS)
    assert all(len(stage) <= 20 for stage in {*doctor.LOOKS, *doctor_ways.LOOKS, *doctor_host.LOOKS})


def test_a_diagnosis_needs_no_approval_and_holds_no_lock():
    for name in ("machine.doctor", "host.doctor"):
        kind = kind_of(name)
        assert (kind.approval, kind.queue, kind.locks(Job())) == ("none", "net", ())


def test_operators_ask_a_host_and_owners_find_no_such_page(client, fulup, dominig, host):
    page = reverse("hosts:doctor", args=(host.pk,))
    client.force_login(dominig)
    assert client.get(page).status_code == client.post(page).status_code == 404
    client.force_login(fulup)
    assert "Does libvirt answer?" in client.get(page).content.decode()
    client.post(page)
    assert Job.objects.get().kind == "host.doctor"
    assert client.get(page).status_code == 200
