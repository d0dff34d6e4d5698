"""What somebody changed on the host by hand: found line by line, said in words, restored or adopted."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from audit.models import Entry
from dom0 import files as dom0_files
from dom0.errors import Refused
from dom0.host import HostConfig
from dom0.state import State
from dom0.steps import Hand
from dom0.trial import Outcome, Standing
from firewall import booking, drift, render, rows, services, trials, trouble, watch
from firewall import plan as planner
from firewall.drift import Line
from firewall.models import CustomRule, Revision, Watched
from firewall.plan import Wish
from firewall.specs import Site
from hosts.models import Job, JobStep
from tests.firewall import says
from tests.firewall.says import publish
from tests.firewall.test_plan import applied, wished

NF = "net.bridge.bridge-nf-call-iptables"


def found(site: Site, state: State) -> tuple[Line, ...]:
    return drift.differences(render.files(site).by_name, site, state)


def changed(site: Site, old: str, new: str, family: str = "v4") -> State:
    state = applied(site)
    assert old in state.rules[family]
    return state.having("rules", family, state.rules[family].replace(old, new, 1))


def test_nothing_differs_right_after_an_apply(production: Site) -> None:
    assert found(production, applied(production)) == ()


def test_a_rule_somebody_added_is_named_with_its_place(production: Site) -> None:
    state = changed(production, "-A fr-zin -j DROP", "-A fr-zin -p tcp -m tcp --dport 80 -j ACCEPT\n-A fr-zin -j DROP")
    [line] = found(production, state)
    assert (line.family, line.gone, line.where) == ("v4", False, "filter fr-zin")
    assert line.words == ("somebody added a rule to what machines may ask of dom0: -p tcp -m tcp --dport 80 -j ACCEPT")
    assert line.raw == "+ -A fr-zin -p tcp -m tcp --dport 80 -j ACCEPT"


def test_a_rule_that_is_gone_is_named_by_its_service(production: Site) -> None:
    service = next(line for line in render.files(production).v4.splitlines() if "--comment DomiWEB " in line)
    [line] = found(production, changed(production, service + "\n", ""))
    assert line.gone
    assert line.words.startswith("a rule of DomiWEB is gone from what is published on 87.98.130.56: -p tcp")


def test_a_zones_chain_is_called_by_the_zone(production: Site) -> None:
    [line] = found(production, changed(production, ":fr-zo-1 - [0:0]\n", ":fr-zo-1 - [0:0]\n-A fr-zo-1 -j ACCEPT\n"))
    assert "what leaves zFulup" in line.words


def test_foreign_rules_in_front_of_ours_are_a_difference_and_behind_them_none(production: Site) -> None:
    jump = "-A FORWARD -j fr-fwd\n"
    [line] = found(production, changed(production, jump, "-A FORWARD -i docker0 -j ACCEPT\n" + jump))
    assert line.words == "others' rules run before ours in FORWARD"
    assert found(production, changed(production, jump, jump + "-A FORWARD -i docker0 -j ACCEPT\n")) == ()


def test_a_policy_a_switch_and_the_bridge_rules_are_compared_too(production: Site) -> None:
    words = [x.words for x in found(production, changed(production, ":INPUT DROP", ":INPUT ACCEPT"))]
    assert words == ["the policy of INPUT is not DROP any more", "the policy of INPUT is ACCEPT now"]
    [line] = found(production, applied(production).having("sysctls", NF, "1"))
    assert (line.family, line.words) == ("kernel", f"{NF} is 1 instead of 0")
    [line] = found(production, applied(production).without("rules", "bridge"))
    assert line.words == "the bridge rules are gone"
    [line] = found(production, changed(production, "-A fr-fwd -j DROP", "-A fr-fwd -j ACCEPT", "v6"))[:1]
    assert line.family == "v6"


def test_a_setting_this_kernel_never_had_is_no_difference(production: Site) -> None:
    assert found(production, applied(production).without("sysctls", NF)) == ()


def test_of_thousands_of_differences_the_first_are_told(production: Site) -> None:
    assert len(found(production, applied(production).having("rules", "v4", ""))) <= drift.MANY


@pytest.mark.parametrize(
    ("chain", "rule", "place", "becomes"),
    [
        ("fr-before-input", "-s 198.51.100.7/32 -j DROP", "before-input", "-s 198.51.100.7/32 -j DROP"),
        ("fr-in", "-s 198.51.100.7/32 -j DROP", "before-input", "-s 198.51.100.7/32 -j DROP"),
        ("fr-fwd", "-d 10.10.1.2/32 -j DROP", "before-forwarding", "-d 10.10.1.2/32 -j DROP"),
        ("fr-out", "-p udp -m udp --dport 53 -j DROP", "before-output", "-p udp -m udp --dport 53 -j DROP"),
        ("fr-zin", "-p tcp -m tcp --dport 80 -j DROP", "before-input", "-i xen-br+ -p tcp -m tcp --dport 80 -j DROP"),
        ("fr-zo-1", "-j DROP", "before-forwarding", "-i xen-br1 -j DROP"),
        ("fr-zi-2", "-s 10.10.1.2/32 -j ACCEPT", "before-forwarding", "-o xen-br2 -s 10.10.1.2/32 -j ACCEPT"),
    ],
)  # fmt: skip
def test_what_somebody_added_becomes_an_own_rule_that_says_the_same(production, chain, rule, place, becomes) -> None:
    head = f":{chain} - [0:0]\n"
    lines = found(production, changed(production, head, f"{head}-A {chain} {rule}\n"))
    taken = drift.adoption(production, lines)
    assert taken.refused == ()
    assert [(c.place, c.rule) for c in taken.rules] == [(place, becomes)]


@pytest.mark.parametrize(
    ("chain", "rule", "place", "becomes"),
    [
        ("fr-in", "-s 198.51.100.7/32 -j DROP", "after-input", "-s 198.51.100.7/32 -j DROP"),
        ("fr-fwd", "-d 10.10.1.2/32 -j DROP", "after-forwarding", "-d 10.10.1.2/32 -j DROP"),
        ("fr-out", "-p udp -m udp --dport 53 -j DROP", "after-output", "-p udp -m udp --dport 53 -j DROP"),
        ("fr-vin", "-p tcp -m tcp --dport 80 -j DROP", "after-input", "-i tun0 -p tcp -m tcp --dport 80 -j DROP"),
        # Our chain ended with DROP: what came behind it met nothing, and still meets nothing.
        ("fr-zin", "-p tcp -m tcp --dport 80 -j DROP", "after-input", "-i xen-br+ -p tcp -m tcp --dport 80 -j DROP"),
        # A zone's chain only takes things away; what lets things through comes after it.
        ("fr-zo-1", "-d 10.10.2.2/32 -j DROP", "before-forwarding", "-i xen-br1 -d 10.10.2.2/32 -j DROP"),
    ],
)  # fmt: skip
def test_what_somebody_appended_comes_after_our_own_rules_again(production, chain, rule, place, becomes) -> None:
    lines = found(production, appended(production, chain, rule))
    taken = drift.adoption(production, lines)
    assert taken.refused == ()
    assert [(c.place, c.rule) for c in taken.rules] == [(place, becomes)]


def appended(site: Site, chain: str, rule: str) -> State:
    """The host after `iptables -A CHAIN RULE`."""
    state = applied(site)
    live = state.rules["v4"].splitlines()
    own = [at for at, line in enumerate(live) if line.startswith((f"-A {chain} ", f":{chain} "))]
    last = max((at for at in own if live[at].startswith("-A")), default=0)
    if not last:  # an empty chain: its rules stand after all declarations
        last = live.index("COMMIT", own[0]) - 1
    live.insert(last + 1, f"-A {chain} {rule}")
    return state.having("rules", "v4", "\n".join(live) + "\n")


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (":fr-dnat - [0:0]\n", ":fr-dnat - [0:0]\n-A fr-dnat -j RETURN\n", "publish it as a service"),
        ("-A fr-zin -j DROP\n", "", "can only be restored"),
        (":fr-admin - [0:0]\n", ":fr-admin - [0:0]\n-A fr-admin -j DROP\n", "no own rule stands in that place"),
        (":fr-antispoof - [0:0]\n", ":fr-antispoof - [0:0]\n-A fr-antispoof -j ACCEPT\n", "no own rule stands"),
        (":fr-in - [0:0]\n", ":fr-in - [0:0]\n-A fr-in -j ACCEPT\n", "opens everything of dom0 to the Internet"),
        (":fr-out - [0:0]\n", ":fr-out - [0:0]\n-A fr-out -j DROP\n", "would also stop dom0's answers to you"),
    ],
)
def test_what_no_own_rule_can_say_is_refused_with_a_sentence(production, old, new, why) -> None:
    taken = drift.adoption(production, found(production, changed(production, old, new)))
    assert taken.rules == ()
    assert why in taken.refused[0]


def test_the_kernels_settings_cannot_be_adopted(production: Site) -> None:
    taken = drift.adoption(production, found(production, applied(production).having("sysctls", NF, "1")))
    assert "belong to the layout" in taken.refused[0]


@pytest.mark.parametrize(
    ("old", "new", "filters"),
    [
        (
            ":fr-zi-2 - [0:0]\n",
            ":fr-zi-2 - [0:0]\n-A fr-zi-2 -p tcp -m tcp --dport 22 -j ACCEPT\n",
            ("-p tcp --reply-src 10.10.2.0/24 --reply-port-src 22",),
        ),
        (
            ":fr-dn-87.98.130.56 - [0:0]\n",
            ":fr-dn-87.98.130.56 - [0:0]\n"
            "-A fr-dn-87.98.130.56 -p udp -m udp --dport 70:80 -j DNAT --to-destination 10.10.2.2\n",
            ("-p udp --orig-dst 87.98.130.56 --orig-port-dst 70-80",),
        ),
        (":fr-fwd - [0:0]\n", ":fr-fwd - [0:0]\n-A fr-fwd -j ACCEPT\n", ()),
        ("-A fr-zin -j DROP\n", "", ()),
    ],
)
def test_connections_that_came_to_be_through_a_change_are_cut_when_it_is_restored(
    production, old, new, filters
) -> None:
    state = changed(production, old, new)
    assert drift.leaked(production, found(production, state)) == filters
    [restoring] = planner.plan(wished(production), state).steps
    assert isinstance(restoring.action, Hand)
    assert restoring.action.stdin.splitlines() == list(filters)


# on the panel's side


ADDED = Line(family="v4", gone=False, where="filter fr-fwd", text="-A fr-fwd -d 10.10.1.2/32 -j DROP", words="added x")
GONE = Line(family="v4", gone=True, where="nat fr-dnat", text="-A fr-dnat -j x", words="gone y")


def watched(host, *lines: Line) -> None:
    watch._book(host, lines)


@pytest.mark.django_db
def test_the_host_differs_since_the_first_look_that_found_it(host, live, django_assert_num_queries) -> None:
    assert trials.drift(host) is None
    watched(host, ADDED)
    first = Watched.objects.get().drift_since
    with django_assert_num_queries(1):
        watched(host, ADDED)
    watched(host, ADDED, GONE)
    now = trials.drift(host)
    assert now is not None
    assert (now.since, now.words, now.live) == (first, ("added x", "gone y"), live)
    assert now.raw == ("@ filter fr-fwd", f"+ {ADDED.text}", "@ nat fr-dnat", f"- {GONE.text}")
    assert [name for name, _ in now.families] == ["IPv4"]
    watched(host)
    assert trials.drift(host) is None
    assert Watched.objects.get().drift_since is None


@pytest.mark.django_db
def test_restoring_asks_for_the_revision_in_force_again(me, host, live) -> None:
    watched(host, ADDED)
    job = trials.drift_restore(me, host)
    assert (job.kind, job.args["revision"], job.approver_id) == ("firewall.apply", live.pk, me.id)


@pytest.mark.django_db
def test_restoring_a_host_that_is_closed_closes_it_again(me, host, live) -> None:
    booking.book(host, Standing(confirmed="0"))
    watched(host, ADDED)
    assert trials.drift_restore(me, host).kind == "firewall.stop"


@pytest.mark.django_db
def test_adopting_makes_wishes_of_what_somebody_added(me, host, live, web) -> None:
    watched(host, ADDED)
    [rule] = trials.drift_adopt(me, host, reason="it was urgent")
    assert (rule.place, rule.rule, rule.reason) == ("before-forwarding", "-d 10.10.1.2/32 -j DROP", "it was urgent")
    assert rows.site_of(host).custom[0].rule == rule.rule
    assert services.pending(host).changes
    assert Entry.objects.filter(action="policy.change", why="it was urgent").exists()


@pytest.mark.django_db
def test_adopting_is_all_or_nothing(me, host, live) -> None:
    watched(host, ADDED, GONE)
    with pytest.raises(Refused, match="Not all of it can be adopted: gone y"):
        trials.drift_adopt(me, host)
    assert not CustomRule.objects.exists()
    watched(host)
    with pytest.raises(Refused, match="Nothing on the host differs"):
        trials.drift_adopt(me, host)


@pytest.mark.django_db
def test_drift_trial_and_what_was_taken_back_need_somebody(rf, fulup, dominig, me, host, live, zones, web_dom) -> None:
    request = rf.get("/")
    request.user = fulup
    assert list(trouble.attention(request)) == []
    watched(host, ADDED, GONE)
    [need] = trouble.attention(request)
    assert (need.title, need.text) == ("ns3100421's live rules differ in 2 places", "Added x, and 1 more.")
    watched(host)
    publish(me, host, zones, web_dom, name="More", port=81)
    trials.revision_apply(me, host)
    Job.objects.update(state="done")
    tried = Revision.objects.get(number=2)
    says.tried(tried)
    [need] = trouble.attention(request)
    assert need.title == "Revision 2 is on trial"
    says.taken_back(tried, confirmed=live.name)
    [need] = trouble.attention(request)
    assert need.title == "Revision 2 was taken back"
    assert "Opens tcp 81 of 87.98.130.56" in need.text
    request.user = dominig
    assert list(trouble.attention(request)) == []


# the watcher


@pytest.fixture
def dom0(tmp_path, monkeypatch) -> HostConfig:
    config = HostConfig(name="ns3100421", libvirt="lxc:///system", volumes="/v", state=str(tmp_path))
    monkeypatch.setattr(watch.host_file, "load", lambda: config)
    watch._looked.clear()
    return config


def lay(config: HostConfig, name: str, files: dict[str, str]) -> None:
    for file, text in files.items():
        dom0_files.write_atomic(f"{config.state}/firewall/revisions/{name}/{file}", text)


@pytest.mark.django_db
def test_what_the_guard_did_while_everything_was_down_is_booked_at_the_next_look(host, live, dom0, monkeypatch) -> None:
    Watched.objects.all().delete()
    monkeypatch.setattr(watch.trial, "read", lambda config: Standing(confirmed="0"))
    watch.observe(host, State())
    live.refresh_from_db()
    assert (live.state, Watched.objects.get().confirmed) == ("former", "0")


@pytest.mark.django_db
def test_the_live_rules_are_read_every_ten_seconds_and_not_during_a_trial(
    host, live, dom0, monkeypatch, django_capture_on_commit_callbacks
) -> None:
    reads: list[str] = []
    standing = Standing(confirmed=live.name)
    monkeypatch.setattr(watch.trial, "read", lambda config: standing)
    monkeypatch.setattr(watch, "lines", lambda config, name: reads.append(name) or (ADDED,))
    for _ in range(3):
        with django_capture_on_commit_callbacks(execute=True):
            watch.observe(host, State())
    assert reads == [live.name]
    assert trials.drift(host) is not None
    standing = Standing(confirmed=live.name, pending=says.pending(live))
    watch._looked.clear()
    with django_capture_on_commit_callbacks(execute=True):
        watch.observe(host, State())
    assert reads == [live.name]


def test_a_revision_on_the_host_is_compared_with_what_is_live(dom0, production, monkeypatch) -> None:
    wish = Wish(site=production, folder="x", name="1-abab", token="t")
    state = applied(production).having("sysctls", NF, "1")
    monkeypatch.setattr(watch.probe, "probe", lambda config, scope: state)
    assert watch.lines(dom0, "1-abab") is None
    lay(dom0, "1-abab", wish.files)
    [line] = watch.lines(dom0, "1-abab") or ()
    assert line.words == f"{NF} is 1 instead of 0"


def half_restored(me, host, live, *, outcome: str = "restored", by: str = "guard") -> Job:
    """A restoration whose worker was killed; the host says how it ended all the same."""
    job = trials.drift_restore(me, host)
    Job.objects.filter(pk=job.pk).update(state="failed", message="The worker was killed during apply.", note="Go on.")
    JobStep.objects.create(
        job=job, number=1, stage="apply", title="Load", state="failed", output="The worker ended here.", started=EARLY
    )
    token = f"{live.name}-j{job.pk}-again"
    ended = Outcome(token=token, revision=live.name, outcome=outcome, by=by, at=EARLY.timestamp() + 2)
    for _ in range(2):
        booking.book(host, Standing(confirmed=live.name, outcomes={token: ended}))
    job.refresh_from_db()
    return job


EARLY = datetime(2026, 11, 22, 22, 0, tzinfo=UTC)


@pytest.mark.django_db
@pytest.mark.parametrize("by", ["guard", "boot"])
def test_what_the_guard_finished_is_told_at_the_job_and_logged_once(me, host, live, by: str) -> None:
    watched(host, ADDED)
    job = half_restored(me, host, live, by=by)
    assert "The guard has finished it: revision 1 is loaded again" in job.note
    entry = Entry.objects.get(action="firewall.restore")
    assert (entry.actor_name, entry.data["by"], entry.data["revision"]) == ("fridu", by, live.number)
    assert "whoever began it ended on the way" in entry.why
    assert trials.drift(host) is None
    watched(host, GONE)
    booking.book(host, Standing(confirmed=live.name))
    assert trials.drift(host) is not None, "what came afterwards is not forgotten"


@pytest.mark.django_db
def test_where_the_guard_had_to_close_the_host_that_is_told(me, host, live) -> None:
    watched(host, ADDED)
    job = half_restored(me, host, live, outcome="closed")
    assert "closed but for SSH" in job.note
    assert "closed but for SSH" in Entry.objects.get(action="firewall.restore").why


@pytest.mark.django_db
def test_what_a_job_restored_itself_is_logged_by_the_job_alone(me, host, live) -> None:
    watched(host, ADDED)
    assert half_restored(me, host, live, by="operator").note == "Go on."
    assert not Entry.objects.filter(action="firewall.restore").exists()


@pytest.mark.django_db
def test_what_root_restored_by_hand_is_logged(me, host, live) -> None:
    token = f"{live.name}-hand"
    ended = Outcome(token=token, revision=live.name, outcome="restored", by="operator", at=1.0)
    booking.book(host, Standing(confirmed=live.name, outcomes={token: ended}))
    assert Entry.objects.get(action="firewall.restore").why == "by hand on dom0"


def test_going_on_after_the_guard_finished_it_finds_nothing_to_do_and_says_so(production: Site) -> None:
    wish = wished(production)
    noted = json.dumps({"token": wish.again, "outcome": "restored", "by": "guard"})
    plan = planner.plan(wish, applied(production).having("files", wish.restored, noted))
    assert plan.steps == ()
    assert [item.title for item in plan.items][-1].startswith("The guard has loaded this revision again")


def test_files_of_it_that_are_gone_are_written_before_it_is_loaded_again(production: Site) -> None:
    wish = wished(production)
    state = changed(production, "-A fr-zin -j DROP\n", "").without("files", f"{wish.own}/v6.rules")
    assert [step.stage for step in planner.plan(wish, state).steps] == ["files", "apply"]
