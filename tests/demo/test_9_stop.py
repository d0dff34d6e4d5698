"""Point 7: after --stop the box is as it was. Runs last: the demo is over then."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from tests.demo.conftest import NAME, ROOT, Demo, box

pytestmark = pytest.mark.demo


def test_while_it_runs_the_boxs_own_network_and_rules_are_untouched(demo: Demo, before: dict[str, Any]):
    now = box()
    for what in ("links", "addresses", "rules", "ip_forward", "mounts"):
        if what == "mounts":
            extra = [m for m in now["mounts"] if m not in before["mounts"]]
            assert all("/run/netns" in m[1] for m in extra), extra
        else:
            assert now[what] == before[what], what


def test_a_second_start_keeps_the_data(demo: Demo):
    stop = subprocess.run(("bin/demo", "--stop", "--name", NAME), cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert stop.returncode == 0, stop.stdout + stop.stderr
    port = demo.url.rsplit(":", 1)[1].strip("/")
    again = ("bin/demo", "--detach", "--yes", "--name", NAME, "--port", port)
    done = subprocess.run(again, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WEB-Dom" in demo.curl("http://87.98.130.56/")
    assert demo.ssh("87.98.130.56", "hostname").stdout.strip() == "WEB-Dom"


def test_stopping_leaves_the_box_as_it_was(demo: Demo, before: dict[str, Any]):
    stop = subprocess.run(("bin/demo", "--stop", "--name", NAME), cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert stop.returncode == 0, stop.stdout + stop.stderr
    after = box()
    for what, was in before.items():
        if what == "processes":
            assert not {p: c for p, c in after[what].items() if NAME in c}
        else:
            assert after[what] == was, what
