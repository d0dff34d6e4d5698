"""What a change of subnet takes along, and where each thing goes."""

from __future__ import annotations

import pytest
from django.utils import timezone
from netaddr import IPNetwork

from audit.log import Actor
from dom0.errors import Refused
from dom0.host import HostConfig
from dom0.state import Link, State
from firewall.models import CustomRule, PublishedService, ZoneRestriction
from hosts.kinds import kind_of
from hosts.models import Job
from machines.addresses import drawn
from machines.expected import Entry, entries_keep
from machines.models import Expected, Machine
from zones import moving, render, services
from zones.models import Zone
from zones.moving import Move

CONFIG = HostConfig(name="ns3100421", libvirt="lxc:///system", volumes="/v", vpn_network="10.10.95.0/24")


def move(old: str, new: str) -> Move:
    return Move(zone=Zone(gateway="10.10.7.1", prefix=24), old=IPNetwork(old), new=IPNetwork(new))


@pytest.mark.parametrize(
    ("old", "new", "address", "there"),
    [
        ("10.10.2.0/24", "10.10.7.0/24", "10.10.2.2", "10.10.7.2"),
        ("10.10.2.0/24", "10.10.7.0/25", "10.10.2.2", "10.10.7.2"),
        ("10.10.2.0/24", "10.10.7.0/25", "10.10.2.127", ""),  # its broadcast
        ("10.10.2.0/24", "10.10.7.0/25", "10.10.2.200", ""),
        ("10.10.2.0/24", "10.10.7.128/25", "10.10.2.5", "10.10.7.133"),
        ("10.10.2.0/24", "10.10.2.0/25", "10.10.2.5", "10.10.2.5"),
        ("10.10.2.0/24", "10.10.2.0/25", "10.10.2.130", ""),
        ("10.10.2.0/24", "10.10.2.128/25", "10.10.2.5", ""),
        ("10.10.3.0/24", "10.10.2.0/23", "10.10.3.5", "10.10.3.5"),
        ("10.10.2.0/24", "10.10.7.0/24", "10.10.9.9", "10.10.9.9"),
    ],
)
def test_an_address_keeps_its_host_part_or_its_place(old: str, new: str, address: str, there: str) -> None:
    assert move(old, new).place(address) == there


@pytest.mark.parametrize(
    ("old", "new", "network", "there"),
    [
        ("10.10.2.0/24", "10.10.7.0/24", "10.10.2.0/24", "10.10.7.0/24"),
        ("10.10.2.0/24", "10.10.7.0/24", "10.10.2.64/26", "10.10.7.64/26"),
        ("10.10.2.0/24", "10.10.7.0/24", "10.10.2.9", "10.10.7.9"),
        ("10.10.2.0/24", "10.10.7.0/26", "10.10.2.64/26", ""),
        ("10.10.2.0/24", "10.10.7.0/24", "10.10.0.0/16", "10.10.0.0/16"),
        ("10.10.2.0/24", "10.10.2.0/25", "10.10.2.0/26", "10.10.2.0/26"),
        ("10.10.2.0/24", "10.10.2.0/25", "10.10.2.128/26", ""),
        ("10.10.3.0/24", "10.10.2.0/23", "10.10.3.64/26", "10.10.3.64/26"),
    ],
)
def test_a_network_keeps_its_place_in_the_subnet(old: str, new: str, network: str, there: str) -> None:
    assert move(old, new).place_network(network) == there


@pytest.fixture
def actor(fulup) -> Actor:
    return Actor(id=fulup.pk, name="fulup")


@pytest.fixture
def settled(web_dom, zones, host, fulup, django_user_model) -> Zone:
    """zDominig on the host, with a machine, a port, restrictions of two zones and a rule that name its addresses."""
    zone = zones["zDominig"]
    zone.applied_at = timezone.now()
    zone.save()
    PublishedService.objects.create(
        host=host, name="DomiWEB", zone=zone, external=zone.external, proto="tcp", port=80, port_last=80,
        target="10.10.2.2", target_port=8080, live=True,
    )  # fmt: skip
    for name, place, address in (("a", "zDominig", "10.10.2.2"), ("b", "zFulup", "10.10.2.0/24"), ("c", "zFulup", "")):
        ZoneRestriction.objects.create(
            zone=zones[place], name=name, direction="out", proto="tcp", port=25, port_last=25, address=address
        )
    CustomRule.objects.create(host=host, place="before-input", rule="-s 10.10.2.7 -j DROP", reason="r", author=fulup)
    return zone


