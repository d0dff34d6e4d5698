"""A revision's life as the panel sees it: asked for, on trial, kept or taken back, and what is refused meanwhile."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied
from django.utils import timezone

from audit.log import Actor
from audit.models import Entry
from dom0.errors import Refused
from dom0.host import HostConfig
from dom0.state import State
from dom0.steps import Hand
from dom0.trial import Standing
from firewall import booking, services, trials
from firewall import plan as planner
from firewall.models import PublishedService, Revision, Watched
from firewall.specs import from_dict
from hosts.kinds import kind_of
from hosts.models import Job, JobStep
from hosts.services import job_create
from tests.firewall import says
from tests.firewall.says import NONCE, publish

pytestmark = pytest.mark.django_db
CONFIG = HostConfig(name="ns3100421", libvirt="lxc:///system", volumes="/v", state="/s")


@pytest.fixture
def trial(me, host, live, zones, web_dom) -> Revision:
    """Revision 2 on trial: it publishes one service more."""
    publish(me, host, zones, web_dom, name="More", port=81)
    job = trials.revision_apply(me, host, why="more")
    Job.objects.filter(pk=job.pk).update(state="done")
    revision = Revision.objects.get(number=2)
    says.tried(revision)
    revision.refresh_from_db()
    return revision


def test_one_apply_is_one_revision_of_all_wishes(me, host, web) -> None:
    job = trials.revision_apply(me, host, why="first", confirm_within=90)
    revision = Revision.objects.get()
    assert (revision.number, revision.state, revision.why) == (1, "draft", "first")
    assert job.args == {"revision": revision.pk, "number": 1, "seconds": 90}
    assert "opens tcp 80 of 87.98.130.56 to WEB-Dom, port 8080" in revision.words
    assert "--to-destination 10.10.2.2:8080" in revision.files["v4.rules"]
    with pytest.raises(Refused, match="still open"):
        trials.revision_apply(me, host)


def test_what_changed_since_it_was_looked_at_is_not_applied(me, host, zones, web_dom, web) -> None:
    seen = services.pending(host).digest
    publish(me, host, zones, web_dom, name="More", port=81)
    with pytest.raises(Refused, match="since you looked"):
        trials.revision_apply(me, host, seen=seen)
    assert not Revision.objects.exists()


def test_a_wish_that_stopped_fitting_is_not_applied(me, host, web) -> None:
    PublishedService.objects.update(target="10.10.77.7")
    with pytest.raises(Refused, match="in no zone"):
        trials.revision_apply(me, host)


@pytest.mark.parametrize("seconds", [2, 601, -1])
def test_a_trial_lasts_3_to_600_seconds(me, host, web, seconds) -> None:
    with pytest.raises(Refused, match="is no time for a trial"):
        trials.revision_apply(me, host, confirm_within=seconds)


def test_what_the_host_has_loaded_is_on_trial_with_its_clock_and_nonce(host, live, trial) -> None:
    now = trials.on_trial(host)
    assert now is not None
    assert (now.revision, now.nonce, now.ready, now.why) == (trial, NONCE, True, "more")
    assert 55 < now.seconds_left <= 60
    assert now.former == live
    assert now.changes == ["opens tcp 81 of 87.98.130.56 to WEB-Dom, port 8080"]
    assert now.author.username == "fulup"
    assert Watched.objects.get().pending == trial.name
    live.refresh_from_db()
    assert live.state == "live", "the former one is in force until somebody keeps the new"


def test_looking_whether_something_is_on_trial_costs_one_query(host, trial, django_assert_num_queries) -> None:
    with django_assert_num_queries(1):
        trials.on_trial(host)


def test_nothing_is_on_trial_before_its_rules_are_loaded(host, me, web) -> None:
    trials.revision_apply(me, host)
    revision = Revision.objects.get()
    booking.book(host, Standing(pending=says.pending(revision)))
    assert trials.on_trial(host) is None
    assert Watched.objects.get().pending == revision.name


def test_a_kept_revision_is_live_and_leaves_nothing_pending(me, host, live, trial) -> None:
    job = trials.revision_confirm(me, trial, NONCE)
    assert (job.kind, job.args["nonce"]) == ("firewall.confirm", NONCE)
    says.kept(trial)
    live.refresh_from_db()
    trial.refresh_from_db()
    assert (live.state, trial.state, trial.nonce, trial.until) == ("former", "live", "", None)
    assert services.pending(host).changes == ()
    assert trials.on_trial(host) is None
    assert set(PublishedService.objects.values_list("live", flat=True)) == {True}


def test_without_the_nonce_of_the_loaded_rules_nothing_is_kept(me, trial) -> None:
    for nonce in ("", "0" * 32, NONCE[:-1], "é"):
        with pytest.raises(Refused, match="before the new rules were loaded"):
            trials.revision_confirm(me, trial, nonce)
    assert not Job.objects.filter(kind="firewall.confirm").exists()


def test_when_its_time_is_up_it_cannot_be_kept_nor_returned(me, trial) -> None:
    Revision.objects.filter(pk=trial.pk).update(until=timezone.now() - timedelta(seconds=1))
    for ask in (lambda: trials.revision_confirm(me, trial, NONCE), lambda: trials.revision_return(me, trial)):
        with pytest.raises(Refused, match="Revision 2 was taken back: revision 1 is live"):
            ask()


def test_what_is_in_force_or_was_never_tried_is_said_to_be_so(me, host, live, zones, web_dom) -> None:
    with pytest.raises(Refused, match="Revision 1 is in force already"):
        trials.revision_confirm(me, live, "")
    publish(me, host, zones, web_dom, name="More", port=81)
    trials.revision_apply(me, host)
    with pytest.raises(Refused, match="Revision 2 is not on trial; revision 1 is live"):
        trials.revision_return(me, Revision.objects.get(number=2))


@pytest.mark.parametrize(("by", "entries"), [("guard", 1), ("boot", 1), ("operator", 1)])
def test_what_was_taken_back_is_marked_so_and_the_wishes_stay(host, live, trial, web, by, entries) -> None:
    says.taken_back(trial, by=by, confirmed=live.name)
    trial.refresh_from_db()
    assert (trial.state, trial.nonce, trial.until) == ("returned", "", None)
    assert [c.kind for c in services.pending(host).changes] == ["opens"], "the wish stays, not applied"
    assert dict(PublishedService.objects.values_list("name", "live")) == {"DomiWEB": True, "More": False}
    assert Entry.objects.filter(action="firewall.return", actor_name="fridu").count() == entries
    assert trials.on_trial(host) is None


def test_what_root_does_on_dom0_itself_is_logged_too_and_what_was_asked_here_once(me, host, live, trial) -> None:
    by_hand = Entry.objects.filter(why="by hand on dom0")
    assert [e.action for e in by_hand] == ["firewall.confirm"], "revision 1: no job here asked for that"
    trials.revision_return(me, trial)
    says.taken_back(trial, by="operator", confirmed=live.name)
    assert by_hand.count() == 1
    booking.book(host, Standing(confirmed="0"))
    assert [e.action for e in by_hand.order_by("seq")] == ["firewall.confirm", "firewall.stop"]


def test_booking_twice_changes_and_logs_nothing_more(host, live, trial) -> None:
    said = says.taken_back(trial, confirmed=live.name)
    before = Entry.objects.count(), list(Revision.objects.values())
    booking.book(host, said)
    assert (Entry.objects.count(), list(Revision.objects.values())) == before


def test_a_host_that_knows_better_than_the_rows_leaves_them_alone(host, live) -> None:
    booking.book(host, Standing(confirmed="77-0123456789ab"))
    live.refresh_from_db()
    assert live.state == "live"
    assert Watched.objects.get().confirmed == "77-0123456789ab"


def test_while_one_is_on_trial_no_other_apply_starts_and_wishes_are_edited(me, host, trial, zones, web_dom) -> None:
    publish(me, host, zones, web_dom, name="Third", port=82)
    with pytest.raises(Refused, match="Revision 2 is on trial on ns3100421"):
        trials.revision_apply(me, host)
    with pytest.raises(Refused, match="Revision 2 is on trial"):
        trials.revision_apply(me, host, again=Revision.objects.get(number=1))
    assert PublishedService.objects.filter(name="Third").exists()


def test_a_trial_the_watcher_has_not_booked_yet_counts_too(me, host, live, web) -> None:
    Watched.objects.update(pending="7-0123456789ab")
    services.service_unpublish(me, web)
    with pytest.raises(Refused, match="Revision 7 is on trial"):
        trials.revision_apply(me, host)


def test_a_former_revision_is_applied_again_as_a_trial_of_its_own(me, host, live, trial) -> None:
    says.kept(trial)
    job = trials.revision_apply(me, host, again=live, why="back to it")
    assert (job.args["revision"], job.kind) == (live.pk, "firewall.apply")
    says.tried(live, confirmed=trial.name)
    live.refresh_from_db()
    assert live.state == "trial"


def test_stopping_needs_a_reason_and_waits_for_nobody(me, host, live, zones, web_dom) -> None:
    with pytest.raises(Refused, match="Nothing says why"):
        trials.firewall_stop(me, host, " ")
    publish(me, host, zones, web_dom, name="More", port=81)
    trials.revision_apply(me, host)
    job = trials.firewall_stop(me, host, "an attack")
    assert (job.kind, job.reason, job.is_open) == ("firewall.stop", "an attack", True)


def test_after_a_stop_nothing_is_live_and_everything_is_wished(host, live) -> None:
    booking.book(host, Standing(confirmed="0"))
    live.refresh_from_db()
    assert live.state == "former"
    assert not PublishedService.objects.filter(live=True).exists()
    assert "opens" in {c.kind for c in services.pending(host).changes}
    assert trials.closed(host)


# what a job that stopped leaves


def failed(job: Job, stage: str, output: str = "iptables-restore: line 3 failed") -> None:
    JobStep.objects.create(job=job, number=1, stage="arm", title="Arm", state="done")
    JobStep.objects.create(job=job, number=2, stage=stage, title="Load", state="failed", output=output)
    job.state = Job.State.FAILED
    job.save()
    kind_of(job.kind).failed(job)


def test_an_apply_that_fails_half_way_asks_at_once_for_the_way_back(me, host, live, zones, web_dom) -> None:
    publish(me, host, zones, web_dom, name="More", port=81)
    job = trials.revision_apply(me, host)
    failed(job, "apply")
    back = Job.objects.get(kind="firewall.return")
    assert (back.title, back.reason) == ("Return from firewall revision 2", f"job {job.pk} stopped half-way")
    assert [r.state for r in Revision.objects.order_by("number")] == ["live", "failed"]


def test_where_the_worker_was_killed_somebody_may_go_on(me, host, web) -> None:
    failed(trials.revision_apply(me, host), "apply", "The worker ended here.")
    assert not Job.objects.filter(kind="firewall.return").exists()


def test_a_failed_dry_run_leaves_the_host_alone(me, host, web) -> None:
    failed(trials.revision_apply(me, host), "dry run")
    assert not Job.objects.filter(kind="firewall.return").exists()
    assert Revision.objects.get().state == "failed"


# what the worker plans for them


def asked(me, revision: Revision, kind: str, **args) -> Job:
    target = trials._firewall(revision.host)
    args = {"revision": revision.pk, "number": revision.number, **args}
    return job_create(me, kind, host=revision.host, title="x", target=target, args=args)


def standing(revision: Revision | None = None, confirmed: str = "0") -> State:
    state = State().having("trial", "confirmed", confirmed)
    return state.having("trial", "pending", f"{revision.name}-j5") if revision else state


def plan(job: Job, state: State):
    return kind_of(job.kind).plan(job, state, CONFIG)


def test_keeping_and_returning_name_the_trial_that_stands(me, trial) -> None:
    for kind, args in (
        ("firewall.confirm", (("token", f"{trial.name}-j5"), ("nonce", NONCE))),
        ("firewall.return", (("token", f"{trial.name}-j5"),)),
    ):
        Job.objects.all().update(state="done")
        job = asked(me, trial, kind, nonce=NONCE)
        [step] = plan(job, standing(trial)).steps
        assert isinstance(step.action, Hand)
        assert (step.action.verb, step.action.args) == (kind.replace(".", "-"), args)
        assert plan(job, step.after(standing(trial, confirmed="0"))).steps == () or kind == "firewall.confirm"


def test_keeping_what_is_kept_is_nothing_and_what_is_gone_is_refused(me, live, trial) -> None:
    job = asked(me, trial, "firewall.confirm", nonce=NONCE)
    assert plan(job, standing(confirmed=trial.name)).steps == ()
    with pytest.raises(Refused, match="Revision 2 was taken back"):
        plan(job, standing(confirmed=live.name))
    with pytest.raises(Refused, match="Revision 2 was taken back"):
        plan(job, standing(live, confirmed="0"))


def test_returning_from_what_was_kept_is_refused_and_from_what_is_gone_is_nothing(me, live, trial) -> None:
    job = asked(me, trial, "firewall.return")
    with pytest.raises(Refused, match="Revision 2 was kept"):
        plan(job, standing(confirmed=trial.name))
    assert plan(job, standing(confirmed=live.name)).steps == ()


def test_stopping_loads_revision_0_once(me, host, live) -> None:
    job = trials.firewall_stop(me, host, "an attack")
    [step] = plan(job, standing(confirmed=live.name)).steps
    assert step.action == Hand(verb="firewall-stop")
    assert step.destroys
    closed = State().having("files", "/s/firewall/revisions/0/v4.rules", "*filter\n:fr-in - [0:0]\nCOMMIT\n")
    closed = closed.having("files", "/s/firewall/revisions/0/v6.rules", "")
    assert plan(job, closed).steps, "its rules are not loaded"
    loaded = closed.having("rules", "v4", "*filter\n:fr-in - [0:0]\n-A INPUT -j fr-in\nCOMMIT\n")
    assert plan(job, loaded).steps == ()


def test_only_operators_apply_keep_return_and_stop(host, trial, dominig) -> None:
    owner = Actor(id=dominig.pk, name=dominig.username)
    for ask in (
        lambda: trials.revision_apply(owner, host),
        lambda: trials.revision_confirm(owner, trial, NONCE),
        lambda: trials.revision_return(owner, trial),
        lambda: trials.firewall_stop(owner, host, "x"),
    ):
        with pytest.raises(PermissionDenied):
            ask()


def tampered(revision: Revision, **changes: object) -> Revision:
    """As whoever took over the panel writes it to the database, past all pages."""
    revision.site = {**revision.site, **changes}
    revision.save(update_fields=["site"])
    return revision


@pytest.mark.parametrize(
    "changes",
    [
        {"zones": "bridge", "value": "xen-br1\nkernel.core_pattern = |/tmp/x\n"},
        {"zones": "bridge", "value": "xen-br//.//.//.//.kernel.core_pattern"},
        {"services": "proto", "value": "tcp\n-A fr-in -j ACCEPT"},
        {"custom": "rule", "value": "-m bpf --object-pinned /tmp/x -j ACCEPT"},
    ],
    ids=lambda c: str(c["value"])[:12],
)
def test_root_loads_nothing_that_no_page_would_make(me, host, web, changes) -> None:
    """A file of kernel settings with a line of somebody else's would be his program run by root."""
    job = trials.revision_apply(me, host, approved=True)
    revision = Revision.objects.get()
    (room, field), value = next(iter(changes.items())), changes["value"]
    rows = revision.site[room] or [{"place": "before-input", "rule": "", "reason": "r"}]
    tampered(revision, **{room: [{**rows[0], field: value}, *rows[1:]]})
    with pytest.raises(Refused, match=r"no single line|can't be a bridge|runs a program"):
        kind_of(job.kind).plan(job, State(), CONFIG)


def test_a_revision_from_before_ssh_moved_to_another_port_is_not_applied(me, host, web) -> None:
    job = trials.revision_apply(me, host, approved=True)
    with pytest.raises(Refused, match="nobody would get in"):
        kind_of(job.kind).plan(job, State(), replace(CONFIG, admin_ssh_port=2222))


def test_people_give_their_reasons_in_any_signs_they_like(me, host, web) -> None:
    custom = {"place": "before-input", "rule": "-p tcp --dport 9 -j DROP", "reason": "Pourquoi\u00a0?\nà voir"}
    trials.revision_apply(me, host, approved=True)
    planner.refuse_unfit(from_dict(tampered(Revision.objects.get(), custom=[custom]).site))


def test_after_an_upgrade_that_renders_otherwise_the_same_wishes_are_a_revision_of_their_own(me, host, live) -> None:
    assert trials.revision_apply(me, host).args["revision"] == live.pk
    Job.objects.all().update(state="done")
    Revision.objects.filter(pk=live.pk).update(files={**live.files, "v4.rules": "as an older release had it"})
    assert trials.revision_apply(me, host).args["number"] == live.number + 1
