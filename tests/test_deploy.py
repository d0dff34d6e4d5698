"""The files of deploy/: they load, and they name what exists."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest

from dom0 import host
from dom0.host import HostConfig

ROOT = Path(__file__).parents[1]
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))


def unit(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None, comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(path.read_text())
    return parser


def test_the_sample_of_the_host_file_loads_and_names_every_folder() -> None:
    config = host.load(str(ROOT / "deploy" / "host.toml"))
    assert isinstance(config, HostConfig)
    assert config.nics[0].addresses == ("91.121.65.140", "87.98.130.56")
    assert all(
        path.startswith("/") for path in (config.volumes, config.images, config.golden, config.state, config.run)
    )


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_runs_a_module_or_command_that_exists(path: Path) -> None:
    argv = unit(path)["Service"]["ExecStart"].split()
    if argv[0].startswith("/opt/fridu/"):
        assert argv[0] == "/opt/fridu/.venv/bin/python"
        named = argv[2] if argv[1] == "-m" else argv[1]
        if named == "manage.py":
            assert (ROOT / "hosts" / "management" / "commands" / f"{argv[2]}.py").exists()
        elif named.startswith("dom0."):
            assert (ROOT / f"{named.replace('.', '/')}.py").exists()
        else:
            assert named in (ROOT / "requirements.txt").read_text()
    for found in re.findall(r"/opt/fridu/(deploy/\S+)", " ".join(argv)):
        assert (ROOT / found).exists()


@pytest.mark.parametrize("name", ["fridu-boot.service", "fridu-worker@.service"])
def test_what_a_unit_started_for_a_zone_outlives_it(name: str) -> None:
    """dnsmasq is a child of whoever started it; systemd would end it with the unit otherwise."""
    assert unit(ROOT / "deploy" / "systemd" / name)["Service"]["KillMode"] == "process"


def test_the_panel_has_a_user_of_its_own_and_no_capability() -> None:
    service = unit(ROOT / "deploy" / "systemd" / "fridu-panel.service")["Service"]
    assert service["User"] == "fridu-panel"
    assert service["CapabilityBoundingSet"] == ""
    assert service["NoNewPrivileges"] == "yes"
    assert service["ProtectSystem"] == "strict"


def test_the_queue_listens_on_a_socket_alone_and_keeps_nothing() -> None:
    lines = (ROOT / "deploy" / "redis" / "redis.conf").read_text().splitlines()
    assert {"port 0", 'save ""', "appendonly no", "unixsocketperm 770"} <= set(lines)


def test_every_setting_of_the_sample_is_one_the_settings_read() -> None:
    settings = (ROOT / "fridu_site" / "settings.py").read_text()
    names = re.findall(r"^(FRIDU_\w+)=", (ROOT / "deploy" / "panel.env").read_text(), re.M)
    assert len(names) > 5
    for name in names:
        assert f'"{name}"' in settings, name


def test_the_panels_image_holds_every_room_it_imports_and_no_libvirt() -> None:
    text = (ROOT / "deploy" / "Dockerfile").read_text()
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"demo", "tests", "bench"}
    copied = set(re.findall(r"^COPY (\w+) \1$", text, re.M))
    assert copied == rooms | {"templates"}
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert all(f"!{name}" in ignored for name in copied)
    assert "USER 60990:60990" in text
