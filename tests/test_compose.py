"""docker-compose.yml keeps its promises: nothing privileged, nothing on the host's network, sockets for the worker."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from dom0 import console_wire as wire

ROOT = Path(__file__).parents[1]
FILE = ROOT / "docker-compose.yml"
STACK: dict[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = STACK["services"]
NAMES = sorted(SERVICES)


def test_it_is_panel_postgresql_and_redis() -> None:
    assert NAMES == ["migrate", "panel", "postgres", "redis"]


@pytest.mark.parametrize("name", NAMES)
def test_no_service_is_privileged(name: str) -> None:
    service = SERVICES[name]
    user, _, group = service["user"].partition(":")
    assert int(user) > 0
    assert int(group) > 0
    assert service["cap_drop"] == ["ALL"]
    assert service["read_only"] is True
    assert "no-new-privileges:true" in service["security_opt"]
    for key in ("privileged", "cap_add", "devices", "pid", "ipc", "userns_mode", "cgroup_parent"):
        assert key not in service


@pytest.mark.parametrize("name", NAMES)
def test_no_service_has_the_hosts_network(name: str) -> None:
    service = SERVICES[name]
    assert service.get("network_mode", "") in ("", "none")
    if name != "panel":
        assert service["network_mode"] == "none"
        assert "ports" not in service


def test_the_panel_is_reached_from_this_box_alone() -> None:
    assert SERVICES["panel"]["ports"] == ["127.0.0.1:${FRIDU_PORT:-8000}:8000"]


@pytest.mark.parametrize("name", NAMES)
def test_no_service_sees_a_folder_of_the_host_but_the_two_of_sockets(name: str) -> None:
    for volume in SERVICES[name].get("volumes", []):
        source = volume.split(":")[0]
        assert source in STACK["volumes"] or (source.startswith("./deploy/") and volume.endswith(":ro"))
    bound = {v["driver_opts"]["device"] for v in STACK["volumes"].values() if v and "driver_opts" in v}
    assert bound == {"${FRIDU_RUN:-/run/fridu}/postgresql", "${FRIDU_RUN:-/run/fridu}/redis"}
    assert "docker.sock" not in FILE.read_text()


@pytest.mark.parametrize("name", NAMES)
def test_the_folders_of_sockets_keep_their_owner_and_mode(name: str) -> None:
    """Docker gives an empty volume the image's owner and mode: the whole box could then enter (met)."""
    sockets = [v for v in SERVICES[name]["volumes"] if v.split(":")[0].endswith("-socket")]
    assert sockets
    assert all(v.endswith(":nocopy") for v in sockets)


def test_the_image_is_built_once() -> None:
    assert [name for name in NAMES if "build" in SERVICES[name]] == ["panel"]
    assert SERVICES["migrate"]["image"] == SERVICES["panel"]["image"]


def test_what_serves_is_watched() -> None:
    assert [name for name in NAMES if "healthcheck" in SERVICES[name]] == ["panel", "postgres", "redis"]


def test_only_migrations_may_change_tables() -> None:
    def role(name: str) -> str:
        found = re.search(r"postgres://(\w+):", SERVICES[name]["environment"]["FRIDU_DATABASE_URL"])
        return found.group(1) if found else ""

    assert (role("panel"), role("migrate")) == ("fridu", "fridu_owner")
    assert "GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO fridu;" in (ROOT / "deploy/postgres/roles.sh").read_text()


def test_the_panel_reaches_the_hosts_consoles_by_the_queues_socket() -> None:
    url = SERVICES["panel"]["environment"]["FRIDU_BROKER_URL"]
    assert wire.redis_url(url) == "unix:///run/redis/redis.sock"
    assert "redis-socket:/run/redis:nocopy" in SERVICES["panel"]["volumes"]


def test_the_queue_keeps_nothing_of_what_is_typed() -> None:
    """Keys may be passwords; they pass through it."""
    command = SERVICES["redis"]["command"]
    pairs = dict(itertools.pairwise(command))
    assert (pairs["--save"], pairs["--appendonly"], pairs["--slowlog-log-slower-than"]) == ("", "no", "-1")


def test_no_secret_stands_in_it() -> None:
    wanted = set(re.findall(r"\$\{(\w+):\?", FILE.read_text()))
    assert wanted == {"FRIDU_SECRET_KEY", "FRIDU_DB_OWNER_PASSWORD", "FRIDU_DB_PASSWORD"}
    made = (ROOT / "deploy/make-env").read_text()
    assert all(f"{name}=$(word)" in made for name in wanted)


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    """What deploy/make-env writes for a fresh checkout."""
    (tmp_path / "deploy").mkdir()
    shutil.copy(ROOT / "deploy" / "make-env", tmp_path / "deploy" / "make-env")
    subprocess.run((tmp_path / "deploy" / "make-env",), check=True, capture_output=True)
    return tmp_path / ".env"


def test_fresh_passwords_are_long_different_and_private(env_file: Path) -> None:
    values = dict(line.split("=", 1) for line in env_file.read_text().splitlines())
    secrets = [values[n] for n in ("FRIDU_SECRET_KEY", "FRIDU_DB_OWNER_PASSWORD", "FRIDU_DB_PASSWORD")]
    assert len(set(secrets)) == 3
    # In a database's address nothing may need quoting.
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{48}", secret) for secret in secrets)
    assert env_file.stat().st_mode & 0o777 == 0o600


def test_passwords_that_are_there_stay(env_file: Path) -> None:
    before = env_file.read_text()
    again = subprocess.run((env_file.parent / "deploy" / "make-env",), check=False, capture_output=True, text=True)
    assert again.returncode == 1
    assert "there already" in again.stderr
    assert env_file.read_text() == before


def test_the_database_is_reached_by_its_socket(env_file: Path) -> None:
    import environ

    url = SERVICES["panel"]["environment"]["FRIDU_DATABASE_URL"]
    values = dict(line.split("=", 1) for line in env_file.read_text().splitlines())
    password = values["FRIDU_DB_PASSWORD"]
    filled = re.sub(r"\$\{FRIDU_DB_PASSWORD[^}]*\}", password, url)
    found = environ.Env.db_url_config(filled)
    assert (found["HOST"], found["NAME"], found["USER"]) == ("/run/postgresql", "fridu", "fridu")
    assert found["PASSWORD"] == password


def test_compose_itself_accepts_it_where_there_is_one(env_file: Path) -> None:
    """A box without compose still has all the checks above; this one then asks YAML alone."""
    compose = next((c for c in (("docker-compose",), ("docker", "compose")) if _answers(*c, "version")), None)
    if compose is None:
        assert set(STACK) >= {"services", "volumes", "networks"}
        return
    argv = (*compose, "--env-file", str(env_file), "--file", str(FILE), "config", "--quiet")
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env={**os.environ, "HOME": "/nonexistent"})
    assert done.returncode == 0, done.stderr


def _answers(*argv: str) -> bool:
    try:
        return subprocess.run(argv, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
