"""Zones as wishes: what is refused beside which field, what a job is asked for, what its end books."""

from __future__ import annotations

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import connection
from django.utils import timezone
from netaddr import IPNetwork

from audit.log import Actor
from audit.models import Entry
from dom0.dnsmasq import Files
from dom0.errors import Refused
from dom0.host import HostConfig
from dom0.state import State
from hosts.kinds import kind_of
from hosts.models import Job
from hosts.services import job_cancel
from zones import render, services
from zones.checks import free_gateway
from zones.models import ExternalAddress, NetworkSeen, Zone
from zones.services import address_sync, zone_apply, zone_change, zone_create, zone_delete

pytestmark = pytest.mark.django_db
CONFIG = HostConfig(name="ns3100421", libvirt="lxc:///system", volumes="/v", vpn_network="10.10.95.0/24")


@pytest.fixture
def actor(fulup):
    return Actor(id=fulup.pk, name="fulup")


def applied(zone):
    zone.applied_at = timezone.now()
    zone.save()
    return zone


def create(actor, host, **wish):
    return zone_create(actor, host=host, **{"name": "zBrendan", "gateway": "10.10.3.1", **wish})


def test_a_zone_is_wished_for_and_its_job_asked(actor, host, zones):
    job = create(actor, host, reason="for the regatta")
    zone = Zone.objects.get(name="zBrendan")
    assert (zone.number, zone.bridge, zone.external, zone.applied_at) == (3, "xen-br3", None, None)
    assert (job.kind, job.target_kind, job.target_id, job.title) == (
        "zone.create",
        "zone",
        zone.pk,
        "Create zone zBrendan",
    )
    entry = Entry.objects.get(action="zone.create")
    assert (entry.actor_name, entry.object_text, entry.why, entry.job) == (
        "fulup",
        "zBrendan",
        "for the regatta",
        job.pk,
    )


@pytest.mark.parametrize(
    ("field", "wish", "says"),
    [
        ("name", {"name": "z'Brendan"}, "1 to 15 letters"),
        ("name", {"name": "zBren\ndan"}, "1 to 15 letters"),
        ("name", {"name": "z" * 300}, "15"),
        ("name", {"name": "zFulup"}, "already"),
        ("name", {"name": "ZFULUP"}, "already"),
        ("name", {"name": "Internet"}, "another name"),
        ("gateway", {"gateway": "10.10.1.9"}, "overlaps zFulup"),
        ("gateway", {"gateway": "10.10.3.0"}, "use 10.10.3.1"),
        ("gateway", {"gateway": "10.10.3.255"}, "use 10.10.3.1"),
        ("gateway", {"gateway": "nonsense"}, "IPv4"),
        ("gateway", {"gateway": "91.121.65.1"}, "not a private subnet"),
        ("gateway", {"gateway": "127.0.0.1"}, "not a private subnet"),
        ("gateway", {"gateway": "10.10.95.1"}, "admin VPN"),
        ("prefix", {"prefix": 8}, "from 16 to 29"),
        ("prefix", {"prefix": 30}, "from 16 to 29"),
        ("prefix", {"prefix": 99}, "from 16 to 29"),
        ("bridge", {"bridge": "xen-br1"}, "bridge of zFulup"),
        ("bridge", {"bridge": "virbr0"}, "begins with xen-br"),
        ("bridge", {"bridge": "xen-br"}, "begins with xen-br"),
        ("bridge", {"bridge": "xen-br1;reboot"}, "begins with xen-br"),
        ("domain", {"domain": "no domain"}, "fulup.internal"),
        ("lease_last", {"lease_first": "10.10.3.100"}, "two ends, for example 10.10.3.100-10.10.3.150"),
        (
            "lease_first",
            {"lease_first": "10.10.4.100", "lease_last": "10.10.3.150"},
            "no address a guest in 10.10.3.0/24",
        ),
        ("lease_last", {"lease_first": "10.10.3.100", "lease_last": "10.10.3.255"}, "no address a guest"),
        ("lease_last", {"lease_first": "10.10.3.150", "lease_last": "10.10.3.100"}, "comes before"),
        ("lease_first", {"lease_first": "10.10.3.1", "lease_last": "10.10.3.100"}, "holds the gateway"),
        ("lease_first", {"lease_first": "x", "lease_last": "10.10.3.100"}, "IPv4"),
        ("in_kbit", {"in_kbit": 1}, "between 64 kbit/s and 10000 Mbit/s"),
        ("out_kbit", {"out_kbit": 1_000_001}, "whole Mbit/s"),
    ],
)
def test_bad_input_is_refused_beside_its_field_and_nothing_is_created(actor, host, zones, field, wish, says):
    with pytest.raises(ValidationError) as error:
        create(actor, host, **wish)
    assert set(error.value.message_dict) == {field}
    assert says in " ".join(error.value.message_dict[field])
    assert Zone.objects.count() == 2
    assert not Job.objects.exists()


