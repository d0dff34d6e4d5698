"""A guard goes by the host file as it stands, whenever it was started."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dom0 import files, guard, host, loading, trial
from dom0.errors import Refused
from tests.host.guarded import NEW, OLD, Dom0, revision, until
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


GARBAGE = (
    "nic = 3",
    "[[nic]]\naddresses = []",
    "[[nic]]\nname = 5",
    '[[nic]]\nname = "eth0 -j ACCEPT"',
    '[[nic]]\nname = "eth0"\naddresses = 5',
    '[[nic]]\nname = "eth0"\naddresses = ["91.121.65"]',
    '[[nic]]\nname = "eth0"\nmay_add = 5',
    'admin_ssh_port = "2022"',
    'admin_ssh_port = "22 -j ACCEPT\\nCOMMIT"',
    "admin_ssh_port = 70000",
    "panel_port = true",
    'bridge_prefix = "xen br"',
    'vif_prefix = "a\\"; flush ruleset; #"',
    "vpn_network = '10.10.95.0/24 -j ACCEPT'",
    "vpn_interface = ['tun0']",
    "vpn_address = 5",
    'images = "/a\\u2028b"',
    f"images = {'[' * 5000}",
)


@pytest.mark.parametrize("line", GARBAGE, ids=lambda line: line[:30])
def test_values_no_rules_can_be_made_from_are_refused(line: str, tmp_path: Path, monkeypatch) -> None:
    """Taken, they would end both guards, or leave them with a closed state that does not load."""
    toml = tmp_path / "host.toml"
    monkeypatch.setenv("FRIDU_HOST_TOML", str(toml))
    good = f'name = "n"\nlibvirt = "lxc:///system"\nvolumes = "/v"\nstate = "{tmp_path}"\nrun = "{tmp_path}"\n'
    toml.write_text(good)
    file = guard.HostFile(host.load())
    former = file.now()
    toml.write_text(good + line if "nic" in line else f"{line}\n{good}")
    with pytest.raises(Refused):
        host.load()
    assert file.now() is former


def test_garbage_in_the_file_ends_no_guard_in_the_middle_of_a_trial(dom0: Dom0) -> None:
    until(lambda: all(files.read_text(f"{dom0.config.run}/guard/{name}") for name in "ab"), 30)
    pids = {name: process.pid for name, process in dom0.guards.items()}
    for name in (OLD, NEW):
        dom0.lay_down(name, revision(dom0.config, name))
    dom0.confirmed(OLD)
    live = dom0.load(OLD)
    inside(dom0.ns, lambda: trial.arm(dom0.config, token=f"{NEW}-j7", revision=NEW, seconds=3))
    dom0.load(NEW)
    good = dom0.toml.read_text()
    files.write_atomic(str(dom0.toml), f"admin_ssh_port = 'x'\n{good}\n[[nic]]\naddresses = 5\n")
    until(dom0.settled, 20, f"the trial's end\n{dom0.said}")
    assert dom0.live() == live
    assert {name: process.pid for name, process in dom0.guards.items()} == pids
