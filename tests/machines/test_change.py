"""Changing a machine, as a wish: what is told beforehand, what the job keeps, what follows its end, the way back."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.utils import timezone

from accounts.models import SSHKey
from audit.log import Actor
from audit.models import Entry
from dom0.errors import Refused
from firewall.models import PublishedService, ZoneRestriction
from hosts.kinds import kind_of
from hosts.models import Job
from hosts.services import job_cancel
from machines import addresses, services
from machines.change_services import machine_change, preview
from machines.changing import half_way
from machines.models import Grant, Machine
from zones.models import Zone
from zones.services import zone_delete, zone_preview

pytestmark = pytest.mark.django_db


@pytest.fixture
def actor(fulup) -> Actor:
    return Actor(id=fulup.pk, name="fulup")


@pytest.fixture
def change(actor, web_dom):
    def ask(**wish) -> Job:
        return machine_change(actor, web_dom, **wish)

    return ask


def end(job: Job, state: str = Job.State.DONE, attempt: int = 1) -> Job:
    """The job as its worker closes it."""
    Job.objects.filter(pk=job.pk).update(state=state, attempt=attempt, ended=timezone.now())
    job.refresh_from_db()
    (kind_of(job.kind).done if state in (Job.State.DONE, Job.State.NOTHING) else kind_of(job.kind).failed)(job)
    return job


def complaints(change, **wish) -> dict[str, list[str]]:
    with pytest.raises(ValidationError) as error:
        change(**wish)
    assert not Job.objects.filter(kind="machine.change").exists()
    return error.value.message_dict


def test_the_row_follows_when_the_job_has_ended_well_and_not_before(change, web_dom):
    job = change(name="Post", memory_mib=128, autostart=False)
    web_dom.refresh_from_db()
    assert (web_dom.name, web_dom.memory_mib, web_dom.autostart) == ("WEB-Dom", 64, True)
    end(job)
    web_dom.refresh_from_db()
    assert (web_dom.name, web_dom.memory_mib, web_dom.autostart) == ("Post", 128, False)


def test_one_entry_says_before_and_after(change):
    job = change(name="Post", memory_mib=128, reason="he asked")
    entry = Entry.objects.get(action="machine.change")
    assert (entry.why, entry.job) == ("he asked", job.pk)
    assert entry.data["asked"]["before"] == {"Name": "WEB-Dom", "Memory": "64 MB"}
    assert entry.data["asked"]["after"] == {"Name": "Post", "Memory": "128 MB"}


@pytest.mark.parametrize(
    ("wish", "title"),
    [
        ({"name": "Post"}, "Rename WEB-Dom to Post"),
        ({"address": "10.10.2.9"}, "Move WEB-Dom to 10.10.2.9"),
        ({"root_mib": 512}, "Grow the root of WEB-Dom to 512 MB"),
        ({"memory_mib": 96}, "Give WEB-Dom 96 MB of memory"),
        ({"vcpus": 2, "start_order": 5}, "Change WEB-Dom: vCPUs, start order"),
        ({}, "Bring WEB-Dom in line with its settings"),
    ],
)
def test_the_job_is_called_by_what_it_does(change, wish, title):
    assert change(**wish).title == title


def test_another_zone_without_an_address_gets_its_lowest_free_one(change, zones, web_dom):
    Machine.objects.create(
        host=web_dom.host, zone=zones["zFulup"], owner=web_dom.owner, name="First", address="10.10.1.2",
        mac="aa:bb:cc:dd:01:02", vif="fr2", uid_base=1, memory_mib=64, root_mib=64, image=web_dom.image,
    )  # fmt: skip
    job = change(zone=zones["zFulup"])
    assert (job.title, job.args["change"]["address"]) == ("Move WEB-Dom to zFulup, 10.10.1.3", "10.10.1.3")


@pytest.mark.parametrize(
    ("wish", "field", "says"),
    [
        ({"name": "-no"}, "name", "Use "),
        ({"name": "dom0"}, "name", "already means something else"),
        ({"address": "10.10.1.9"}, "address", "is not in zone zDominig"),
        ({"address": "10.10.2.1"}, "address", "gateway"),
        ({"memory_mib": 8}, "memory_mib", "at least 16 MB"),
        ({"root_mib": 64}, "root_mib", "only grows"),
        ({"root_mib": 130}, "root_mib", "Use 144 or more"),
        ({"log_mib": 8}, "log_mib", "at least 16 MB"),
        ({"swap_mib": 1}, "swap_mib", "at least 4 MB"),
        ({"vcpus": 65}, "vcpus", "1 to 64"),
        ({"start_order": 1000}, "start_order", "0 to 999"),
        ({"on_crash": "explode"}, "on_crash", "restart, destroy or preserve"),
        ({"boot": "grub"}, "boot", "host's own kernel"),
        ({"kernel": "vmlinuz"}, "kernel", "host's own kernel"),
    ],
)
def test_what_can_not_be_is_said_beside_its_field_with_what_works(change, wish, field, says):
    found = complaints(change, **wish)
    assert list(found) == [field]
    assert says in found[field][0]


def test_more_memory_than_is_free_is_said_at_once(change, web_dom):
    web_dom.host.figures = {"free_memory_mib": 100}
    web_dom.host.save()
    assert "Use 164 or less" in complaints(change, memory_mib=200)["memory_mib"][0]
    assert change(memory_mib=164)


def test_a_name_another_machine_has_or_a_job_still_needs_is_refused(actor, change, web_dom, zones, image, dominig):
    other = services.machine_create(
        actor, host=web_dom.host, zone=zones["zDominig"], owner=dominig.own, name="Mail", address="10.10.2.4"
    )
    assert "Mail exists already" in complaints(change, name="mail")["name"][0]
    end(other)
    change(name="Post", address="10.10.2.9")
    for wish, field in (
        ({"name": "Post", "address": "10.10.2.5"}, "name"),
        ({"name": "P", "address": "10.10.2.9"}, "address"),
    ):
        with pytest.raises(ValidationError) as error:
            services.machine_create(actor, host=web_dom.host, zone=zones["zDominig"], owner=dominig.own, **wish)
        assert "still needs" in error.value.message_dict[field][0]
    assert "10.10.2.9" not in addresses.free_addresses(zones["zDominig"], 20)


def test_a_name_in_other_letters_is_another_name_of_the_same_machine(change):
    assert change(name="web-dom").args["change"] == {"name": "web-dom"}


def test_it_is_refused_while_another_job_is_open_and_for_what_is_not_finished(actor, change, web_dom):
    services.machine_stop(actor, web_dom)
    with pytest.raises(Refused, match="is still open"):
        change(memory_mib=96)
    Job.objects.update(state=Job.State.DONE)
    Machine.objects.update(built_at=None)
    with pytest.raises(Refused, match="is not finished"):
        change(memory_mib=96)


def test_what_a_person_did_not_see_is_shown_anew(change, web_dom):
    seen = preview(web_dom, name="Post").digest
    with pytest.raises(Refused, match="has changed since you looked"):
        change(name="Poster", seen=seen)
    assert change(name="Post", seen=seen)


@pytest.fixture
def services_of(web_dom, zones):
    external = zones["zDominig"].external
    ZoneRestriction.objects.create(
        zone=zones["zFulup"], name="NoDomi", direction="out", proto="tcp", port=25, port_last=25, address="10.10.2.2"
    )
    return PublishedService.objects.create(
        host=web_dom.host, name="DomiWEB", zone=zones["zDominig"], external=external, proto="tcp", port=80,
        port_last=80, target="10.10.2.2", target_port=8080, live=True,
    )  # fmt: skip


def test_published_services_and_restrictions_are_told_and_follow_to_the_new_place(change, web_dom, zones, services_of):
    found = preview(web_dom, zone=zones["zFulup"])
    assert [(row.kind, row.before, row.after) for row in found.moved] == [
        ("published service", "10.10.2.2:8080", "10.10.1.2:8080"),
        ("restriction", "10.10.2.2", "10.10.1.2"),
    ]
    job = change(zone=zones["zFulup"])
    services_of.refresh_from_db()
    assert services_of.target == "10.10.2.2", "not before the job has ended well"
    end(job)
    services_of.refresh_from_db()
    assert (services_of.target, services_of.zone, services_of.live) == ("10.10.1.2", zones["zFulup"], False)
    assert ZoneRestriction.objects.get().address == "10.10.1.2"


def test_nobody_gets_an_address_that_rules_in_force_still_lead_to(
    monkeypatch, actor, change, web_dom, zones, image, dominig
):
    monkeypatch.setattr("machines.following._holders", [lambda host: ["10.10.2.2"]])
    end(change(zone=zones["zFulup"]))
    assert "10.10.2.2" not in addresses.free_addresses(zones["zDominig"], 9)
    with pytest.raises(ValidationError) as error:
        services.machine_create(
            actor, host=web_dom.host, zone=zones["zDominig"], owner=dominig.own, name="Mail", address="10.10.2.2"
        )
    assert "still leads to 10.10.2.2" in error.value.message_dict["address"][0]


def test_with_another_owner_keys_that_stay_are_named_and_grants_end(change, web_dom, dominig, brendan, fulup):
    theirs = SSHKey.objects.create(user=dominig, name="laptop", line="ssh-ed25519 A", fingerprint="SHA256:a")
    mine = SSHKey.objects.create(user=fulup, name="desk", line="ssh-ed25519 B", fingerprint="SHA256:b")
    web_dom.ssh_keys.set([theirs, mine])
    Grant.objects.create(machine=web_dom, user=fulup, verbs=",view,", expires=timezone.now() + timedelta(days=1))
    found = preview(web_dom, owner=brendan.own)
    assert found.keys == (theirs,)
    assert [grant.user for grant in found.grants] == [fulup]
    job = change(owner=brendan.own)
    assert job.title == "Give WEB-Dom to brendan"
    end(job, Job.State.NOTHING, attempt=0)
    web_dom.refresh_from_db()
    assert (web_dom.owner, web_dom.grants.count()) == (brendan.own, 0)
    assert set(web_dom.ssh_keys.all()) == {theirs, mine}

    end(kind_of("machine.change").undo(Actor(id=fulup.pk, name="fulup"), job), Job.State.NOTHING, attempt=0)
    web_dom.refresh_from_db()
    (back,) = web_dom.grants.all()
    assert (web_dom.owner, back.user, back.verbs) == (dominig.own, fulup, ",view,")
    assert back.expires is not None


def test_undone_it_is_a_change_back(actor, change, web_dom):
    job = end(change(name="Post", memory_mib=128))
    back = kind_of("machine.change").undo(actor, job)
    assert back.args["change"] == {"name": "WEB-Dom", "memory_mib": 64}
    assert back.title == "Change Post: name, memory"
    end(back)
    web_dom.refresh_from_db()
    assert (web_dom.name, web_dom.memory_mib) == ("WEB-Dom", 64)


def test_a_volume_that_has_grown_is_left_out_of_the_way_back(actor, change):
    job = end(change(root_mib=512, memory_mib=128))
    assert kind_of("machine.change").undo(actor, job).args["change"] == {"memory_mib": 64}


def test_nothing_but_a_grown_volume_can_not_be_undone(actor, change):
    with pytest.raises(Refused, match="stays as large"):
        kind_of("machine.change").undo(actor, end(change(root_mib=512)))


def test_a_way_back_somebody_else_has_taken_is_refused_in_a_sentence(actor, change, web_dom, zones, image, dominig):
    job = end(change(name="Post"))
    services.machine_create(
        actor, host=web_dom.host, zone=zones["zDominig"], owner=dominig.own, name="WEB-Dom", address="10.10.2.4"
    )
    with pytest.raises(Refused, match="WEB-Dom exists already"):
        kind_of("machine.change").undo(actor, job)


def test_half_way_between_two_names_nothing_else_is_done_until_it_is_gone_on_with_or_undone(actor, change, web_dom):
    job = end(change(name="Post"), Job.State.FAILED)
    assert half_way(web_dom) == job
    for ask in (services.machine_start, services.machine_delete, machine_change):
        with pytest.raises(Refused, match=f"Go on with job {job.pk}|half-way"):
            ask(actor, web_dom)
    back = kind_of("machine.change").undo(actor, job)
    assert (back.args["change"], back.args["former"], back.args["back"]) == (
        {"name": "WEB-Dom"},
        {"name": "Post"},
        True,
    )
    end(back)
    assert half_way(web_dom) is None
    web_dom.refresh_from_db()
    assert web_dom.name == "WEB-Dom"
    assert services.machine_start(actor, web_dom)


def test_an_undo_that_is_called_off_leaves_it_half_way(actor, change, web_dom):
    job = end(change(name="Post"), Job.State.FAILED)
    job_cancel(actor, kind_of("machine.change").undo(actor, job))
    assert half_way(web_dom) == job


def test_refused_before_anything_was_done_or_of_other_things_it_stands_in_nobodys_way(actor, change, web_dom):
    end(change(name="Post"), Job.State.REFUSED, attempt=0)
    assert half_way(web_dom) is None
    end(change(memory_mib=128), Job.State.FAILED)
    assert half_way(web_dom) is None
    assert services.machine_stop(actor, web_dom)


def test_a_zone_a_machine_is_on_its_way_to_can_not_go(actor, change, zones):
    change(zone=zones["zFulup"])
    with pytest.raises(Refused, match="machine on its way WEB-Dom"):
        zone_delete(actor, zones["zFulup"])


def test_it_is_the_operators_alone(web_dom, dominig, agnes):
    for user in (dominig, agnes):
        with pytest.raises(PermissionDenied):
            machine_change(Actor(id=user.pk, name=user.username), web_dom, memory_mib=128)
    assert not Job.objects.exists()


def test_a_wish_nobody_knows_is_a_programming_error(change):
    with pytest.raises(TypeError, match="colour"):
        change(colour="blue")


def test_a_change_of_subnet_waits_for_a_machine_that_is_half_way(actor, change, web_dom, zones):
    end(change(name="Post"), Job.State.FAILED)
    found = zone_preview(zones["zDominig"], gateway="10.10.7.1")
    (row,) = [row for row in found.rows if row.kind == "machine"]
    assert "stopped half-way; go on with it, or undo it" in row.conflict
    end(Job.objects.get(), Job.State.CANCELLED)
    assert not zone_preview(zones["zDominig"], gateway="10.10.7.1").conflicts


def test_in_rescue_its_own_volumes_are_left_alone(change, web_dom, image):
    Machine.objects.update(rescue=image)
    with pytest.raises(Refused, match="runs a rescue image"):
        change(root_mib=512)


def test_of_a_machine_something_else_made_only_owner_and_start_are_the_panels(change, web_dom, image, brendan):
    image.digest = ""
    image.save()
    Machine.objects.update(adopted=True)
    web_dom.refresh_from_db()
    assert "virsh edit WEB-Dom" in complaints(change, memory_mib=128)["memory_mib"][0]
    assert change(owner=brendan.own, autostart=False, start_order=7)


def test_what_it_is_sure_of_has_to_be_left_in_the_zone_it_goes_to(change, web_dom, zones):
    Machine.objects.filter(pk=web_dom.pk).update(net_share_kbit=20_000)
    there = zones["zFulup"]
    assert complaints(change, zone=there)["zone"] == [
        "WEB-Dom is sure of 20 Mbit/s. zFulup has no ceiling of its own, so there is nothing to be sure of. "
        "Give it one first: fridu zone change zFulup in=100M out=100M "
        "Or lift it before the move: fridu limits WEB-Dom share=none"
    ]
    Zone.objects.filter(pk=there.pk).update(in_kbit=100_000, out_kbit=50_000)
    there.refresh_from_db()
    neighbour = Machine.objects.create(
        host=there.host, zone=there, owner=web_dom.owner, name="Beside", address="10.10.1.9", mac="aa:bb:cc:dd:01:09",
        vif="fr9", uid_base=1 << 23, memory_mib=64, root_mib=128, image=web_dom.image,
    )  # fmt: skip
    Machine.objects.filter(pk=neighbour.pk).update(net_share_kbit=40_000)
    (said,) = complaints(change, zone=there)["zone"]
    assert "Of zFulup's bandwidth 9.5 Mbit/s is left to promise" in said
    Machine.objects.filter(pk=neighbour.pk).update(net_share_kbit=20_000)
    assert change(zone=there).args["change"]["zone"] == there.pk