def seen(host, **links):
    found = {name: {"kind": "bridge", "mac": mac, "addresses": texts} for name, (mac, *texts) in links.items()}
    NetworkSeen.objects.create(
        host=host, links={name.replace("_", "-"): link for name, link in found.items()}, seen_at=timezone.now()
    )


@pytest.mark.parametrize(
    ("gateway", "says"),
    [
        ("10.10.9.1", "overlaps 10.10.9.77/24 of eth1 on ns3100421"),
        ("192.168.122.1", "overlaps 192.168.122.1/24 of virbr0"),
    ],
)
def test_a_subnet_the_host_has_on_a_card_or_elsewhere_is_said_beside_it(actor, host, zones, gateway, says):
    seen(host, eth1=("52:54:00:00:00:01", "10.10.9.77/24"), virbr0=("52:54:00:00:00:02", "192.168.122.1/24"))
    with pytest.raises(ValidationError) as error:
        create(actor, host, gateway=gateway)
    assert list(error.value.message_dict) == ["gateway"]
    assert says in error.value.message_dict["gateway"][0]
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("gateway", "route"),
    [
        ("10.20.7.1", "10.20.0.0/16 via 10.9.0.1 dev eth1"),
        ("10.10.9.1", "10.10.9.128/25 dev tun3"),
        ("10.10.9.1", "10.10.9.64/26 blackhole"),
    ],
)
def test_a_subnet_the_host_has_a_route_to_is_said_beside_it(actor, host, zones, gateway, route):
    to, _, way = route.partition(" ")
    device = way.rpartition("dev ")[2] if "dev" in way else ""
    NetworkSeen.objects.create(host=host, routes=[[to, way, device]], seen_at=timezone.now())
    with pytest.raises(ValidationError) as error:
        create(actor, host, gateway=gateway)
    assert list(error.value.message_dict) == ["gateway"]
    assert f"overlaps the route {route} of ns3100421" in error.value.message_dict["gateway"][0]
    assert not Job.objects.exists()


def test_default_routes_its_own_and_what_leads_nowhere_are_in_no_zones_way(actor, host, zones):
    """A tunnel's default route has two halves; that private addresses lead nowhere is what careful hosts say."""
    ways = [
        ["0.0.0.0/0", "via 91.121.65.254 dev eth0", "eth0"],
        ["0.0.0.0/1", "via 10.8.0.1 dev tun9", "tun9"],
        ["10.0.0.0/8", "blackhole", ""],
        ["10.10.1.0/24", "dev xen-br1", "xen-br1"],
    ]
    NetworkSeen.objects.create(host=host, routes=ways, seen_at=timezone.now())
    zone_change(actor, applied(zones["zFulup"]), domain="new.internal")
    create(actor, host)


def test_a_subnet_the_host_has_a_route_to_is_not_offered(host, zones):
    offered = free_gateway(host)
    away = str(IPNetwork(f"{offered}/24").cidr)
    NetworkSeen.objects.create(host=host, routes=[[away, "dev tun3", "tun3"]], seen_at=timezone.now())
    assert free_gateway(host) not in ("", offered)


def test_a_bridge_that_exists_and_is_not_ours_is_said_beside_it_and_not_offered(actor, host, zones):
    seen(host, xen_br3=("52:54:00:00:00:01",), xen_br4=("52:54:00:00:00:02",))
    with pytest.raises(ValidationError) as error:
        create(actor, host, bridge="xen-br4")
    assert "is not zBrendan's" in error.value.message_dict["bridge"][0]
    assert "free: xen-br5" in error.value.message_dict["bridge"][0]
    create(actor, host)
    assert Zone.objects.get(name="zBrendan").bridge == "xen-br5"


def test_the_zones_own_bridge_and_one_left_of_it_are_no_strangers(actor, host, zones):
    zone = applied(zones["zFulup"])
    seen(
        host,
        xen_br1=(render.bridge_mac(host.name, "zFulup"), "10.10.1.1/24"),
        xen_br3=(render.bridge_mac(host.name, "zBrendan"),),
    )
    zone_change(actor, zone, domain="new.internal")
    create(actor, host, bridge="xen-br3")


@pytest.mark.parametrize("bridge", ["xen-br-far-too-long", "xen-br" + "9" * 10])
def test_a_bridge_name_over_15_characters_is_said_beside_it(actor, host, zones, bridge):
    with pytest.raises(ValidationError) as error:
        create(actor, host, bridge=bridge)
    assert "15" in " ".join(error.value.message_dict["bridge"])
    assert not Zone.objects.filter(name="zBrendan").exists()


