"""Trials on paper: pointer files, tokens, deadlines, outcomes; no rule is loaded and no process started."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest

from dom0 import closed, execute, files, flows, guard, loading, pointers, probe, trial
from dom0.errors import Refused
from dom0.host import HostConfig
from dom0.probe import Scope
from dom0.state import State
from dom0.steps import RemoveFile, Step, WriteFile
from tests.dom0.on_paper import ONE, TOKEN, TWO, arm, expire, quiet

# its life


def test_where_nothing_was_confirmed_revision_0_is_in_force(config: HostConfig) -> None:
    assert trial.read(config) == trial.Standing()
    assert trial.facts(config, ("confirmed", "pending", "applied")) == {"confirmed": "0"}


def test_a_plan_sees_which_trial_stands_and_whether_it_was_loaded(config: HostConfig, armed: trial.Pending) -> None:
    scope = Scope(trial=("confirmed", "pending", "applied"))
    assert dict(probe.probe(config, scope).trial) == {"confirmed": "0", "pending": TOKEN}
    trial.note_applied(config, TOKEN)
    assert dict(probe.probe(config, scope).trial) == {"confirmed": "0", "pending": TOKEN, "applied": TOKEN}


def test_a_confirmed_trial_is_in_force_and_says_so(config: HostConfig, armed: trial.Pending) -> None:
    trial.note_applied(config, TOKEN)
    trial.confirm(config, TOKEN, trial.read(config).applied_nonce)
    standing = trial.read(config)
    assert (standing.confirmed, standing.confirmed_token, standing.pending) == (TWO, TOKEN, None)
    assert standing.outcomes[TOKEN].outcome == "confirmed"


def test_confirming_twice_is_confirming_once(config: HostConfig, armed: trial.Pending) -> None:
    trial.note_applied(config, TOKEN)
    nonce = trial.read(config).applied_nonce
    trial.confirm(config, TOKEN, nonce)
    trial.confirm(config, TOKEN, nonce)
    assert trial.read(config).confirmed == TWO


def test_a_confirmation_whose_note_was_lost_counts(config: HostConfig, armed: trial.Pending) -> None:
    """Killed between the rename and the note."""
    folder = Path(config.state, "firewall")
    (folder / "pending").rename(folder / "confirmed")
    assert trial.read(config).outcomes[TOKEN].outcome == "confirmed"


@pytest.mark.parametrize("nonce", ["", "0" * 32])
def test_without_the_nonce_of_the_loaded_rules_nothing_is_confirmed(
    config: HostConfig, armed: trial.Pending, nonce: str
) -> None:
    for _ in range(2):
        with pytest.raises(Refused, match="not made after"):
            trial.confirm(config, TOKEN, nonce)
        trial.note_applied(config, TOKEN)
    assert trial.read(config).pending is not None


def test_each_loading_has_a_nonce_of_its_own(config: HostConfig, armed: trial.Pending) -> None:
    trial.note_applied(config, TOKEN)
    before = trial.read(config).applied_nonce
    trial.note_applied(config, TOKEN)
    assert len(before) == 32
    assert trial.read(config).applied_nonce != before


def test_the_deadline_is_never_extended(config: HostConfig, armed: trial.Pending) -> None:
    assert arm(config, seconds=600).deadline == armed.deadline


def test_after_the_deadline_nothing_is_confirmed_and_nothing_written(config: HostConfig, armed: trial.Pending) -> None:
    trial.note_applied(config, TOKEN)
    expire(config)
    with pytest.raises(Refused, match="trial is over"):
        trial.confirm(config, TOKEN, trial.read(config).applied_nonce)
    path = f"{config.state}/written"
    step = Step(stage="apply", title="", action=WriteFile(path=path, content="late"), trial=TOKEN)
    with pytest.raises(Refused, match="trial is over"):
        execute.perform(step, config, State(), {})
    assert not Path(path).exists()


def test_a_step_of_the_trial_that_stands_runs(config: HostConfig, armed: trial.Pending) -> None:
    path = f"{config.state}/written"
    execute.perform(
        Step(stage="apply", title="", action=WriteFile(path=path, content="x"), trial=TOKEN), config, State(), {}
    )
    with pytest.raises(Refused, match="trial is over"):
        execute.perform(
            Step(stage="apply", title="", action=RemoveFile(path=path), trial="1-other"), config, State(), {}
        )
    assert Path(path).exists()


@pytest.mark.parametrize("seconds", [0, 2, 601, -1])
def test_a_trial_lasts_3_to_600_seconds(config: HostConfig, loaded: list[str], seconds: int) -> None:
    with pytest.raises(Refused, match="3 to 600"):
        trial.arm(config, token=TOKEN, revision=TWO, seconds=seconds)


@pytest.mark.parametrize("name", ["9-aaaaaaaaaaaa", "../../etc", "", "01-aaaa"])
def test_a_revision_that_is_not_there_is_not_tried(config: HostConfig, loaded: list[str], name: str) -> None:
    with pytest.raises(Refused):
        trial.arm(config, token=TOKEN, revision=name, seconds=60)
    assert trial.read(config).pending is None


@pytest.mark.parametrize("token", ["", "../x", "a b", "x" * 65])
def test_a_token_is_a_word(config: HostConfig, loaded: list[str], token: str) -> None:
    with pytest.raises(Refused, match="no token"):
        trial.arm(config, token=token, revision=TWO, seconds=60)


def test_while_one_is_on_trial_no_other_starts(config: HostConfig, armed: trial.Pending) -> None:
    with pytest.raises(Refused, match=f"{TWO} is on trial"):
        arm(config, token=f"{ONE}-j8", revision=ONE)


def test_a_trial_that_ended_does_not_begin_again(config: HostConfig, armed: trial.Pending) -> None:
    trial.take_back(config, "guard", quiet)
    with pytest.raises(Refused, match="returned by guard"):
        arm(config)


def test_without_a_guard_nothing_is_armed(
    config: HostConfig, loaded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "GUARD_S", 0.1)
    with pytest.raises(Refused, match="No guard"):
        trial.arm(config, token=TOKEN, revision=TWO, seconds=60)
    assert trial.read(config) == trial.Standing()
    arm(config)  # the same job goes on once there is one
    assert loaded == []


# its end


def test_taken_back_the_confirmed_one_is_loaded(config: HostConfig, armed: trial.Pending, loaded: list[str]) -> None:
    trial.take_back(config, "operator", quiet)
    standing = trial.read(config)
    assert loaded == ["0"]
    assert (standing.pending, standing.returning) == (None, False)
    assert (standing.outcomes[TOKEN].outcome, standing.outcomes[TOKEN].by) == ("returned", "operator")


def test_what_was_confirmed_first_is_not_taken_back(
    config: HostConfig, armed: trial.Pending, loaded: list[str]
) -> None:
    trial.note_applied(config, TOKEN)
    trial.confirm(config, TOKEN, trial.read(config).applied_nonce)
    trial.take_back(config, "guard", quiet)
    assert loaded == []
    assert trial.read(config).outcomes[TOKEN].outcome == "confirmed"


def test_what_was_taken_back_first_is_not_confirmed(config: HostConfig, armed: trial.Pending) -> None:
    trial.note_applied(config, TOKEN)
    nonce = trial.read(config).applied_nonce
    trial.take_back(config, "guard", quiet)
    with pytest.raises(Refused, match="trial is over"):
        trial.confirm(config, TOKEN, nonce)
    assert trial.read(config).confirmed == "0"


def test_flows_named_at_the_start_are_forgotten_at_the_return(
    config: HostConfig, loaded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(flows, "forget", lambda lines: told.extend(lines))
    line = "-p tcp --orig-dst 91.121.65.140 --orig-port-dst 25"
    on_trial = trial.Pending(revision=TWO, token=TOKEN, deadline=0, boot="", seconds=60, back=(line,))
    files.write_atomic(f"{config.state}/firewall/pending", json.dumps(asdict(on_trial)))
    guard.act(config, quiet)
    assert told == [line]


def test_a_filter_nobody_understands_is_refused_before_the_trial(config: HostConfig, loaded: list[str]) -> None:
    with pytest.raises(Refused):
        trial.arm(config, token=TOKEN, revision=TWO, seconds=60, back=["--nonsense 1"])
    assert trial.read(config).pending is None


def test_a_look_during_a_confirmation_never_finds_the_revision_nowhere(
    config: HostConfig, armed: trial.Pending, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the panel's log would say that nobody kept it."""
    trial.note_applied(config, TOKEN)
    look, nonce, looks = pointers.content, trial.read(config).applied_nonce, []

    def meanwhile(config: HostConfig, name: str) -> dict[str, object] | None:
        found = look(config, name)
        if not looks:
            looks.append(name)
            trial.confirm(config, TOKEN, nonce)
        return found

    monkeypatch.setattr(pointers, "content", meanwhile)
    seen = trial.read(config)
    assert TWO in (seen.confirmed, seen.pending and seen.pending.revision)
    assert seen.pending is None or seen.confirmed != TWO


