"""Peers of the admin VPN as wishes: what is refused beside which field, what job is asked for, who goes with whom."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.utils import timezone

from accounts.services import user_activate, user_deactivate
from audit.log import Actor
from audit.models import Entry
from dom0.errors import Refused
from dom0.host import HostConfig
from dom0.state import State
from hosts.kinds import kind_of
from hosts.models import Job
from zones import vpn
from zones.models import VpnPeer

pytestmark = pytest.mark.django_db
CLIENTS = "/etc/openvpn/fridu-clients"
CONFIG = HostConfig(
    name="ns3100421",
    libvirt="lxc:///system",
    volumes="/v",
    vpn_interface="tun0",
    vpn_address="10.10.95.38",
    vpn_network="10.10.95.0/24",
    vpn_clients=CLIENTS,
)


@pytest.fixture
def actor(fulup):
    return Actor(id=fulup.pk, name="fulup")


@pytest.fixture
def managed(host):
    """The host, whose OpenVPN's list is Fridu's to write and which tells who is in."""
    host.facts["vpn"] |= {"clients": CLIENTS, "management": "/run/openvpn/fridu.sock"}
    host.save()
    return host


def add(actor, host, user, name="dominig-laptop", **wish):
    return vpn.peer_add(actor, host, user=user, name=name, **wish)[0]


def test_a_peer_gets_the_next_free_address_and_its_job_is_asked(actor, managed, dominig):
    peer, job = vpn.peer_add(actor, managed, user=dominig, name="dominig-laptop", reason="for the choir")
    assert (peer.user, peer.address, peer.revoked) == (dominig, "10.10.95.2", None)
    assert (job.kind, job.title, job.reason) == ("vpn.change", "Add dominig-laptop to the admin VPN", "for the choir")
    assert add(actor, managed, dominig, "dominig-phone").address == "10.10.95.3"
    plan = kind_of("vpn.change").plan(job, State(), CONFIG)
    assert [step.action.path for step in plan.steps] == [f"{CLIENTS}/dominig-laptop"]


def test_the_hosts_own_and_former_addresses_are_not_offered(actor, managed, dominig):
    for number in range(36):
        peer = add(actor, managed, dominig, f"d-{number}")
    assert peer.address == "10.10.95.37"
    vpn.peer_revoke(actor, peer)
    assert vpn.free_address(managed) == "10.10.95.39"


@pytest.mark.parametrize(
    ("field", "wish", "says"),
    [
        ("name", {"name": "Dominig"}, "small letters"),
        ("name", {"name": "d\nisable"}, "small letters"),
        ("name", {"name": "../x"}, "small letters"),
        ("name", {"name": "d" * 40}, "small letters"),
        ("name", {"name": "fulup-laptop"}, "is a peer of fulup already. Use another name, such as fulup-laptop-2."),
        ("name", {"name": "fulup-phone"}, "stays shut out. Use another name, such as fulup-phone-2."),
        ("address", {"address": "10.10.95.2"}, "fulup-laptop has 10.10.95.2. Use 10.10.95.4."),
        ("address", {"address": "10.10.95.38"}, "host's own address"),
        ("address", {"address": "10.10.95.0"}, "network's own"),
        ("address", {"address": "10.10.95.255"}, "broadcast"),
        ("address", {"address": "10.10.1.2"}, "not in the admin VPN (10.10.95.0/24). Use 10.10.95.4."),
        ("address", {"address": "10.10.95"}, "not an IPv4 address. Use 10.10.95.4."),
        ("address", {"address": "fe80::1"}, "not an IPv4 address"),
    ],
)
def test_bad_input_is_refused_beside_its_field_and_nothing_is_added(actor, managed, fulup, dominig, field, wish, says):
    add(actor, managed, fulup, "fulup-laptop")
    vpn.peer_revoke(actor, add(actor, managed, fulup, "fulup-phone"))
    jobs = Job.objects.count()
    with pytest.raises(ValidationError) as error:
        add(actor, managed, dominig, **wish)
    assert says in " ".join(error.value.message_dict[field])
    assert (VpnPeer.objects.count(), Job.objects.count()) == (2, jobs)


def test_who_is_shut_out_of_the_panel_gets_no_peer(actor, managed, dominig):
    dominig.is_active = False
    dominig.save()
    with pytest.raises(ValidationError, match="Let dominig in first"):
        add(actor, managed, dominig)


def test_a_full_network_says_so(actor, managed, dominig):
    managed.facts["vpn"]["network"] = "10.10.95.36/30"
    managed.save()
    assert add(actor, managed, dominig, "dominig-phone").address == "10.10.95.37"
    with pytest.raises(ValidationError) as error:
        add(actor, managed, dominig)
    assert "Every address of 10.10.95.36/30 is taken" in error.value.message_dict["address"][0]


def test_a_host_without_an_admin_vpn_says_what_it_needs(actor, host, dominig):
    host.facts["vpn"] = {"interface": "", "address": "", "network": ""}
    host.save()
    with pytest.raises(Refused, match="has no admin VPN"):
        add(actor, host, dominig)


def test_an_interface_of_wireguard_is_as_good(actor, managed, dominig):
    managed.facts["vpn"]["interface"] = "wg0"
    managed.save()
    assert add(actor, managed, dominig).address == "10.10.95.2"


def test_only_operators_add_and_revoke(managed, actor, dominig, agnes):
    peer = add(actor, managed, dominig)
    for user in (dominig, agnes):
        other = Actor(id=user.pk, name=user.username)
        with pytest.raises(PermissionDenied):
            add(other, managed, dominig, "mine")
        with pytest.raises(PermissionDenied):
            vpn.peer_revoke(other, peer)
        with pytest.raises(PermissionDenied):
            vpn.list_write(other, managed)


def test_a_revocation_does_not_wait_for_the_job_that_added_the_peer(actor, managed, dominig):
    peer, adding = vpn.peer_add(actor, managed, user=dominig, name="dominig-laptop")
    job = vpn.peer_revoke(actor, peer)
    assert adding.is_open
    assert job.title == "Revoke dominig-laptop"
    plan = kind_of("vpn.change").plan(job, State(), CONFIG)
    assert plan.steps[0].action.content.endswith("\ndisable\n")
    # Whichever runs first, both write the same: the row is the wish.
    assert kind_of("vpn.change").plan(adding, State(), CONFIG) == plan


def test_a_peer_is_revoked_once(actor, managed, dominig):
    peer = add(actor, managed, dominig)
    vpn.peer_revoke(actor, peer)
    with pytest.raises(Refused, match="revoked already"):
        vpn.peer_revoke(actor, peer)


def test_a_revoked_peers_address_goes_to_another_only_where_openvpn_says_who_is_in(actor, managed, dominig):
    vpn.peer_revoke(actor, add(actor, managed, dominig))
    managed.facts["vpn"]["management"] = ""
    managed.save()
    with pytest.raises(ValidationError, match="may still be in"):
        add(actor, managed, dominig, "other", address="10.10.95.2")
    managed.facts["vpn"]["management"] = "/run/openvpn/fridu.sock"
    managed.save()
    _, job = vpn.peer_add(actor, managed, user=dominig, name="other", address="10.10.95.2")
    scope = kind_of("vpn.change").scope(job, CONFIG)
    assert set(scope.peers) == {"other 10.10.95.2", "dominig-laptop -"}


def test_a_users_peers_end_with_the_user(actor, managed, fulup, dominig):
    mine = add(actor, managed, fulup, "fulup-laptop")
    for name in ("dominig-laptop", "dominig-phone"):
        add(actor, managed, dominig, name)
    user_deactivate(actor, dominig)
    assert set(VpnPeer.objects.exclude(revoked=None).values_list("name", flat=True)) == {
        "dominig-laptop",
        "dominig-phone",
    }
    jobs = Job.objects.filter(target_kind="vpn revocation")
    assert {(job.target_text, job.reason) for job in jobs} == {
        ("dominig-laptop", "dominig was deactivated"),
        ("dominig-phone", "dominig was deactivated"),
    }
    mine.refresh_from_db()
    assert mine.revoked is None


def test_who_is_let_in_again_gets_no_peer_back(actor, managed, dominig):
    add(actor, managed, dominig)
    user_deactivate(actor, dominig)
    user_activate(actor, dominig)
    assert not VpnPeer.objects.filter(revoked=None)


def test_a_deactivation_that_fails_revokes_nothing(managed, fulup, dominig, actor):
    add(actor, managed, fulup, "fulup-laptop")
    with pytest.raises(Refused):
        user_deactivate(actor, fulup)  # oneself, and the last operator
    assert VpnPeer.objects.get().revoked is None


def test_without_a_list_to_write_no_job_is_asked_and_the_log_knows(actor, host, dominig):
    peer, job = vpn.peer_add(actor, host, user=dominig, name="dominig-laptop")
    assert job is None
    assert vpn.lines(vpn.vpn_of(host), peer) == (
        "echo 'ifconfig-push 10.10.95.2 255.255.255.0' > /etc/openvpn/clients/dominig-laptop"
    )
    assert vpn.peer_revoke(actor, peer) is None
    assert vpn.lines(vpn.vpn_of(host), peer).startswith("echo disable > ")
    said = [entry.data["revoked"] for entry in Entry.objects.filter(action="vpn.change").order_by("seq")]
    assert said == [False, True]
    with pytest.raises(Refused, match="vpn_clients"):
        vpn.list_write(actor, host)


def test_the_whole_list_is_brought_in_line(actor, managed, dominig):
    add(actor, managed, dominig, "dominig-phone")
    vpn.peer_revoke(actor, add(actor, managed, dominig))
    plan = kind_of("vpn.change").plan(vpn.list_write(actor, managed), State(), CONFIG)
    assert [step.title for step in plan.steps] == ["Keep dominig-laptop out", "Let dominig-phone in, as 10.10.95.2"]


def test_a_host_file_that_names_no_list_any_more_refuses(actor, managed, dominig):
    _, job = vpn.peer_add(actor, managed, user=dominig, name="dominig-laptop")
    bare = HostConfig(name="ns3100421", libvirt="lxc:///system", volumes="/v", vpn_network="10.10.95.0/24")
    with pytest.raises(Refused, match="names no vpn_clients"):
        kind_of("vpn.change").plan(job, State(), bare)


@pytest.mark.parametrize(
    ("report", "revoked", "says"),
    [
        ({"listed": {"dominig-laptop": "10.10.95.2"}, "clients": {}}, False, ("off", "not in")),
        ({"listed": {"dominig-laptop": "10.10.95.2"}, "clients": None}, False, ("off", "may come in")),
        ({"listed": {}, "clients": {}}, False, ("wait", "the host’s list differs")),
        ({"listed": {"dominig-laptop": "10.10.95.9"}, "clients": {}}, False, ("wait", "the host’s list differs")),
        ({"listed": {"dominig-laptop": "disabled"}, "clients": {}}, True, ("off", "revoked")),
        ({"listed": {}, "clients": {}}, True, ("wait", "the host’s list differs")),
    ],
)
def test_a_peer_stands_as_the_host_says(actor, managed, dominig, report, revoked, says):
    peer = add(actor, managed, dominig)
    if revoked:
        vpn.peer_revoke(actor, peer)
    managed.seen_at = timezone.now() + timedelta(seconds=5)
    vpn.observe(managed, State(vpn=report))
    peer = VpnPeer.objects.select_related("host").get()
    peer.host.seen_at = managed.seen_at
    (found,) = vpn.standings(managed, [peer])
    assert (found.state, found.says) == says


def test_before_the_host_was_seen_again_nothing_is_claimed(actor, managed, dominig):
    (found,) = vpn.standings(managed, [add(actor, managed, dominig)])
    assert (found.state, found.says) == ("busy", "just added")
