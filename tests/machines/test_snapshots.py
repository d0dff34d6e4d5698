"""Asking for snapshots and reinstalls: who may, what is refused, what is booked when their jobs end."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied
from django.utils import timezone

from audit.log import Actor
from dom0.errors import Refused
from dom0.host import HostConfig
from dom0.state import Link, Place, State, Volume
from hosts import work
from hosts.kinds import kind_of
from hosts.models import Job, JobSecret, JobStep
from hosts.services import job_cancel, job_go_on
from machines import reinstall_services, services, snapshot_services, snapshot_watch
from machines.change_services import machine_change
from machines.models import Grant, Image, Machine, Snapshot
from machines.snapshot_services import expiry

MIB = 1 << 20
pytestmark = pytest.mark.django_db


def actor_of(user) -> Actor:
    return Actor(id=user.pk, name=user.username)


@pytest.fixture
def kept(web_dom, dominig) -> Snapshot:
    return Snapshot.objects.create(
        machine=web_dom, label="before", image=web_dom.image, taken_by=dominig, taken_at=timezone.now(), size_mib=128
    )


@pytest.fixture
def other(web_dom) -> Image:
    return Image.objects.create(
        host=web_dom.host, name="other", archive="o.tar.gz", digest="7e" * 32, family="debian", min_root_mib=64
    )


def end(job: Job, state: str = "done", *, begun: bool = False, attempt: int = 1) -> None:
    """The job's end as the worker books it."""
    Job.objects.filter(pk=job.pk).update(attempt=attempt)
    if begun:
        JobStep.objects.create(job=job, number=1, stage="x", title="x", destroys="All is lost.", state="failed")
    job.refresh_from_db()
    work.close(job, kind_of(job.kind), state)


def test_a_reinstall_left_half_way_does_not_go_on_over_what_was_restored_since(web_dom, dominig, kept, other):
    """Its steps were approved once, so it would overwrite the restored root without another question."""
    old = reinstall_services.machine_reinstall(actor_of(dominig), web_dom, image=other)
    end(old, "failed", begun=True)
    newer = snapshot_services.snapshot_restore(actor_of(dominig), kept)
    JobStep.objects.create(
        job=newer, number=1, stage="restore", title="x", destroys="All is lost.", state="done", started=timezone.now()
    )
    Job.objects.filter(pk=newer.pk).update(approver=dominig)
    end(newer)
    was = Machine.objects.get(pk=web_dom.pk)
    old.refresh_from_db()
    with pytest.raises(Refused, match=f"Job {newer.pk} .* overwritten since"):
        job_go_on(actor_of(dominig), old)
    old.refresh_from_db()
    assert old.state == "failed"
    with pytest.raises(Refused):
        job_cancel(actor_of(dominig), old)
    now = Machine.objects.get(pk=web_dom.pk)
    assert (now.root_generation, now.image) == (was.root_generation, was.image)
    job_go_on(actor_of(dominig), other_job_that_stopped(web_dom, dominig, newer))


def other_job_that_stopped(web_dom, dominig, newer) -> Job:
    """One that stopped after `newer` had ended."""
    job = reinstall_services.machine_reinstall(actor_of(dominig), web_dom)
    end(job, "failed", begun=True)
    assert job.pk > newer.pk
    job.refresh_from_db()
    return job


def test_its_owner_takes_one_and_the_log_says_so(web_dom, dominig):
    job = snapshot_services.snapshot_take(actor_of(dominig), web_dom, "before", expires=expiry("7d"), note=" update ")
    row = Snapshot.objects.get()
    assert (job.kind, job.state, job.args["label"]) == ("snapshot.take", "planning", "before")
    assert (row.label, row.note, row.taken_by, row.image, row.taken_at) == (
        "before",
        "update",
        dominig,
        web_dom.image,
        None,
    )
    assert timedelta(days=6) < row.expires - timezone.now() <= timedelta(days=7)
    end(job)
    row.refresh_from_db()
    assert row.taken_at is not None


@pytest.mark.parametrize("verbs", [",view,", ",view,rebuild,power,console,"])
def test_it_takes_the_verb_backup(verbs, web_dom, brendan, kept):
    Grant.objects.create(machine=web_dom, user=brendan, verbs=verbs)
    for ask in (
        lambda: snapshot_services.snapshot_take(actor_of(brendan), web_dom, "x"),
        lambda: snapshot_services.snapshot_restore(actor_of(brendan), kept),
        lambda: snapshot_services.snapshot_delete(actor_of(brendan), kept),
    ):
        with pytest.raises(PermissionDenied):
            ask()
    assert not Job.objects.exists()
    Grant.objects.update(verbs=",view,backup,")
    assert snapshot_services.snapshot_take(actor_of(brendan), web_dom, "x").actor == brendan


