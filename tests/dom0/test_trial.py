"""Trials on paper: pointer files, tokens, deadlines, outcomes; no rule is loaded and no process started."""

from __future__ import annotations

import errno
import json
import os
import socket
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from dom0 import chains, closed, execute, files, flows, guard, loading, probe, trial, writer
from dom0.errors import CommandFailed, Refused
from dom0.host import HostConfig, Nic
from dom0.probe import Scope
from dom0.state import State
from dom0.steps import ALONE, RemoveFile, Step, WriteFile

ONE, TWO = "1-aaaaaaaaaaaa", "2-bbbbbbbbbbbb"
TOKEN = f"{TWO}-j7"


@pytest.fixture
def config(tmp_path: Path) -> HostConfig:
    return HostConfig(
        name="ns3100421",
        libvirt="test:///default",
        volumes=str(tmp_path),
        state=str(tmp_path / "state"),
        run=str(tmp_path / "run"),
        nics=(Nic(name="eth0", addresses=("91.121.65.140",)),),
        vpn_interface="tun0",
        vpn_network="10.10.95.0/24",
    )


@pytest.fixture
def loaded(config: HostConfig, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the revisions that were loaded, in place of loading them."""
    names: list[str] = []

    def restore(config: HostConfig, name: str, digest: str, say: object) -> bool:
        loading.revision(config, name, digest)
        names.append(name)
        return True

    monkeypatch.setattr(loading, "restore", restore)
    monkeypatch.setattr(flows, "forget_own", lambda: 0)
    monkeypatch.setattr(flows, "forget", lambda lines: (0, 0))
    for name in (ONE, TWO):
        for file, text in closed.files(config).items():
            files.write_atomic(str(loading.folder(config, name) / file), text + f"# {name}\n")
    return names


@pytest.fixture
def armed(config: HostConfig, loaded: list[str]) -> trial.Pending:
    """Revision TWO on trial for a minute, seen by a guard."""
    return arm(config)


def arm(config: HostConfig, token: str = TOKEN, revision: str = TWO, seconds: int = 60) -> trial.Pending:
    def note() -> None:
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            if (standing := trial.pending(config)) is not None:
                trial.take_note(config, standing)
                return
            time.sleep(0.01)

    seen = threading.Thread(target=note)
    seen.start()
    try:
        return trial.arm(config, token=token, revision=revision, seconds=seconds)
    finally:
        seen.join()


def expire(config: HostConfig) -> None:
    path = f"{config.state}/firewall/pending"
    files.write_atomic(path, json.dumps({**json.loads(Path(path).read_text()), "deadline": trial.boot_time()}))


def quiet(_: str) -> None:
    pass


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


def test_where_restoring_fails_it_is_tried_again(
    config: HostConfig, armed: trial.Pending, loaded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    works, killed = loading.restore, CommandFailed(("iptables-restore",), -9, "", "")

    def fails(*_: object) -> bool:
        raise killed

    monkeypatch.setattr(loading, "restore", fails)
    with pytest.raises(CommandFailed):
        trial.take_back(config, "guard", quiet)
    assert trial.read(config).returning
    monkeypatch.setattr(loading, "restore", works)
    guard.act(config, quiet)
    assert loaded == ["0"]
    assert not trial.read(config).returning


def no_more_writes(*_: object) -> None:
    raise OSError(errno.EROFS, "Read-only file system")


def test_where_the_disk_takes_no_writes_the_rules_are_restored_all_the_same(
    config: HostConfig, armed: trial.Pending, loaded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can confirm there either: that is a rename as well."""
    expire(config)
    monkeypatch.setattr(trial, "_rename", no_more_writes)
    with pytest.raises(OSError, match="Read-only"):
        guard.act(config, quiet)
    assert loaded == ["0"]


def test_where_the_disk_takes_no_writes_stop_closes_the_host_and_says_so(
    config: HostConfig, armed: trial.Pending, monkeypatch: pytest.MonkeyPatch
) -> None:
    put: list[loading.Revision] = []
    monkeypatch.setattr(loading, "load", put.append)
    for module, name in ((trial, "_rename"), (trial, "_write"), (files, "remove")):
        monkeypatch.setattr(module, name, no_more_writes)
    with pytest.raises(OSError, match="Read-only"):
        trial.stop(config, quiet)
    assert put == [closed.files(config)]


@pytest.mark.parametrize("during", [True, False], ids=["during a trial", "in force"])
def test_a_full_disk_does_not_undo_a_stop(
    config: HostConfig, armed: trial.Pending, loaded: list[str], during: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rename and a removal need no room: the guard must not open again what was closed."""
    if not during:
        trial.note_applied(config, TOKEN)
        trial.confirm(config, TOKEN, trial.read(config).applied_nonce)
    put: list[loading.Revision] = []
    monkeypatch.setattr(loading, "load", put.append)
    monkeypatch.setattr(trial, "_write", no_more_writes)
    trial.stop(config, quiet)
    guard.act(config, quiet)
    assert put == [closed.files(config)]
    assert loaded == []
    assert trial.read(config).confirmed == "0"


def test_a_lock_that_takes_no_note_is_a_lock_all_the_same(config: HostConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full /run is no reason not to restore."""
    monkeypatch.setattr(os, "pwrite", no_more_writes)
    with writer.restoring(config), files.lock(writer.lock_path(config), wait=False) as free:
        assert not free


def test_a_trial_begun_again_is_not_confirmed_by_the_former_ones_nonce(
    config: HostConfig, armed: trial.Pending, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a full disk lost the note that it was taken back, the same job may go on and arm the same token."""
    trial.note_applied(config, TOKEN)
    nonce = trial.read(config).applied_nonce
    with monkeypatch.context() as full:
        full.setattr(trial, "_note", no_more_writes)
        trial.take_back(config, "guard", quiet)
    arm(config)
    with pytest.raises(Refused, match="not made after"):
        trial.confirm(config, TOKEN, nonce)


def test_a_look_during_a_confirmation_never_finds_the_revision_nowhere(
    config: HostConfig, armed: trial.Pending, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the panel's log would say that nobody kept it."""
    trial.note_applied(config, TOKEN)
    look, nonce, looks = trial._json, trial.read(config).applied_nonce, []

    def meanwhile(config: HostConfig, name: str) -> dict[str, object] | None:
        found = look(config, name)
        if not looks:
            looks.append(name)
            trial.confirm(config, TOKEN, nonce)
        return found

    monkeypatch.setattr(trial, "_json", meanwhile)
    seen = trial.read(config)
    assert TWO in (seen.confirmed, seen.pending and seen.pending.revision)
    assert seen.pending is None or seen.confirmed != TWO


def test_while_a_trial_stands_nobody_writes_beside_it(config: HostConfig, armed: trial.Pending) -> None:
    step = Step(stage="apply", title="", action=WriteFile(path=f"{config.state}/x", content=""), trial=ALONE)
    with pytest.raises(Refused, match="is on trial"):
        execute.perform(step, config, State(), {})
    trial.take_back(config, "operator", quiet)
    execute.perform(step, config, State(), {})


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
    monkeypatch.setattr(trial, "KEPT_REVISIONS", 2)
    trial._write(config, "confirmed", {"revision": ONE, "token": f"{ONE}-j1"})
    for number in range(3, 8):
        for file, text in closed.files(config).items():
            files.write_atomic(str(loading.folder(config, f"{number}-{'c' * 12}") / file), text)
        path = loading.folder(config, f"{number}-{'c' * 12}")
        os.utime(path, (number, number))
    trial._note(config, TOKEN, TWO, "returned", "guard")
    kept = sorted(path.name for path in Path(config.state, "firewall", "revisions").iterdir())
    assert kept == [ONE, TWO, f"7-{'c' * 12}"]


def test_only_the_newest_outcomes_are_kept(config: HostConfig, loaded: list[str]) -> None:
    for number in range(23):
        arm(config, token=f"{TWO}-j{number}")
        trial.take_back(config, "operator", quiet)
    outcomes = trial.read(config).outcomes
    assert len(outcomes) == trial.KEPT_OUTCOMES
    assert f"{TWO}-j22" in outcomes
    assert f"{TWO}-j0" not in outcomes


# the guard's look


def test_the_guard_notes_a_trial_and_leaves_it_alone(
    config: HostConfig, armed: trial.Pending, loaded: list[str]
) -> None:
    guard.act(config, quiet)
    assert (Path(config.state) / "firewall" / "taken").read_text().strip() == TOKEN
    assert trial.read(config).pending == armed
    assert loaded == []


def test_at_the_deadline_the_guard_takes_it_back(config: HostConfig, armed: trial.Pending, loaded: list[str]) -> None:
    expire(config)
    guard.act(config, quiet)
    assert loaded == ["0"]
    assert trial.read(config).outcomes[TOKEN].by == "guard"


def test_a_trial_of_another_start_of_the_host_is_over(
    config: HostConfig, armed: trial.Pending, loaded: list[str]
) -> None:
    before = replace(armed, boot="the one before")
    files.write_atomic(f"{config.state}/firewall/pending", json.dumps(asdict(before)))
    assert before.seconds_left == 0
    guard.act(config, quiet)
    assert trial.read(config).pending is None


GARBAGE = json.dumps(asdict(trial.Pending(revision="", token="", deadline=0.5, boot="", seconds=3)))
UNREADABLE = {
    "empty": "",
    "cut short": "{",
    "a list": "[]",
    "half of it": '{"token": 1}',
    "zeros": "\0\0\0",
    "without an end": "[" * 100_000,
    "beyond any number": GARBAGE.replace("0.5", "9" * 400),
}


@pytest.mark.parametrize("text", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_a_pointer_nobody_can_read_is_a_trial_that_is_over(config: HostConfig, loaded: list[str], text: str) -> None:
    files.write_atomic(f"{config.state}/firewall/pending", text)
    guard.act(config, quiet)
    assert loaded == ["0"]
    assert trial.read(config) == trial.Standing()


@pytest.mark.parametrize("deadline", [float("inf"), float("nan"), 1e12])
def test_a_deadline_no_trial_can_have_is_over(armed: trial.Pending, deadline: float) -> None:
    assert replace(armed, deadline=deadline).seconds_left == 0


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_a_confirmed_pointer_nobody_can_read_means_closed(config: HostConfig, text: str) -> None:
    files.write_atomic(f"{config.state}/firewall/confirmed", text)
    assert trial.read(config).confirmed == "0"


def test_a_beat_tells_systemds_watchdog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, open(tmp_path / "beat", "w") as beat:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        guard._beat_once(beat.fileno())
        assert manager.recv(100) == b"WATCHDOG=1"
    assert abs(float((tmp_path / "beat").read_text()) - trial.boot_time()) < 5


# what is loaded


def test_files_that_are_not_the_confirmed_ones_are_not_loaded(config: HostConfig, loaded: list[str]) -> None:
    digest = loading.digest_of(loading.revision(config, ONE))
    path = loading.folder(config, ONE) / "v4.rules"
    files.write_atomic(str(path), path.read_text()[:-40])
    with pytest.raises(Refused, match="not those that were confirmed"):
        loading.revision(config, ONE, digest)


def test_a_revision_without_one_of_its_files_is_not_whole(config: HostConfig, loaded: list[str]) -> None:
    (loading.folder(config, ONE) / "v6.rules").unlink()
    with pytest.raises(Refused, match=r"v6\.rules"):
        loading.revision(config, ONE)


def test_where_the_confirmed_one_does_not_load_revision_0_does(
    config: HostConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[object] = []
    broken = {"v4.rules": "broken"}

    def load(texts: loading.Revision) -> None:
        tried.append(texts)
        if texts is broken:
            raise CommandFailed(("iptables-restore",), 2, "", "line 1 failed")

    said: list[str] = []
    monkeypatch.setattr(loading, "revision", lambda *_: broken)
    monkeypatch.setattr(loading, "load", load)
    assert loading.restore(config, ONE, "", said.append) is False
    assert tried == [broken] * loading.TRIES + [closed.files(config)]
    assert "closed but for SSH" in said[-1]


def test_a_loader_that_was_killed_is_no_broken_revision(config: HostConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(texts: loading.Revision) -> None:
        raise CommandFailed(("iptables-restore",), -9, "", "")

    monkeypatch.setattr(loading, "load", load)
    with pytest.raises(CommandFailed):
        loading.restore(config, "0", "", quiet)


# revision 0


def test_revision_0_has_the_ways_in_and_nothing_else(config: HostConfig) -> None:
    table = chains.read(closed.files(config)["v4.rules"])["filter"]
    assert table.chains["fr-admin"] == (
        "-A fr-admin -i eth0 -p tcp -m tcp --dport 22 -j ACCEPT",
        "-A fr-admin -i tun0 -p tcp -m tcp --dport 22 -j ACCEPT",
        "-A fr-admin -i tun0 -p tcp -m tcp --dport 8000 -j ACCEPT",
    )
    assert table.chains["fr-fwd"] == ("-A fr-fwd -j DROP",)
    assert table.policies == {"INPUT": "DROP", "FORWARD": "DROP", "OUTPUT": "ACCEPT"}


def test_revision_0_lets_the_tunnel_in_the_panel_is_reached_by(config: HostConfig) -> None:
    admin = chains.read(closed.files(replace(config, vpn_port=44096))["v4.rules"])["filter"].chains["fr-admin"]
    assert "-A fr-admin -i eth0 -p udp -m udp --dport 44096 -j ACCEPT" in admin


def test_where_the_host_file_names_no_card_ssh_comes_in_from_all_but_machines(config: HostConfig) -> None:
    admin = chains.read(closed.files(replace(config, nics=()))["v4.rules"])["filter"].chains["fr-admin"]
    assert admin[0] == "-A fr-admin ! -i xen-br+ -p tcp -m tcp --dport 22 -j ACCEPT"


def test_revision_0_is_the_same_each_time(config: HostConfig) -> None:
    assert closed.files(config) == closed.files(config)
    loading.write_closed(config)
    assert {path.name for path in loading.folder(config, "0").iterdir()} == set(closed.files(config))
