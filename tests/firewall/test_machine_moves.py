"""One machine gets another address: what is published of it follows, what is in force keeps the old one taken."""

from __future__ import annotations

import pytest

from firewall import moves, rows
from firewall.models import CustomRule, ZoneRestriction
from machines import following
from machines.addresses import complaint, free_addresses

pytestmark = pytest.mark.django_db


@pytest.fixture
def move(zones):
    return following.one_move(zones["zFulup"], "10.10.2.2", "10.10.1.7")


def test_only_what_names_the_address_moves(move, web, zones):
    ZoneRestriction.objects.create(
        zone=zones["zFulup"], name="Own", direction="out", proto="tcp", port=1, port_last=1, address="10.10.2.2/32"
    )
    ZoneRestriction.objects.create(
        zone=zones["zFulup"], name="All", direction="out", proto="tcp", port=1, port_last=1, address="10.10.2.0/24"
    )
    shown = [(row.kind, row.before, row.after) for row in following.preview(move).rows]
    assert shown == [
        ("published service", f"10.10.2.2:{web.target_port}", f"10.10.1.7:{web.target_port}"),
        ("restriction", "10.10.2.2/32", "10.10.1.7/32"),
    ]


def test_an_own_rule_that_names_it_is_told_and_never_rewritten(move, web, fulup, host):
    CustomRule.objects.create(
        host=host, place="before-forwarding", rule="-s 10.10.2.2 -j DROP", reason="spam", author=fulup
    )
    (own,) = [row for row in following.preview(move).rows if row.kind == "own rule"]
    assert "change it yourself" in own.note
    following.follow(move)
    assert CustomRule.objects.get().rule == "-s 10.10.2.2 -j DROP"


def test_services_follow_with_their_zone_and_wait_for_the_next_apply(move, web, zones):
    following.follow(move)
    web.refresh_from_db()
    assert (web.target, web.zone, web.live) == ("10.10.1.7", zones["zFulup"], False)


def test_while_rules_in_force_lead_to_the_former_address_nobody_else_gets_it(move, live, web, web_dom, zones, host):
    assert not list(moves.held(host)), "its machine is there still"
    following.follow(move)
    web_dom.zone, web_dom.address = zones["zFulup"], "10.10.1.7"
    web_dom.save()
    rows.forget()
    assert list(moves.held(host)) == ["10.10.2.2"]
    assert "10.10.2.2" not in free_addresses(zones["zDominig"], 9)
    assert "still leads to 10.10.2.2" in complaint(zones["zDominig"], "10.10.2.2")
    assert complaint(zones["zDominig"], "10.10.2.2", mine=web_dom, back=True) == "", "but itself, going back"
