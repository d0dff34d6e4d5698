"""The planner: nothing to do where it is so already, and never an order that opens too early."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from dom0 import chains
from dom0.errors import Refused
from dom0.plan import Plan
from dom0.state import Link, State
from dom0.steps import Command, Hand, RemoveFile, WriteFile
from firewall import flows, render
from firewall import plan as planner
from firewall.plan import Wish
from firewall.specs import Site

FOLDER = "/var/lib/fridu/state/firewall"
CARD = Link(name="eth0", up=True, addresses=("91.121.65.140/24", "87.98.130.56/32"))
BARE = State(
    host="ns3100421",
    links={"eth0": CARD},
    sysctls={"net.ipv4.ip_forward": "0", "net.bridge.bridge-nf-call-iptables": "1"},
)


def wished(site: Site, number: int = 1, job: int = 7, seconds: int = 60) -> Wish:
    name = f"{number}-{'ab' * 6}"
    return Wish(site=site, folder=FOLDER, name=name, token=f"{name}-j{job}", seconds=seconds)


def after(plan: Plan, state: State) -> State:
    for step in plan.steps:
        state = step.after(state)
    return state


def on_trial(site: Site) -> State:
    return after(planner.plan(wished(site), BARE), BARE)


def kept(state: State) -> State:
    """The host once somebody has confirmed what is on trial."""
    name = state.trial["pending"].rpartition("-j")[0]
    return state.having("trial", "confirmed", name).without("trial", "pending")


def applied(site: Site) -> State:
    """A host on which revision 1 of `site` is in force."""
    return kept(on_trial(site))


def second(site: Site) -> Wish:
    return wished(site, number=2, job=8)


def argvs(plan: Plan) -> list[tuple[str, ...]]:
    return [step.action.argv for step in plan.steps if isinstance(step.action, Command)]


def verbs(plan: Plan) -> list[str]:
    return [step.action.verb for step in plan.steps if isinstance(step.action, Hand)]


def hand(plan: Plan, verb: str) -> Hand:
    return next(s.action for s in plan.steps if isinstance(s.action, Hand) and s.action.verb == verb)


def fewer(site: Site) -> Site:
    return replace(site, services=site.services[:-1])


def test_planning_again_while_it_is_on_trial_finds_nothing_to_do(production: Site, guru: Site) -> None:
    for site in (production, guru, Site()):
        state = on_trial(site)
        again = planner.plan(wished(site), state)
        assert again.steps == ()
        assert [item.stage for item in again.items] == ["files", "apply"]
        kept_too = planner.plan(wished(site), kept(state))
        assert kept_too.steps == ()


def test_a_bare_host_gets_files_trial_guard_rules_switches_cuts_and_the_nonce_in_that_order(production: Site) -> None:
    plan = planner.plan(wished(production), BARE)
    stages = list(dict.fromkeys(step.stage for step in plan.steps))
    assert stages == ["files", "dry run", "arm", "apply", "sysctl", "flows", "applied"]
    programs = [argv[0] for argv in argvs(plan)]
    assert programs[:4] == ["ipset", "nft", "ip6tables-restore", "iptables-restore"]
    assert [argv[2] for argv in argvs(plan) if argv[0] == "sysctl"][-1] == "net.ipv4.ip_forward=1"


def test_forwarding_is_switched_on_only_after_the_rules_are_loaded(production: Site) -> None:
    order = [" ".join(argv) for argv in argvs(planner.plan(wished(production), BARE))]
    assert order.index("sysctl -w net.ipv4.ip_forward=1") > order.index("iptables-restore --noflush")


def test_nothing_touches_the_host_before_the_guard_is_told_nor_without_its_trial(production: Site) -> None:
    wish = wished(production)
    plan = planner.plan(wish, BARE)
    arm = next(n for n, step in enumerate(plan.steps) if step.stage == "arm")
    assert all(isinstance(s.action, WriteFile) or s.stage == "dry run" for s in plan.steps[:arm])
    assert {step.trial for step in plan.steps[arm + 1 :]} == {wish.token}


def test_nothing_in_a_step_is_made_while_planning(production: Site) -> None:
    wish = wished(production)
    assert planner.plan(wish, BARE).digest == planner.plan(wished(production), BARE).digest
    assert hand(planner.plan(wish, BARE), "firewall-arm").args == (
        ("token", wish.token), ("revision", wish.name), ("seconds", "60")
    )  # fmt: skip


def test_exactly_the_files_of_the_revision_are_tried_first(production: Site) -> None:
    wish = second(fewer(production))
    plan = planner.plan(wish, applied(production))
    assert hand(plan, "firewall-try").args == (("folder", f"{FOLDER}/revisions/{wish.name}"),)
    written = {s.action.path for s in plan.steps if isinstance(s.action, WriteFile)}
    assert written == {f"{FOLDER}/revisions/{wish.name}/{name}" for name in wish.files}
    assert not [s for s in plan.steps if isinstance(s.action, RemoveFile)]


def test_one_service_less_reloads_one_chain_of_ipv4_and_cuts_its_connections(production: Site) -> None:
    plan = planner.plan(second(fewer(production)), applied(production))
    assert argvs(plan) == [("iptables-restore", "--noflush")]
    load = next(s.action for s in plan.steps if isinstance(s.action, Command))
    declared = {line.split()[0] for line in load.stdin.splitlines() if line.startswith(":")}
    assert declared == {":fr-stray", ":fr-dn-87.98.130.56"}
    assert hand(plan, "flows-forget").stdin == "-p tcp --orig-dst 87.98.130.56 --orig-port-dst 22\n"


def test_the_guard_is_told_which_flows_to_forget_when_it_takes_it_back(production: Site) -> None:
    plan = planner.plan(second(fewer(production)), applied(production))
    assert tuple(hand(plan, "firewall-arm").stdin.splitlines()) == flows.cut(fewer(production), production)


def test_a_job_killed_at_any_step_does_the_rest_when_it_goes_on(production: Site) -> None:
    wish, start = second(fewer(production)), applied(production)
    whole = planner.plan(wish, start)
    for killed in range(len(whole.steps) + 1):
        state = start
        for step in whole.steps[:killed]:
            state = step.after(state)
        rest = planner.plan(wish, state)
        assert planner.plan(wish, after(rest, state)).steps == ()
        if killed < len(whole.steps):
            assert verbs(rest)[-1] == "firewall-applied"
            assert "flows-forget" in verbs(rest), "cuts are made again: nobody knows how far they came"
        assert ("firewall-arm" in verbs(rest)) == (state.trial.get("pending") != wish.token)


def test_going_on_after_it_was_taken_back_is_refused_and_says_what_to_do(production: Site) -> None:
    wish = second(fewer(production))
    for by, who in (("guard", "The guard"), ("boot", "The guard"), ("operator", "An operator")):
        ended = json.dumps({"token": wish.token, "outcome": "returned", "by": by})
        state = applied(production).having("files", wish.outcome, ended)
        with pytest.raises(Refused, match=f"{who} has taken revision 2 back") as refused:
            planner.plan(wish, state)
        assert "Apply them anew" in refused.value.note


def test_while_another_revision_is_on_trial_no_other_is_applied(production: Site) -> None:
    with pytest.raises(Refused, match="Revision 1 is on trial on this host"):
        planner.plan(second(fewer(production)), on_trial(production))


def test_the_revision_in_force_is_restored_without_a_trial(production: Site) -> None:
    state = applied(production).having("sysctls", "net.bridge.bridge-nf-call-iptables", "1")
    plan = planner.plan(wished(production), state)
    assert argvs(plan) == []
    assert verbs(plan) == ["firewall-restore"]
    assert planner.plan(wished(production), after(plan, state)).steps == ()


def test_the_sets_are_made_only_where_no_rule_uses_them_yet(production: Site) -> None:
    assert argvs(planner.plan(wished(production), BARE))[0][0] == "ipset"
    assert argvs(planner.plan(second(fewer(production)), applied(production))) == [("iptables-restore", "--noflush")]


def test_a_foreign_rule_in_front_of_ours_is_put_behind_again(production: Site) -> None:
    state = applied(production)
    slid = state.rules["v4"].replace("-A FORWARD -j fr-fwd", "-A FORWARD -i docker0 -j ACCEPT\n-A FORWARD -j fr-fwd")
    plan = planner.plan(second(fewer(production)), state.having("rules", "v4", slid))
    loaded = [step.action for step in plan.steps if step.stage == "apply"]
    assert isinstance(loaded[-1], Command)
    assert "-I FORWARD -j fr-fwd" in loaded[-1].stdin


def test_rules_another_release_made_are_not_loaded_without_a_trial(production: Site) -> None:
    """The guard and the next boot would load the confirmed files, and the host had a third thing in between."""
    wish = wished(production)
    older = wish.files["v4.rules"].replace("-A fr-out -o lo -j RETURN\n", "")
    state = kept(on_trial(production)).having("files", f"{wish.own}/v4.rules", older)
    with pytest.raises(Refused, match="another release"):
        planner.plan(wish, state)


def test_a_rule_somebody_changed_by_hand_is_restored(production: Site) -> None:
    state = applied(production)
    opened = state.rules["v4"].replace("-A fr-zin -j DROP", "-A fr-zin -j ACCEPT")
    assert planner.plan(wished(production), state.having("rules", "v4", opened)).steps
    fewer = render.bridge_rules(render.bridge(production)).replace("port drop\n", "")
    assert planner.plan(wished(production), state.having("rules", "bridge", fewer)).steps


def test_a_note_nobody_can_read_counts_as_none(production: Site) -> None:
    for text in ("", "{", "[]", '{"zones": []}'):
        state = BARE.having("files", f"{FOLDER}/revisions/0/site.json", text)
        assert planner.noted_site(FOLDER, "0", state) == Site()


def test_counters_and_dates_are_no_difference() -> None:
    save = "# Generated by x\n*filter\n:INPUT DROP [12:34]\n:fr-in - [0:0]\n-A INPUT -j fr-in\nCOMMIT\n"
    assert chains.normal(save) == chains.normal(save.replace("[12:34]", "[99:99]").replace("by x", "by y"))


def test_a_public_address_that_is_not_on_its_card_is_refused_with_the_command(production: Site) -> None:
    one = BARE.having("links", "eth0", Link(name="eth0", addresses=("91.121.65.140/24",)))
    with pytest.raises(Refused, match=r"87\.98\.130\.56 is not on eth0") as refused:
        planner.plan(wished(production), one)
    assert refused.value.note == "On dom0: ip addr add 87.98.130.56/32 dev eth0"
    with pytest.raises(Refused, match="no card eth0"):
        planner.plan(wished(production), BARE.without("links", "eth0"))
