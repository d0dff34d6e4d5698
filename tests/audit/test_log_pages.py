"""The log in the panel: who did what, filters, pages, one entry, the history of one thing; and what was refused."""

from __future__ import annotations

import pytest
from django.urls import reverse

from audit import words
from audit.log import Actor, Thing, record
from audit.models import Entry
from hosts.models import Job

pytestmark = pytest.mark.django_db
FULUP = Actor(id=1, name="fulup", address="10.10.95.40")
WEB = Thing(kind="machine", id="7", text="WEB-Dom")


@pytest.fixture
def panel(client, fulup):
    client.force_login(fulup)
    return client


def html(panel, **query) -> str:
    return panel.get("/audit/", query).content.decode()


def test_a_job_reads_as_asked_for_and_as_what_became_of_it(panel):
    record(FULUP, "machine.create", WEB, job=3, why="for the choir", data={"asked": {"address": "10.10.2.2"}})
    commands = [{"stage": "start", "command": "virsh start WEB-Dom", "state": "done", "code": 0, "output": "0" * 64}]
    record(FULUP, "machine.create", WEB, job=3, data={"state": "done", "message": "", "commands": commands})
    page = html(panel)
    assert "asked to create machine WEB-Dom" in page
    assert "created machine WEB-Dom" in page
    assert "for the choir" in page
    assert "virsh start WEB-Dom    exit 0" in page
    assert 'href="/jobs/3/"' in page


def test_an_auditor_finds_the_job_among_the_records(client, agnes):
    """Job pages are the operators'; a link there would end at “no such page”."""
    seq = record(FULUP, "machine.create", WEB, job=3).seq
    client.force_login(agnes)
    for page in (html(client), client.get(f"/audit/{seq}/").content.decode()):
        assert 'href="/admin/hosts/job/3/change/"' in page
        assert "/jobs/3/" not in page


OUTCOMES = {
    ("machine.start", "done"): "started machine WEB-Dom",
    ("machine.start", "nothing"): "wanted to start machine WEB-Dom; it was so already",
    ("machine.start", "refused"): "tried to start machine WEB-Dom",
    ("machine.start", "failed"): "failed to start machine WEB-Dom",
    ("machine.key", "done"): "chose the SSH keys on machine WEB-Dom",
    ("thing.unheard", "done"): "thing.unheard: machine WEB-Dom",
}


@pytest.mark.parametrize(("case", "says"), OUTCOMES.items())
def test_every_outcome_has_its_words(case, says):
    assert words.deed(record(FULUP, case[0], WEB, outcome=case[1])) == says


def test_every_rule_and_every_kind_of_job_has_words():
    from accounts.access import RULES
    from hosts import kinds

    known = {*RULES, *kinds._kinds}
    silent = [a for a in known if a not in words.DEEDS and a.partition(".")[2] not in words.VERBS]
    assert silent == []


FILTERS = {
    "who=dominig": ["stop"],
    "action=machine.start": ["start"],
    "action=machine": ["start", "stop"],
    "out=refused": ["stop"],
    "q=choir": ["start"],
    "q=203.0.113": ["stop"],
    "kind=zone&id=2": ["apply"],
    "since=2999-01-01": [],
    "until=2000-01-01": [],
    "since=nonsense&out=nonsense&before=-4": ["start", "stop", "apply"],
}


@pytest.mark.parametrize(("query", "found"), FILTERS.items())
def test_each_filter_finds_its_entries(panel, query, found):
    record(FULUP, "machine.start", WEB, why="for the choir")
    record(Actor(id=2, name="dominig", address="203.0.113.9"), "machine.stop", WEB, outcome="refused")
    record(FULUP, "zone.apply", Thing(kind="zone", id="2", text="zDominig"))
    page = panel.get(f"/audit/?{query}").content.decode()
    says = {"start": "started machine", "stop": "tried to stop machine", "apply": "applied zone"}
    assert [word for word, text in says.items() if text in page] == found
    if not found:
        assert "Clear the filter" in page


def test_older_entries_are_a_page_away_and_none_is_lost(panel):
    for number in range(120):
        record(FULUP, "machine.start", Thing(kind="machine", id="7", text=f"no{number:03}."))
    seen, path = [], "/audit/?who=fulup&action=machine"
    while path:
        page = panel.get(path).content.decode()
        seen += [n for n in range(120) if f"no{n:03}." in page]
        more = page.partition('rel="next"')[0].rpartition('href="')[2].partition('"')[0]
        path = f"/audit/{more}".replace("&amp;", "&") if 'rel="next"' in page else ""
    assert sorted(seen) == list(range(120))


@pytest.mark.parametrize("many", [3, 300])
def test_it_takes_at_most_six_queries_beside_the_session(panel, django_assert_max_num_queries, many):
    for _ in range(many):
        record(FULUP, "machine.start", WEB, job=1)
    panel.get("/audit/")
    with django_assert_max_num_queries(6):
        panel.get("/audit/")


