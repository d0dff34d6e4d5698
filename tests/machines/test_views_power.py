"""Start, stop, restart, keys, root password: POST only, by verb, one job each."""

from __future__ import annotations

import re

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import SSHKey
from audit.models import Entry
from hosts.models import Host, Job, JobSecret
from machines.models import Grant, Machine

POWER = ("start", "stop", "reboot")


def url(machine: Machine, name: str) -> str:
    return reverse(f"machines:{name}", args=(machine.pk,))


def key_of(user, name: str) -> SSHKey:
    return SSHKey.objects.create(
        user=user, name=name, line=f"ssh-ed25519 {name}", fingerprint=f"SHA256:{user.pk}{name}"
    )


@pytest.fixture
def owner(client, dominig):
    client.force_login(dominig)
    return client


@pytest.mark.parametrize("name", POWER)
def test_the_owner_asks_for_it_and_is_led_back_with_a_note(owner, dominig, web_dom, name):
    answer = owner.post(url(web_dom, name), follow=True)
    job = Job.objects.get()
    assert (job.kind, job.target_id, job.actor) == (f"machine.{name}", web_dom.pk, dominig)
    assert answer.redirect_chain == [(f"/machines/{web_dom.pk}/", 302)]
    assert "of WEB-Dom asked for." in answer.content.decode()
    assert Entry.objects.filter(action=f"machine.{name}", actor_name="dominig", job=job.pk).exists()


def test_from_his_own_page_he_is_led_back_there(owner, web_dom):
    assert owner.post(url(web_dom, "stop"), {"back": "mine"})["Location"] == "/machines/mine/"


def test_back_is_no_open_door(owner, web_dom):
    assert owner.post(url(web_dom, "stop"), {"back": "https://evil.example/"})["Location"] == f"/machines/{web_dom.pk}/"


@pytest.mark.parametrize("name", [*POWER, "key", "password"])
def test_it_refuses_get(owner, web_dom, name):
    assert owner.get(url(web_dom, name)).status_code == 405
    assert not Job.objects.exists()


@pytest.mark.parametrize("name", [*POWER, "key", "password"])
def test_it_refuses_a_post_without_the_forms_token(dominig, web_dom, name):
    client = Client(enforce_csrf_checks=True)
    client.force_login(dominig)
    assert client.post(url(web_dom, name)).status_code == 403
    assert not Job.objects.exists()


@pytest.mark.parametrize("name", [*POWER, "key", "password"])
def test_another_owners_machine_is_not_there(client, brendan, web_dom, name):
    client.force_login(brendan)
    assert client.post(url(web_dom, name)).status_code == 404
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("verbs", "name", "status"),
    [
        (",view,", "stop", 403),
        (",view,", "key", 403),
        (",view,power,", "stop", 302),
        (",view,power,", "password", 403),
        (",view,console,", "start", 403),
        (",view,console,", "key", 302),
    ],
)
def test_who_sees_it_and_may_not_is_told_so(client, brendan, web_dom, verbs, name, status):
    Grant.objects.create(machine=web_dom, user=brendan, verbs=verbs)
    client.force_login(brendan)
    assert client.post(url(web_dom, name)).status_code == status
    assert Job.objects.exists() == (status == 302)


def test_a_second_job_is_refused_with_its_way_out(owner, web_dom):
    owner.post(url(web_dom, "stop"))
    text = owner.post(url(web_dom, "reboot"), follow=True).content.decode()
    assert "is still open for WEB-Dom. Wait for its end, or cancel it on its page." in text
    assert Job.objects.count() == 1


def test_while_the_host_is_away_the_note_says_that_it_waits(owner, web_dom):
    Host.objects.update(seen_at=None)
    text = owner.post(url(web_dom, "stop"), follow=True).content.decode()
    assert "does not answer now; it is done when its worker is back." in text


def test_the_chosen_keys_are_put_on_and_no_others(owner, dominig, web_dom):
    laptop, phone = key_of(dominig, "laptop"), key_of(dominig, "phone")
    web_dom.ssh_keys.set([phone])
    owner.post(url(web_dom, "key"), {"ssh_keys": [laptop.pk]})
    assert list(web_dom.ssh_keys.all()) == [laptop]
    assert Job.objects.get().kind == "machine.key"


def test_an_owner_cannot_put_somebody_elses_key_on(owner, brendan, web_dom):
    strange = key_of(brendan, "strange")
    answer = owner.post(url(web_dom, "key"), {"ssh_keys": [strange.pk]})
    assert answer.status_code == 422
    assert "One of these keys is not yours to put there." in answer.content.decode()
    assert not web_dom.ssh_keys.exists()
    assert not Job.objects.exists()


@pytest.mark.parametrize("number", ["9" * 20, "-1", "²", "1.5", "x"])
def test_a_key_no_database_has_is_refused_beside_the_field(owner, web_dom, number):
    answer = owner.post(url(web_dom, "key"), {"ssh_keys": [number]})
    assert answer.status_code == 422
    assert "is not yours to put there" in answer.content.decode()
    assert not web_dom.ssh_keys.exists()


def test_an_owner_may_keep_and_take_off_the_operators_key(owner, fulup, web_dom):
    key = key_of(fulup, "operator")
    web_dom.ssh_keys.set([key])
    owner.post(url(web_dom, "key"), {"ssh_keys": [key.pk]})
    assert list(web_dom.ssh_keys.all()) == [key]
    Job.objects.update(state="done", ended=timezone.now())
    owner.post(url(web_dom, "key"), {})
    assert not web_dom.ssh_keys.exists()


def test_a_hostile_key_name_is_escaped(owner, dominig, web_dom):
    key_of(dominig, "<img src=x>")
    text = owner.get(f"/machines/{web_dom.pk}/").content.decode()
    assert "<img src=x>" not in text
    assert "&lt;img src=x&gt;" in text


def test_the_root_password_is_shown_once_and_kept_nowhere(owner, web_dom):
    answer = owner.post(url(web_dom, "password"))
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    shown = re.search(r'<code id="password">([^<]+)</code>', answer.content.decode())
    assert shown
    password = shown[1]
    assert len(password) >= 16
    assert password not in owner.get(f"/machines/{web_dom.pk}/").content.decode()
    assert password not in owner.get("/machines/mine/").content.decode()
    job = Job.objects.get()
    kept = [str(vars(row)) for model in (Job, JobSecret, Entry, Machine) for row in model.objects.all()]
    assert not [row for row in kept if password in row]
    assert password not in str(dict(owner.session))
    assert JobSecret.objects.get(job=job).value.startswith("$6$")


def test_no_password_is_made_while_a_job_is_open(owner, web_dom):
    owner.post(url(web_dom, "stop"))
    answer = owner.post(url(web_dom, "password"), follow=True)
    assert "is still open for WEB-Dom" in answer.content.decode()
    assert 'id="password">' not in re.sub(r"<button[^>]*>", "", answer.content.decode())


def test_under_xen_keys_and_password_are_offered_while_it_is_off(owner, web_dom):
    host = web_dom.host
    host.facts = {**host.facts, "libvirt": "xen:///system"}
    host.save()
    for observed, offered in ((Machine.Observed.RUNNING, False), (Machine.Observed.STOPPED, True)):
        Machine.objects.filter(pk=web_dom.pk).update(observed=observed)
        page = owner.get(f"/machines/{web_dom.pk}/").content.decode()
        assert ('id="password"' in page) is offered
        assert (f"/machines/{web_dom.pk}/keys/" in page) is offered
        assert ("Log in on its console, or stop it first" in page) is not offered
