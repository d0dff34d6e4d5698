"""`fridu snapshot` and `fridu reinstall`."""

from __future__ import annotations

import pytest
from django.utils import timezone

from audit.models import Entry
from hosts.models import Job
from machines.models import Image, Machine, Snapshot

pytestmark = pytest.mark.django_db


@pytest.fixture
def kept(web_dom, dominig) -> Snapshot:
    return Snapshot.objects.create(
        machine=web_dom, label="before", image=web_dom.image, taken_by=dominig, taken_at=timezone.now(), size_mib=128
    )


def test_one_is_taken_and_listed(run, worker, web_dom):
    code, said = run("snapshot take WEB-Dom before-update expires=7d note=kernel --reason update")
    assert code == 0, said
    job = Job.objects.get()
    assert (job.kind, job.reason, job.args["label"]) == ("snapshot.take", "update", "before-update")
    row = Snapshot.objects.get()
    assert (row.note, row.expires is not None) == ("kernel", True)
    code, said = run("snapshot list WEB-Dom")
    assert code == 0
    assert "before-update" in said
    assert "kernel" in said


def test_without_any_the_list_says_how_to_take_one(run, web_dom):
    assert "fridu snapshot take WEB-Dom before-update" in run("snapshot list WEB-Dom")[1]


@pytest.mark.parametrize("what", ["restore", "delete"])
def test_what_loses_something_shows_its_plan_and_asks(what, run, worker, kept):
    code, said = run(f"snapshot {what} WEB-Dom before", "n")
    assert code == 1
    assert "is cancelled; nothing was done" in said
    assert Machine.objects.get().root_generation == 1
    code, _ = run(f"snapshot {what} WEB-Dom before --yes")
    assert code == 0
    assert Job.objects.filter(kind=f"snapshot.{what}").count() == 2


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("snapshot", "snapshot needs take, list, restore or delete"),
        ("snapshot keep WEB-Dom x", "snapshot does not know keep"),
        ("snapshot take", "needs a machine's name"),
        ("snapshot take WEB-Dom", "needs the snapshot's name"),
        ("snapshot take WEB-Dom x colour=red", "take knows no colour"),
        ("snapshot delete WEB-Dom x expires=7d", "delete takes no expires=…"),
        ("snapshot take WEB-Dom x expires=soon", "“soon” is no time Fridu can read"),
        ("snapshot take WEB-Dom x room=1", "Room for 1 MB of changes is too little"),
        ("snapshot take WEB-Dom X", "can't be a snapshot's name"),
        ("snapshot restore WEB-Dom x", "WEB-Dom has no snapshot x"),
        ("snapshot take Nobody x", "There is no machine called Nobody"),
        ("reinstall WEB-Dom image=none", "has no image called none"),
        ("reinstall WEB-Dom colour=red", "reinstall knows no colour"),
        ("reinstall WEB-Dom password=maybe", "password=maybe is neither yes nor no"),
        ("reinstall", "needs a machine's name"),
    ],
)
def test_what_makes_no_sense_is_said(line, says, run, worker, web_dom):
    code, said = run(line)
    assert code in (1, 2)
    assert says in said
    assert not Job.objects.exists()


def test_a_refusal_stands_in_the_log(run, worker, kept):
    assert run("snapshot take WEB-Dom before")[0] == 1
    entry = Entry.objects.first()
    assert (entry.action, entry.outcome) == ("snapshot.take", "refused")


def test_a_reinstall_takes_another_image_and_shows_a_password_once(run, worker, web_dom):
    Image.objects.create(
        host=web_dom.host, name="other", archive="o.tar", digest="7e" * 32, family="tiny", min_root_mib=16
    )
    code, said = run("reinstall WEB-Dom image=other password=yes --yes")
    assert code == 0, said
    (line,) = [line for line in said.splitlines() if "one-time root password" in line]
    password = line.rpartition(" ")[2]
    assert len(password) == 20
    job = Job.objects.get()
    assert (job.kind, job.args["image_name"]) == ("machine.reinstall", "other")
    assert password not in str(list(Job.objects.values()) + list(Entry.objects.values()))


def test_a_job_in_the_way_is_named_with_what_to_type(run, worker, kept):
    Job.objects.create(
        kind="machine.stop", host=kept.machine.host, title="Stop WEB-Dom", target_kind="machine",
        target_id=kept.machine_id, target_text="WEB-Dom", actor=kept.taken_by, state=Job.State.PLANNED,
    )  # fmt: skip
    code, said = run("snapshot delete WEB-Dom before")
    assert code == 1
    assert "--cancel" in said
