"""The files of deploy/: they load, and they name what exists."""

from __future__ import annotations

import configparser
import json
import re
from pathlib import Path

import pytest
from django.urls import reverse

from dom0 import console_wire as wire
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


@pytest.mark.parametrize("name", ["fridu-autostart.service", "fridu-boot.service", "fridu-worker@.service"])
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


def test_machines_start_once_a_boot_after_network_and_libvirt() -> None:
    parts = unit(ROOT / "deploy" / "systemd" / "fridu-autostart.service")
    assert {"fridu-boot.service", "libvirtd.service", "virtxend.service"} <= set(parts["Unit"]["After"].split())
    assert (parts["Service"]["Type"], parts["Service"]["RemainAfterExit"]) == ("oneshot", "yes")
    asks_nobody = parts["Unit"]["After"] + parts["Unit"].get("Wants", "") + parts["Unit"].get("Requires", "")
    assert not re.search("redis|postgres|panel|worker", asks_nobody)


def test_consoles_have_sockets_alone_and_leave_nothing_of_what_is_typed() -> None:
    service = unit(ROOT / "deploy" / "systemd" / "fridu-console.service")["Service"]
    assert (service["PrivateNetwork"], service["RestrictAddressFamilies"]) == ("yes", "AF_UNIX")
    assert (service["LimitCORE"], service["ProtectSystem"]) == ("0", "strict")
    assert "ReadWritePaths" not in service
    # A mount namespace of its own follows the host's: a private one would keep a stopped machine's volume in use.
    assert "MountFlags" not in service


def test_the_proxy_lets_the_consoles_line_become_a_websocket() -> None:
    conf = (ROOT / "deploy" / "nginx" / "fridu.conf").read_text()
    pattern, inside = re.search(r"location ~ (\S+) \{(.*?)\n    \}", conf, re.S).groups()  # type: ignore[union-attr]
    assert re.fullmatch(pattern, reverse("machines:console_line", args=(7,)))
    assert not re.search(pattern, reverse("machines:console", args=(7,)))
    for line in ("proxy_http_version 1.1;", "Upgrade $http_upgrade;", "Connection upgrade;", "Host $host;"):
        assert line in inside
    # Both ends are heard from more often than the proxy waits.
    waits = int(re.search(r"proxy_read_timeout (\d+)s", inside)[1])  # type: ignore[index]
    assert waits >= 2 * wire.KEEP_S


def test_the_panels_image_brings_the_terminal_and_serves_its_line() -> None:
    text = (ROOT / "deploy" / "Dockerfile").read_text()
    build = re.split(r"^FROM ", text, flags=re.M)[1]
    assert "/opt/venv/bin/python /tmp/assets.py" in build, "installed beside the libraries, whose folder is copied"
    assert "COPY --from=build /opt/venv /opt/venv" in text
    command = json.loads(re.search(r"^CMD (\[.*\])$", text, re.M)[1])  # type: ignore[index]
    # The line is taken out of gunicorn's hands (fridu_site.wsgi): that works with its threads, in one process.
    assert {"fridu_site.wsgi:application", "--worker-class=gthread", "--workers=1"} <= set(command)
