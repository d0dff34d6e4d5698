"""Jobs and hosts in the browser: who sees what, which button is there, what a press does."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from audit.models import Entry
from dom0.errors import Refused
from dom0.plan import Plan
from dom0.probe import Scope
from hosts import kinds, visibility
from hosts.kinds import Kind
from hosts.models import Job, JobStep
from machines.models import Grant, Machine

PASSWORD = "correct horse battery"
PART = {"HX-Request": "true", "HX-Target": "job"}


def a_kind(name, approval, undo=None):
    return Kind(
        name=name,
        queue="work",
        approval=approval,
        scope=lambda job, config: Scope(),
        plan=lambda job, state, config: Plan(),
        locks=lambda job: (),
        undo=undo,
    )


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """Kinds of our own, so that these tests say what an approval means without any machine's planner."""
    table = {
        "machine.create": a_kind("machine.create", "own"),
        "machine.reboot": a_kind("machine.reboot", "own"),
        "machine.start": a_kind("machine.start", "none"),
        "firewall.apply": a_kind("firewall.apply", "operator"),
    }
    monkeypatch.setattr(kinds, "_kinds", table)
    monkeypatch.setattr("hosts.services.job_send", lambda job: True)
    return table


@pytest.fixture(autouse=True)
def rules(monkeypatch):
    from django.db.models import Q

    def of_machines(user, action):
        return Q(target_id__in=Machine.objects.visible_to(user, action).order_by().values("pk"))

    monkeypatch.setattr(visibility, "_rules", {"machine": of_machines})


@pytest.fixture
def make(host, web_dom):
    def make(actor, kind="machine.create", state="planned", *, destroys="", **more):
        job = Job.objects.create(
            kind=kind,
            host=host,
            title="Create WEB-Dom",
            target_kind="machine",
            target_id=web_dom.pk,
            target_text="WEB-Dom",
            actor=actor,
            approver=actor,
            approved_at=timezone.now(),
            state=state,
            digest="ab" * 32,
            **more,
        )
        job.steps.create(number=1, stage="lvmcreate", title="Create the <volume>", shown="true 'a & b'", about_s=0.5)
        job.steps.create(number=2, stage="start", title="Start it", shown="virsh start x", destroys=destroys)
        return job

    return make


def test_it_shows_the_plan_with_its_exact_commands(client, fulup, make):
    client.force_login(fulup)
    page = client.get(f"/jobs/{make(fulup).pk}/").content.decode()
    assert "2 steps to do, about 0.5 s" in page
    assert "true &#x27;a &amp; b&#x27;" in page
    assert "Create the &lt;volume&gt;" in page
    assert "This destroys data" not in page
    assert 'name="password"' not in page


def test_the_button_says_that_it_approves_and_what(client, fulup, make):
    client.force_login(fulup)
    assert ">Approve and create WEB-Dom</button>" in client.get(f"/jobs/{make(fulup).pk}/").content.decode()
    destroying = make(fulup, destroys="Everything on WEB-Dom-root is lost.")
    assert ">Create WEB-Dom</button>" in client.get(f"/jobs/{destroying.pk}/").content.decode()


def test_approving_takes_exactly_the_digest_on_show(client, fulup, make):
    client.force_login(fulup)
    job = make(fulup)
    assert client.post(f"/jobs/{job.pk}/approve/", {"digest": "cd" * 32}, follow=True).status_code == 200
    job.refresh_from_db()
    assert job.state == "planned"
    assert client.post(f"/jobs/{job.pk}/approve/", {"digest": "ab" * 32}).status_code == 302
    job.refresh_from_db()
    assert (job.state, job.approver) == ("approved", fulup)
    assert Entry.objects.get(action="job.approve").actor_name == "fulup"


def test_a_stale_plan_is_said_and_shown_anew(client, fulup, make):
    client.force_login(fulup)
    page = client.post(f"/jobs/{make(fulup).pk}/approve/", {"digest": "cd" * 32}, follow=True).content.decode()
    assert "The plan has changed since you saw it." in page
    assert "ab" * 32 in page


