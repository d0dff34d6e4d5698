"""The owner's page."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from hosts.models import Job
from machines.models import Grant, Machine

URL = "/machines/mine/"
CARDS = {"HX-Request": "true", "HX-Target": "cards"}


def more(like: Machine, count: int, owner) -> list[Machine]:
    return [
        Machine.objects.create(
            host=like.host,
            zone=like.zone,
            owner=owner,
            name=f"more-{n}",
            address=f"10.10.2.{50 + n}",
            mac=f"aa:bb:cc:00:00:{n:02x}",
            vif=f"frm{n}",
            uid_base=65536 * (100 + n),
            memory_mib=64,
            root_mib=128,
            image=like.image,
            observed="running",
            observed_at=timezone.now(),
            built_at=timezone.now(),
        )
        for n in range(count)
    ]


@pytest.fixture
def owner(client, dominig):
    client.force_login(dominig)
    return client


def test_it_shows_his_machines_and_only_those(owner, web_dom, brendan):
    (strange,) = more(web_dom, 1, brendan.own)
    text = owner.get(URL).content.decode()
    assert "WEB-Dom" in text
    assert strange.name not in text


def test_a_machine_lent_to_him_says_whose_it_is_and_what_he_may(owner, dominig, web_dom, brendan):
    (lent,) = more(web_dom, 1, brendan.own)
    Grant.objects.create(machine=lent, user=dominig, verbs=",view,power,", expires=timezone.now() + timedelta(days=1))
    Machine.objects.filter(pk=lent.pk).update(name="A-first")
    text = owner.get(URL).content.decode()
    assert text.index("WEB-Dom") < text.index("A-first")
    assert "Belongs to brendan, who lets you start, stop and restart it." in text
    assert f"/machines/{lent.pk}/stop/" in text


def test_the_operators_menu_is_not_there(owner, web_dom):
    text = owner.get(URL).content.decode()
    for door in ("/firewall/", "/zones/", "/hosts/", "/people/", "/audit/", 'href="/machines/"', "/machines/new/"):
        assert door not in text


def test_each_button_there_is_accepted(owner, web_dom):
    text = owner.get(URL).content.decode()
    for name in ("stop", "restart"):
        assert f'action="/machines/{web_dom.pk}/{name}/"' in text
        assert owner.post(f"/machines/{web_dom.pk}/{name}/").status_code == 302
        assert Job.objects.filter(state="planning").count() == 1
        Job.objects.update(state="done", ended=timezone.now())
    assert f'action="/machines/{web_dom.pk}/start/"' not in text


def test_without_a_machine_it_says_how_one_comes(client, brendan):
    client.force_login(brendan)
    assert "No machine yet" in client.get(URL).content.decode()


def test_the_cards_are_sent_again_only_when_they_read_differently(owner, web_dom):
    seen = owner.get(URL, headers=CARDS).context["digest"]
    assert owner.get(URL, {"seen": seen}, headers=CARDS).status_code == 204
    Machine.objects.update(observed="stopped")
    assert "stopped by itself" in owner.get(URL, {"seen": seen}, headers=CARDS).content.decode()


def test_it_takes_the_same_queries_for_one_machine_and_for_twenty(owner, dominig, web_dom):
    def queries() -> int:
        with CaptureQueriesContext(connection) as seen:
            owner.get(URL)
        return len(seen)

    one = queries()
    more(web_dom, 19, dominig.own)
    assert queries() == one


def test_a_job_that_failed_is_told_on_the_card(owner, dominig, web_dom):
    Job.objects.create(
        kind="machine.start",
        host=web_dom.host,
        title="Start WEB-Dom",
        target_kind="machine",
        target_id=web_dom.pk,
        target_text="WEB-Dom",
        actor=dominig,
        state="failed",
        message="The bridge is away.",
        ended=timezone.now(),
    )
    assert "The bridge is away." in owner.get(URL).content.decode()


def test_an_operator_is_led_to_the_list(client, fulup, web_dom):
    client.force_login(fulup)
    assert client.get(URL)["Location"] == "/machines/"


def test_who_is_not_signed_in_is_led_to_sign_in(client, db):
    assert client.get(URL).status_code == 302
