"""A guard goes by the host file as it stands, whenever it was started."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dom0 import files, loading, trial
from tests.host.guarded import NEW, Dom0, revision, until
from tests.host.wire import inside

pytestmark = pytest.mark.host


@pytest.fixture
def dom0() -> Iterator[Dom0]:
    made = Dom0()
    try:
        made.guard()
        yield made
    finally:
        made.close()


def says(dom0: Dom0, sentence: str, times: int) -> None:
    """Wait until the guards have said it that often; there are two."""
    until(lambda: dom0.said.count(sentence) >= times, 30, f"{sentence}\n{dom0.said}")


def test_the_host_is_closed_with_the_port_the_file_names_now(dom0: Dom0) -> None:
    """Started with ssh on 22, they would close the host on an admin whose sshd listens on 2022 since."""
    dom0.lay_down(NEW, revision(dom0.config, NEW))
    until(lambda: all(files.read_text(f"{dom0.config.run}/guard/{name}") for name in "ab"), 30)
    files.write_atomic(str(dom0.toml), f"admin_ssh_port = 2022\n{dom0.toml.read_text()}")
    says(dom0, "says something else", 2)
    inside(dom0.ns, lambda: trial.arm(dom0.config, token=f"{NEW}-j7", revision=NEW, seconds=3))
    inside(dom0.ns, lambda: loading.load(loading.revision(dom0.config, NEW)))
    until(dom0.settled, 20, f"the trial's end\n{dom0.said}")
    assert "--dport 2022 " in dom0.live()["v4"]


def test_a_file_that_can_not_be_read_leaves_the_former_and_is_told(dom0: Dom0) -> None:
    until(lambda: all(files.read_text(f"{dom0.config.run}/guard/{name}") for name in "ab"), 30)
    pids = {name: process.pid for name, process in dom0.guards.items()}
    files.write_atomic(str(dom0.toml), "admin_ssh_port = \n")
    says(dom0, "the former one goes on counting", 2)
    dom0.toml.unlink()
    says(dom0, "is missing", 2)
    assert {name: process.pid for name, process in dom0.guards.items()} == pids
