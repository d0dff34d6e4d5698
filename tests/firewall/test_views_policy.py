"""Zone restrictions and own rules in the browser: what holds, what will, and what the host said to a rule."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from firewall import services
from firewall.models import CustomRule, ZoneRestriction
from hosts.kinds import kind_of
from hosts.models import Job
from tests.firewall.pressed import held
from tests.firewall.says import in_force
from tests.firewall.test_views import panel as panel
from tests.firewall.test_views import text

pytestmark = pytest.mark.django_db

RULE = {"place": "before-input", "rule": "-i eth0 -p tcp --dport 9100 -j ACCEPT", "reason": "node exporter"}


@pytest.fixture
def wish(zones) -> dict:
    return {"zone": zones["zDominig"].pk, "name": "NOSMTP", "direction": "out", "action": "DROP", "proto": "tcp"}


def test_a_restriction_is_added_shown_in_the_grid_and_taken_out(panel, wish) -> None:
    assert panel.post(reverse("firewall:restriction"), {**wish, "port": "x"}).status_code == 422
    response = panel.post(reverse("firewall:restriction"), {**wish, "port": "25"}, follow=True)
    assert "Drops tcp 25 leaving" in text(response)
    assert "holds when you apply" in text(response)
    assert 'aria-label="zDominig to Internet: everything but tcp 25"' in text(panel.get(reverse("firewall:policy")))
    panel.post(reverse("firewall:restriction_remove", args=(ZoneRestriction.objects.get().pk,)))
    assert not ZoneRestriction.objects.exists()


def test_a_restriction_is_changed_in_place(panel, wish) -> None:
    panel.post(reverse("firewall:restriction"), {**wish, "port": "25"})
    row = ZoneRestriction.objects.get()
    url = reverse("firewall:restriction_change", args=(row.pk,))
    assert 'value="NOSMTP"' in text(panel.get(url))
    wrong = panel.post(url, {**wish, "port": "25", "address": "10.10.1.300"})
    assert wrong.status_code == 422
    assert "is no address or network" in text(wrong)
    panel.post(url, {**wish, "port": "25-26", "action": "REJECT", "proto": "both", "address": "10.10.1.0/24"})
    row.refresh_from_db()
    assert (row.action, row.proto, row.port, row.port_last, row.address) == ("REJECT", "both", 25, 26, "10.10.1.0/24")


def test_one_that_holds_otherwise_changes_with_the_apply_and_says_how_it_is(panel, me, host, wish, web) -> None:
    panel.post(reverse("firewall:restriction"), {**wish, "port": "25"})
    in_force(me, host)
    panel.post(
        reverse("firewall:restriction_change", args=(ZoneRestriction.objects.get().pk,)), {**wish, "port": "25-26"}
    )
    page = text(panel.get(reverse("firewall:restrictions")))
    assert "changes when you apply" in page
    assert page.count("now it drops tcp 25 leaving") == 2  # beside its state, and under it on a phone


def test_the_list_says_what_holds_and_what_ends(panel, me, host, wish, web) -> None:
    panel.post(reverse("firewall:restriction"), {**wish, "port": "25"})
    in_force(me, host)
    assert '<span class="st run">holds</span>' in text(panel.get(reverse("firewall:restrictions")))
    services.restriction_remove(me, ZoneRestriction.objects.get())
    page = text(panel.get(reverse("firewall:restrictions")))
    assert "ends when you apply" in page
    assert "Take out NOSMTP" not in page


def test_a_restriction_says_that_a_neighbours_port_is_covered(panel, zones) -> None:
    assert "a neighbour’s published port is no way round" in text(panel.get(reverse("firewall:restrictions")))
    assert "wherever that leads" in text(panel.get(reverse("firewall:restriction")))


def test_an_own_rule_needs_a_reason_and_no_tricks(panel, zones) -> None:
    url = reverse("firewall:custom")
    for changes, sentence in (
        ({"reason": ""}, "Say why"),
        ({"rule": "-t nat -j ACCEPT"}, 'aria-invalid="true"'),
        ({"expires": "yesterday"}, "Write a date such as"),
        ({"expires": "2020-01-01"}, "That is over already"),
        ({"place": "nat"}, 'aria-invalid="true"'),
    ):
        response = panel.post(url, {**RULE, **changes})
        assert response.status_code == 422, changes
        assert sentence in text(response), changes
    assert not Job.objects.exists()


def tried(panel, **changes) -> tuple[Job, str]:
    """The rule's trial is asked for; its job and the page that waits for it."""
    response = panel.post(reverse("firewall:custom"), {**RULE, **changes})
    assert response.status_code == 302
    return Job.objects.get(kind="firewall.try"), response.url


def test_an_own_rule_is_saved_once_the_host_has_loaded_it(panel, zones) -> None:
    ends = timezone.localtime(timezone.now() + timedelta(days=9))
    job, url = tried(panel, expires=f"{ends:%Y-%m-%dT%H:%M}")
    page = text(panel.get(url))
    assert "before-input: -i eth0 -p tcp --dport 9100 -j ACCEPT" in page
    assert 'hx-trigger="every 1s"' in page
    assert not CustomRule.objects.exists()
    kind_of("firewall.try").done(job)
    Job.objects.update(state="done")
    response = panel.get(url, follow=True)
    assert "Your rule loads and is saved." in text(response)
    assert "node exporter" in text(response)
    assert "fulup" in text(response)
    assert f"until {ends.day} {ends:%B %Y}" in text(response)
    panel.post(reverse("firewall:custom_remove", args=(CustomRule.objects.get().pk,)))
    assert not CustomRule.objects.exists()