def test_a_reinstall_takes_the_verb_rebuild(web_dom, brendan):
    Grant.objects.create(machine=web_dom, user=brendan, verbs=",view,backup,power,console,")
    with pytest.raises(PermissionDenied):
        reinstall_services.machine_reinstall(actor_of(brendan), web_dom)
    Grant.objects.update(verbs=",view,rebuild,")
    assert reinstall_services.machine_reinstall(actor_of(brendan), web_dom).actor == brendan


@pytest.mark.parametrize("label", ["", "Before", "a b", "../x", "x" * 21, "-x", "growing"])
def test_a_name_that_no_volume_could_have_is_refused(label, web_dom, fulup):
    with pytest.raises(Refused, match="can't be a snapshot's name"):
        snapshot_services.snapshot_take(actor_of(fulup), web_dom, label)


def test_a_name_is_taken_once_a_machine(web_dom, fulup, kept):
    with pytest.raises(Refused, match="WEB-Dom has a snapshot before already") as refused:
        snapshot_services.snapshot_take(actor_of(fulup), web_dom, "before")
    assert "before-2" in refused.value.note


def test_one_whose_job_failed_is_taken_again_under_its_name(web_dom, fulup):
    job = snapshot_services.snapshot_take(actor_of(fulup), web_dom, "before")
    end(job, "failed")
    assert Snapshot.objects.get().taken_at is None
    snapshot_services.snapshot_take(actor_of(fulup), web_dom, "before")
    assert Snapshot.objects.count() == 1


def test_one_that_was_called_off_or_refused_at_once_is_not_wished_any_more(web_dom, fulup):
    job = snapshot_services.snapshot_take(actor_of(fulup), web_dom, "before")
    job_cancel(actor_of(fulup), job)
    assert not Snapshot.objects.exists()
    end(snapshot_services.snapshot_take(actor_of(fulup), web_dom, "before"), "refused", attempt=0)
    assert not Snapshot.objects.exists()


def test_there_are_only_so_many(settings, web_dom, fulup, kept):
    settings.FRIDU_SNAPSHOTS = 1
    with pytest.raises(Refused, match="has 1 snapshots; 1 are allowed"):
        snapshot_services.snapshot_take(actor_of(fulup), web_dom, "next")


@pytest.mark.parametrize("text", ["soon", "7", "-1d", "7d7d", "2027-13-01", "99999d"])
def test_a_time_nobody_can_read_is_refused_with_ones_that_work(text):
    with pytest.raises(Refused, match="is no time Fridu can read") as refused:
        expiry(text)
    assert "7d" in refused.value.note


def test_times_in_words():
    assert expiry("never") is None
    assert expiry("") is None
    assert expiry("12h") - timezone.now() < timedelta(hours=12)
    assert timezone.localtime(expiry("2031-01-31")).strftime("%Y-%m-%d %H:%M") == "2031-02-01 00:00"  # to its end


def test_an_end_in_the_past_is_refused(web_dom, fulup):
    with pytest.raises(Refused, match="later than now"):
        snapshot_services.snapshot_take(actor_of(fulup), web_dom, "x", expires=expiry("2020-01-01"))


def state_of(machine: Machine) -> tuple:
    machine.refresh_from_db()
    return machine.root_generation, machine.image.name, machine.wanted


def test_a_restore_goes_back_to_the_image_of_then_and_runs_where_it_ran(web_dom, fulup, kept, other):
    Machine.objects.update(image=other, root_generation=4)
    job = snapshot_services.snapshot_restore(actor_of(fulup), kept)
    assert state_of(web_dom) == (5, kept.image.name, "running")
    assert (job.args["generation"], job.args["wanted"], job.args["was"]["image"]) == (5, "running", other.pk)
    end(job)
    web_dom.refresh_from_db()
    assert web_dom.observed == "running"


def test_a_stopped_machine_stays_off(web_dom, fulup, kept):
    Machine.objects.update(wanted="stopped")
    end(snapshot_services.snapshot_restore(actor_of(fulup), kept))
    web_dom.refresh_from_db()
    assert (web_dom.wanted, web_dom.observed) == ("stopped", "stopped")


@pytest.mark.parametrize("what", ["restore", "reinstall"])
def test_the_wish_is_taken_back_where_nothing_was_lost_and_stands_where_something_was(
    what, web_dom, fulup, kept, other
):
    Machine.objects.update(wanted="stopped")
    was = state_of(web_dom)

    def ask() -> Job:
        web_dom.refresh_from_db()
        if what == "restore":
            return snapshot_services.snapshot_restore(actor_of(fulup), kept)
        return reinstall_services.machine_reinstall(actor_of(fulup), web_dom, image=other)

    job_cancel(actor_of(fulup), ask())
    assert state_of(web_dom) == was
    end(ask(), "refused", attempt=0)
    assert state_of(web_dom) == was
    end(ask(), "failed")  # it could not be powered off, say
    assert state_of(web_dom) == was
    job = ask()
    wished = state_of(web_dom)
    end(job, "failed", begun=True)
    assert state_of(web_dom) == wished
    assert wished[0] == was[0] + 1
    job.steps.all().delete()  # planned again, and refused by then
    end(job, "refused")
    assert state_of(web_dom) == wished