@pytest.mark.django_db
def test_every_machine_service_and_restriction_is_shown_with_both_addresses(settled: Zone) -> None:
    preview = services.zone_preview(settled, gateway="10.10.7.1")
    assert preview is not None
    assert [(row.kind, row.name, row.before, row.after) for row in preview.rows] == [
        ("machine", "WEB-Dom", "10.10.2.2", "10.10.7.2"),
        ("published service", "DomiWEB", "10.10.2.2:8080", "10.10.7.2:8080"),
        ("restriction", "b of zFulup", "10.10.2.0/24", "10.10.7.0/24"),
        ("restriction", "a of zDominig", "10.10.2.2", "10.10.7.2"),
        ("own rule", "before-input", "-s 10.10.2.7 -j DROP", "-s 10.10.2.7 -j DROP"),
    ]
    assert "within the hour" in preview.rows[0].note
    assert "change it yourself" in preview.rows[-1].note
    assert preview.conflicts == ()


@pytest.mark.django_db
def test_nothing_moves_where_the_subnet_stays(settled: Zone) -> None:
    assert services.zone_preview(settled, gateway="10.10.2.1", domain="other.internal") is None


@pytest.mark.django_db
def test_rows_follow_when_the_job_ended_well_and_are_not_in_force(settled: Zone, actor: Actor) -> None:
    job = services.zone_change(actor, settled, gateway="10.10.7.1")
    assert Machine.objects.get().address == "10.10.2.2"
    kind_of("zone.change").done(job)
    assert Machine.objects.get().address == "10.10.7.2"
    service = PublishedService.objects.get()
    assert (service.target, service.live) == ("10.10.7.2", False)
    assert list(ZoneRestriction.objects.order_by("name").values_list("address", flat=True)) == [
        "10.10.7.2", "10.10.7.0/24", "",
    ]  # fmt: skip
    assert CustomRule.objects.get().rule == "-s 10.10.2.7 -j DROP"


@pytest.mark.django_db
def test_a_machine_without_a_place_stops_the_wish_before_anything_is_saved(settled: Zone, actor: Actor) -> None:
    Machine.objects.update(address="10.10.2.200")
    with pytest.raises(Refused, match=r"WEB-Dom can't move to 10.10.7.0/25"):
        services.zone_change(actor, settled, gateway="10.10.7.1", prefix=25)
    assert not Job.objects.exists()


@pytest.mark.django_db
def test_a_machine_that_is_being_made_is_waited_for(settled: Zone, actor: Actor, host, fulup, web_dom) -> None:
    Job.objects.create(
        kind="machine.create", host=host, title="Create WEB-Dom", target_kind="machine", target_id=web_dom.pk,
        target_text="WEB-Dom", actor=fulup,
    )  # fmt: skip
    with pytest.raises(Refused, match="still open"):
        services.zone_change(actor, settled, gateway="10.10.7.1")


@pytest.mark.django_db
def test_what_came_in_the_way_meanwhile_is_refused_when_the_job_is_planned(settled: Zone, actor: Actor, host) -> None:
    job = services.zone_change(actor, settled, gateway="10.10.7.1")
    Zone.objects.create(host=host, name="zLate", number=9, bridge="xen-br9", gateway="10.10.7.1")
    with pytest.raises(Refused, match="overlaps zLate"):
        kind_of("zone.change").plan(job, State(), CONFIG)


@pytest.mark.django_db
def test_the_plan_holds_the_locks_of_every_machine_there(settled: Zone, actor: Actor, web_dom) -> None:
    job = services.zone_change(actor, settled, gateway="10.10.7.1")
    assert kind_of("zone.change").locks(job) == (f"machine-{web_dom.pk}", "net")


