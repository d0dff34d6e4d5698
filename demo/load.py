"""The sample, the logins and the state file: what a person or a script needs to use the demo."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

from demo import enter, processes
from demo.layout import INSIDE, PANEL_GID, PANEL_UID, PYTHON, VPN_CLIENT, VPN_PEER, Layout, Problem

RULES = INSIDE / "tests" / "fixtures" / "production.rules"
TINY = Path("/var/lib/fridu/images/tiny.tar.gz")


def keys(layout: Layout) -> None:
    """An SSH key each for the operator, who enters dom0, and the owner, who enters his machine."""
    folder = layout.var / "keys"
    folder.mkdir(mode=0o700, exist_ok=True)
    for who in ("operator", "owner"):
        path = folder / who
        if not path.exists():
            argv = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"{who}@{layout.name}", "-f", str(path))
            subprocess.run(argv, check=True, timeout=30, stdin=subprocess.DEVNULL)
    _give(layout.var / "panel" / "owner.pub", (folder / "owner.pub").read_text())
    ssh = layout.var / "root" / ".ssh"
    ssh.mkdir(mode=0o700, exist_ok=True)
    (ssh / "authorized_keys").write_text((folder / "operator.pub").read_text())
    (ssh / "authorized_keys").chmod(0o600)


def sample(layout: Layout) -> None:
    """People, the production sample, its machines, through the panel's own jobs. Raises Problem."""
    enter.run(
        layout,
        *(str(PYTHON), "manage.py", "demo_load", "--rules", str(RULES), "--image", str(TINY)),
        *("--vpn", VPN_CLIENT, VPN_PEER),
        *("--key", "/var/lib/fridu-panel/owner.pub", "--logins", "/var/lib/fridu-panel/logins.json"),
        uid=PANEL_UID,
        timeout_s=400,
    )


def write_state(layout: Layout, port: int) -> dict[str, Any]:
    """Write state.json, readable by root alone, for scripts; returns what it says."""
    state = {
        "url": f"http://localhost:{port}",
        "logins": json.loads((layout.var / "panel" / "logins.json").read_text()),
        "netns": {"dom0": layout.dom0, "internet": layout.internet, "vpn": layout.vpn},
        "redis": str(layout.run / "redis" / "redis.sock"),
        "database": str(layout.var / "panel" / "fridu.sqlite3"),
        "ssh_key": str(layout.var / "keys" / "owner"),
        "operator_ssh_key": str(layout.var / "keys" / "operator"),
        "machines": _machines(layout),
        "pids": {name: process.pid for name, process in processes.recorded(layout).items()},
    }
    fd = os.open(layout.state_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(fd, "w") as file:
        json.dump(state, file, indent=1)
    return state


def _machines(layout: Layout) -> dict[str, dict[str, str]]:
    """Name → address and interface of the sample's and later machines."""
    rows = _rows(layout, "SELECT name, address, vif FROM machines_machine ORDER BY name")
    return {name: {"ip": address, "vif": vif} for name, address, vif in rows}


def running(layout: Layout) -> list[str]:
    """Addresses of the machines that shall run."""
    wish = "SELECT address FROM machines_machine WHERE wanted = 'running' AND built_at IS NOT NULL"
    return [address for (address,) in _rows(layout, wish)]


def _rows(layout: Layout, question: str) -> list[tuple[str, ...]]:
    """From the database itself: Django would take two seconds to come up for it."""
    with contextlib.closing(sqlite3.connect(layout.var / "panel" / "fridu.sqlite3", timeout=20)) as database:
        return database.execute(question).fetchall()


def _give(path: Path, text: str) -> None:
    """A file the panel's user may read."""
    path.write_text(text)
    os.chown(path, PANEL_UID, PANEL_GID)


def words(layout: Layout, state: dict[str, Any]) -> str:
    """What to print once everything answers."""
    logins = "\n".join(f"  {part:9} {who['user']:9} {who['password']}" for part, who in state["logins"].items())
    internet = f"ip netns exec {layout.internet}"
    key = os.path.relpath(state["ssh_key"], layout.project)
    ssh = f"ssh -o UserKnownHostsFile={Path(key).parent / 'known_hosts'}"  # forgotten with the machines it knows
    extra = "" if layout.name == "demo" else f" --name {layout.name}"
    return f"""
Fridu runs at {state["url"]}

{logins}

The operator sees the whole ISP, the owner has WEB-Dom, the auditor reads everything. To try next, as root:
  # WEB-Dom's page, from the Internet
  {internet} curl http://87.98.130.56/
  # root inside WEB-Dom
  {internet} {ssh} -i {key} root@87.98.130.56
  # root inside a machine of yours, from the operator's laptop {VPN_CLIENT}, through the admin VPN
  ip netns exec {layout.vpn} {ssh} root@ITS-ADDRESS
  # that laptop as another peer of yours: add one in the panel (Zones, Admin VPN), then
  /usr/bin/python3 -m demo.vpn{extra} ITS-NAME
  # a shell on dom0, for bin/fridu help
  /usr/bin/python3 -m demo.enter{extra}
Ends with bin/demo --stop{extra}; the data stays for the next start."""


def saved(layout: Layout) -> dict[str, Any]:
    """The state of the demo that runs. Raises Problem where there is none."""
    try:
        return dict(json.loads(layout.state_file.read_text()))
    except (FileNotFoundError, ValueError) as error:
        raise Problem("The demo is still starting, or was left half-way; bin/demo --stop cleans up.") from error
