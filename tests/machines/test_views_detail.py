"""One machine's page, for those who may see it, with what each may do there."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from audit import log
from hosts.models import Job, JobStep
from machines import published
from machines.models import Grant, Machine

LIVE = {"HX-Request": "true", "HX-Target": "live"}


def url(machine: Machine, name: str = "detail") -> str:
    return reverse(f"machines:{name}", args=(machine.pk,))


def page(client, user, machine: Machine) -> str:
    client.force_login(user)
    return client.get(url(machine)).content.decode()


def lend(machine: Machine, user, verbs: str, **more) -> None:
    Grant.objects.create(machine=machine, user=user, verbs=verbs, **more)


def offered(text: str, machine: Machine) -> set[str]:
    """The names of the deeds the page has a button or a link for."""
    names = ("start", "stop", "reboot", "key", "password", "delete")
    return {name for name in names if f'"{url(machine, name)}"' in text}


@pytest.fixture
def one_port(monkeypatch, web_dom):
    """tcp 2222 of 87.98.130.56 leads to WEB-Dom's SSH."""
    way = published.Published(
        name="DomiSSH", address="87.98.130.56", proto="tcp", port=2222, port_last=2222, target_port=22
    )
    monkeypatch.setattr(published, "_providers", [lambda machines: {web_dom.pk: [way]}])


def test_it_says_how_the_machine_is_and_how_to_get_in(client, dominig, web_dom, one_port):
    text = page(client, dominig, web_dom)
    for said in ("WEB-Dom", "running", "ssh root@87.98.130.56 -p 2222", "10.10.2.2", "aa:bb:cc:dd:02:02", "tiny"):
        assert said in text


def test_without_a_published_port_it_names_the_zones_address_and_whom_to_ask(client, dominig, web_dom):
    text = page(client, dominig, web_dom)
    assert "ssh root@10.10.2.2" in text
    assert "Ask the operators to publish one." in text


def test_a_port_that_is_wished_and_not_applied_is_no_way_in(monkeypatch, client, dominig, web_dom):
    way = published.Published(
        name="DomiSSH", address="87.98.130.56", proto="tcp", port=22, port_last=22, target_port=22, live=False
    )
    monkeypatch.setattr(published, "_providers", [lambda machines: {web_dom.pk: [way]}])
    text = page(client, dominig, web_dom)
    assert "ssh root@87.98.130.56" not in text
    assert "not applied yet" in text


def test_the_operator_may_do_everything_that_makes_sense_now(client, fulup, web_dom):
    assert offered(page(client, fulup, web_dom), web_dom) == {"stop", "reboot", "key", "password", "delete"}
    Machine.objects.update(observed="stopped", wanted="stopped")
    assert offered(page(client, fulup, web_dom), web_dom) == {"start", "key", "password", "delete"}


def test_the_owner_may_not_delete(client, dominig, web_dom):
    assert offered(page(client, dominig, web_dom), web_dom) == {"stop", "reboot", "key", "password"}


@pytest.mark.parametrize(
    ("verbs", "may"),
    [
        (",view,", set()),
        (",view,power,", {"stop", "reboot"}),
        (",view,console,", {"key", "password"}),
        (",view,rebuild,backup,", set()),
    ],
)
def test_a_grant_gives_its_verbs_and_no_more(client, brendan, web_dom, verbs, may):
    lend(web_dom, brendan, verbs)
    assert offered(page(client, brendan, web_dom), web_dom) == may


def test_a_grant_that_ran_out_gives_nothing(client, brendan, web_dom):
    lend(web_dom, brendan, ",view,power,", expires=timezone.now() - timedelta(seconds=1))
    client.force_login(brendan)
    assert client.get(url(web_dom)).status_code == 404


def test_its_page_says_to_whom_it_is_lent(client, fulup, brendan, web_dom):
    lend(web_dom, brendan, ",view,power,")
    assert "brendan: start, stop and restart it" in page(client, fulup, web_dom)


@pytest.mark.parametrize("name", ["detail", "history", "delete"])
def test_another_owners_machine_is_not_there(client, brendan, web_dom, name):
    client.force_login(brendan)
    assert client.get(url(web_dom, name)).status_code == 404


def test_a_fragment_is_checked_as_its_page_is(client, brendan, web_dom):
    client.force_login(brendan)
    answer = client.get(url(web_dom), headers=LIVE)
    assert answer.status_code == 404
    assert answer.content == b""