def test_what_destroys_data_asks_for_the_name_and_the_password(client, fulup, make):
    client.force_login(fulup)
    job = make(fulup, destroys="Everything on WEB-Dom-root is lost.")
    url = f"/jobs/{job.pk}/"
    page = client.get(url).content.decode()
    assert "This destroys data" in page
    assert "Type WEB-Dom to go on" in page
    wrong = client.post(url + "approve/", {"digest": job.digest, "name": "WEB-Ful", "password": PASSWORD})
    assert wrong.status_code == 422
    assert "type exactly that name" in wrong.content.decode()
    assert 'value="WEB-Ful"' in wrong.content.decode()
    wrong = client.post(url + "approve/", {"digest": job.digest, "name": "WEB-Dom", "password": "guess"})
    assert "That is not your password." in wrong.content.decode()
    assert "guess" not in wrong.content.decode()
    job.refresh_from_db()
    assert job.state == "planned"
    client.post(url + "approve/", {"digest": job.digest, "name": "WEB-Dom", "password": PASSWORD})
    job.refresh_from_db()
    assert job.state == "approved"


def test_an_approval_without_the_password_cannot_be_forged(client, fulup, make):
    client.force_login(fulup)
    job = make(fulup, destroys="Everything is lost.")
    assert client.post(f"/jobs/{job.pk}/approve/", {"digest": job.digest}).status_code == 422
    job.refresh_from_db()
    assert job.state == "planned"


def test_approving_twice_is_refused_with_a_sentence(client, fulup, make):
    client.force_login(fulup)
    job = make(fulup)
    client.post(f"/jobs/{job.pk}/approve/", {"digest": job.digest})
    again = client.post(f"/jobs/{job.pk}/approve/", {"digest": job.digest})
    assert again.status_code == 409
    assert "not waiting for approval" in again.content.decode()


def test_an_owner_sees_jobs_of_his_machines_and_his_own_only(client, fulup, dominig, brendan, make):
    job = make(fulup)
    client.force_login(dominig)
    assert client.get(f"/jobs/{job.pk}/").status_code == 200
    assert "Create WEB-Dom" in client.get("/jobs/").content.decode()
    client.force_login(brendan)
    assert client.get(f"/jobs/{job.pk}/").status_code == 404
    assert "Create WEB-Dom" not in client.get("/jobs/").content.decode()
    for door in ("approve", "cancel", "go-on", "undo"):
        assert client.post(f"/jobs/{job.pk}/{door}/", {"digest": job.digest}).status_code == 404


def test_a_fragment_is_checked_like_its_page(client, brendan, fulup, make):
    client.force_login(brendan)
    assert client.get(f"/jobs/{make(fulup).pk}/", headers=PART).status_code == 404


def test_an_auditor_finds_no_job(client, agnes, fulup, make):
    client.force_login(agnes)
    assert client.get("/jobs/").status_code == 404
    assert client.get(f"/jobs/{make(fulup).pk}/").status_code == 404


def test_only_who_asked_approves_an_own_plan(client, fulup, dominig, make):
    job = make(dominig, kind="machine.reboot")
    client.force_login(fulup)
    page = client.get(f"/jobs/{job.pk}/").content.decode()
    assert "dominig asked for it and approves it" in page
    assert f"/jobs/{job.pk}/approve/" not in page
    assert client.post(f"/jobs/{job.pk}/approve/", {"digest": job.digest}).status_code == 403
    client.force_login(dominig)
    assert client.post(f"/jobs/{job.pk}/approve/", {"digest": job.digest}).status_code == 302


def test_who_lost_the_right_meanwhile_cannot_approve(client, brendan, web_dom, make):
    grant = Grant.objects.create(machine=web_dom, user=brendan, verbs=",view,power,")
    job = make(brendan, kind="machine.reboot")
    grant.expires = timezone.now() - timedelta(seconds=1)
    grant.save()
    client.force_login(brendan)
    assert client.get(f"/jobs/{job.pk}/").status_code == 200
    assert client.post(f"/jobs/{job.pk}/approve/", {"digest": job.digest}).status_code == 403


def test_the_network_is_approved_by_operators_only(client, fulup, dominig, make):
    job = make(dominig, kind="firewall.apply")
    client.force_login(dominig)
    assert "An operator looks at this plan" in client.get(f"/jobs/{job.pk}/").content.decode()
    assert client.post(f"/jobs/{job.pk}/approve/", {"digest": job.digest}).status_code == 403
    assert client.post(f"/jobs/{job.pk}/cancel/").status_code == 403
    client.force_login(fulup)
    assert client.post(f"/jobs/{job.pk}/approve/", {"digest": job.digest}).status_code == 302


