"""bin/test leaves nothing out, whatever a test is marked as."""

from __future__ import annotations

import re

import pytest

from tests.conftest import HERE, LONGEST

STAGES = re.findall(r' -m (?:"([^"]+)"|(host|demo)\b)', (HERE.parent / "bin" / "test").read_text())
ASKED = [quoted or name for quoted, name in STAGES]


def runs(asked: str, marks: set[str]) -> bool:
    """Whether a stage that asks for such marks runs a test with these."""
    parts = [part.strip() for part in asked.split(" and ")]
    return all(part[4:] not in marks if part.startswith("not ") else part in marks for part in parts)


@pytest.mark.parametrize(
    ("marks", "times"),
    [
        (set(), 1),
        ({"database"}, 2),
        ({"browser", "database"}, 1),
        ({"host"}, 1),
        ({"host", "database"}, 1),
        ({"demo"}, 1),
        ({"demo", "database"}, 1),
    ],
)
def test_each_test_runs_once_and_those_of_the_database_on_both(marks: set[str], times: int) -> None:
    assert sum(runs(asked, marks) for asked in ASKED) == times


def test_what_asks_for_a_database_is_marked_so(request: pytest.FixtureRequest, db: None) -> None:
    assert request.node.get_closest_marker("database") is not None


def test_the_files_begun_first_are_there() -> None:
    assert [name for name in LONGEST if not (HERE / name).exists()] == []
