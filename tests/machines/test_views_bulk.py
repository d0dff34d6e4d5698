"""The same for several machines: a page that names each, then one job each."""

from __future__ import annotations

import pytest
from django.utils import timezone

from hosts.models import Job
from machines.models import Grant, Machine

URL = "/machines/bulk/"


@pytest.fixture
def choir(web_dom, fulup) -> Machine:
    """fulup's machine Choir, 10.10.1.5, stopped."""
    return Machine.objects.create(
        host=web_dom.host,
        zone=web_dom.host.zones.get(name="zFulup"),
        owner=fulup.own,
        name="Choir",
        address="10.10.1.5",
        mac="aa:bb:cc:dd:01:05",
        vif="fr2",
        uid_base=65536,
        memory_mib=64,
        root_mib=128,
        image=web_dom.image,
        observed="stopped",
        wanted="stopped",
        built_at=timezone.now(),
    )


@pytest.fixture
def operator(client, fulup):
    client.force_login(fulup)
    return client


def test_the_first_page_names_each_and_does_nothing(operator, web_dom, choir):
    text = operator.post(URL, {"do": "stop", "id": [web_dom.pk, choir.pk]}).content.decode()
    assert "Stop 1 machine?" in text
    assert "WEB-Dom" in text
    assert "<b>Choir</b>: it is stopped" in text
    assert not Job.objects.exists()


def test_confirmed_it_asks_for_one_job_each(operator, web_dom, choir):
    Machine.objects.update(observed="running", wanted="running")
    wish = {"do": "reboot", "id": [web_dom.pk, choir.pk], "confirmed": "yes", "reason": "kernel"}
    text = operator.post(URL, wish, follow=True).content.decode()
    assert "Restart asked for: Choir, WEB-Dom." in text
    assert set(Job.objects.values_list("kind", "target_text", "reason")) == {
        ("machine.reboot", "WEB-Dom", "kernel"),
        ("machine.reboot", "Choir", "kernel"),
    }


def test_what_can_no_longer_be_done_is_left_out(operator, web_dom, choir):
    operator.post(URL, {"do": "start", "id": [web_dom.pk, choir.pk], "confirmed": "yes"})
    assert list(Job.objects.values_list("target_text", flat=True)) == ["Choir"]


def test_all_left_out_offers_the_way_back(operator, choir):
    text = operator.post(URL, {"do": "stop", "id": [choir.pk]}).content.decode()
    assert "Nothing to stop" in text
    assert "Back to the machines" in text


@pytest.mark.parametrize(
    "wish", [{}, {"do": "stop"}, {"do": "delete", "id": ["1"]}, {"do": "stop", "id": ["x", "9" * 40]}]
)
def test_without_a_choice_it_says_what_to_do(operator, web_dom, wish):
    text = operator.post(URL, wish, follow=True).content.decode()
    assert "Choose at least one machine" in text
    assert not Job.objects.exists()


def test_an_owner_reaches_only_his_own(client, dominig, web_dom, choir):
    Machine.objects.update(observed="running", wanted="running")
    client.force_login(dominig)
    text = client.post(URL, {"do": "stop", "id": [web_dom.pk, choir.pk]}).content.decode()
    assert "Choir" not in text
    client.post(URL, {"do": "stop", "id": [web_dom.pk, choir.pk], "confirmed": "yes"})
    assert list(Job.objects.values_list("target_text", flat=True)) == ["WEB-Dom"]


def test_a_grant_to_see_is_none_to_stop(client, brendan, web_dom):
    Grant.objects.create(machine=web_dom, user=brendan, verbs=",view,")
    client.force_login(brendan)
    client.post(URL, {"do": "stop", "id": [web_dom.pk], "confirmed": "yes"})
    assert not Job.objects.exists()


def test_it_rejects_get(operator):
    assert operator.get(URL).status_code == 405
