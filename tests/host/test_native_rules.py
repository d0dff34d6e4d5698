"""Rules somebody wrote with nft, for which iptables has no words: seen, thrown out of our chains, in nobody's way."""

from __future__ import annotations

import pytest

from dom0 import chains, closed, generation, policy, runner, saving, trial
from tests.host.guarded import NEW, OLD, Dom0, until
from tests.host.test_guard import AFTER_S, apply, gone, world
from tests.host.test_guard import guarded as guarded
from tests.host.wire import inside

pytestmark = pytest.mark.host
#: Family, table, chain, rule.
OURS = (
    ("ip", "filter", "fr-fwd", "meta skuid 0 accept"),
    ("ip", "raw", "fr-antispoof", "meta cpu 3 accept"),
    ("ip", "nat", "fr-dn", "meta skuid 0 accept"),
    ("ip6", "filter", "fr-in", "meta skuid 0 accept"),
)
THEIRS = (("ip", "filter", "INPUT", "meta skuid 0 accept"), ("ip", "nat", "PREROUTING", "meta cpu 3 accept"))


def insert(dom0: Dom0, *where: str) -> None:
    inside(dom0.ns, lambda: runner.run(("nft", " ".join(("insert rule", *where)))))


def unreadable(dom0: Dom0, family: str) -> bool:
    program = {"ip": "iptables-save", "ip6": "ip6tables-save"}[family]
    return inside(dom0.ns, lambda: runner.run((program,), ok_codes=tuple(range(128)))).code != 0


@pytest.mark.parametrize("where", [*OURS, *THEIRS], ids=" ".join)
def test_a_look_tells_of_it_and_a_load_throws_it_out_of_our_chains(where: tuple[str, ...]) -> None:
    with world() as (dom0, live):
        insert(dom0, *where)
        assert unreadable(dom0, where[0])
        seen = dom0.live()
        family = {"ip": "v4", "ip6": "v6"}[where[0]]
        assert seen[family] != live[OLD][family]
        assert dom0.load(OLD) == live[OLD]
        if where in OURS:
            assert not unreadable(dom0, where[0])
        else:
            kept = inside(dom0.ns, lambda: policy.live(dom0.config, ("v4",)))["v4"]
            assert sum(line.endswith("-j fr-in") for line in kept.splitlines()) == 1
            assert any(line.startswith(f"-A {where[2]} meta ") for line in kept.splitlines())


def test_only_the_chain_it_stands_in_is_told_in_other_words() -> None:
    with world() as (dom0, live):
        insert(dom0, *OURS[0])
        was, seen = live[OLD]["v4"].splitlines(), dom0.live()["v4"].splitlines()
        assert {line.split()[1] for line in set(seen) ^ set(was)} == {"fr-fwd"}
        assert "-A fr-fwd meta skuid 0 accept" in seen


def test_a_large_table_is_told_in_nfts_words_and_loaded_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saving, "ONE_BY_ONE", 0)
    with world() as (dom0, live):
        insert(dom0, *OURS[0])
        insert(dom0, *THEIRS[0])
        save = inside(dom0.ns, lambda: saving.save("v4"))
        assert set(chains.read(save)["filter"].chains) == {"fr-in", "fr-fwd", "fr-out", "fr-admin"}
        assert chains.read(save)["filter"].policies["FORWARD"] == "DROP"
        dom0.load(OLD)
        monkeypatch.undo()
        monkeypatch.setattr(policy, "_seen", generation.Seen())
        assert dom0.live() == live[OLD]


def test_the_guard_takes_a_trial_back_although_somebody_added_one(guarded) -> None:
    dom0, live = guarded
    apply(dom0)
    insert(dom0, *OURS[0])
    insert(dom0, *THEIRS[0])
    gone(dom0)
    assert dom0.live() == live[OLD]
    assert "Not restored yet" not in dom0.said


def test_the_host_is_closed_although_somebody_added_one(guarded) -> None:
    dom0, _ = guarded
    apply(dom0)
    insert(dom0, *OURS[0])
    inside(dom0.ns, lambda: trial.stop(dom0.config, print))
    until(dom0.settled, AFTER_S)
    assert dom0.live()["v4"] == chains.wanted(closed.files(dom0.config)["v4.rules"])
    assert dom0.standing().confirmed == "0"


@pytest.mark.parametrize("table", ["ip raw", "ip filter", "ip nat", "ip6 filter", "bridge fridu"])
def test_a_table_that_was_switched_off_is_seen_and_switched_on_again(table: str) -> None:
    """It prints as ever, and nothing of it holds."""
    with world() as (dom0, live):
        dom0.live()
        inside(dom0.ns, lambda: runner.run(("nft", f"add table {table} {{ flags dormant; }}")))
        family = {"ip": "v4", "ip6": "v6", "bridge": "bridge"}[table.split()[0]]
        assert dom0.live()[family] != live[OLD][family]
        assert dom0.load(OLD) == live[OLD]
        assert "dormant" not in inside(dom0.ns, lambda: runner.run(("nft", "list", "ruleset")).stdout)


def test_a_trial_begins_with_every_table_switched_on(guarded) -> None:
    dom0, live = guarded
    inside(dom0.ns, lambda: runner.run(("nft", "add table ip filter { flags dormant; }")))
    apply(dom0)
    assert "dormant" not in inside(dom0.ns, lambda: runner.run(("nft", "list", "table", "ip", "filter")).stdout)
    assert dom0.live() == live[NEW]
