"""Wishes are checked when they are made, collected, and become one revision and one job."""

from __future__ import annotations

import pytest
from django.core.exceptions import PermissionDenied, ValidationError

from audit.log import Actor
from audit.models import Entry
from dom0.errors import Refused
from firewall import imports, rows, services, trials
from firewall.models import PolicyCell, PublishedService
from firewall.specs import Cell, Ports
from tests.firewall.conftest import sample
from tests.firewall.says import in_force, publish

pytestmark = pytest.mark.django_db


def test_a_published_service_is_a_wish_and_an_entry_in_the_log(web, host) -> None:
    now = services.pending(host)
    assert "opens tcp 80 of 87.98.130.56 to WEB-Dom, port 8080" in [c.sentence for c in now.changes]
    entry = Entry.objects.get(action="service.publish")
    assert entry.data == {"where": "tcp 80 of 87.98.130.56", "to": "10.10.2.2:8080"}
    assert web.zone == rows.Zone.objects.get(name="zDominig")


@pytest.mark.parametrize(
    ("changes", "field", "sentence"),
    [
        ({"name": "Other"}, "port", "already leads to WEB-Dom (DomiWEB). Free: 8000."),
        ({"name": "DomiWEB", "port": 81}, "name", "exists already"),
        ({"name": "two words", "port": 81}, "name", "Use 1 to 31"),
        ({"name": "Other", "port": 70, "port_last": 90}, "port", "already leads"),
        ({"name": "Other", "port": 0}, "port", "0 is no port; they go from 1 to 65535, such as 443."),
        ({"name": "Other", "port": 70000}, "port", "70000 is no port; they go from 1 to 65535, such as 443."),
        ({"name": "Other", "port": 81, "target": "10.10.12.5"}, "target", "in no zone"),
        ({"name": "Other", "port": 81, "external": None}, "external", "Choose the external address"),
    ],
)
def test_a_service_that_cannot_work_is_refused_beside_its_field(
    me, host, zones, web_dom, web, changes, field, sentence
) -> None:
    with pytest.raises(ValidationError) as refused:
        publish(me, host, zones, web_dom, **changes)
    assert sentence in " ".join(refused.value.message_dict[field])
    assert PublishedService.objects.count() == 1


def test_dom0s_ssh_cannot_be_published_away_on_the_last_address(me, host, zones, web_dom) -> None:
    publish(me, host, zones, web_dom, name="One", port=22, target_port=22)
    with pytest.raises(ValidationError) as refused:
        publish(me, host, zones, web_dom, name="Two", port=22, target_port=22, external=zones["zFulup"].external)
    assert "dom0's own ssh" in refused.value.message_dict["port"][0]


def test_a_policy_cell_is_saved_closed_and_refused(me, host, zones) -> None:
    tcp = Ports(proto="tcp", first=80, last=90)
    services.policy_set(me, host, [Cell(source="zFulup", target="zDominig", ports=(tcp,))])
    assert rows.site_of(host).cell("zFulup", "zDominig").ports == (tcp,)
    services.policy_set(me, host, [Cell(source="zFulup", target="zDominig")])
    assert rows.site_of(host).cell("zFulup", "zDominig").words == "nothing"
    services.policy_set(me, host, [Cell(source="zFulup", target="internet")])
    assert rows.site_of(host).cell("zFulup", "internet").words == "nothing"
    with pytest.raises(ValidationError, match="never reaches everything on dom0"):
        services.policy_set(me, host, [Cell(source="zFulup", target="dom0", everything=True)])
    with pytest.raises(ValidationError, match="no zone zGone"):
        services.policy_set(me, host, [Cell(source="zGone", target="vpn", everything=True)])
    assert PolicyCell.objects.count() == 2


def test_a_restriction_with_a_wrong_network_is_refused_beside_the_field(me, host, zones) -> None:
    wish = {"zone": zones["zDominig"], "name": "NOSMTP", "direction": "out", "action": "DROP", "proto": "tcp"}
    with pytest.raises(ValidationError) as refused:
        services.restriction_add(me, **wish, port=25, address="10.10.3.4/24")
    assert "no address or network" in refused.value.message_dict["address"][0]
    services.restriction_add(me, **wish, port=25)
    assert rows.site_of(host).restrictions[0].ports == Ports(proto="tcp", first=25, last=25)


def test_a_zone_that_goes_takes_its_cells_along(me, host, zones) -> None:
    services.policy_set(me, host, [Cell(source="zFulup", target="zDominig", everything=True)])
    services.zone_farewell(zones["zDominig"])
    assert not PolicyCell.objects.exists()


@pytest.mark.parametrize("name", ["production"])
def test_the_real_sample_becomes_zones_services_and_policy(me, host, name) -> None:
    from zones.services import address_sync

    address_sync(host)
    report = imports.import_rules(me, host, sample(name))
    site = rows.site_of(host)
    assert [z.name for z in site.zones] == ["zFulup", "zDominig"]
    assert {s.name for s in site.services} == {s.name for s in report.site.services}
    assert set(site.policy) == set(report.site.policy)
    assert [job.title for job in report.jobs] == ["Create zone zFulup", "Create zone zDominig"]
    assert trials.revision_apply(me, host, why="import").args["number"] == 1