def test_cancelling_leaves_a_cancelled_job(client, fulup, make):
    client.force_login(fulup)
    job = make(fulup)
    assert client.post(f"/jobs/{job.pk}/cancel/").status_code == 302
    assert "Nothing was changed on the host." in client.get(f"/jobs/{job.pk}/").content.decode()
    assert client.post(f"/jobs/{job.pk}/cancel/").status_code == 409


@pytest.mark.parametrize("state", ["failed", "refused", "drifted"])
def test_a_job_that_stopped_offers_to_go_on(client, fulup, make, state):
    client.force_login(fulup)
    job = make(fulup, state=state, attempt=1, message="The archive ends early.", note="Add it anew.")
    page = client.get(f"/jobs/{job.pk}/").content.decode()
    assert "The archive ends early." in page
    assert "Add it anew." in page
    assert f"/jobs/{job.pk}/go-on/" in page
    assert f"/jobs/{job.pk}/undo/" not in page  # this kind knows no way back
    assert client.post(f"/jobs/{job.pk}/go-on/").status_code == 302
    job.refresh_from_db()
    assert job.state == "planning"


@pytest.mark.parametrize("state", ["planning", "approved", "running", "done", "nothing", "cancelled"])
def test_no_button_is_offered_that_would_be_refused(client, fulup, make, state):
    client.force_login(fulup)
    job = make(fulup, state=state)
    page = client.get(f"/jobs/{job.pk}/").content.decode()
    assert f"/jobs/{job.pk}/go-on/" not in page
    assert f"/jobs/{job.pk}/approve/" not in page
    assert (f"/jobs/{job.pk}/cancel/" in page) == (state == "planning")
    assert client.post(f"/jobs/{job.pk}/go-on/").status_code == 409


def test_undo_asks_the_kind_and_leads_to_its_job(client, fulup, make, registry):
    asked = []

    def undo(actor, job):
        asked.append((actor.name, job.pk))
        return make(fulup, kind="machine.start", state="planning")

    registry["machine.create"] = a_kind("machine.create", "own", undo)
    client.force_login(fulup)
    job = make(fulup, state="failed", attempt=1)
    assert f"/jobs/{job.pk}/undo/" in client.get(f"/jobs/{job.pk}/").content.decode()
    gone = client.post(f"/jobs/{job.pk}/undo/")
    assert asked == [("fulup", job.pk)]
    assert gone.url == f"/jobs/{Job.objects.latest('pk').pk}/"
    assert f"/jobs/{job.pk}/undo/" not in client.get(f"/jobs/{job.pk}/").content.decode()  # outdated now


def test_an_undo_that_is_refused_says_why(client, fulup, make, registry):
    def undo(actor, job):
        raise Refused("WEB-Dom is running.", note="Stop it, then undo.")

    registry["machine.create"] = a_kind("machine.create", "own", undo)
    client.force_login(fulup)
    page = client.post(f"/jobs/{make(fulup, state='failed', attempt=1).pk}/undo/")
    assert page.status_code == 409
    assert "Stop it, then undo." in page.content.decode()


def test_a_running_job_asks_again_by_itself_and_gets_nothing_while_nothing_changed(client, fulup, make):
    client.force_login(fulup)
    job = make(fulup, state="running", attempt=1, first_step_at=timezone.now())
    JobStep.objects.filter(job=job, number=1).update(state="now", started=timezone.now(), output="half")
    part = client.get(f"/jobs/{job.pk}/", headers=PART)
    text = part.content.decode()
    assert "<html" not in text
    assert 'hx-trigger="every 1s"' in text
    assert "runs, step 1 of 2" in text
    assert "You may leave this page" in text
    again = text.split('hx-get="')[1].split('"')[0]
    assert client.get(again, headers=PART).status_code == 204
    JobStep.objects.filter(job=job, number=1).update(output="half and a bit more")
    assert client.get(again, headers=PART).status_code == 200
    Job.objects.filter(pk=job.pk).update(state="done")
    assert "hx-trigger" not in client.get(again, headers=PART).content.decode()


def test_a_page_waiting_for_its_reader_does_not_refresh_itself(client, fulup, make):
    client.force_login(fulup)
    assert "hx-trigger" not in client.get(f"/jobs/{make(fulup).pk}/").content.decode()


