"""The admin VPN's pages, as the operator and others see them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from audit.log import Actor
from hosts.models import Job
from zones import vpn
from zones.models import VpnPeer

pytestmark = pytest.mark.django_db
CLIENTS = "/etc/openvpn/fridu-clients"


@pytest.fixture
def as_fulup(client, fulup):
    client.force_login(fulup)
    return client


@pytest.fixture
def peer(host, dominig):
    return VpnPeer.objects.create(host=host, user=dominig, name="dominig-laptop", address="10.10.95.2")


@pytest.fixture
def managed(host):
    host.facts["vpn"] |= {"clients": CLIENTS, "management": "/run/openvpn/fridu.sock"}
    host.save()
    return host


def text(answer) -> str:
    return answer.content.decode()


def reports(host, **report) -> None:
    """The host is seen, later than anything was wished, with that report of its OpenVPN."""
    host.seen_at = timezone.now() + timedelta(minutes=1)
    host.figures = {"vpn": {"listed": {}, "clients": {}, **report}}
    host.save()


def test_the_list_shows_each_peer_with_address_user_and_session(as_fulup, managed, peer):
    session = {"origin": "203.0.113.7:51135", "address": "10.10.95.2", "since": 1795372825}
    reports(managed, listed={"dominig-laptop": "10.10.95.2"}, clients={"dominig-laptop": session})
    page = text(as_fulup.get(reverse("zones:vpn")))
    for part in ("dominig-laptop", "of dominig", "10.10.95.2", "203.0.113.7", "tun0", "10.10.95.0/24", CLIENTS):
        assert part in page
    assert 'class="st run">in<' in page
    assert "Write the list" not in page


def test_a_list_that_differs_offers_to_be_written(as_fulup, managed, peer):
    reports(managed)
    assert "Write the list" in text(as_fulup.get(reverse("zones:vpn")))
    answer = as_fulup.post(reverse("zones:vpn_write", args=[managed.pk]))
    job = Job.objects.get()
    assert answer.url == reverse("hosts:job", args=[job.pk])
    assert "Write the list" not in text(as_fulup.get(reverse("zones:vpn")))
    assert reverse("zones:vpn") in text(as_fulup.get(answer.url))


def test_names_only_the_host_knows_can_be_taken_over(as_fulup, managed, peer):
    reports(managed, listed={"brendan-box": "10.10.95.9", "odd": ""})
    page = text(as_fulup.get(reverse("zones:vpn")))
    assert "On the host only" in page
    form = text(as_fulup.get(reverse("zones:vpn_add"), {"name": "brendan-box", "address": "10.10.95.9"}))
    assert 'value="brendan-box"' in form
    assert 'value="10.10.95.9"' in form


def test_a_server_that_does_not_answer_is_said(as_fulup, managed, peer):
    reports(managed, clients=None)
    assert "nobody knows who is in" in text(as_fulup.get(reverse("zones:vpn")))


def test_a_revoked_peer_that_is_in_all_the_same_needs_somebody(as_fulup, managed, peer):
    VpnPeer.objects.update(revoked=timezone.now())
    session = {"origin": "203.0.113.7:51135", "address": "10.10.95.2", "since": 1795372825}
    reports(managed, listed={"dominig-laptop": "disabled"}, clients={"dominig-laptop": session})
    assert "revoked, still in" in text(as_fulup.get(reverse("zones:vpn")))
    assert "dominig-laptop is revoked and still in" in text(as_fulup.get(reverse("overview")))


def test_without_a_list_of_its_own_the_lines_to_type_stand_there(as_fulup, host, peer):
    page = text(as_fulup.get(reverse("zones:vpn")))
    assert "echo &#x27;ifconfig-push 10.10.95.2 255.255.255.0&#x27; &gt; /etc/openvpn/clients/dominig-laptop" in page
    answer = as_fulup.post(reverse("zones:vpn_revoke", args=[peer.pk]), follow=True)
    assert "Now type its line" in text(answer)
    assert "echo disable &gt;" in text(answer)


def test_without_an_admin_vpn_the_page_says_what_it_needs(as_fulup, host):
    host.facts["vpn"] = {}
    host.save()
    assert "vpn_interface" in text(as_fulup.get(reverse("zones:vpn")))


def test_adding_one_leads_to_its_job(as_fulup, managed, dominig):
    url = reverse("zones:vpn_add")
    assert 'value="10.10.95.2"' in text(as_fulup.get(url))
    asked = {"host": managed.pk, "user": dominig.pk, "name": "dominig-laptop", "address": ""}
    answer = as_fulup.post(url, asked)
    assert answer.url == reverse("hosts:job", args=[Job.objects.get(kind="vpn.change").pk])
    assert VpnPeer.objects.get().address == "10.10.95.2"


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ({"name": ""}, "Give it its certificate’s common name"),
        ({"name": "Dominig Laptop"}, "Use 1 to 39 small letters"),
        ({"name": "d" * 50}, "at most 39 characters; this one has 50"),
        ({"address": "10.10.1.2"}, "not in the admin VPN"),
        ({"address": "x" * 20}, "at most 15 characters"),
        ({"user": "99999"}, "Select a valid choice"),
    ],
)
def test_what_is_wrong_is_said_beside_it_and_stays_typed(as_fulup, managed, dominig, wish, says):
    asked = {"host": managed.pk, "user": dominig.pk, "name": "dominig-laptop", "address": "", **wish}
    answer = as_fulup.post(reverse("zones:vpn_add"), asked)
    assert answer.status_code == 422
    assert says in text(answer)
    assert not VpnPeer.objects.exists()


def test_revoking_asks_first_and_names_what_is_lost(as_fulup, managed, peer):
    url = reverse("zones:vpn_revoke", args=[peer.pk])
    assert "is put out at once and never gets in again" in text(as_fulup.get(url))
    assert VpnPeer.objects.get().revoked is None
    answer = as_fulup.post(url, {"reason": "lost"})
    job = Job.objects.get()
    assert (answer.url, job.reason) == (reverse("hosts:job", args=[job.pk]), "lost")
    assert as_fulup.post(url).status_code == 409
    assert "was revoked" in text(as_fulup.get(url))


def test_ones_own_account_shows_ones_own_peers(client, host, peer, dominig, brendan):
    client.force_login(dominig)
    page = text(client.get(reverse("accounts:account")))
    assert "dominig-laptop" in page
    assert reverse("zones:vpn") not in page  # no door that would be refused
    client.force_login(brendan)
    assert "Admin VPN" not in text(client.get(reverse("accounts:account")))


def test_the_page_of_a_user_shows_the_peers_that_end_with_the_user(as_fulup, host, peer, dominig):
    page = text(as_fulup.get(reverse("accounts:person", args=[dominig.pk])))
    assert "dominig-laptop" in page
    assert "Devices that end with the user" in page


def test_the_search_finds_a_peer(as_fulup, host, peer, dominig):
    for words in ("dominig-lap", "10.10.95.2"):
        assert as_fulup.get(reverse("search"), {"q": words}).url == reverse("zones:vpn")
    VpnPeer.objects.create(host=host, user=dominig, name="dominig-phone", address="10.10.95.3")
    assert "peer of the admin VPN, 10.10.95.3, of dominig" in text(as_fulup.get(reverse("search"), {"q": "dominig-"}))


def test_the_search_tells_others_nothing_of_peers(client, host, peer, brendan):
    client.force_login(brendan)
    assert "admin VPN" not in text(client.get(reverse("search"), {"q": "dominig-laptop"}))


def test_the_list_takes_the_same_few_queries_for_many_peers(
    as_fulup, managed, dominig, fulup, django_assert_max_num_queries
):
    for number in range(40):
        vpn.peer_add(Actor(id=fulup.pk, name="fulup"), managed, user=dominig, name=f"d-{number}")
    with django_assert_max_num_queries(8):
        answer = as_fulup.get(reverse("zones:vpn"), headers={"HX-Request": "true", "HX-Target": "rows"})
    assert "<html" not in text(answer)
