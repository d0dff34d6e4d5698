"""The planner: nothing to do where it is so already, and never an order that opens too early."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dom0 import chains
from dom0.errors import Refused
from dom0.plan import Plan
from dom0.state import Link, State
from dom0.steps import Command, Hand
from firewall import plan as planner
from firewall import render
from firewall.plan import Wish
from firewall.specs import Site

FOLDER = "/var/lib/fridu/state/firewall"
CARD = Link(name="eth0", up=True, addresses=("91.121.65.140/24", "87.98.130.56/32"))
BARE = State(
    host="ns3100421",
    links={"eth0": CARD},
    sysctls={"net.ipv4.ip_forward": "0", "net.bridge.bridge-nf-call-iptables": "1"},
)


def after(plan: Plan, state: State) -> State:
    for step in plan.steps:
        state = step.after(state)
    return state


def applied(site: Site) -> State:
    wish = Wish(site=site, folder=FOLDER)
    return after(planner.plan(wish, BARE), BARE)


def argvs(plan: Plan) -> list[tuple[str, ...]]:
    return [step.action.argv for step in plan.steps if isinstance(step.action, Command)]


def test_planning_again_after_applying_gives_an_empty_plan(production: Site) -> None:
    again = planner.plan(Wish(site=production, folder=FOLDER), applied(production))
    assert again.steps == ()
    assert [item.stage for item in again.items] == ["files", "apply"]


def test_a_bare_host_gets_files_trial_rules_switches_and_the_note_in_that_order(production: Site) -> None:
    plan = planner.plan(Wish(site=production, folder=FOLDER), BARE)
    stages = list(dict.fromkeys(step.stage for step in plan.steps))
    assert stages == ["files", "dry run", "apply", "sysctl", "flows", "confirm"]
    programs = [argv[0] for argv in argvs(plan)]
    assert programs[:4] == ["ipset", "nft", "ip6tables-restore", "iptables-restore"]
    assert [argv[2] for argv in argvs(plan) if argv[0] == "sysctl"][-1] == "net.ipv4.ip_forward=1"


def test_forwarding_is_switched_on_only_after_the_rules_are_loaded(production: Site) -> None:
    order = [" ".join(argv) for argv in argvs(planner.plan(Wish(site=production, folder=FOLDER), BARE))]
    assert order.index("sysctl -w net.ipv4.ip_forward=1") > order.index("iptables-restore --noflush")


def test_exactly_the_files_that_are_loaded_are_tried_first(production: Site) -> None:
    fewer = replace(production, services=production.services[:-1])
    plan = planner.plan(Wish(site=fewer, folder=FOLDER), applied(production))
    tried = next(step.action for step in plan.steps if isinstance(step.action, Hand))
    assert tried.args == (("folder", f"{FOLDER}/pending"),)
    assert ("iptables-restore", "--noflush", f"{FOLDER}/pending/v4.rules") in argvs(plan)


def test_one_service_less_reloads_ipv4_alone_and_cuts_its_connections(production: Site) -> None:
    fewer = replace(production, services=production.services[:-1])
    plan = planner.plan(Wish(site=fewer, folder=FOLDER), applied(production))
    assert [argv[0] for argv in argvs(plan)] == ["ipset", "iptables-restore", "conntrack"]
    assert argvs(plan)[-1][-1] == "22"


def test_a_job_killed_before_its_cuts_makes_them_when_it_goes_on(production: Site) -> None:
    fewer = replace(production, services=production.services[:-1])
    wish = Wish(site=fewer, folder=FOLDER)
    first = planner.plan(wish, applied(production))
    state = applied(production)
    for step in first.steps:
        if step.stage == "flows":
            break
        state = step.after(state)
    rest = planner.plan(wish, state)
    assert [argv[0] for argv in argvs(rest)] == ["conntrack"]
    assert planner.plan(wish, after(rest, state)).steps == ()


def test_a_foreign_rule_in_front_of_ours_is_put_behind_again(production: Site) -> None:
    state = applied(production)
    slid = state.rules["v4"].replace("-A FORWARD -j fr-fwd", "-A FORWARD -i docker0 -j ACCEPT\n-A FORWARD -j fr-fwd")
    plan = planner.plan(Wish(site=production, folder=FOLDER), state.having("rules", "v4", slid))
    loaded = [step.action for step in plan.steps if step.stage == "apply"]
    assert isinstance(loaded[-1], Command)
    assert "-I FORWARD -j fr-fwd" in loaded[-1].stdin


def test_a_rule_somebody_changed_by_hand_is_restored(production: Site) -> None:
    state = applied(production)
    opened = state.rules["v4"].replace("-A fr-zin -j DROP", "-A fr-zin -j ACCEPT")
    assert planner.plan(Wish(site=production, folder=FOLDER), state.having("rules", "v4", opened)).steps
    fewer = render.bridge_rules(render.bridge(production)).replace("port drop\n", "")
    assert planner.plan(Wish(site=production, folder=FOLDER), state.having("rules", "bridge", fewer)).steps


def test_a_switch_that_slid_back_is_the_only_step(production: Site) -> None:
    state = applied(production).having("sysctls", "net.bridge.bridge-nf-call-iptables", "1")
    plan = planner.plan(Wish(site=production, folder=FOLDER), state)
    assert argvs(plan) == [("sysctl", "-w", "net.bridge.bridge-nf-call-iptables=0")]


def test_a_note_nobody_can_read_counts_as_none(production: Site) -> None:
    wish = Wish(site=production, folder=FOLDER)
    for text in ("", "{", "[]", '{"zones": []}'):
        state = applied(production).having("files", f"{FOLDER}/confirmed/site.json", text)
        assert planner.noted_site(wish, state) == Site()


def test_counters_and_dates_are_no_difference() -> None:
    save = "# Generated by x\n*filter\n:INPUT DROP [12:34]\n:fr-in - [0:0]\n-A INPUT -j fr-in\nCOMMIT\n"
    assert chains.normal(save) == chains.normal(save.replace("[12:34]", "[99:99]").replace("by x", "by y"))


def test_a_public_address_that_is_not_on_its_card_is_refused_with_the_command(production: Site) -> None:
    one = BARE.having("links", "eth0", Link(name="eth0", addresses=("91.121.65.140/24",)))
    with pytest.raises(Refused, match=r"87\.98\.130\.56 is not on eth0") as refused:
        planner.plan(Wish(site=production, folder=FOLDER), one)
    assert refused.value.note == "On dom0: ip addr add 87.98.130.56/32 dev eth0"
    with pytest.raises(Refused, match="no card eth0"):
        planner.plan(Wish(site=production, folder=FOLDER), BARE.without("links", "eth0"))
