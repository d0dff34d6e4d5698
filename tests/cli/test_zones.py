"""Zones and external addresses on the command line."""

from __future__ import annotations

import pytest
from django.utils import timezone

from audit.models import Entry
from hosts.models import Job
from zones.models import ExternalAddress, NetworkSeen, Zone

pytestmark = pytest.mark.django_db


def test_a_zone_is_made_with_all_it_can_have(run, host, zones) -> None:
    line = "zone create name=zBrendan net=10.10.4.0/24 external=91.121.65.140 domain=b.internal in=10M out=512k"
    code, said = run(f"{line} lease=10.10.4.100-10.10.4.150 --yes --reason regatta")
    assert code == 0, said
    zone = Zone.objects.get(name="zBrendan")
    assert (zone.gateway, zone.prefix, zone.external.address) == ("10.10.4.1", 24, "91.121.65.140")
    assert (zone.in_kbit, zone.out_kbit, zone.domain) == (10_000, 512, "b.internal")
    assert (zone.lease_first, zone.lease_last) == ("10.10.4.100", "10.10.4.150")
    assert Job.objects.get().reason == "regatta"


def test_a_gateway_of_ones_own_is_taken_as_typed(run, zones) -> None:
    assert run("zone create name=zBrendan net=10.10.4.254/24 --yes")[0] == 0
    assert Zone.objects.get(name="zBrendan").gateway == "10.10.4.254"
    assert Zone.objects.get(name="zBrendan").external is None


def test_the_seeds_line_makes_the_same(run, zones) -> None:
    seed = "CreateZone NAME=zBrendan NIC=eth0 EXT=91.121.65.140 BR=xen-br7 INT=10.10.4.1 MASK=255.255.255.0"
    code, said = run(f"{seed} --yes")
    assert code == 0, said
    zone = Zone.objects.get(name="zBrendan")
    assert (zone.bridge, zone.cidr, zone.external.address) == ("xen-br7", "10.10.4.0/24", "91.121.65.140")


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        ("zone create name=zBrendan", 2, "zone create needs net=…"),
        ("zone create net=10.10.4.0/24", 2, "zone create needs name=…"),
        ("zone create name=z net=10.10.4.0/24 colour=blue", 2, "knows no colour"),
        ("zone create name=z net=10.10.4", 2, "is no subnet"),
        ("zone create name=z net=10.10.4.1", 2, "is no subnet"),
        ("zone create name=z net=10.10.1.0/25", 1, "net: 10.10.1.0/25 overlaps zFulup"),
        ("zone create name=z net=10.10.4.0/24 bridge=a-bridge-with-a-long-name", 1, "bridge: "),
        ("zone create name=z net=10.10.4.0/24 external=198.51.100.9", 1, "has no external address 198.51.100.9"),
        ("zone create name=z net=10.10.4.0/24 external=nonsense", 2, "no IPv4 address"),
        ("zone create name=z net=10.10.4.0/24 in=fast", 2, "is no bandwidth"),
        ("zone create name=z net=10.10.4.0/24 lease=10.10.4.1-10.10.4.9", 1, "lease: The range holds the gateway"),
        ("zone create name=z net=10.10.4.0/24 lease=x", 1, "two addresses with a hyphen"),
        ("zone change zNobody in=10M", 1, "There is no zone called zNobody"),
        ("zone change zFulup", 2, "needs what to change"),
        ("zone change zFulup name=zOther", 2, "knows no name"),
        ("zone delete zFulup in=10M", 2, "takes no in=…"),
        ("zone paint zFulup", 2, "zone does not know paint"),
        ("zone", 2, "zone needs create"),
        ("CreateZone NAME=zB INT=10.10.4.1", 2, "CreateZone needs MASK"),
        (
            "CreateZone NAME=zB NIC=eth1 EXT=91.121.65.140 INT=10.10.4.1 MASK=255.255.255.0",
            1,
            "is on eth0, not on eth1",
        ),
        ("address add 198.51.100.7 nic=eth9", 1, "has no card"),
        ("address add 198.51.100.7", 1, "ip address add 198.51.100.7/32 dev eth0"),
        ("address add 10.10.1.9 nic=eth0", 1, "lies inside zone zFulup"),
        ("address remove 91.121.65.140", 1, "in use: zone zFulup"),
        ("address remove nonsense", 2, "no IPv4 address"),
        ("address paint 1.2.3.4", 2, "address does not know paint"),
    ],
)
def test_bad_input_is_a_sentence_and_nothing_is_made(run, host, zones, line, code, says) -> None:
    got, said = run(f"{line} --yes")
    assert (got, says in said) == (code, True), said
    assert Zone.objects.count() == 2
    assert not Job.objects.exists()


