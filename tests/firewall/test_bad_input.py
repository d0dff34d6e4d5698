"""Whatever does not fit together is a sentence beside its field that names what would work; nothing is half saved.

The zones' own part (subnets, bridges, cards) is judged in the zones' room and tested here through its services.
"""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from audit.models import Entry
from firewall import services
from firewall.models import PolicyCell, PublishedService, ZoneRestriction
from firewall.specs import Cell, Ports
from hosts.models import Job
from zones.models import NetworkSeen, Zone
from zones.services import zone_create

pytestmark = pytest.mark.django_db


@pytest.fixture
def isolated(host, zones) -> Zone:
    return Zone.objects.create(host=host, name="zAdmin", number=3, bridge="xen-br3", gateway="10.10.3.1")


@pytest.fixture
def published(me, host, zones, web_dom) -> PublishedService:
    """tcp and udp 5000-5010 of 87.98.130.56."""
    return publish(me, host, zones, name="There", proto="both", port=5000, port_last=5010)


def publish(me, host, zones, **changes) -> PublishedService:
    wish = {
        "name": "New",
        "proto": "tcp",
        "port": 443,
        "external": zones["zDominig"].external,
        "target": "10.10.2.2",
    }
    return services.service_publish(me, host=host, **{**wish, **changes})


@pytest.fixture
def before(published, isolated) -> tuple[int, ...]:
    return counted()


def counted() -> tuple[int, ...]:
    rows = (PublishedService, ZoneRestriction, PolicyCell, Zone, Job, Entry)
    return tuple(model.objects.count() for model in rows)


@pytest.mark.parametrize(
    ("changes", "field", "sentence"),
    [
        ({"port": 5010, "port_last": 5020}, "port", "tcp and udp 5000-5010 of 87.98.130.56 already leads to WEB-Dom"),
        ({"port": 5010, "port_last": 5020}, "port", "(There). Free: 5011-5021."),
        ({"port": 5005}, "port", "Free: 5011."),
        ({"port": 4000, "port_last": 6000, "proto": "udp"}, "port", "Free: 5011-7011."),
        ({"port": 5000, "proto": "both"}, "port", "Free: 5011."),
        ({"port": 0}, "port", "0 is no port; they go from 1 to 65535, such as 443."),
        ({"port": 70000}, "port", "70000 is no port; they go from 1 to 65535, such as 443."),
        ({"port_last": 70000}, "port_last", "70000 is no port"),
        ({"target_port": 70000}, "target_port", "70000 is no port"),
        ({"port": 90, "port_last": 80}, "port", "write the lower one first, 80-90"),
        ({"port_last": 9000, "target_port": 65500}, "target_port", "56978 is the last that fits"),
        (
            {"target": "10.10.3.5"},
            "target",
            "zAdmin, which is isolated from the Internet. Give zAdmin an external address",
        ),
        ({"target": "10.10.12.5"}, "target", "in no zone, so nothing would answer. Zones: zFulup 10.10.1.0/24"),
        ({"target": "10.10.2.0"}, "target", "no machine has it. Choose a machine, such as 10.10.2.2."),
        ({"target": "10.10.2.255"}, "target", "no machine has it"),
        ({"target": "10.10.2.1"}, "target", "dom0's own address in zDominig"),
        ({"name": "There"}, "name", "A service There exists already. Give this one another name."),
        ({"name": "two words"}, "name", "for example DomiWEB"),
        ({"external": None}, "external", "Choose the external address"),
        ({"proto": "icmp"}, "proto", "icmp"),
    ],
)
def test_a_service_that_cannot_work_is_refused(me, host, zones, before, changes, field, sentence) -> None:
    with pytest.raises(ValidationError) as refused:
        publish(me, host, zones, **changes)
    assert sentence in " ".join(refused.value.message_dict[field])
    assert counted() == before


def test_a_service_is_not_changed_into_one_that_cannot_work(me, host, zones, published, isolated) -> None:
    other = publish(me, host, zones)
    before = counted()
    with pytest.raises(ValidationError) as refused:
        services.service_change(
            me, other, name="New", proto="udp", port=5003, external=zones["zDominig"].external, target="10.10.2.2"
        )
    assert "Free: 5011." in refused.value.message_dict["port"][0]
    assert counted() == before
    other.refresh_from_db()
    assert (other.proto, other.port) == ("tcp", 443)


def test_an_address_that_is_not_on_its_card_publishes_nothing(me, host, zones, before) -> None:
    """DNAT looks whether the address is dom0's own: a missing one would fail without a word."""
    seen = {"eth0": {"kind": "", "mac": "", "addresses": ["91.121.65.140/24"]}}
    NetworkSeen.objects.create(host=host, links=seen, seen_at=timezone.now())
    with pytest.raises(ValidationError) as refused:
        publish(me, host, zones)
    said = refused.value.message_dict["external"][0]
    assert "87.98.130.56 is not on eth0" in said
    assert "ip addr add 87.98.130.56/32 dev eth0" in said
    assert counted() == before
    publish(me, host, zones, name="Other", external=zones["zFulup"].external)