def test_a_reinstall_keeps_the_image_unless_another_is_chosen_and_hides_the_password(web_dom, fulup, other):
    job = reinstall_services.machine_reinstall(actor_of(fulup), web_dom, root_hash="$6$x$hash", reason="broken in")
    assert (job.title, job.reason) == (f"Reinstall WEB-Dom with {web_dom.image.name}", "broken in")
    assert "hash" not in str(job.args)
    assert JobSecret.objects.get().value == "$6$x$hash"
    assert len(job.args["password"]) == 12
    job_cancel(actor_of(fulup), job)
    job = reinstall_services.machine_reinstall(actor_of(fulup), web_dom, image=other)
    assert (job.title, job.args["password"]) == ("Reinstall WEB-Dom with other", "locked")


@pytest.mark.parametrize(
    ("change", "says"),
    [({"min_root_mib": 4096}, "needs a root of 4096 MB; WEB-Dom has 128 MB"), ({"digest": ""}, "is not made yet")],
)
def test_an_image_that_cannot_be_had_is_refused_at_once(change, says, web_dom, fulup, other):
    Image.objects.filter(pk=other.pk).update(**change)
    other.refresh_from_db()
    with pytest.raises(Refused, match=says):
        reinstall_services.machine_reinstall(actor_of(fulup), web_dom, image=other)
    assert state_of(web_dom)[0] == 1


def test_one_that_is_not_there_or_going_is_not_restored(web_dom, fulup, kept):
    for change, says in (
        ({"deleting": True}, "is being deleted"),
        ({"deleting": False, "taken_at": None}, "never finished"),
    ):
        Snapshot.objects.update(**change)
        with pytest.raises(Refused, match=says):
            snapshot_services.snapshot_restore(actor_of(fulup), kept)
    Snapshot.objects.all().delete()
    with pytest.raises(Refused, match="is no more"):
        snapshot_services.snapshot_restore(actor_of(fulup), kept)
    assert state_of(web_dom)[0] == 1


def test_a_deleted_one_goes_with_its_job_or_stays(web_dom, fulup, kept):
    job = snapshot_services.snapshot_delete(actor_of(fulup), kept)
    assert Snapshot.objects.get().deleting
    end(job, "refused", attempt=0)
    assert not Snapshot.objects.get().deleting
    end(snapshot_services.snapshot_delete(actor_of(fulup), kept))
    assert not Snapshot.objects.exists()


# --- what each round does ---------------------------------------------------------------------------------------------


def looked(*found: Volume, free_mib: int = 1024) -> State:
    group = Place(name="vg0", size_bytes=4 << 30, free_bytes=free_mib * MIB, extent_bytes=4 * MIB)
    return State(volumes={each.name: each for each in found}, places={"vg0": group})


def volume(percent: float, room_mib: int = 32) -> Volume:
    name = "vg0/WEB-Dom-root.before"
    return Volume(name=name, path="x", size_bytes=128 * MIB, percent=percent, room_bytes=room_mib * MIB)


@pytest.fixture
def thick(web_dom, kept) -> Snapshot:
    Machine.objects.update(volume_group="vg0")
    return kept


def test_what_expired_is_removed_in_the_name_of_whoever_took_it(web_dom, dominig, kept):
    snapshot_watch.book(web_dom.host, looked())
    assert not Job.objects.exists()
    Snapshot.objects.update(expires=timezone.now() - timedelta(minutes=1))
    for _ in range(2):
        snapshot_watch.book(web_dom.host, looked())
    job = Job.objects.get()
    assert (job.kind, job.actor, job.args["label"]) == ("snapshot.expire", dominig, "before")
    assert job.reason.startswith("It expired on ")
    end(job)
    assert not Snapshot.objects.exists()


def test_whoever_may_not_any_more_is_stood_in_for_by_an_operator(web_dom, dominig, fulup, brendan, kept):
    Snapshot.objects.update(expires=timezone.now() - timedelta(minutes=1), taken_by=brendan)
    snapshot_watch.book(web_dom.host, looked())
    assert Job.objects.get().actor == fulup


