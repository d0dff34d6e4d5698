"""The console's page, its ticket, its line, and who may: without a host."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.cache import cache
from django.urls import reverse
from django.utils import timezone

from accounts.models import CacheRow
from audit.models import Entry
from machines.console import Upgraded, Visit, may_still, redeem, ticket
from machines.models import Grant

pytestmark = pytest.mark.django_db
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


@pytest.fixture
def broker(settings, monkeypatch):
    """A panel that has all a console needs."""
    settings.CELERY_BROKER_URL = "redis+socket:///run/fridu/redis.sock"
    monkeypatch.setattr("machines.console_views.finders.find", lambda path: path)


def opened(client, machine, word, **more):
    headers = {
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": KEY,
        "Origin": "http://testserver",
        "Sec-WebSocket-Protocol": f"fridu.console, {word}",
        **more,
    }
    return client.get(reverse("machines:console_line", args=[machine.pk]), headers=headers)


def a_ticket(client, machine):
    answer = client.post(reverse("machines:console_ticket", args=[machine.pk]))
    return answer.json()["ticket"]


def test_a_ticket_holds_once(dominig, web_dom):
    word = ticket(dominig, web_dom, "s")
    assert redeem(word, dominig, web_dom, "s")
    assert not redeem(word, dominig, web_dom, "s")


def test_of_two_who_come_with_the_same_ticket_one_has_it(dominig, web_dom, monkeypatch):
    word, seen = ticket(dominig, web_dom, "s"), []
    get = cache.get

    def both_look_first(*args, **more):
        found = get(*args, **more)
        if not seen:
            seen.append("the other")
            assert redeem(word, dominig, web_dom, "s")
        return found

    monkeypatch.setattr(cache, "get", both_look_first)
    assert not redeem(word, dominig, web_dom, "s")


def test_a_ticket_holds_for_thirty_seconds(dominig, web_dom):
    word = ticket(dominig, web_dom, "s")
    left = CacheRow.objects.get().expires - timezone.now()
    assert timedelta(seconds=28) < left <= timedelta(seconds=30)
    CacheRow.objects.update(expires=timezone.now() - timedelta(seconds=1))
    assert not redeem(word, dominig, web_dom, "s")


def test_a_ticket_is_not_kept_in_words(dominig, web_dom):
    word = ticket(dominig, web_dom, "s")
    assert word not in repr(CacheRow.objects.values().get())


def test_a_ticket_is_for_its_user_session_and_machine_alone_and_spent_by_a_wrong_try(dominig, fulup, web_dom):
    from machines.models import Machine

    other = Machine.objects.get(pk=web_dom.pk)
    other.pk = web_dom.pk + 1
    for who, where, session in ((fulup, web_dom, "s"), (dominig, other, "s"), (dominig, web_dom, "t")):
        word = ticket(dominig, web_dom, "s")
        assert not redeem(word, who, where, session)
        assert not redeem(word, dominig, web_dom, "s")


def test_the_line_opens_with_a_ticket_and_is_in_the_log(client, dominig, web_dom):
    client.force_login(dominig)
    answer = opened(client, web_dom, a_ticket(client, web_dom))
    assert isinstance(answer, Upgraded)
    visit = answer.visit
    assert (visit.user, visit.machine, visit.uuid) == (dominig.pk, web_dom.pk, str(web_dom.uuid))
    entry = Entry.objects.get(action="machine.console")
    assert (entry.actor_name, entry.object_text) == ("dominig", "WEB-Dom")


@pytest.mark.parametrize(
    "spoil",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://testserver.evil.example"},
        {"Sec-WebSocket-Protocol": "fridu.console"},
        {"Sec-WebSocket-Protocol": "fridu.console, wrong"},
    ],
)
def test_the_line_stays_closed_to_other_pages_and_without_a_ticket(client, dominig, web_dom, spoil):
    client.force_login(dominig)
    assert opened(client, web_dom, a_ticket(client, web_dom), **spoil).status_code == 403


def test_the_line_of_another_session_of_the_same_user_stays_closed(client, dominig, web_dom):
    from django.test import Client

    client.force_login(dominig)
    word, second = a_ticket(client, web_dom), Client()
    second.force_login(dominig)
    assert opened(second, web_dom, word).status_code == 403


@pytest.mark.parametrize("more", [{"Upgrade": "h2c"}, {"Sec-WebSocket-Key": "short"}, {"Sec-WebSocket-Key": ""}])
def test_what_is_no_websocket_is_told_to_open_the_page(client, dominig, web_dom, more):
    client.force_login(dominig)
    assert opened(client, web_dom, a_ticket(client, web_dom), **more).status_code == 426


@pytest.mark.parametrize(("verbs", "status"), [(",view,console,", 200), (",view,power,", 403), ("", 404)])
def test_a_grant_opens_it_only_with_its_verb(client, brendan, web_dom, broker, verbs, status):
    if verbs:
        Grant.objects.create(machine=web_dom, user=brendan, verbs=verbs)
    client.force_login(brendan)
    assert client.get(reverse("machines:console", args=[web_dom.pk])).status_code == status
    assert client.post(reverse("machines:console_ticket", args=[web_dom.pk])).status_code == status


def test_a_ticket_by_get_is_refused(client, dominig, web_dom):
    client.force_login(dominig)
    assert client.get(reverse("machines:console_ticket", args=[web_dom.pk])).status_code == 405


def test_a_machine_that_is_off_has_no_ticket_and_says_why(client, dominig, web_dom):
    web_dom.observed = "stopped"
    web_dom.save()
    client.force_login(dominig)
    answer = client.post(reverse("machines:console_ticket", args=[web_dom.pk]))
    assert (answer.status_code, "Start it first" in answer.json()["say"]) == (409, True)


def test_an_open_console_lasts_as_long_as_its_session_and_the_right(client, brendan, web_dom):
    grant = Grant.objects.create(machine=web_dom, user=brendan, verbs=",view,console,")
    client.force_login(brendan)
    key = client.session.session_key
    visit = Visit(
        viewer="v", user=brendan.pk, name="brendan", machine=web_dom.pk, uuid=str(web_dom.uuid), host="h", session=key
    )
    assert may_still(visit)
    grant.delete()
    assert not may_still(visit)
    Grant.objects.create(machine=web_dom, user=brendan, verbs=",view,console,")
    assert may_still(visit)
    brendan.set_password("another correct horse")
    brendan.save()
    assert not may_still(visit)
    assert not may_still(Visit(**{**visit.__dict__, "session": "gone"}))


def test_the_page_allows_styles_by_a_nonce_and_stays_strict(client, dominig, web_dom, broker):
    client.force_login(dominig)
    answer = client.get(reverse("machines:console", args=[web_dom.pk]))
    policy = answer["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "script-src 'self';" in policy + ";"
    nonce = policy.partition("'nonce-")[2].partition("'")[0]
    assert len(nonce) > 15
    assert f'data-nonce="{nonce}"' in answer.content.decode()
    other = client.get(reverse("machines:detail", args=[web_dom.pk]))["Content-Security-Policy"]
    assert "nonce" not in other


def test_the_page_says_how_else_to_get_in_and_what_is_missing(client, fulup, web_dom, settings):
    settings.CELERY_BROKER_URL = "memory://"
    client.force_login(fulup)
    text = client.get(reverse("machines:console", args=[web_dom.pk])).content.decode()
    assert "virsh console WEB-Dom" in text
    assert "This panel has no Redis" in text


def test_the_machines_page_leads_to_it_while_it_runs(client, dominig, web_dom):
    client.force_login(dominig)
    way = reverse("machines:console", args=[web_dom.pk])
    assert way in client.get(reverse("machines:detail", args=[web_dom.pk])).content.decode()
    web_dom.observed = "stopped"
    web_dom.save()
    assert way not in client.get(reverse("machines:detail", args=[web_dom.pk])).content.decode()