def test_somebodys_text_is_shown_as_text(panel):
    nasty = "<script>alert(1)</script>{}{{ x }}"
    record(Actor(id=1, name=nasty), "machine.start", Thing(kind="machine", id="1", text=nasty), why=nasty)
    seq = Entry.objects.order_by("-seq")[0].seq
    for page in (html(panel), panel.get(f"/audit/{seq}/").content.decode()):
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt;{}{{ x }}" in page


def test_one_entry_shows_every_field(panel):
    entry = record(FULUP, "machine.start", WEB, why="w", data={"state": "done", "before": {"a": 1}, "commands": []})
    page = panel.get(f"/audit/{entry.seq}/").content.decode()
    for text in (entry.digest, entry.previous, "10.10.95.40", "machine.start", "&quot;before&quot;"):
        assert text in page
    assert panel.get("/audit/999/").status_code == 404


def test_checking_the_chain_says_what_was_found(panel, audit_unlocked):
    record(FULUP, "machine.start", WEB)
    from audit import triggers

    triggers.install()
    assert "Chain unbroken, 2 entries." in panel.post("/audit/check/", follow=True).content.decode()
    triggers.remove()
    Entry.objects.filter(seq=1).update(why="forged")
    page = panel.post("/audit/check/", follow=True).content.decode()
    assert "broken at entry 1" in page
    assert "audit_no_update" in page


def test_a_machines_history_shows_only_its_own(panel, rf, fulup, web_dom):
    from audit.fragments import history

    record(FULUP, "machine.stop", Thing(kind="machine", id=str(web_dom.pk), text="WEB-Dom"))
    record(FULUP, "machine.stop", Thing(kind="machine", id="999", text="Mail"))
    request = rf.get("/")
    request.user = fulup
    page = history(request, web_dom)
    assert "stopped machine WEB-Dom" in page
    assert "Mail" not in page
    assert f"?kind=machine&amp;id={web_dom.pk}" in page


# --- refusals ---------------------------------------------------------------------------------------------------------


def refusals():
    return Entry.objects.filter(outcome="refused").order_by("seq")


def test_what_an_owner_tries_on_anothers_machine_stands_in_the_log(client, brendan, web_dom):
    client.force_login(brendan)
    client.get(reverse("machines:detail", args=[web_dom.pk]))
    client.post(reverse("machines:stop", args=[web_dom.pk]), REMOTE_ADDR="203.0.113.9")
    first, second = refusals()
    assert (first.action, first.actor_name, first.object_kind, first.object_id) == (
        "machine.view", "brendan", "machine", str(web_dom.pk),
    )  # fmt: skip
    assert (second.action, second.address) == ("machine.stop", "203.0.113.9")
    assert second.data == {"message": "was answered 404", "method": "POST", "path": f"/machines/{web_dom.pk}/stop/"}


def test_a_whole_room_that_is_closed_is_logged_too(client, brendan):
    client.force_login(brendan)
    client.get("/firewall/")
    client.get("/admin/")
    assert [e.action for e in refusals()] == ["firewall.view", "admin.view"]


def test_the_same_try_again_and_again_is_one_entry(client, brendan, web_dom):
    client.force_login(brendan)
    for _ in range(5):
        client.get(reverse("machines:detail", args=[web_dom.pk]))
    assert refusals().count() == 1
    client.post(reverse("machines:stop", args=[web_dom.pk]))
    assert refusals().count() == 2


def test_a_wrong_address_and_a_stranger_leave_no_entry(client, brendan, web_dom):
    client.get(reverse("machines:detail", args=[web_dom.pk]))
    client.force_login(brendan)
    client.get("/no/such/page/")
    assert not refusals().exists()


def test_what_is_seen_but_not_allowed_is_logged_as_403(client, fulup, dominig, web_dom):
    job = Job.objects.create(
        kind="machine.start", host=web_dom.host, title="t", target_kind="machine", target_id=web_dom.pk,
        target_text="WEB-Dom", actor=dominig, state=Job.State.PLANNED, digest="d",
    )  # fmt: skip
    client.force_login(fulup)
    assert client.post(reverse("hosts:job_approve", args=[job.pk]), {"digest": "d"}).status_code == 403
    assert refusals().get().data["message"] == "was answered 403"


def test_a_refused_job_stands_in_the_log(web_dom, dominig):
    """By the worker, when the job closes (hosts.work.close); the wording of the outcome is here."""
    from hosts import work
    from hosts.kinds import kind_of

    job = Job.objects.create(
        kind="machine.start", host=web_dom.host, title="t", target_kind="machine", target_id=web_dom.pk,
        target_text="WEB-Dom", actor=dominig, state=Job.State.RUNNING,
    )  # fmt: skip
    work.close(job, kind_of(job.kind), Job.State.REFUSED, "A domain of that name is not ours.", "Choose another.")
    entry = refusals().get()
    assert words.deed(entry) == "tried to start machine WEB-Dom"
    assert entry.data["message"] == "A domain of that name is not ours."