def test_stop_makes_revision_0_the_one_in_force(
    config: HostConfig, armed: trial.Pending, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial.note_applied(config, TOKEN)
    trial.confirm(config, TOKEN, trial.read(config).applied_nonce)
    put: list[loading.Revision] = []
    monkeypatch.setattr(loading, "load", put.append)
    trial.stop(config, quiet)
    assert (trial.read(config).confirmed, trial.read(config).returning) == ("0", False)
    assert put == [closed.files(config)]
    assert (loading.folder(config, "0") / "v4.rules").read_text() == closed.files(config)["v4.rules"]


def test_only_the_newest_revisions_are_kept_and_those_that_may_be_loaded(config, loaded, monkeypatch) -> None:
    monkeypatch.setattr(pointers, "KEPT_REVISIONS", 2)
    pointers.write(config, "confirmed", {"revision": ONE, "token": f"{ONE}-j1"})
    for number in range(3, 8):
        for file, text in closed.files(config).items():
            files.write_atomic(str(loading.folder(config, f"{number}-{'c' * 12}") / file), text)
        path = loading.folder(config, f"{number}-{'c' * 12}")
        os.utime(path, (number, number))
    pointers.note(config, TOKEN, TWO, "returned", "guard")
    kept = sorted(path.name for path in Path(config.state, "firewall", "revisions").iterdir())
    assert kept == [ONE, TWO, f"7-{'c' * 12}"]


def test_only_the_newest_outcomes_are_kept(config: HostConfig, loaded: list[str]) -> None:
    for number in range(23):
        arm(config, token=f"{TWO}-j{number}")
        trial.take_back(config, "operator", quiet)
    outcomes = trial.read(config).outcomes
    assert len(outcomes) == pointers.KEPT_OUTCOMES
    assert f"{TWO}-j22" in outcomes
    assert f"{TWO}-j0" not in outcomes