def test_the_auditor_has_no_machine_pages(client, agnes, web_dom):
    client.force_login(agnes)
    assert client.get(url(web_dom)).status_code == 404


def test_no_power_button_stands_there_while_a_job_is_open(client, fulup, web_dom):
    job = Job.objects.create(
        kind="machine.reboot",
        host=web_dom.host,
        title="Restart WEB-Dom",
        target_kind="machine",
        target_id=web_dom.pk,
        target_text="WEB-Dom",
        actor=fulup,
        state="approved",
    )
    text = page(client, fulup, web_dom)
    assert offered(text, web_dom) == set()
    assert "restart asked for" in text
    assert "waits for the worker" in text
    job.state = "running"
    job.save()
    for number, state in enumerate(("done", "now", "todo"), start=1):
        JobStep.objects.create(job=job, number=number, stage="stop", title="x", state=state)
    assert "step 2 of 3" in page(client, fulup, web_dom)


def test_a_missing_machine_keeps_its_wish_and_can_be_started_anew(client, dominig, web_dom):
    Machine.objects.update(observed="missing")
    text = page(client, dominig, web_dom)
    assert "WEB-Dom is not on the host." in text
    assert offered(text, web_dom) == {"start"}


def test_a_job_that_failed_says_what_is_so_and_where_to_go_on(client, fulup, web_dom):
    job = Job.objects.create(
        kind="machine.start",
        host=web_dom.host,
        title="Start WEB-Dom",
        target_kind="machine",
        target_id=web_dom.pk,
        target_text="WEB-Dom",
        actor=fulup,
        state="failed",
        message="<b>virsh</b> ended with code 1.",
        ended=timezone.now(),
    )
    text = page(client, fulup, web_dom)
    assert "&lt;b&gt;virsh&lt;/b&gt; ended with code 1." in text
    assert reverse("hosts:job", args=(job.pk,)) in text


def test_an_old_look_is_said_to_be_old(client, dominig, web_dom, host):
    host.seen_at = timezone.now() - timedelta(minutes=4)
    host.save()
    text = page(client, dominig, web_dom)
    assert "The host does not answer" in text
    assert "Changes you make wait in the queue" in text


def test_the_live_part_is_sent_again_only_when_it_reads_differently(client, dominig, web_dom):
    client.force_login(dominig)
    first = client.get(url(web_dom), headers=LIVE)
    seen = first.context["scene"].digest
    assert client.get(url(web_dom), {"seen": seen}, headers=LIVE).status_code == 204
    Machine.objects.update(observed="stopped")
    changed = client.get(url(web_dom), {"seen": seen}, headers=LIVE)
    assert changed.status_code == 200
    assert "stopped by itself" in changed.content.decode()
    assert changed["HX-Trigger"] == "machine-changed"


def test_history_tells_of_each_job_its_end(client, dominig, web_dom, fulup):
    who = log.Actor(id=fulup.pk, name="fulup", address="10.10.95.2")
    thing = log.Thing(kind="machine", id=str(web_dom.pk), text="WEB-Dom")
    log.record(who, "machine.reboot", thing, job=7, data={"asked": {}}, why="kernel update")
    assert "Restart asked for" in page(client, dominig, web_dom)
    log.record(who, "machine.reboot", thing, job=7, data={"state": "done", "commands": ["virsh"]}, why="kernel update")
    text = page(client, dominig, web_dom)
    assert "Restarted" in text
    assert "Restart asked for" not in text
    assert "“kernel update”" in text
    assert "10.10.95.2" not in text


def test_history_is_that_of_this_machine(client, dominig, web_dom, fulup):
    other = log.Thing(kind="machine", id=str(web_dom.pk + 1), text="Other")
    log.record(log.Actor(id=fulup.pk, name="fulup"), "machine.stop", other)
    assert "Nothing has been done to it yet." in page(client, dominig, web_dom)


def test_history_leaves_out_who_knocked_in_vain(client, dominig, brendan, web_dom):
    client.force_login(brendan)
    assert client.post(url(web_dom, "stop")).status_code == 404
    assert log.Entry.objects.filter(action="machine.stop", actor_name="brendan").exists()
    assert "brendan" not in page(client, dominig, web_dom)


def test_it_rejects_post(client, fulup, web_dom):
    client.force_login(fulup)
    assert client.post(url(web_dom)).status_code == 405