def test_a_way_out_that_is_not_on_its_card_is_said_beside_it(actor, host, zones):
    seen(host, eth0=("52:54:00:00:00:01", "91.121.65.140/24"))
    missing = zones["zDominig"].external
    with pytest.raises(ValidationError) as error:
        create(actor, host, external=missing)
    assert "ip address add 87.98.130.56/32 dev eth0" in error.value.message_dict["external"][0]
    create(actor, host, external=zones["zFulup"].external)
    zone_change(actor, zones["zDominig"], domain="still.internal")  # it had it before it went missing


def test_an_address_of_another_host_is_no_way_out(actor, host, zones):
    from hosts.models import Host

    other = ExternalAddress.objects.create(host=Host.objects.create(name="other"), nic="eth0", address="198.51.100.9")
    with pytest.raises(ValidationError, match="belongs to other"):
        create(actor, host, external=other)


def test_a_free_number_and_bridge_are_taken_again(actor, host, zones):
    zones["zFulup"].delete()
    create(actor, host, gateway="10.10.1.1")
    zone = Zone.objects.get(name="zBrendan")
    assert (zone.number, zone.bridge) == (1, "xen-br1")


def test_the_next_free_subnet_is_offered(host, zones):
    assert services.free_gateway(host) == "10.10.3.1"


def test_until_it_was_applied_a_zone_can_move(actor, zones):
    zone = zones["zFulup"]
    job = zone_change(actor, zone, external=None, domain="", gateway="10.10.7.1", prefix=25, bridge="xen-br7")
    zone.refresh_from_db()
    assert (zone.cidr, zone.bridge, zone.external) == ("10.10.7.0/25", "xen-br7", None)
    assert job.kind == "zone.change"
    change = Entry.objects.filter(action="zone.change").order_by("seq").first()
    assert change.data["before"]["gateway"] == "10.10.1.1/24"
    assert change.data["after"]["gateway"] == "10.10.7.1/25"


def test_on_the_host_a_change_is_its_jobs_until_it_ended_well(actor, zones):
    zone = applied(zones["zFulup"])
    job = zone_change(actor, zone, external=None, domain="new.internal", in_kbit=10_000)
    assert job.args["change"] == {"external": None, "domain": "new.internal", "in_kbit": 10_000}
    zone.refresh_from_db()
    assert (zone.external.address, zone.domain, zone.in_kbit) == ("91.121.65.140", "zfulup.internal", None)
    assert "no-resolv" in str([step.shown for step in kind_of("zone.change").plan(job, State(), CONFIG).steps])
    kind_of("zone.change").done(job)
    zone.refresh_from_db()
    assert (zone.external, zone.domain, zone.in_kbit) == (None, "new.internal", 10_000)


def test_a_cancelled_change_leaves_every_wish_as_it_was(actor, zones):
    zone = applied(zones["zFulup"])
    before = Zone.objects.values().get(pk=zone.pk)
    job_cancel(actor, zone_change(actor, zone, gateway="10.10.7.1", domain="new.internal"))
    assert Zone.objects.values().get(pk=zone.pk) == before


def test_undoing_a_change_that_ended_well_asks_for_what_was_before(actor, zones):
    zone = applied(zones["zFulup"])
    job = zone_change(actor, zone, domain="new.internal", gateway="10.10.7.1", prefix=25)
    kind_of("zone.change").done(job)
    Job.objects.filter(pk=job.pk).update(state=Job.State.DONE)
    job.refresh_from_db()
    back = kind_of("zone.change").undo(actor, job)
    assert back.args["change"] == {"domain": "zfulup.internal", "gateway": "10.10.1.1", "prefix": 24}


def test_undoing_a_change_that_stopped_leads_back_to_the_row(actor, zones):
    zone = applied(zones["zFulup"])
    job = zone_change(actor, zone, domain="new.internal")
    Job.objects.filter(pk=job.pk).update(state=Job.State.FAILED)
    job.refresh_from_db()
    back = kind_of("zone.change").undo(actor, job)
    assert "change" not in back.args
    assert not kind_of("zone.change").undoable(back)


def test_the_bridge_of_a_zone_on_the_host_is_fixed(actor, zones):
    with pytest.raises(ValidationError, match="delete the zone and create it anew"):
        zone_change(actor, applied(zones["zFulup"]), bridge="xen-br9")


def test_while_a_job_of_it_is_open_no_other_starts(actor, zones):
    zone_apply(actor, zones["zFulup"])
    with pytest.raises(Refused, match="still open"):
        zone_change(actor, zones["zFulup"], external=None, domain="")
    assert Zone.objects.get(name="zFulup").external is not None


def test_a_zone_with_a_machine_is_not_deleted(actor, web_dom):
    with pytest.raises(Refused, match="machine WEB-Dom") as refused:
        zone_delete(actor, web_dom.zone)
    assert "first" in refused.value.note
    assert not Job.objects.exists()


