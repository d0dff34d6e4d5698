"""Which guards beat, as whoever looks at the host sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

from dom0 import guard, trial
from dom0.host import HostConfig


@pytest.mark.parametrize(
    ("beats", "beating"),
    [
        ({}, ()),
        ({"a": 0.1, "b": 0.2}, ("a", "b")),
        ({"a": 0.1, "b": 60.0}, ("a",)),
        ({"a": None, "b": 0.2}, ("b",)),
    ],
)
def test_a_guard_beats_that_has_written_so_lately(config: HostConfig, beats, beating) -> None:
    folder = Path(config.run) / "guard"
    folder.mkdir(parents=True)
    for name, ago in beats.items():
        (folder / name).write_text("" if ago is None else f"{trial.boot_time() - ago:020.3f}\n")
    assert guard.beating(config) == beating