def test_an_expiry_that_went_wrong_is_not_asked_for_again_at_once(web_dom, dominig, kept):
    Snapshot.objects.update(expires=timezone.now() - timedelta(minutes=1))
    snapshot_watch.book(web_dom.host, looked())
    end(Job.objects.get(), "failed")
    snapshot_watch.book(web_dom.host, looked())
    assert Job.objects.count() == 1
    Job.objects.update(ended=timezone.now() - timedelta(hours=2))
    snapshot_watch.book(web_dom.host, looked())
    assert Job.objects.count() == 2


def test_how_full_it_is_is_booked_and_it_is_widened_in_time(web_dom, thick, django_assert_num_queries):
    snapshot_watch.book(web_dom.host, looked(volume(40.04)))
    thick.refresh_from_db()
    assert (thick.percent, thick.size_mib) == (40.0, 32)
    assert not Job.objects.exists()
    with django_assert_num_queries(1):
        snapshot_watch.book(web_dom.host, looked(volume(40.04)))
    snapshot_watch.book(web_dom.host, looked(volume(72)))
    job = Job.objects.get()
    assert (job.kind, job.target_kind, job.args["room_mib"]) == ("snapshot.grow", "snapshot", 64)
    snapshot_watch.book(web_dom.host, looked(volume(75)))
    assert Job.objects.count() == 1


def test_it_is_widened_though_a_job_of_its_machine_waits_and_never_beyond_all(web_dom, thick, dominig):
    snapshot_services.snapshot_restore(actor_of(dominig), thick)
    snapshot_watch.book(web_dom.host, looked(volume(90, room_mib=100)))
    job = Job.objects.get(kind="snapshot.grow")
    assert job.args["room_mib"] == 132  # 128, its list, and what extents round up


def test_without_room_an_operator_is_told_at_80_percent(web_dom, thick, client, fulup, dominig):
    snapshot_watch.book(web_dom.host, looked(volume(83), free_mib=4))
    assert not Job.objects.exists()
    client.force_login(fulup)
    text = client.get("/").content.decode()
    assert "The snapshot before of WEB-Dom is 83 % full" in text
    snapshot_watch.book(web_dom.host, looked(volume(100)))
    assert "ran full" in client.get("/").content.decode()
    assert not Job.objects.exists()


def test_an_owner_sees_the_job_that_widens_his_snapshot_and_nobody_elses(web_dom, thick, client, dominig, brendan):
    snapshot_watch.book(web_dom.host, looked(volume(75)))
    url = f"/jobs/{Job.objects.get().pk}/"
    client.force_login(dominig)
    assert client.get(url).status_code == 200
    client.force_login(brendan)
    assert client.get(url).status_code == 404


@pytest.mark.parametrize("what", ["reinstall", "restore"])
def test_a_root_made_anew_or_brought_back_is_admitted_after_what_was_asked_for_before(what, web_dom, kept, fulup):
    where = {"host": web_dom.host, "zone": web_dom.zone, "owner": web_dom.owner}
    services.machine_create(actor_of(fulup), **where, name="first", address="10.10.2.77", memory_mib=300)
    if what == "reinstall":
        job = reinstall_services.machine_reinstall(actor_of(fulup), web_dom)
    else:
        job = snapshot_services.snapshot_restore(actor_of(fulup), kept)
        Job.objects.filter(pk=job.pk).update(args={**job.args, "wanted": "running"})
    job.refresh_from_db()
    root = Volume(name="WEB-Dom-root", path="x", size_bytes=128 * MIB, machine=str(web_dom.uuid), root="d:0", tuned="t")
    before = replace(root, name="WEB-Dom-root.before", origin=root.name)
    free = State(
        volumes={each.name: each for each in (root, before)},
        links={web_dom.zone.bridge: Link(name=web_dom.zone.bridge)},
        archives={web_dom.image.archive: 1},
        free_bytes=1 << 40,
        free_memory_mib=300 + web_dom.memory_mib - 1,
    )
    with pytest.raises(Refused, match="besides 300 MB for machines about to start"):
        kind_of(job.kind).plan(job, free, HostConfig(name="h", libvirt="lxc:///", volumes="/v"))


def test_a_restore_knows_how_the_machine_was_called_when_the_snapshot_was_taken(web_dom, dominig, fulup, kept):
    def renamed(name: str, **more) -> None:
        job = machine_change(actor_of(fulup), Machine.objects.get(), name=name, **more)
        end(job)

    def called(snapshot: Snapshot) -> str:
        job = snapshot_services.snapshot_restore(actor_of(dominig), snapshot)
        end(job, "cancelled", attempt=0)
        return job.args["called"]["name"]

    renamed("Mail")
    renamed("Post")
    between = Snapshot.objects.create(
        machine=web_dom, label="post", image=web_dom.image, taken_by=dominig, taken_at=timezone.now(), size_mib=128
    )
    renamed("Letter", memory_mib=128)
    assert (called(kept), called(between)) == ("WEB-Dom", "Post")
