"""What is kept for machines of a former box: nobody else's, known to the host, taken over by name."""

from __future__ import annotations

import pytest
from django.core.exceptions import PermissionDenied, ValidationError

from audit.log import Actor
from audit.models import Entry as Logged
from dom0.errors import Refused
from dom0.host import HostConfig
from dom0.state import State
from hosts.kinds import kind_of
from hosts.models import Job
from machines import addresses, expected, expected_kinds, services
from machines.expected import Entry
from machines.models import Expected, Machine

pytestmark = pytest.mark.django_db
CONFIG = HostConfig(name="ns3100421", libvirt="lxc:///system", volumes="/v", state="/s", run="/r")
MAIL = Entry(name="Mail", address="10.10.1.3", mac="aa:bb:cc:dd:ee:03", zone="zFulup", source="VM-03")


@pytest.fixture
def me(fulup) -> Actor:
    return Actor(id=fulup.pk, name="fulup")


@pytest.fixture
def kept(me, host, zones) -> Expected:
    expected.entries_keep(me, host, [MAIL])
    Job.objects.update(state="done")
    return Expected.objects.get()


def planned(host, gone: list[dict[str, str]] | None = None, state: State | None = None):
    job = Job(host=host, args={"gone": gone or []})
    return kind_of("machine.expect").plan(job, state or State(), CONFIG)


def test_an_entry_is_kept_with_a_job_that_tells_the_host(me, host, zones) -> None:
    job = expected.entries_keep(me, host, [MAIL])
    row = Expected.objects.get()
    assert (row.zone.name, row.vif, row.noted_at) == ("zFulup", "fr0a0a0103", None)
    assert (job.kind, job.title) == ("machine.expect", "Tell the host of Mail")
    assert Logged.objects.filter(action="machine.expect").count() == 2
    kind_of(job.kind).done(job)
    row.refresh_from_db()
    assert row.noted_at


def test_the_host_learns_lease_name_and_membership_and_nothing_twice(kept, host) -> None:
    plan = planned(host)
    shown = "\n".join(step.shown for step in plan.steps)
    assert '"fr0a0a0103" . aa:bb:cc:dd:ee:03 . 10.10.1.3' in shown
    assert "aa:bb:cc:dd:ee:03,10.10.1.3,Mail" in shown
    assert "/s/hosts/zFulup/Mail" in shown
    assert "/s/members/machine-Mail.nft" in shown
    state = State()
    for step in plan.steps:
        state = step.after(state)
    assert planned(host, state=state).steps == ()


def test_one_without_a_mac_keeps_its_address_and_tells_the_host_nothing(me, host, zones) -> None:
    expected.entries_keep(me, host, [Entry(name="Silent", address="10.10.1.4", mac="", zone="zFulup")])
    assert planned(host).steps == ()
    assert "10.10.1.4" not in addresses.free_addresses(zones["zFulup"], 10)


def test_an_entry_taken_out_is_forgotten_by_the_host(me, kept, host) -> None:
    state = State()
    for step in planned(host).steps:
        state = step.after(state)
    job = expected.entry_remove(me, kept)
    assert not Expected.objects.exists()
    plan = planned(host, gone=job.args["gone"], state=state)
    shown = "\n".join(step.shown for step in plan.steps)
    assert "nft delete element bridge" in shown
    assert "rm -f /s/ethers/zFulup/Mail" in shown
    for step in plan.steps:
        state = step.after(state)
    assert planned(host, gone=job.args["gone"], state=state).steps == ()


def test_its_address_and_name_are_nobody_elses(me, kept, host, zones, image, fulup) -> None:
    assert "10.10.1.3" not in addresses.free_addresses(zones["zFulup"], 10)
    wish = {"host": host, "zone": zones["zFulup"], "owner": fulup.own, "image": image}
    with pytest.raises(ValidationError) as refused:
        services.machine_create(me, name="Other", address="10.10.1.3", **wish)
    assert "kept for Mail of the former box. Free and next to it: 10.10.1.4" in str(refused.value)
    with pytest.raises(ValidationError) as refused:
        services.machine_create(me, name="mail", address="10.10.1.9", **wish)
    assert "at 10.10.1.3. Use that address" in str(refused.value)


def test_a_machine_made_under_its_name_takes_it_over(me, kept, host, zones, image, fulup) -> None:
    job = services.machine_create(
        me, host=host, zone=zones["zFulup"], owner=fulup.own, name="Mail", address="10.10.1.3", image=image
    )
    machine = Machine.objects.get(name="Mail")
    assert (machine.mac, machine.vif) == ("aa:bb:cc:dd:ee:03", "fr0a0a0103")
    assert Expected.objects.exists()
    kind_of(job.kind).done(job)
    assert not Expected.objects.exists()


def test_another_machine_never_draws_its_mac(kept, host) -> None:
    kept.mac = addresses.mac_of("10.10.1.77")
    kept.save()
    assert addresses.drawn(host, "10.10.1.77")[0] != kept.mac


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        (Entry(name="WEB-Dom", address="10.10.1.5", mac="02:00:00:00:00:01", zone="zFulup"), "There is a WEB-Dom"),
        (Entry(name="A", address="10.10.2.2", mac="02:00:00:00:00:01", zone="zDominig"), "WEB-Dom has 10.10.2.2"),
        (Entry(name="A", address="10.10.9.2", mac="02:00:00:00:00:01", zone="zFulup"), "not in zone zFulup"),
        (Entry(name="A", address="10.10.1.2", mac="02:00:00:00:00:01", zone="zGone"), "not in zone zGone"),
        (Entry(name="no name", address="10.10.1.2", mac="", zone="zFulup"), "Use 1 to 31 letters"),
    ],
)
def test_what_is_somebodys_or_nobodys_is_refused_whole(me, host, zones, web_dom, entry, sentence) -> None:
    with pytest.raises(Refused) as refused:
        expected.entries_keep(me, host, [MAIL, entry])
    assert sentence in refused.value.message
    assert not Expected.objects.exists()


def test_kept_again_it_is_the_same(me, kept, host) -> None:
    assert expected.entries_keep(me, host, [MAIL]) is None
    with pytest.raises(Refused, match="another address or MAC"):
        expected.entries_keep(me, host, [Entry(name="Mail", address="10.10.1.3", mac="", zone="zFulup")])


def test_its_zone_is_not_deleted_under_it_and_moves_with_it(me, kept, host, zones) -> None:
    from netaddr import IPNetwork

    from zones.dependents import dependents_of
    from zones.moving import Move, preview

    assert ("kept entry", "Mail") in {(d.kind, d.name) for d in dependents_of(zones["zFulup"])}
    move = Move(zone=zones["zFulup"], old=zones["zFulup"].network, new=IPNetwork("10.10.7.0/24"))
    assert [(row.kind, row.name, row.conflict) for row in preview(move).rows] == [("kept entry", "Mail", "")]


def test_only_operators_keep_and_take_out(kept, host, dominig) -> None:
    him = Actor(id=dominig.pk, name="dominig")
    with pytest.raises(PermissionDenied):
        expected.entries_keep(him, host, [MAIL])
    with pytest.raises(PermissionDenied):
        expected.entry_remove(him, kept)


def test_its_scope_names_what_the_plan_reads(kept, host) -> None:
    scope = kind_of("machine.expect").scope(Job(host=host, args={"gone": []}), CONFIG)
    assert set(scope.files) == {"/s/ethers/zFulup/Mail", "/s/hosts/zFulup/Mail", "/s/members/machine-Mail.nft"}
    assert len(scope.members) == 2
    assert expected_kinds.KIND == expected.KIND