def test_a_job_of_a_silent_worker_says_so(client, fulup, make, host):
    host.seen_at = timezone.now() - timedelta(minutes=4)
    host.save()
    client.force_login(fulup)
    page = client.get(f"/jobs/{make(fulup, state='approved').pk}/").content.decode()
    assert "The worker of ns3100421 does not answer." in page


def test_a_job_of_a_kind_nobody_knows_any_more_can_still_be_read(client, fulup, make):
    client.force_login(fulup)
    job = make(fulup, kind="machine.teleport", state="failed", attempt=1)
    page = client.get(f"/jobs/{job.pk}/")
    assert page.status_code == 200
    assert "/go-on/" not in page.content.decode()


def test_jobs_are_filtered_by_state(client, fulup, make):
    client.force_login(fulup)
    make(fulup, state="done", reason="the-done-one")
    make(fulup, state="planned", reason="the-waiting-one")
    waiting = client.get("/jobs/?state=waiting").content.decode()
    assert "the-waiting-one" in waiting
    assert "the-done-one" not in waiting
    assert client.get("/jobs/?state=nonsense&page=nonsense").status_code == 200


def test_stopped_half_way_is_not_what_a_later_job_mended(client, fulup, make):
    client.force_login(fulup)
    make(fulup, state="failed", attempt=1, reason="the-old-one")
    make(fulup, state="done", reason="the-new-one")
    make(fulup, state="cancelled")
    assert "the-old-one" not in client.get("/jobs/?state=stopped").content.decode()
    make(fulup, state="failed", attempt=1, reason="the-last-one")
    assert "the-last-one" in client.get("/jobs/?state=stopped").content.decode()


@pytest.mark.parametrize("count", [3, 60])
def test_the_list_takes_as_many_queries_for_few_as_for_many(client, fulup, make, count, django_assert_max_num_queries):
    for _ in range(count):
        make(fulup, state="done")
    client.force_login(fulup)
    client.get("/jobs/")  # counts what waits for an apply of the firewall; from then on that is two queries
    with django_assert_max_num_queries(8):
        client.get("/jobs/")


def test_pages_keep_the_filter(client, fulup, make):
    for _ in range(30):
        make(fulup, state="done")
    client.force_login(fulup)
    page = client.get("/jobs/?state=ended").content.decode()
    assert "1–25 of 30" in page
    assert 'href="?state=ended&amp;page=2"' in page


def test_hosts_are_shown_with_what_they_report(client, fulup, host):
    host.figures = {"free_bytes": 3 * 2**30, "free_memory_mib": 512}
    host.save()
    client.force_login(fulup)
    page = client.get("/hosts/").content.decode()
    for said in ("ns3100421", "91.121.65.140, 87.98.130.56", "tun0 10.10.95.38 10.10.95.0/24", "3 GB", "512 MB"):
        assert said in page


def test_a_host_that_reports_nothing_yet_is_no_error(client, fulup, host):
    host.facts, host.figures, host.seen_at = {}, {}, None
    host.save()
    client.force_login(fulup)
    assert "worker does not answer" in client.get("/hosts/").content.decode()


def test_no_host_says_where_hosts_come_from(client, fulup):
    client.force_login(fulup)
    assert "No host yet" in client.get("/hosts/").content.decode()


def test_hosts_are_no_owners_business(client, dominig, host):
    client.force_login(dominig)
    assert client.get("/hosts/").status_code == 404


def test_two_rules_for_one_kind_of_target_are_a_mistake():
    with pytest.raises(ValueError, match="machine"):
        visibility.register("machine", lambda user, action: None)


def test_a_job_leads_to_what_it_is_about(client, fulup, dominig, brendan, web_dom, make):
    way = f'href="/machines/{web_dom.pk}/">To WEB-Dom'
    job = make(fulup, state="done")
    for user in (fulup, dominig):
        client.force_login(user)
        assert way in client.get(f"/jobs/{job.pk}/").content.decode()
    client.force_login(fulup)
    assert way not in client.get(f"/jobs/{make(fulup, kind='machine.delete', state='done').pk}/").content.decode()
    client.force_login(brendan)  # he asked once, and has lost the machine since
    assert way not in client.get(f"/jobs/{make(brendan, state='done').pk}/").content.decode()
