"""An undo leads back what was seen, once, and nothing that somebody wished for meanwhile."""

from __future__ import annotations

import pytest
from django.urls import reverse

from audit.models import Entry
from firewall import services, trials
from firewall.models import CustomRule, Revision, ZoneRestriction
from firewall.specs import Cell, Ports
from tests.firewall.pressed import held
from tests.firewall.says import in_force, kept, tried
from tests.firewall.test_views import panel as panel
from tests.firewall.test_views import text

pytestmark = pytest.mark.django_db

CELL = "?source=zFulup&target=zDominig"
RULE = {"place": "before-input", "rule": "-i eth0 -p tcp -m tcp --dport 9100 -j ACCEPT", "reason": "node exporter"}
REFUSED = "Somebody changed this meanwhile, so nothing was undone."


@pytest.fixture
def wish(zones) -> dict:
    return {
        "zone": zones["zDominig"], "name": "NOSMTP", "direction": "out", "action": "DROP", "proto": "tcp", "port": 25,
    }  # fmt: skip


def press(panel, url: str, action: str, form: dict[str, str]) -> str:
    return text(panel.post(action, form, follow=True))


def test_a_restriction_another_changed_meanwhile_stays_as_he_wished(panel, me, host, wish, web) -> None:
    services.restriction_add(me, **wish)
    in_force(me, host)
    row = ZoneRestriction.objects.get()
    services.restriction_change(me, row, **{**wish, "port": 26})
    back, page = reverse("firewall:restriction_restore", args=(row.zone_id,)), reverse("firewall:restrictions")
    form = held(panel, page, back, name="NOSMTP")
    services.restriction_change(me, row, **{**wish, "port": 27})
    before = Entry.objects.count()
    for outdated in (form, {**form, "seen": ""}, {"name": "NOSMTP"}):
        assert REFUSED in press(panel, page, back, outdated)
    assert ZoneRestriction.objects.get().port == 27
    assert Entry.objects.count() == before
    form = held(panel, page, back, name="NOSMTP")
    assert "stays as it is in force" in press(panel, page, back, form)
    assert ZoneRestriction.objects.get().port == 25
    assert REFUSED in press(panel, page, back, form), "twice is once too often"


def test_a_restriction_another_put_back_otherwise_is_not_overwritten(panel, me, host, wish, web) -> None:
    services.restriction_add(me, **wish)
    in_force(me, host)
    row = ZoneRestriction.objects.get()
    back, page = reverse("firewall:restriction_restore", args=(row.zone_id,)), reverse("firewall:restrictions")
    services.restriction_remove(me, row)
    form = held(panel, page, back, name="NOSMTP")
    services.restriction_add(me, **{**wish, "action": "REJECT"})
    assert REFUSED in press(panel, page, back, form)
    assert ZoneRestriction.objects.get().action == "REJECT"


def test_a_cell_another_changed_meanwhile_stays_as_he_wished(panel, me, host, web) -> None:
    in_force(me, host)
    page, back = reverse("firewall:policy") + CELL, reverse("firewall:cell_restore") + CELL
    services.policy_set(me, host, [Cell(source="zFulup", target="zDominig", everything=True)])
    form = held(panel, page, back)
    ports = (Ports(proto="tcp", first=80, last=80),)
    services.policy_set(me, host, [Cell(source="zFulup", target="zDominig", ports=ports)])
    assert REFUSED in press(panel, page, back, form)
    assert services.pending(host).wished.cell("zFulup", "zDominig").ports == ports
    assert "stays as it is in force" in press(panel, page, back, held(panel, page, back))
    assert services.pending(host).changes == ()


def test_a_service_another_changed_meanwhile_stays_as_he_wished(panel, me, host, web) -> None:
    in_force(me, host)
    page, back = reverse("firewall:services"), reverse("firewall:restore")
    at = {"name": "DomiWEB", "proto": "tcp", "port": 80, "external": web.external, "target": web.target}
    services.service_change(me, web, **at, target_port=99)
    form = held(panel, page, back, name="DomiWEB")
    services.service_change(me, web, **at, target_port=98)
    assert REFUSED in press(panel, page, back, form)
    web.refresh_from_db()
    assert web.target_port == 98
    assert "stays as it is in force" in press(panel, page, back, held(panel, page, back, name="DomiWEB"))
    assert services.pending(host).changes == ()


def test_an_own_rule_that_is_kept_already_is_not_kept_twice(panel, me, host, fulup, web) -> None:
    CustomRule.objects.create(host=host, author=fulup, **RULE)
    in_force(me, host)
    CustomRule.objects.all().delete()
    page, back = reverse("firewall:customs"), reverse("firewall:custom_restore")
    form = held(panel, page, back, rule=RULE["rule"])
    assert "stays as it is in force" in press(panel, page, back, form)
    assert REFUSED in press(panel, page, back, form)
    assert CustomRule.objects.count() == 1


def test_during_a_trial_an_undo_leads_to_what_the_page_compares_with(panel, me, host, wish, web) -> None:
    services.restriction_add(me, **wish)
    in_force(me, host)
    row = ZoneRestriction.objects.get()
    services.restriction_change(me, row, **{**wish, "port": 26})
    revision = Revision.objects.get(pk=trials.revision_apply(me, host).args["revision"])
    tried(revision)
    services.restriction_change(me, row, **{**wish, "port": 27})
    back, page = reverse("firewall:restriction_restore", args=(row.zone_id,)), reverse("firewall:restrictions")
    assert "now it drops tcp 26" in text(panel.get(page))
    press(panel, page, back, held(panel, page, back, name="NOSMTP"))
    assert ZoneRestriction.objects.get().port == 26
    kept(revision)
    assert services.pending(host).changes == ()


def test_what_is_of_another_host_or_nobodys_is_not_found(panel, me, host, web, wish) -> None:
    services.restriction_add(me, **wish)
    in_force(me, host)
    for url in (
        reverse("firewall:restriction_restore", args=(99999,)),
        reverse("firewall:cell_restore") + "?source=zFulup&target=zFulup",
        reverse("firewall:cell_restore") + "?source=zNobody&target=internet",
        reverse("firewall:cell_restore") + CELL + "&host=nobody",
        reverse("firewall:custom_restore") + "?host=nobody",
        reverse("firewall:restore") + "?host=nobody",
    ):
        assert panel.post(url, {"name": "NOSMTP", "place": "\x00", "rule": "\n-j ACCEPT"}).status_code == 404, url
        assert panel.get(url).status_code == 405, url
    strange = {"place": "before-input\n", "rule": "\x00", "name": "\x00", "seen": "\x00"}
    for url in (reverse("firewall:custom_restore"), reverse("firewall:restore")):
        assert panel.post(url, strange).status_code == 302, url
