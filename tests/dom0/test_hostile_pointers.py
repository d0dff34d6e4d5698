"""The guard's folder under a clock that was set back, a disk that takes no writes, and files somebody made by hand."""

from __future__ import annotations

import errno
import json
import os
import time

import pytest

from dom0 import files, flows, guard, pointers, trial
from dom0.host import HostConfig
from tests.dom0.on_paper import ONE, TOKEN, quiet


def test_a_clock_that_was_set_back_does_not_lose_how_a_trial_ended(
    config: HostConfig, armed: trial.Pending, loaded: list[str]
) -> None:
    for number in range(pointers.KEPT_OUTCOMES + 5):
        pointers.note(config, f"{number}-tomorrow", ONE, "returned", "guard")
    for each in pointers.path(config, "outcomes").glob("*.json"):
        os.utime(each, (time.time() + 86400, time.time() + 86400))
    trial.take_back(config, "operator", quiet)
    assert trial.read(config).outcomes[TOKEN].outcome == "returned"


def test_a_disk_that_takes_no_writes_does_not_cut_the_admin_off_again_and_again(
    config: HostConfig, armed: trial.Pending, loaded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cut: list[str] = []
    monkeypatch.setattr(flows, "forget_own", lambda: cut.append("own") or 0)
    monkeypatch.setattr(flows, "forget", lambda lines: cut.append("named") or (0, 0))

    def no_more(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    remove = files.remove
    with monkeypatch.context() as full:
        full.setattr(files, "remove", no_more)
        full.setattr(pointers, "write", no_more)
        with pytest.raises(OSError, match="Read-only"):
            trial.take_back(config, "guard", quiet)
        for _ in range(3):
            with pytest.raises(OSError, match="Read-only"):
                guard.act(config, quiet)
    assert (loaded, cut) == (["0"] * 4, ["named", "own"])
    assert files.remove is remove
    guard.act(config, quiet)
    assert not trial.read(config).returning
    arm_again = json.dumps({"revision": ONE, "token": "9-j9", "deadline": 0, "boot": "", "seconds": 3, "back": []})
    files.write_atomic(str(pointers.path(config, "rolling-back")), arm_again)
    guard.act(config, quiet)
    assert cut == ["named", "own"] * 2, "another one is cut anew"


@pytest.mark.parametrize(
    "said",
    [
        {"revision": "x", "outcome": "restored", "at": 1},
        {"revision": ONE, "outcome": "restored", "at": "soon"},
        {"revision": ONE, "outcome": "restored", "at": 1e300},
        {"revision": ONE, "outcome": "restored", "at": float("nan")},
        {"revision": [1], "outcome": "returned", "at": 1},
        {"revision": ONE, "outcome": "won", "at": 1},
        {"revision": None, "outcome": "returned", "at": 1},
    ],
    ids=str,
)
def test_an_outcome_that_can_not_be_one_counts_for_nothing(config: HostConfig, said: dict[str, object]) -> None:
    pointers.note(config, "good", ONE, "returned", "guard")
    pointers.write(config, "outcomes/bad.json", {"token": "bad", "by": "guard", **said})
    assert list(trial.read(config).outcomes) == ["good"]