@pytest.mark.django_db
def test_the_machine_is_a_member_at_its_new_address_before_the_former_goes(
    settled: Zone, actor: Actor, web_dom
) -> None:
    job = services.zone_change(actor, settled, gateway="10.10.7.1")
    kept = f"{CONFIG.state}/members/machine-WEB-Dom.nft"
    found = (f'members "{web_dom.vif}" . {web_dom.mac} . 10.10.2.2', "fr-znet 10.10.2.0/24,xen-br2")
    bridge = Link(
        name="xen-br2", kind="bridge", mac=render.bridge_mac("ns3100421", "zDominig"), addresses=("10.10.2.1/24",)
    )
    state = State(
        links={"xen-br2": bridge},
        files={kept: "old"},
        members=dict.fromkeys((*found, "fr-inside 10.10.2.0/24", "fr-znet 10.10.1.0/24,xen-br1"), "present"),
    )
    plan = kind_of("zone.change").plan(job, state, CONFIG)
    shown = [step.shown for step in plan.steps]
    place = {text: n for n, step in enumerate(shown) for text in ("10.10.7.2", "10.10.2.2", "fr-znet") if text in step}
    assert place["10.10.7.2"] < place["10.10.2.2"] < place["fr-znet"] == len(shown) - 1
    gone = [step for step in shown if step.startswith("ipset del")]
    assert gone == ["ipset del fr-inside 10.10.2.0/24 -exist", "ipset del fr-znet 10.10.2.0/24,xen-br2 -exist"]
    for step in plan.steps:
        state = step.after(state)
    assert kind_of("zone.change").plan(job, state, CONFIG).steps == ()


@pytest.mark.django_db
def test_a_machine_created_where_another_once_was_gets_another_mac_and_interface(settled: Zone, host, web_dom) -> None:
    mac, vif = drawn(host, "10.10.2.2")
    Machine.objects.update(mac=mac, vif=vif, address="10.10.7.2")
    assert drawn(host, "10.10.2.2") == ("aa:bc:0a:0a:02:02", "fr0a0a0202bc")
    assert drawn(host, "10.10.2.3") == ("aa:bb:0a:0a:02:03", "fr0a0a0203")


def test_two_moves_have_two_digests() -> None:
    digests = {
        moving.Preview(move=move("10.10.2.0/24", new), rows=()).digest for new in ("10.10.7.0/24", "10.10.8.0/24")
    }
    assert len(digests) == 2


def kept(zone: Zone, name: str, address: str, mac: str) -> Expected:
    return Expected.objects.create(
        host=zone.host, zone=zone, name=name, address=address, mac=mac, vif=f"fr{name}", noted_at=timezone.now()
    )


@pytest.mark.django_db
def test_kept_entries_move_along_and_are_shown_but_not_beside_the_machine_that_took_one_over(
    settled: Zone, actor: Actor
) -> None:
    kept(settled, "Old", "10.10.2.9", "00:16:3e:00:00:09")
    kept(settled, "Mute", "10.10.2.8", "")
    kept(settled, "Taken", "10.10.2.2", "00:16:3e:00:00:02")
    preview = services.zone_preview(settled, gateway="10.10.7.1")
    assert preview is not None
    shown = [row for row in preview.rows if row.kind == "kept entry"]
    assert [(row.name, row.before, row.after, row.conflict) for row in shown] == [
        ("Mute", "10.10.2.8", "10.10.7.8", ""),
        ("Old", "10.10.2.9", "10.10.7.9", ""),
    ]
    assert ["without a MAC" in row.note for row in shown] == [True, False]
    job = services.zone_change(actor, settled, gateway="10.10.7.1")
    assert Expected.objects.get(name="Old").address == "10.10.2.9"
    kind_of("zone.change").done(job)
    moved = dict(Expected.objects.values_list("name", "address"))
    assert moved == {"Old": "10.10.7.9", "Mute": "10.10.7.8", "Taken": "10.10.7.2"}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("address", "gateway", "prefix", "why"),
    [("10.10.2.200", "10.10.7.1", 25, "has no place in"), ("10.10.2.9", "10.10.7.9", 24, "would be the gateway's")],
)
def test_a_kept_entry_without_a_place_stops_the_wish(
    settled: Zone, actor: Actor, address: str, gateway: str, prefix: int, why: str
) -> None:
    kept(settled, "Old", address, "00:16:3e:00:00:09")
    with pytest.raises(Refused, match=f"Old can't move to .*{why}"):
        services.zone_change(actor, settled, gateway=gateway, prefix=prefix)


@pytest.mark.django_db
def test_while_the_host_is_told_of_kept_entries_the_zone_waits(settled: Zone, actor: Actor, host) -> None:
    entry = Entry(name="Old", address="10.10.2.9", mac="00:16:3e:00:00:09", zone="zDominig")
    job = entries_keep(actor, host, [entry])
    assert job is not None
    with pytest.raises(Refused, match=rf"job {job.pk} .* is still open"):
        services.zone_change(actor, settled, gateway="10.10.7.1")
