"""bin/test leaves nothing out, whatever a test is marked as."""

from __future__ import annotations

import re

import pytest

from tests.conftest import HERE, LONGEST

STAGES = re.findall(r' -m (?:"([^"]+)"|(host|demo)\b)', (HERE.parent / "bin" / "test").read_text())
ASKED = [quoted or name for quoted, name in STAGES]


def runs(asked: str, mark: str) -> bool:
    """Whether a stage that asks for such marks runs a test with this one ("": none)."""
    parts = [part.strip() for part in asked.split(" and ")]
    return all(mark != part[4:] if part.startswith("not ") else mark == part for part in parts)


@pytest.mark.parametrize(("mark", "times"), [("", 2), ("browser", 1), ("host", 1), ("demo", 1)])
def test_each_test_runs_once_and_those_of_the_database_on_both(mark: str, times: int) -> None:
    assert sum(runs(asked, mark) for asked in ASKED) == times


def test_the_files_begun_first_are_there() -> None:
    assert [name for name in LONGEST if not (HERE / name).exists()] == []
