"""The admin VPN's pages in every state a peer can be in: accessible, nothing sideways, quiet, and usable."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import expect

from hosts.models import Job
from tests.browser.faces import every_face
from zones.models import VpnPeer

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def peers(isp, fulup, dominig):
    """Peers in, out, not listed, revoked, revoked and still in; a name only the host knows."""
    now = timezone.now()
    isp.facts["vpn"] |= {"clients": "/etc/openvpn/fridu-clients", "management": "/run/openvpn/fridu.sock"}
    rows = (
        ("fulup-laptop", fulup),
        ("fulup-phone", fulup),
        ("dominig-laptop", dominig),
        ("dominig-old-laptop", dominig),
    )
    made = [VpnPeer(host=isp, user=user, name=name, address=f"10.10.95.{n}") for n, (name, user) in enumerate(rows, 2)]
    made.append(VpnPeer(host=isp, user=dominig, name="d" * 39, address="10.10.95.9"))
    for peer in made[-2:]:
        peer.revoked = now - timedelta(hours=3)
    VpnPeer.objects.bulk_create(made)
    VpnPeer.objects.update(created=now - timedelta(days=40))
    session = {"origin": "203.0.113.7:51135", "address": "", "since": int(now.timestamp()) - 7200}
    listed = {
        "fulup-laptop": "10.10.95.2",
        "fulup-phone": "10.10.95.3",
        "d" * 39: "disabled",
        "brendan-box": "10.10.95.77",
    }
    isp.figures = {"vpn": {"listed": listed, "clients": {"fulup-laptop": session, "d" * 39: session}}}
    isp.seen_at = now
    isp.save()
    return made


def test_its_pages_are_accessible_and_fit(page_as, peers, fulup, troubles):
    page = page_as(fulup)
    paths = {
        "list": reverse("zones:vpn"),
        "add": reverse("zones:vpn_add"),
        "revoke": reverse("zones:vpn_revoke", args=[peers[0].pk]),
        "person": reverse("accounts:person", args=[fulup.pk]),
        "account": reverse("accounts:account"),
    }
    wrong = {}
    for name, path in paths.items():
        page.goto(path)
        if found := every_face(page, f"vpn-{name}"):
            wrong[name] = found
    assert not wrong
    assert not troubles


def test_a_peer_is_added_and_revoked_by_clicking(page_as, peers, fulup):
    page = page_as(fulup)
    page.goto(reverse("zones:list"))
    page.get_by_role("link", name="Admin VPN").click()
    page.get_by_role("link", name="Add a peer").click()
    page.get_by_label("Name").fill("Fulup Tablet")
    page.get_by_role("button", name="Add peer").click()
    expect(page.get_by_text("Use 1 to 39 small letters")).to_be_visible()
    page.get_by_label("Name").fill("fulup-tablet")
    page.get_by_role("button", name="Add peer").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Add fulup-tablet to the admin VPN")
    page.get_by_role("link", name="To fulup-tablet").click()
    page.get_by_role("link", name="Revoke fulup-phone").click()
    page.get_by_label("Why").fill("lost")
    page.get_by_role("button", name="Revoke fulup-phone").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Revoke fulup-phone")
    assert Job.objects.get(title="Revoke fulup-phone").reason == "lost"


def test_it_works_without_script(page_as, peers, fulup):
    page = page_as(fulup, script=False)
    page.goto(reverse("zones:vpn"))
    page.get_by_role("button", name="Write the list").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Write the admin VPN’s list")
