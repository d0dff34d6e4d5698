"""Who starts with the host, in which order, and what comes of one that can't."""

from __future__ import annotations

from pathlib import Path

import pytest

from dom0 import autostart, domains, probe
from dom0.errors import CommandFailed, Refused
from dom0.host import HostConfig


@pytest.fixture
def config(tmp_path: Path) -> HostConfig:
    (tmp_path / "autostart").mkdir()
    return HostConfig(name="box", libvirt="lxc:///system", volumes="/nowhere", state=str(tmp_path))


class Host:
    """libvirt and the host's memory; `started` in the order of starting."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.started: list[str] = []
        self.free, self.broken, self.silent = 1000, "", 0
        monkeypatch.setattr(domains, "look", self.look)
        monkeypatch.setattr(domains, "start", self.start)
        monkeypatch.setattr(domains, "memory_to_start", lambda config, uuid: 0 if uuid in self.started else 300)
        monkeypatch.setattr(probe, "free_memory_mib", lambda config: self.free)
        monkeypatch.setattr(autostart, "ASK_S", 0.0)

    def look(self, config: HostConfig, names: object) -> dict[str, object]:
        if self.silent:
            self.silent -= 1
            raise CommandFailed(("libvirt", "look"), None, "", "no socket")
        return {}

    def start(self, config: HostConfig, uuid: str) -> str:
        if uuid == self.broken:
            raise Refused("its filesystem needs a repair by hand.")
        self.started.append(uuid)
        self.free -= 300
        return f"{uuid} is started."


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(monkeypatch)


def wish(config: HostConfig, **orders: str) -> None:
    for uuid, text in orders.items():
        Path(config.state, "autostart", uuid).write_text(text)


def start(config: HostConfig) -> tuple[bool, list[str]]:
    said: list[str] = []
    return autostart.start_all(config, said.append), said


def test_lower_orders_start_first_and_equal_ones_by_name(config: HostConfig, box: Host) -> None:
    wish(config, u1="100 Mail\n", u2="20 DNS\n", u3="100 Choir\n")
    assert start(config)[0]
    assert box.started == ["u2", "u3", "u1"]


def test_one_that_fails_is_said_and_stops_none(config: HostConfig, box: Host) -> None:
    box.broken = "u1"
    wish(config, u1="1 Mail\n", u2="2 DNS\n")
    well, said = start(config)
    assert not well
    assert box.started == ["u2"]
    assert said[0] == "Mail is not started: its filesystem needs a repair by hand."


def test_the_hosts_own_memory_is_kept_and_a_smaller_one_may_still_fit(config: HostConfig, box: Host) -> None:
    box.free = 700
    wish(config, u1="1 A\n", u2="2 B\n", u3="3 C\n")
    well, said = start(config)
    assert not well
    assert box.started == ["u1", "u2"]
    assert "C is not started: it wants 300 MB of memory, 100 MB are free beside what the host keeps" in said[2]


@pytest.mark.parametrize("text", ["", "soon Mail\n", "-3 Mail\n", "\x00\xff"])
def test_a_file_nobody_can_read_is_said_and_stops_none(text: str, config: HostConfig, box: Host) -> None:
    Path(config.state, "autostart", "u1").write_bytes(text.encode("latin-1"))
    wish(config, u2="5 DNS\n")
    _, said = start(config)
    assert box.started == ["u2"]
    assert "autostart/u1" in said[0]


def test_half_written_files_are_none_yet(config: HostConfig, box: Host) -> None:
    wish(config, u2="5 DNS\n")
    Path(config.state, "autostart", ".u1.tmp").write_text("1 Mail")
    assert start(config) == (True, ["u2 is started."])


def test_it_may_run_again_and_starts_none_twice(config: HostConfig, box: Host) -> None:
    wish(config, u1="1 Mail\n")
    start(config)
    assert start(config) == (True, ["Mail runs already."])
    assert box.started == ["u1"]


def test_it_waits_until_libvirt_answers(config: HostConfig, box: Host) -> None:
    box.silent = 3
    wish(config, u1="1 Mail\n")
    assert start(config)[0]
    assert box.started == ["u1"]


def test_a_libvirt_that_never_answers_is_told(config: HostConfig, box: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autostart, "ANSWERS_S", 0.0)
    box.silent = 10**6
    wish(config, u1="1 Mail\n")
    with pytest.raises(CommandFailed):
        start(config)


def test_a_host_without_such_machines_asks_nobody(config: HostConfig, box: Host) -> None:
    box.silent = 10**6
    assert start(config) == (True, [])
