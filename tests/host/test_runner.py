"""A process told about while it runs."""

from __future__ import annotations

import time

import pytest

from dom0 import runner
from dom0.errors import CommandFailed

pytestmark = pytest.mark.host
SLOW = ("sh", "-c", "echo begun; echo careful >&2; sleep 1.5; echo ended")


def test_who_listens_hears_a_running_process_and_the_result_is_whole():
    heard: list[str] = []
    with runner.heard_by(heard.append):
        result = runner.run(SLOW, aloud=True)
    assert heard == ["begun\ncareful\n"]
    assert (result.stdout, result.stderr) == ("begun\nended\n", "careful\n")


def test_what_is_not_run_aloud_is_told_to_nobody():
    heard: list[str] = []
    with runner.heard_by(heard.append):
        assert runner.run(SLOW).stdout == "begun\nended\n"
    assert heard == []


def test_nobody_hears_after_the_listening_has_ended():
    heard: list[str] = []
    with runner.heard_by(heard.append):
        pass
    runner.run(SLOW, aloud=True)
    assert heard == []


def test_only_the_last_characters_are_told():
    heard: list[str] = []
    with runner.heard_by(heard.append):
        runner.run(("sh", "-c", "seq 100000; sleep 1.5"), aloud=True)
    assert heard[0].endswith("\n100000\n")
    assert {len(text) for text in heard} == {runner.TOLD}


def test_what_is_fed_arrives_whole_and_what_comes_of_it_is_told_to_nobody():
    fed = "x" * 500_000
    heard: list[str] = []
    with runner.heard_by(heard.append):
        result = runner.run(("sh", "-c", "echo begun; sleep 1.5; wc -c"), stdin=fed, aloud=True)
    assert (result.stdout.split(), heard) == (["begun", "500000"], [])


def test_a_process_heard_is_still_ended_in_time():
    begun = time.monotonic()
    heard: list[str] = []
    with runner.heard_by(heard.append), pytest.raises(CommandFailed, match=r"no end after 1\.5 s"):
        runner.run(("sh", "-c", "echo begun; sleep 30"), timeout_s=1.5, aloud=True)
    assert heard == ["begun\n"]
    assert time.monotonic() - begun < 10


def test_a_listener_that_fails_leaves_no_process_behind():
    def deaf(_: str) -> None:
        raise OSError("no disk")

    begun = time.monotonic()
    with runner.heard_by(deaf), pytest.raises(OSError, match="no disk"):
        runner.run(("sleep", "30"), aloud=True)
    assert time.monotonic() - begun < 10
