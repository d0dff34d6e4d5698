"""`fridu vpn`: peers listed, added, revoked, and what is refused."""

from __future__ import annotations

import pytest

from audit.models import Entry
from hosts.models import Job
from zones.models import VpnPeer

pytestmark = pytest.mark.django_db


@pytest.fixture
def managed(host):
    host.facts["vpn"] |= {"clients": "/etc/openvpn/fridu-clients", "management": "/run/openvpn/fridu.sock"}
    host.save()
    return host


def test_a_peer_is_added_for_oneself_unless_somebody_is_named(run, managed, dominig):
    code, said = run("vpn add fulup-laptop --reason travelling")
    assert (code, VpnPeer.objects.get().user.username) == (0, "fulup")
    assert "fulup-laptop of fulup gets 10.10.95.2." in said
    assert "Add fulup-laptop to the admin VPN: done." in said
    assert Job.objects.get().reason == "travelling"
    assert run("vpn add dominig-laptop user=dominig address=10.10.95.9")[0] == 0
    assert VpnPeer.objects.get(user=dominig).address == "10.10.95.9"


def test_the_peers_are_listed(run, managed):
    run("vpn add fulup-laptop")
    code, said = run("vpn")
    assert code == 0
    assert "tun0 10.10.95.0/24 on ns3100421" in said
    assert "10.10.95.2       fulup-laptop" in said


def test_a_peer_is_revoked(run, managed):
    run("vpn add fulup-laptop")
    code, said = run("vpn revoke fulup-laptop")
    assert code == 0
    assert "Revoke fulup-laptop: done." in said
    assert VpnPeer.objects.get().revoked
    assert run("vpn write")[0] == 0


def test_where_fridu_may_not_write_the_line_to_type_is_said(run, host):
    code, said = run("vpn add fulup-laptop")
    assert code == 0
    assert "echo 'ifconfig-push 10.10.95.2 255.255.255.0' > /etc/openvpn/clients/fulup-laptop" in said
    assert "echo disable" in run("vpn revoke fulup-laptop")[1]


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        ("vpn add", 2, "needs a peer's name"),
        ("vpn revoke", 2, "needs a peer's name"),
        ("vpn dance", 2, "It takes add, revoke, write, or nothing more"),
        ("vpn add x ip=1.2.3.4", 2, "knows no ip. It takes user, address"),
        ("vpn revoke x user=fulup", 2, "takes no user="),
        ("vpn add x user=nobody", 1, "no user called nobody"),
        ("vpn add X", 1, "small letters"),
        ("vpn add x address=10.10.1.2", 1, "not in the admin VPN (10.10.95.0/24). Use 10.10.95.2."),
        ("vpn revoke x", 1, "no peer called x"),
    ],
)
def test_a_wrong_line_is_one_sentence_and_adds_nothing(run, managed, line, code, says):
    ended, said = run(line)
    assert ended == code
    assert says in said
    assert not VpnPeer.objects.exists()


def test_an_owner_is_refused_and_the_log_knows(run, managed, dominig):
    run("vpn add fulup-laptop")
    for line in ("vpn", "vpn add mine", "vpn revoke fulup-laptop"):
        assert run(f"{line} --as dominig")[0] == 1
    refused = Entry.objects.filter(outcome="refused", actor_name="dominig")
    assert {entry.action for entry in refused} == {"vpn.view", "vpn.change"}
    assert VpnPeer.objects.get().revoked is None
