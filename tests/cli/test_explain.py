"""`fridu explain` and `fridu reach`."""

from __future__ import annotations

import pytest

from firewall.models import PublishedService

pytestmark = pytest.mark.django_db


@pytest.fixture
def published(host, zones, web_dom):
    external = zones["zDominig"].external
    return PublishedService.objects.create(
        host=host,
        name="DomiWEB",
        zone=zones["zDominig"],
        external=external,
        proto="tcp",
        port=80,
        port_last=80,
        target=web_dom.address,
        target_port=8080,
    )


def test_yes_ends_with_0_and_names_what_decides(run, published):
    code, said = run("explain internet 87.98.130.56 tcp 80 --verbose")
    assert code == 0
    assert "Yes." in said
    assert "published as DomiWEB: it goes to WEB-Dom (10.10.2.2), port 8080." in said
    assert "-A fr-dn-87.98.130.56" in said


def test_no_ends_with_1(run, published):
    code, said = run("explain WEB-Dom 10.10.1.9 udp 53")
    assert code == 1
    assert "No." in said
    assert "The policy does not let zDominig open udp 53 to zFulup." in said


def test_a_probe_is_followed(run, published):
    _, said = run("explain internet WEB-Dom ping probe=yes")
    assert "Try a ping of 10.10.2.2 from internet" in said
    assert "Tried:" in said


def test_nonsense_is_a_sentence(run, published):
    assert "No machine is called Nobody" in run("explain Nobody WEB-Dom tcp 80")[1]
    assert "fridu explain internet WEB-Dom tcp 80" in run("explain internet")[1]


def test_reach_lists_who_reaches_whom(run, published):
    code, said = run("reach")
    assert code == 0
    assert "internet → zDominig         published DomiWEB (tcp 80 of 87.98.130.56)" in said


def test_an_owner_may_not_ask(run, published, dominig):
    code, _ = run("explain internet WEB-Dom tcp 80 --as dominig")
    assert code == 1