def test_a_rule_the_host_cannot_load_is_answered_beside_its_field(panel, zones) -> None:
    _, url = tried(panel)
    Job.objects.update(state="failed", message="iptables-restore: unknown option --dprot.")
    poll = panel.get(url, headers={"HX-Request": "true", "HX-Target": "tried"})
    assert poll["HX-Redirect"] == url
    page = text(panel.get(url))
    assert '<p class="err" id="id_rule_err">iptables-restore: unknown option --dprot.' in page
    assert 'value="node exporter"' in page
    assert f'action="{reverse("firewall:custom")}' in page
    assert not CustomRule.objects.exists()


def test_a_rule_that_is_over_says_so_while_it_still_holds(panel, me, host, fulup, web) -> None:
    CustomRule.objects.create(host=host, author=fulup, **RULE)
    in_force(me, host)
    assert '<span class="st run">holds</span>' in text(panel.get(reverse("firewall:customs")))
    CustomRule.objects.update(expires=timezone.now() - timedelta(minutes=1))
    assert "over; goes when you apply" in text(panel.get(reverse("firewall:customs")))
    CustomRule.objects.all().delete()
    assert "ends when you apply" in text(panel.get(reverse("firewall:customs")))


def test_a_page_of_rules_without_any_says_what_they_are(panel, host) -> None:
    assert "Add the first rule" in text(panel.get(reverse("firewall:customs")))


@pytest.mark.parametrize("name", ["policy", "reach"])
def test_a_narrow_page_shows_one_row_of_the_grid(panel, zones, web, name) -> None:
    def row(**query: str) -> str:
        page = text(panel.get(reverse(f"firewall:{name}"), query))
        return re.search(r'<ul class="leg.*?</ul>', page, re.S)[0]

    assert 'aria-label="Internet to"' in row()
    chosen = row(**{"from": "zFulup"})
    assert 'aria-label="zFulup to"' in chosen
    assert re.findall(r"<b>(.*?)</b>", chosen) == ["Internet", "Admin VPN", "dom0", "zDominig"]
    assert 'aria-label="Internet to"' in row(**{"from": "zNobody"})


def test_a_restriction_is_led_back_to_what_is_in_force(panel, me, host, wish, web) -> None:
    panel.post(reverse("firewall:restriction"), {**wish, "port": "25"})
    in_force(me, host)
    row = ZoneRestriction.objects.get()
    back = reverse("firewall:restriction_restore", args=(row.zone_id,))
    panel.post(reverse("firewall:restriction_change", args=(row.pk,)), {**wish, "port": "26"})
    changed = text(panel.get(reverse("firewall:restrictions")))
    assert "now it drops tcp 25 leaving" in changed
    assert "ends when you apply" not in changed, "it is one restriction, said once"
    assert "stays as it is in force" in text(
        panel.post(back, held(panel, reverse("firewall:restrictions"), back), follow=True)
    )
    assert ZoneRestriction.objects.get().port == 25
    services.restriction_remove(me, ZoneRestriction.objects.get())
    assert "Keep NOSMTP" in text(panel.get(reverse("firewall:restrictions")))
    panel.post(back, held(panel, reverse("firewall:restrictions"), back))
    assert services.pending(host).changes == ()
    assert "has no restriction Other" in text(panel.post(back, {"name": "Other"}, follow=True))


def test_ports_that_would_not_matter_are_not_dropped_in_silence(panel, host, zones) -> None:
    url = reverse("firewall:cell") + "?source=zFulup&target=zDominig"
    for may in ("none", "all"):
        refused = panel.post(url, {"may": may, "ports": "tcp:80"})
        assert refused.status_code == 422
        assert "by “Only these ports” alone" in text(refused)
    assert panel.post(url, {"may": "only", "ports": "tcp:80"}).status_code == 302
    assert panel.post(url, {"may": "none", "ports": "tcp:80"}).status_code == 302, "as they stood there"


def test_a_cell_is_led_back_to_what_is_in_force(panel, me, host, web) -> None:
    cell = "?source=zFulup&target=zDominig"
    assert ">Undo<" not in text(panel.get(reverse("firewall:policy") + cell))
    in_force(me, host)
    panel.post(reverse("firewall:cell") + cell, {"may": "all"})
    assert "In force now: nothing." in text(panel.get(reverse("firewall:policy") + cell))
    form = held(panel, reverse("firewall:policy") + cell, reverse("firewall:cell_restore"))
    said = text(panel.post(reverse("firewall:cell_restore") + cell, form, follow=True))
    assert "zFulup to zDominig stays as it is in force." in said
    assert ">Undo<" not in said
    assert services.pending(host).changes == ()
    assert panel.post(reverse("firewall:cell_restore") + "?source=internet&target=dom0").status_code == 404


def test_an_own_rule_that_was_taken_out_is_kept_after_all(panel, me, host, fulup, web) -> None:
    CustomRule.objects.create(host=host, author=fulup, **RULE)
    in_force(me, host)
    panel.post(reverse("firewall:custom_remove", args=(CustomRule.objects.get().pk,)))
    assert "Keep it" in text(panel.get(reverse("firewall:customs")))
    back = reverse("firewall:custom_restore")
    wrong = panel.post(back, {"place": RULE["place"], "rule": "-j ACCEPT"}, follow=True)
    assert "has no such rule in before-input" in text(wrong)
    assert not CustomRule.objects.exists()
    panel.post(back, held(panel, reverse("firewall:customs"), back))
    assert CustomRule.objects.get().reason == "node exporter"
    assert services.pending(host).changes == ()