def test_a_machine_that_came_meanwhile_stops_the_deletion(actor, zones, image, dominig, request):
    job = zone_delete(actor, zones["zDominig"])
    request.getfixturevalue("web_dom")
    with pytest.raises(Refused, match="WEB-Dom"):
        kind_of("zone.delete").plan(job, State(), CONFIG)


def test_its_row_goes_with_the_end_of_its_job_and_higher_rooms_are_told(actor, zones, monkeypatch):
    told = []
    monkeypatch.setattr(services, "_farewells", [lambda zone: told.append(zone.number)])
    job = zone_delete(actor, zones["zFulup"])
    assert Zone.objects.filter(name="zFulup").exists()
    kind_of("zone.delete").done(job)
    assert not Zone.objects.filter(name="zFulup").exists()
    assert told == [1]


def test_a_job_plans_what_the_rows_say(actor, host, zones):
    job = create(actor, host, domain="brendan.internal")
    kind = kind_of("zone.create")
    scope = kind.scope(job, CONFIG)
    assert f"{CONFIG.state}/dnsmasq/zBrendan.conf" in scope.files
    shown = [step.shown for step in kind.plan(job, State(), CONFIG).steps]
    assert "ip address add 10.10.3.1/24 dev xen-br3" in shown
    assert any("no-resolv" in text for text in shown)
    assert any("10.10.95.0/24" in text for text in shown)
    assert (kind.queue, kind.approval, kind.locks(job)) == ("net", "operator", ("net",))


def test_a_bridge_the_host_file_does_not_allow_is_refused(actor, host, zones):
    other = HostConfig(name="ns3100421", libvirt="lxc:///system", volumes="/v", bridge_prefix="fbr")
    job = zone_apply(actor, zones["zFulup"])
    with pytest.raises(Refused, match="begin with fbr") as refused:
        kind_of("zone.change").plan(job, State(), other)
    assert "fbr1" in refused.value.note


def test_undoing_a_creation_asks_for_the_deletion(actor, host, zones):
    job = create(actor, host)
    Job.objects.filter(pk=job.pk).update(state=Job.State.FAILED)
    undo = kind_of("zone.create").undo
    assert undo is not None
    assert undo(actor, job).kind == "zone.delete"


def test_the_addresses_of_the_host_file_become_rows(host):
    assert [row.address for row in address_sync(host)] == ["91.121.65.140", "87.98.130.56"]
    assert address_sync(host) == []


def test_an_address_that_is_reported_no_more_goes_only_if_unused(host, zones):
    unused = ExternalAddress.objects.create(host=host, nic="eth0", address="91.121.65.141")
    host.facts = {**host.facts, "nics": [{"name": "eth1", "addresses": ["87.98.130.56"]}]}
    address_sync(host)
    assert not ExternalAddress.objects.filter(pk=unused.pk).exists()
    assert ExternalAddress.objects.get(address="91.121.65.140").nic == "eth0"
    assert ExternalAddress.objects.get(address="87.98.130.56").nic == "eth1"


def test_files_of_a_zone_lie_in_the_folders_of_the_host_file():
    files = Files(state="/s", run="/r", zone="zFulup")
    assert (files.conf, files.ethers, files.hosts) == ("/s/dnsmasq/zFulup.conf", "/s/ethers/zFulup", "/s/hosts/zFulup")
    assert (files.pid, files.leases) == ("/r/dnsmasq/zFulup.pid", "/r/dnsmasq/zFulup.leases")


def test_nobody_but_an_operator_can_ask(host, zones, dominig):
    owner = Actor(id=dominig.pk, name="dominig")
    for ask in (
        lambda: create(owner, host),
        lambda: zone_apply(owner, zones["zFulup"]),
        lambda: zone_change(owner, zones["zFulup"], external=None, domain=""),
        lambda: zone_delete(owner, zones["zFulup"]),
    ):
        with pytest.raises(PermissionDenied):
            ask()
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("domain", "fulup.internal\ndhcp-script=/tmp/x"),
        ("name", "../../../etc/x"),
        ("bridge", "xen-br1\nk.x=1"),
        # PostgreSQL's own type for addresses takes no such text.
        *(() if connection.vendor == "postgresql" else (("lease_first", "10.10.1.100,static\n"),)),
    ],
)
def test_root_writes_no_line_or_path_that_no_page_would_make(actor, zones, field, value):
    """Whoever took over the panel writes to its database past every form; dnsmasq runs scripts as root."""
    job = zone_change(actor, zones["zFulup"], domain="other.internal")
    Zone.objects.filter(pk=zones["zFulup"].pk).update(**{field: value})
    Job.objects.filter(pk=job.pk).update(args={})
    job.refresh_from_db()
    with pytest.raises(Refused, match=r"is no (name|bridge|domain|address)|of zFulup is no address"):
        kind_of("zone.change").plan(job, State(), CONFIG)