def test_importing_the_same_file_twice_makes_nothing_new(me, host) -> None:
    from zones.services import address_sync

    address_sync(host)
    imports.import_rules(me, host, sample("production"))
    before = rows.site_of(host)
    again = imports.import_rules(me, host, sample("production"))
    assert (again.made, again.jobs) == ((), ())
    assert rows.site_of(host) == before


def test_a_file_that_says_otherwise_than_the_panel_is_refused_whole(me, host, zones, web_dom) -> None:
    publish(me, host, zones, web_dom, name="FulupWEB", port=81)
    with pytest.raises(Refused, match="a service FulupWEB: tcp 81"):
        imports.import_rules(me, host, sample("production"))
    assert PublishedService.objects.count() == 1


def test_an_address_the_host_does_not_have_is_said(me, host) -> None:
    report = imports.preview(host, sample("production"))
    assert "no 91.121.65.140 on eth0" in report.clashes[0]


def test_only_operators_change_the_firewall_whatever_door_they_come_by(host, zones, dominig):
    owner = Actor(id=dominig.pk, name=dominig.username)
    wish = {"host": host, "name": "Mine", "external": zones["zFulup"].external, "proto": "tcp", "port": 81}
    with pytest.raises(PermissionDenied):
        services.service_publish(owner, **wish, target="10.10.1.4")
    with pytest.raises(PermissionDenied):
        services.policy_set(owner, host, [])
    with pytest.raises(PermissionDenied):
        trials.revision_apply(owner, host)
    with pytest.raises(PermissionDenied):
        imports.import_rules(owner, host, "")
    assert not PublishedService.objects.exists()


def wish_of(row, **changes) -> dict:
    same = {k: getattr(row, k) for k in ("name", "proto", "port", "port_last", "external", "target", "target_port")}
    return {**same, **changes}


def test_a_service_changed_in_place_moves_with_the_next_apply(me, host, web) -> None:
    in_force(me, host)
    web.refresh_from_db()
    services.service_change(me, web, **wish_of(web, name="DomiNew", target_port=8081), reason="port moved")
    told = [c.sentence for c in services.pending(host).changes]
    assert told == ["moves tcp 80 of 87.98.130.56 from WEB-Dom, port 8080 to WEB-Dom, port 8081"]
    web.refresh_from_db()
    assert (web.live, web.name) == (False, "DomiNew")
    entry = Entry.objects.get(action="service.change")
    assert (entry.why, entry.data["before"]["to"], entry.data["after"]["to"]) == (
        "port moved",
        "10.10.2.2:8080",
        "10.10.2.2:8081",
    )


def test_a_service_is_not_in_its_own_way_but_others_are(me, host, zones, web, web_dom) -> None:
    other = publish(me, host, zones, web_dom, name="DomiTLS", port=443, target_port=8443)
    services.service_change(me, web, **wish_of(web, name="DomiHTTP", port_last=81))
    with pytest.raises(ValidationError) as refused:
        services.service_change(me, other, **wish_of(other, port=80, port_last=80))
    assert "already leads to WEB-Dom (DomiHTTP)" in refused.value.message_dict["port"][0]
    other.refresh_from_db()
    assert other.port == 443


def test_a_change_back_is_in_force_again(me, host, web) -> None:
    in_force(me, host)
    before = wish_of(web)
    services.service_change(me, web, **{**before, "target_port": 8081})
    services.service_change(me, web, **before)
    assert web.live
    assert services.pending(host).changes == ()


@pytest.mark.parametrize("how", ["taken out", "changed"])
def test_a_service_is_restored_as_the_revision_in_force_has_it(me, host, web, how) -> None:
    in_force(me, host)
    if how == "taken out":
        services.service_unpublish(me, web)
    else:
        services.service_change(me, web, **wish_of(web, target_port=8081, port=82, port_last=82))
    row = services.service_restore(me, host, "DomiWEB", reason="not yet")
    assert services.pending(host).changes == ()
    assert (row.live, row.zone.name, PublishedService.objects.count()) == (True, "zDominig", 1)
    assert Entry.objects.filter(action="service.publish", why="not yet").exists()


def test_what_was_never_in_force_cannot_be_restored(me, host, web) -> None:
    with pytest.raises(Refused, match="publishes no DomiWEB"):
        services.service_restore(me, host, "DomiWEB")


def test_a_restriction_changed_in_place_is_checked_like_a_new_one(me, zones) -> None:
    row = services.restriction_add(
        me, zone=zones["zDominig"], name="NOSMTP", direction="out", action="DROP", proto="tcp", port=25
    )
    wish = {"zone": row.zone, "name": "NOSMTP", "direction": "out", "action": "REJECT", "proto": "tcp", "port": 25}
    services.restriction_change(me, row, **wish, address="10.10.1.0/24")
    with pytest.raises(ValidationError):
        services.restriction_change(me, row, **wish, address="10.10.1.7/24")
    row.refresh_from_db()
    assert (row.action, row.address) == ("REJECT", "10.10.1.0/24")
    assert Entry.objects.latest("seq").data["before"]["action"] == "DROP"


def test_an_owner_changes_and_restores_no_service(web, host, dominig) -> None:
    him = Actor(id=dominig.pk, name="dominig")
    with pytest.raises(PermissionDenied):
        services.service_change(him, web, **wish_of(web))
    with pytest.raises(PermissionDenied):
        services.service_restore(him, host, "DomiWEB")
