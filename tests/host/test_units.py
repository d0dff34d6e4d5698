"""Installing packages neither starts nor enables a service that was not there before."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo import units


@pytest.fixture
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    wants = tmp_path / "systemd" / "system" / "sockets.target.wants"
    wants.mkdir(parents=True)
    (wants / "dbus.socket").symlink_to("/usr/lib/systemd/system/dbus.socket")
    (tmp_path / "rc2.d").mkdir()
    (tmp_path / "rc2.d" / "S01dbus").symlink_to("/etc/init.d/dbus")
    monkeypatch.setattr(units, "ETC", tmp_path)
    monkeypatch.setattr(units, "POLICY", tmp_path / "policy-rc.d")
    return tmp_path


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    commands: list[tuple[str, ...]] = []
    monkeypatch.setattr(units, "_run", lambda *argv: commands.append(argv))
    return commands


def enable_libvirtd(etc: Path) -> None:
    (etc / "systemd" / "system" / "sockets.target.wants" / "libvirtd.socket").symlink_to("/nowhere")
    (etc / "rc2.d" / "S01libvirtd").symlink_to("/nowhere")


def test_what_an_installation_enables_is_disabled_and_the_rest_stays(etc: Path, ran: list[tuple[str, ...]]):
    with units.none_new():
        assert (etc / "policy-rc.d").read_text() == "#!/bin/sh\nexit 101\n"
        enable_libvirtd(etc)
    assert ran == [
        ("systemctl", "disable", "--quiet", "--now", "libvirtd.socket"),
        ("update-rc.d", "libvirtd", "disable"),
    ]
    assert not (etc / "policy-rc.d").exists()


def test_an_installation_that_fails_enables_nothing_either(etc: Path, ran: list[tuple[str, ...]]):
    def install() -> None:
        with units.none_new():
            enable_libvirtd(etc)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        install()
    assert len(ran) == 2
    assert not (etc / "policy-rc.d").exists()


def test_a_policy_of_the_boxs_own_stays_as_it_is(etc: Path, ran: list[tuple[str, ...]]):
    (etc / "policy-rc.d").write_text("theirs")
    with units.none_new():
        assert (etc / "policy-rc.d").read_text() == "theirs"
    assert (etc / "policy-rc.d").read_text() == "theirs"
    assert ran == []
