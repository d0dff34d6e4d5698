"""The pages of snapshots and of reinstalling."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from hosts.models import Job
from machines.models import Grant, Image, Machine, Snapshot


@pytest.fixture
def owner(client, dominig):
    client.force_login(dominig)
    return client


@pytest.fixture
def kept(web_dom, dominig) -> Snapshot:
    return Snapshot.objects.create(
        machine=web_dom, label="before", image=web_dom.image, taken_by=dominig, taken_at=timezone.now(), size_mib=128,
        note="the <b>update</b>", expires=timezone.now() + timedelta(days=7),
    )  # fmt: skip


def page(machine: Machine, rest: str = "snapshots/") -> str:
    return f"/machines/{machine.pk}/{rest}"


def test_an_empty_page_says_what_a_snapshot_is_and_takes_one(owner, web_dom):
    text = owner.get(page(web_dom)).content.decode()
    assert "No snapshot yet" in text
    assert "Room for changes" not in text
    answer = owner.post(page(web_dom, "snapshots/take/"), {"label": "before", "expires": "7d", "note": "update"})
    assert answer["Location"] == f"/jobs/{Job.objects.get().pk}/"
    assert Snapshot.objects.get().note == "update"


def test_it_says_what_one_of_a_running_machine_is_worth_here(owner, web_dom):
    for libvirt, says in (("lxc:///system", "held still for a moment"), ("xen:///system", "what a power cut would")):
        web_dom.host.facts["libvirt"] = libvirt
        web_dom.host.save()
        assert says in owner.get(page(web_dom)).content.decode()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"label": "Before", "expires": "7d"}, "Use up to 20 small letters"),
        ({"label": "before", "expires": "soon"}, "Select a valid choice"),
        ({"label": "", "expires": "7d"}, "This field is required"),
    ],
)
def test_what_is_wrong_stands_beside_its_field_and_what_was_typed_stays(given, says, owner, web_dom):
    answer = owner.post(page(web_dom, "snapshots/take/"), {**given, "note": "typed"})
    assert answer.status_code == 422
    assert says in answer.content.decode()
    assert 'value="typed"' in answer.content.decode()
    assert not Snapshot.objects.exists()


def test_a_refusal_is_a_sentence_on_the_page(owner, web_dom, kept):
    answer = owner.post(page(web_dom, "snapshots/take/"), {"label": "before", "expires": "7d"})
    assert answer.status_code == 409
    assert "has a snapshot before already" in answer.content.decode()


def test_each_is_listed_with_what_can_be_done_with_it(owner, web_dom, kept):
    text = owner.get(page(web_dom)).content.decode()
    assert "the &lt;b&gt;update&lt;/b&gt;" in text
    assert "by dominig" in text
    assert "128 MB" in text
    assert page(web_dom, f"snapshots/{kept.pk}/restore/") in text
    assert page(web_dom, f"snapshots/{kept.pk}/delete/") in text


def test_in_a_volume_group_it_says_how_full_one_is_and_what_ran_full_is_not_offered(owner, web_dom, kept):
    Machine.objects.update(volume_group="vg0")
    Snapshot.objects.update(percent=83.2)
    text = owner.get(page(web_dom)).content.decode()
    assert "83&nbsp;%" in text
    assert "filling" in text
    assert "Room for changes" in text
    Snapshot.objects.update(percent=100)
    text = owner.get(page(web_dom)).content.decode()
    assert "ran full" in text
    assert page(web_dom, f"snapshots/{kept.pk}/restore/") not in text


@pytest.mark.parametrize("what", ["restore", "delete"])
def test_restoring_and_deleting_lead_to_a_plan_that_waits(what, owner, web_dom, kept):
    answer = owner.post(page(web_dom, f"snapshots/{kept.pk}/{what}/"))
    job = Job.objects.get()
    assert answer["Location"] == f"/jobs/{job.pk}/"
    assert (job.kind, job.approver) == (f"snapshot.{what}", None)


def test_while_a_job_is_open_nothing_is_offered_and_asking_says_why(owner, web_dom, kept):
    owner.post(page(web_dom, "stop/"))
    text = owner.get(page(web_dom)).content.decode()
    assert "Take the snapshot" not in text
    assert "Restore…" not in text
    answer = owner.post(page(web_dom, f"snapshots/{kept.pk}/delete/"), follow=True)
    assert "is still open for WEB-Dom" in answer.content.decode()
    assert not Snapshot.objects.get().deleting


def test_another_machines_snapshot_is_not_reached_through_ones_own(owner, web_dom, image, kept):
    mine = Machine.objects.create(
        host=web_dom.host, zone=web_dom.zone, owner=web_dom.owner, name="Other", address="10.10.2.9",
        mac="aa:bb:cc:0a:02:09", vif="fr0a0a0209", uid_base=70_000_000, memory_mib=64, root_mib=64, image=image,
        built_at=timezone.now(),
    )  # fmt: skip
    assert owner.post(page(mine, f"snapshots/{kept.pk}/restore/")).status_code == 404
    assert not Job.objects.exists()


def test_it_is_not_there_for_strangers_and_forbidden_without_the_verb(client, brendan, web_dom, kept):
    client.force_login(brendan)
    assert client.get(page(web_dom)).status_code == 404
    Grant.objects.create(machine=web_dom, user=brendan, verbs=",view,")
    for rest in ("snapshots/", "reinstall/"):
        assert client.get(page(web_dom, rest)).status_code == 403
    assert "Snapshots</a>" not in client.get(page(web_dom, "")).content.decode()


# --- reinstall --------------------------------------------------------------------------------------------------------


def test_a_reinstall_says_what_is_lost_what_stays_and_does_nothing_yet(owner, web_dom, kept):
    Machine.objects.update(log_mib=64)
    text = owner.get(page(web_dom, "reinstall/")).content.decode()
    assert "<code>WEB-Dom-root</code> (<b>128 MB</b>) and on <code>WEB-Dom-log</code> (<b>64 MB</b>) is lost" in text
    assert "<code>WEB-Dom-log</code>: zeroed and made empty" in text
    assert "Its snapshot before" in text
    assert web_dom.address in text
    assert not Job.objects.exists()


def test_the_name_typed_leads_to_the_plan_with_the_chosen_image(owner, web_dom):
    other = Image.objects.create(
        host=web_dom.host, name="other", archive="o.tar.gz", digest="7e" * 32, family="tiny", min_root_mib=16
    )
    answer = owner.post(page(web_dom, "reinstall/"), {"name": "WEB-Dom", "image": other.pk, "reason": "broken in"})
    job = Job.objects.get()
    assert answer["Location"] == f"/jobs/{job.pk}/"
    assert (job.kind, job.reason, job.approver, job.args["image"]) == ("machine.reinstall", "broken in", None, other.pk)


def test_another_name_or_another_hosts_image_changes_nothing(owner, web_dom):
    away = Image.objects.create(
        host=type(web_dom.host).objects.create(name="away"), name="x", archive="x.tar", digest="1" * 64, family="tiny"
    )
    for given in ({"name": "web-dom", "image": web_dom.image_id}, {"name": "WEB-Dom", "image": away.pk}):
        assert owner.post(page(web_dom, "reinstall/"), given).status_code == 422
    assert not Job.objects.exists()


def test_an_image_that_is_too_large_is_refused_in_a_sentence(owner, web_dom):
    Image.objects.update(min_root_mib=4096)
    answer = owner.post(page(web_dom, "reinstall/"), {"name": "WEB-Dom", "image": web_dom.image_id})
    assert answer.status_code == 409
    assert "needs a root of 4096 MB; WEB-Dom has 128 MB" in answer.content.decode()


def test_a_one_time_password_is_shown_once_and_kept_nowhere(owner, web_dom):
    given = {"name": "WEB-Dom", "image": web_dom.image_id, "password": "on"}
    answer = owner.post(page(web_dom, "reinstall/"), given)
    text = answer.content.decode()
    assert answer.status_code == 200
    assert answer["Cache-Control"] == "no-store, private"
    assert "Nothing happens before you approve the plan" in text
    assert Job.objects.get().secrets.get().value.startswith("$6$")
    assert Job.objects.get().args["password"] not in text


def test_while_a_job_is_open_a_reinstall_says_which(owner, web_dom):
    owner.post(page(web_dom, "stop/"))
    text = owner.get(page(web_dom, "reinstall/")).content.decode()
    assert f"Job {Job.objects.get().pk}" in text
    assert 'name="name"' not in text


def test_the_deletion_names_snapshots_and_volumes(client, fulup, web_dom, kept):
    Machine.objects.update(swap_mib=32)
    client.force_login(fulup)
    text = client.get(page(web_dom, "delete/")).content.decode()
    assert "<code>WEB-Dom-root</code> (<b>128 MB</b>), <code>WEB-Dom-swap</code> (<b>32 MB</b>)" in text
    assert "1 snapshot of it: <b>before</b>" in text
