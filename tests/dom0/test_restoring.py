"""Restoring on paper: where it fails, what the guard finds, what is loaded, and what revision 0 is."""

from __future__ import annotations

import errno
import json
import os
import socket
import threading
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from dom0 import boot, chains, closed, files, flows, guard, loading, pointers, trial, writer
from dom0.errors import CommandFailed, Refused
from dom0.host import HostConfig
from tests.dom0.on_paper import ONE, TOKEN, TWO, arm, expire, quiet

# where it fails


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
    monkeypatch.setattr(pointers, "rename", no_more_writes)
    with pytest.raises(OSError, match="Read-only"):
        guard.act(config, quiet)
    assert loaded == ["0"]


def test_where_the_disk_takes_no_writes_stop_closes_the_host_and_says_so(
    config: HostConfig, armed: trial.Pending, monkeypatch: pytest.MonkeyPatch
) -> None:
    put: list[loading.Revision] = []
    monkeypatch.setattr(loading, "load", put.append)
    for module, name in ((pointers, "rename"), (pointers, "write"), (files, "remove")):
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
    monkeypatch.setattr(pointers, "write", no_more_writes)
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
        full.setattr(pointers, "note", no_more_writes)
        trial.take_back(config, "guard", quiet)
    arm(config)
    with pytest.raises(Refused, match="not made after"):
        trial.confirm(config, TOKEN, nonce)


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


def test_systemd_hears_once_that_a_guard_is_ready_and_then_that_it_lives(
    config: HostConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "BEAT_S", 0.01)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        beat = guard._take_place(config, "a")
        threading.Thread(target=guard._beat, args=(beat,), daemon=True).start()
        heard = [manager.recv(100) for _ in range(4)]
    assert heard == [b"READY=1\nWATCHDOG=1", *[b"WATCHDOG=1"] * 3]
    assert guard.beating(config) == ("a",)


def test_a_guard_that_was_held_up_itself_ends_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(guard.time, "monotonic", lambda: clock[0])
    steady, said = guard.Steady(), []
    for wait in (*[0.125] * 16, 2.0, *[0.125] * 16):
        clock[0] += wait
        said.append(steady.long_enough())
    assert said == [*[False] * 11, *[True] * 5, *[False] * 12, *[True] * 5]


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


# what somebody changed on the host

AGAIN = f"{TWO}-j9-again"
BACK = ("-p tcp --orig-dst 91.121.65.140 --orig-port-dst 4526",)


class Died(BaseException):
    """A process that ends here."""


@pytest.fixture
def two(config: HostConfig, loaded: list[str]) -> list[str]:
    """Revision TWO in force; what is loaded from now on."""
    pointers.write(config, "confirmed", {"revision": TWO, "token": TOKEN})
    return loaded


