"""Zone restrictions (TuneZone): what cannot hold is said beside its field, and nothing half is saved."""

from __future__ import annotations

import pytest
from django.core.exceptions import PermissionDenied, ValidationError

from audit.log import Actor
from audit.models import Entry
from firewall import rows, services
from firewall.models import ZoneRestriction
from firewall.specs import Ports

pytestmark = pytest.mark.django_db


def tune(me, zone, **changes) -> ZoneRestriction:
    wish = {"name": "NOSMTP", "direction": "out", "action": "DROP", "proto": "tcp", "port": 25, "reason": "spam"}
    return services.restriction_add(me, zone=zone, **{**wish, **changes})


@pytest.mark.parametrize(
    ("changes", "field", "sentence"),
    [
        ({"name": "NOSMTP"}, "name", "zDominig has a restriction NOSMTP already"),
        ({"name": "two words"}, "name", "Use 1 to 31"),
        ({"name": "x" * 32}, "name", "at most 31"),
        ({"port": 0}, "port", "they go from 1 to 65535"),
        ({"port": 70000}, "port", "they go from 1 to 65535"),
        ({"port": 90, "port_last": 80}, "port", "80"),
        ({"proto": "gre"}, "proto", "not a valid choice"),
        ({"action": "MARK"}, "action", "not a valid choice"),
        ({"direction": "up"}, "direction", "not a valid choice"),
        ({"address": "10.10.3.4/24"}, "address", "no address or network"),
        ({"address": "everybody"}, "address", "no address or network"),
        ({"address": "10.10.3.4-10.10.3.9"}, "address", ""),
    ],
)
def test_what_cannot_hold_is_said_beside_its_field(me, zones, changes, field, sentence) -> None:
    tune(me, zones["zDominig"])
    with pytest.raises(ValidationError) as refused:
        tune(me, zones["zDominig"], **{"name": "Other", **changes})
    assert sentence in " ".join(refused.value.message_dict[field])
    assert ZoneRestriction.objects.count() == 1


def test_two_zones_may_have_one_of_the_same_name(me, zones) -> None:
    tune(me, zones["zDominig"])
    tune(me, zones["zFulup"])
    assert ZoneRestriction.objects.count() == 2


def test_tcp_and_udp_over_a_range_to_one_network_is_one_restriction(me, host, zones) -> None:
    tune(me, zones["zDominig"], proto="both", port=5000, port_last=5010, address="10.10.1.7/32")
    (spec,) = rows.site_of(host).restrictions
    assert (spec.ports, spec.address) == (Ports(proto="both", first=5000, last=5010), "10.10.1.7")


def test_every_change_stands_in_the_log_with_its_reason(me, zones) -> None:
    row = tune(me, zones["zDominig"])
    wish = {"zone": row.zone, "name": row.name, "direction": "in", "action": "REJECT", "proto": "udp", "port": 53}
    services.restriction_change(me, row, **wish, reason="answers instead")
    services.restriction_remove(me, row, reason="over")
    said = list(Entry.objects.filter(action="restriction.change").order_by("seq").values_list("why", flat=True))
    assert said == ["spam", "answers instead", "over"]
    assert not ZoneRestriction.objects.exists()


def test_only_an_operator_adds_one(zones, dominig) -> None:
    with pytest.raises(PermissionDenied):
        tune(Actor(id=dominig.pk, name="dominig"), zones["zDominig"])