@pytest.mark.parametrize("proto", ["tcp", "both"])
def test_the_last_address_of_dom0s_ssh_and_of_its_own_services_stays_dom0s(me, host, zones, proto) -> None:
    services.service_publish(me, host=host, name="VPNT", proto="tcp", port=563)
    for port, what in ((22, "dom0's own ssh nowhere"), (563, "VPNT is nowhere dom0's. Leave it on one address.")):
        publish(me, host, zones, name=f"One{port}", proto=proto, port=port)
        before = counted()
        with pytest.raises(ValidationError) as refused:
            publish(me, host, zones, name=f"Two{port}", proto=proto, port=port, external=zones["zFulup"].external)
        assert what in refused.value.message_dict["port"][0]
        assert counted() == before


@pytest.mark.parametrize(
    ("changes", "field", "sentence"),
    [
        ({"port": 0}, "port", "0 is no port; they go from 1 to 65535"),
        ({"port": 70000}, "port", "70000 is no port; they go from 1 to 65535"),
        ({"port": 30, "port_last": 20}, "port", "write the lower one first, 20-30"),
        ({"address": "10.10.2.5/24"}, "address", "is no address or network. Example: 10.10.3.4 or 10.10.3.0/24."),
        ({"address": "nonsense"}, "address", "Example: 10.10.3.4"),
        ({"name": "two words"}, "name", "for example DomiWEB"),
    ],
)
def test_a_restriction_that_cannot_hold_is_refused(me, zones, before, changes, field, sentence) -> None:
    wish = {"name": "NoMail", "direction": "out", "action": "DROP", "proto": "both", "port": 25}
    with pytest.raises(ValidationError) as refused:
        services.restriction_add(me, zone=zones["zFulup"], **{**wish, **changes})
    assert sentence in " ".join(refused.value.message_dict[field])
    assert counted() == before


@pytest.mark.parametrize(
    ("cell", "sentence"),
    [
        (Cell(source="zAdmin", target="internet", everything=True), "no external address to leave with"),
        (Cell(source="zFulup", target="dom0", everything=True), "for example udp 514"),
        (Cell(source="zFulup", target="dom0", ports=(Ports(proto="both", first=22, last=22),)), "admin's own way in"),
        (Cell(source="internet", target="zFulup", everything=True), "Publish a service"),
        (Cell(source="zFulup", target="zGone", everything=True), "no zone zGone"),
    ],
)
def test_a_cell_that_opens_what_stays_closed_is_refused(me, host, before, cell, sentence) -> None:
    with pytest.raises(ValidationError) as refused:
        services.policy_set(me, host, [cell])
    assert sentence in " ".join(refused.value.message_dict["ports"])
    assert counted() == before


@pytest.mark.parametrize(
    ("changes", "field", "sentence"),
    [
        ({"gateway": "10.10.2.129", "prefix": 25}, "gateway", "overlaps zDominig"),
        ({"gateway": "10.10.95.1"}, "gateway", "overlaps the admin VPN (10.10.95.0/24)"),
        ({"gateway": "192.168.7.1"}, "gateway", "overlaps 192.168.7.20/24 of eth1"),
        ({"name": "zFulup"}, "name", "There is a zone zFulup already"),
        ({"bridge": "xen-br-far-too-long"}, "bridge", "at most 15 characters, for example xen-br4"),
        ({"bridge": "xen-br1"}, "bridge", "is the bridge of zFulup. Free: xen-br4."),
        (
            {"bridge": "xen-br9"},
            "bridge",
            "an interface xen-br9 already, and it is not zNew's. It stays as it is; free: xen-br4",
        ),
    ],
)
def test_a_zone_that_does_not_fit_is_refused(me, host, before, changes, field, sentence) -> None:
    links = {
        "eth0": {"kind": "", "mac": "", "addresses": ["91.121.65.140/24", "87.98.130.56/32"]},
        "eth1": {"kind": "", "mac": "", "addresses": ["192.168.7.20/24"]},
        "xen-br9": {"kind": "bridge", "mac": "02:11:22:33:44:55", "addresses": []},
    }
    NetworkSeen.objects.create(host=host, links=links, seen_at=timezone.now())
    with pytest.raises(ValidationError) as refused:
        zone_create(me, host=host, **{"name": "zNew", "gateway": "10.10.8.1", **changes})
    assert sentence in " ".join(refused.value.message_dict[field])
    assert counted() == before