@pytest.fixture
def cut(two: list[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The filters of the flows that were forgotten."""
    told: list[str] = []
    monkeypatch.setattr(flows, "forget", lambda lines: told.extend(lines))
    return told


def restore(config: HostConfig, back: tuple[str, ...] = BACK) -> None:
    trial.restore(config, AGAIN, TWO, back, quiet)


def ended(config: HostConfig) -> tuple[str, str]:
    found = trial.read(config).outcomes[AGAIN]
    return found.outcome, found.by


def test_the_confirmed_revision_is_loaded_again_and_what_came_in_is_cut(
    config: HostConfig, two: list[str], cut: list[str]
) -> None:
    restore(config)
    assert (two, cut, ended(config)) == ([TWO], list(BACK), ("restored", "operator"))
    assert not trial.read(config).returning
    assert trial.read(config).confirmed == TWO


MOMENTS = ((loading, "restore"), (flows, "forget"), (flows, "forget_own"), (pointers, "note"), (files, "remove"))


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("module", "name"), MOMENTS, ids=[name for _, name in MOMENTS])
def test_whoever_ends_on_the_way_the_guard_does_all_of_it(
    config: HostConfig, two: list[str], cut: list[str], module: object, name: str, after: bool
) -> None:
    with pytest.MonkeyPatch.context() as dying:
        do = getattr(module, name)

        def ends(*words: object) -> None:
            if after:
                do(*words)
            raise Died

        dying.setattr(module, name, ends)
        with pytest.raises(Died):
            restore(config)
    at_its_end = after and name == "remove"
    assert trial.read(config).returning is not at_its_end
    if not at_its_end:
        two.clear()
        cut.clear()
    guard.act(config, quiet)
    assert (two, cut) == ([TWO], list(BACK))
    assert ended(config) == ("restored", "operator" if at_its_end else "guard")
    assert not trial.read(config).returning


def test_before_it_is_written_down_nothing_is_begun(
    config: HostConfig, two: list[str], cut: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pointers, "write", no_more_writes)
    with pytest.raises(OSError, match="Read-only"):
        restore(config)
    guard.act(config, quiet)
    assert (two, cut) == ([], [])


def half_done(config: HostConfig) -> None:
    """Somebody began to restore, and died."""
    with pytest.MonkeyPatch.context() as dying:
        dying.setattr(loading, "restore", lambda *_: (_ for _ in ()).throw(Died))
        with pytest.raises(Died):
            restore(config)


def test_boot_finishes_it_too(config: HostConfig, two: list[str], cut: list[str]) -> None:
    half_done(config)
    boot._policy(config, quiet)
    assert (two, cut, ended(config)) == ([TWO], list(BACK), ("restored", "boot"))


def test_restoring_again_finishes_the_first_and_is_done_itself(
    config: HostConfig, two: list[str], cut: list[str]
) -> None:
    half_done(config)
    other = "-p udp --orig-dst 91.121.65.140"
    trial.restore(config, f"{TWO}-j10-again", TWO, (other,), quiet)
    assert cut == [*BACK, other]
    assert {AGAIN, f"{TWO}-j10-again"} <= set(trial.read(config).outcomes)
    assert not trial.read(config).returning


def test_while_one_is_restored_no_trial_begins(config: HostConfig, two: list[str]) -> None:
    half_done(config)
    with pytest.raises(Refused, match="is being loaded this moment"):
        trial.arm(config, token=f"{ONE}-j8", revision=ONE, seconds=60)
    assert trial.read(config).pending is None


def test_while_a_trial_stands_nothing_is_restored(config: HostConfig, armed: trial.Pending, loaded: list[str]) -> None:
    with pytest.raises(Refused, match="is on trial"):
        trial.restore(config, f"{ONE}-again", "0", (), quiet)
    assert trial.read(config).pending == armed
    assert loaded == []


def test_while_a_trial_is_being_taken_back_nothing_is_restored_beside_it(
    config: HostConfig, armed: trial.Pending, loaded: list[str]
) -> None:
    pointers.rename(config, "pending", "rolling-back")
    with pytest.raises(Refused, match="is being loaded this moment"):
        trial.restore(config, "0-again", "0", (), quiet)
    assert loaded == []
    guard.act(config, quiet)
    assert trial.read(config).outcomes[TOKEN].outcome == "returned"


def test_only_the_confirmed_one_is_restored(config: HostConfig, two: list[str]) -> None:
    with pytest.raises(Refused, match=f"{TWO} is the confirmed one"):
        trial.restore(config, f"{ONE}-again", ONE, (), quiet)
    assert two == []


def test_where_its_files_are_not_whole_the_host_is_left_as_it_is(config: HostConfig, two: list[str]) -> None:
    """The guard would close it, and nobody asked for that."""
    (loading.folder(config, TWO) / "v6.rules").unlink()
    with pytest.raises(Refused, match="is not whole"):
        restore(config)
    assert not trial.read(config).returning


def test_a_filter_nobody_understands_is_refused_before_anything_is_loaded(config: HostConfig, two: list[str]) -> None:
    with pytest.raises(Refused, match="names no flows"):
        restore(config, back=("nonsense",))
    assert (two, trial.read(config).returning) == ([], False)


def test_where_it_does_not_load_that_is_said(
    config: HostConfig, two: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "restore", lambda *_: False)
    with pytest.raises(Refused, match="closed but for SSH"):
        restore(config)
    assert ended(config) == ("closed", "operator")


def test_a_stop_meanwhile_is_what_counts(
    config: HostConfig, two: list[str], cut: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    half_done(config)
    put: list[loading.Revision] = []
    monkeypatch.setattr(loading, "load", put.append)
    trial.stop(config, quiet)
    guard.act(config, quiet)
    assert (put, two) == ([closed.files(config)], [])
    assert (trial.read(config).confirmed, ended(config)) == ("0", ("closed", "operator"))


def test_a_stop_that_dies_over_a_restoration_is_finished_as_a_stop(
    config: HostConfig, two: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    half_done(config)
    monkeypatch.setattr(loading, "load", lambda _: (_ for _ in ()).throw(Died))
    with pytest.raises(Died):
        trial.stop(config, quiet)
    guard.act(config, quiet)
    assert (two, ended(config)) == (["0"], ("closed", "guard"))