def test_a_move_first_says_what_moves(run, web_dom, zones) -> None:
    Zone.objects.update(applied_at=timezone.now())
    code, said = run("zone change zDominig net=10.10.7.0/24 --yes")
    assert code == 0, said
    assert "zDominig moves from 10.10.2.0/24 to 10.10.7.0/24" in said
    assert "10.10.2.2 -> 10.10.7.2" in said
    assert Job.objects.get().args["change"] == {"gateway": "10.10.7.1"}


def test_only_what_is_named_changes_and_none_takes_it_away(run, zones) -> None:
    assert run("zone change zFulup in=10M lease=10.10.1.100-10.10.1.150 --yes")[0] == 0
    zone = Zone.objects.get(name="zFulup")
    assert (zone.in_kbit, zone.lease_first, zone.domain) == (10_000, "10.10.1.100", "zfulup.internal")
    assert run("zone change zFulup in=none lease=none external=none domain=none --yes")[0] == 0
    zone.refresh_from_db()
    assert (zone.in_kbit, zone.lease_first, zone.external, zone.domain) == (None, None, None, "")


def test_deleting_says_what_ends_with_it(run, zones) -> None:
    from firewall.models import ZoneRestriction

    ZoneRestriction.objects.create(
        zone=zones["zFulup"], name="nosmtp", direction="out", proto="tcp", port=25, port_last=25
    )
    code, said = run("zone delete zFulup --yes")
    assert code == 0, said
    assert "with it ends: restriction nosmtp" in said


def test_a_zone_in_use_is_refused_by_name(run, web_dom) -> None:
    code, said = run("zone delete zDominig --yes")
    assert code == 1
    assert "machine WEB-Dom" in said
    assert Entry.objects.filter(action="zone.delete", outcome="refused").exists()


def test_zones_and_addresses_are_listed(run, host, zones, web_dom) -> None:
    Zone.objects.filter(name="zFulup").update(in_kbit=10_000)
    NetworkSeen.objects.create(
        host=host,
        links={"eth0": {"addresses": ["91.121.65.140/24"]}},
        leases={"zDominig": [["10.10.2.77", "02:00:00:00:00:01", "printer", 0]]},
        seen_at=timezone.now(),
    )
    said = run("zones")[1]
    assert "10 Mbit/s in" in said
    assert "10.10.2.0/24" in said
    assert "NOT ON ITS CARD" in run("address")[1]
    said = run("zone show zDominig")[1]
    assert "WEB-Dom" in said
    assert "a stranger, 02:00:00:00:00:01, calls itself printer" in said


def test_an_address_is_put_on_its_card_and_taken_off(run, host, zones) -> None:
    host.facts["nics"][0]["may_add"] = ["198.51.100.0/24"]
    host.save()
    code, said = run("address add 198.51.100.7 --yes")
    assert code == 0, said
    assert Job.objects.get().args == {"nic": "eth0", "address": "198.51.100.7"}
    ExternalAddress.objects.create(host=host, nic="eth0", address="198.51.100.7")
    NetworkSeen.objects.create(host=host, added={"198.51.100.7": "eth0"}, seen_at=timezone.now())
    assert run("address remove 198.51.100.7 --yes")[0] == 0


def test_an_owner_gets_nowhere(run, dominig, zones, monkeypatch) -> None:
    from fridu_site.cli import main

    monkeypatch.setattr(main, "login", lambda: "dominig")
    for line in ("zone create name=z net=10.10.4.0/24", "zone change zFulup in=10M", "zone delete zFulup", "address"):
        assert run(line)[0] == 1, line
    assert run("zones")[1] == ""
    assert not Job.objects.exists()
