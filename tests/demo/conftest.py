"""The demo itself, started once for all of these tests on a port and a name of its own."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import OPTIONS

ROOT = Path(__file__).resolve().parents[2]
#: Two runs of one name stop each other's demo, so each clone has a name of its own.
NAME = f"t{zlib.crc32(str(ROOT).encode()):08x}"
#: What must come may take so long on a busy box; what is promised within a time names that time.
COMES_S = 60
expect.set_options(timeout=COMES_S * 1000 / 2)


def said(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def box() -> dict[str, Any]:
    """What the box looks like from outside: to be the same before and after."""
    mounts = [line.split()[:3] for line in Path("/proc/mounts").read_text().splitlines()]
    groups = [str(p) for p in Path("/sys/fs/cgroup").glob("*/*") if p.is_dir() and "fridu" in p.name]
    pids = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            except OSError:
                continue
            if str(ROOT) in line or "fridu" in line or "libvirt" in line:
                pids[entry.name] = line
    return {
        "netns": said("ip", "netns"),
        "links": re.sub(r"^\d+: ", "", said("ip", "-o", "link"), flags=re.M),
        "addresses": said("ip", "-o", "-4", "addr").count("\n"),
        "loops": said("losetup", "-a"),
        "mounts": mounts,
        "rules": re.sub(r"^#.*$|\[\d+:\d+\]", "", said("iptables-save"), flags=re.M),
        "ip_forward": Path("/proc/sys/net/ipv4/ip_forward").read_text(),
        "cgroups": groups,
        "processes": pids,
    }


@dataclass
class Demo:
    state: dict[str, Any]

    @property
    def url(self) -> str:
        return self.state["url"]

    def in_ns(self, place: str, *argv: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command in the dom0, internet or vpn namespace."""
        return subprocess.run(
            ("ip", "netns", "exec", self.state["netns"][place], *argv), capture_output=True, text=True, timeout=timeout
        )

    def curl(self, url: str, place: str = "internet") -> str:
        return self.in_ns(place, "curl", "-s", "--max-time", "15", url).stdout

    def ssh(
        self, address: str, *command: str, place: str = "internet", key: str = ""
    ) -> subprocess.CompletedProcess[str]:
        return self.in_ns(
            place,
            "ssh", "-i", key or self.state["ssh_key"], "-o", "StrictHostKeyChecking=no", "-o", "BatchMode=yes",
            "-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=15", "-o", "LogLevel=ERROR",
            f"root@{address}", *command,
        )  # fmt: skip

    def greeting(self, address: str, port: int, place: str = "internet") -> str:
        """The first line a TCP server says, "" where nobody answers within 3 s."""
        code = (
            "import socket,sys\n"
            "s=socket.create_connection((sys.argv[1],int(sys.argv[2])),timeout=3)\n"
            "s.settimeout(3)\nprint(s.recv(200).decode(errors='replace'))"
        )
        return self.in_ns(place, sys.executable, "-c", code, address, str(port)).stdout.strip()

    def opens(self, address: str, port: int, place: str = "internet") -> bool:
        """Whether a TCP connection is accepted."""
        code = "import socket,sys\nsocket.create_connection((sys.argv[1],int(sys.argv[2])),timeout=1.5)"
        return self.in_ns(place, sys.executable, "-c", code, address, str(port)).returncode == 0

    def fridu(self, *argv: str, login: str = "operator") -> subprocess.CompletedProcess[str]:
        """The command line, on dom0, as one of the demo's users."""
        user = self.state["logins"][login]["user"]
        command = ("-m", "demo.enter", "--name", NAME, "/srv/fridu/bin/fridu", "--as", user, *argv)
        return subprocess.run((sys.executable, *command), capture_output=True, text=True, timeout=120, cwd=ROOT)

    def python(self, code: str) -> Any:
        """What `code` leaves in `out`, run with Django on dom0."""
        wrapped = f"{code}\nimport json\nprint('\\n@' + json.dumps(out, default=str))"
        argv = (
            "-m",
            "demo.enter",
            "--name",
            NAME,
            "/srv/fridu/.venv/bin/python",
            "/srv/fridu/manage.py",
            "shell",
            "-v",
            "0",
            "-c",
            wrapped,
        )
        done = subprocess.run((sys.executable, *argv), capture_output=True, text=True, timeout=120, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.rsplit("\n@", 1)[1])

    def sql(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """What stands in the database, read without a process on dom0."""
        with contextlib.closing(sqlite3.connect(f"file:{self.state['database']}?mode=ro", uri=True)) as link:
            return link.execute(query, values).fetchall()

    def job_state(self, number: int) -> str:
        return str(self.sql("select state from hosts_job where id = ?", number)[0][0])

    def ended(self, number: int, seconds: float = 90) -> str:
        """The state in which job `number` ends."""
        until(lambda: self.job_state(number) not in ("planning", "approved", "running"), seconds)
        return self.job_state(number)

    def pid(self, service: str) -> int:
        """The process of a service now, as the box sees it; 0 while it is down."""
        pids = json.loads((ROOT / "var" / NAME / "run" / "pids.json").read_text())
        return int(pids.get(service, {}).get("pid", 0))


def until(what: Callable[[], Any], seconds: float = COMES_S, every: float = 0.1) -> Any:
    """Poll `what` until it is true; the last value is returned and the caller asserts on it."""
    end = time.monotonic() + seconds
    while True:
        value = what()
        if value or time.monotonic() > end:
            return value
        time.sleep(every)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@pytest.fixture(scope="session")
def before() -> dict[str, Any]:
    stop = ("bin/demo", "--stop", "--name", NAME)  # what a killed run left is none of the box's own
    subprocess.run(stop, cwd=ROOT, capture_output=True, timeout=120, check=True)
    return box()


@pytest.fixture(scope="session")
def demo(before: dict[str, Any]) -> Iterator[Demo]:
    # bin/test ends this run by its process when another stage fails; the demo must not outlive it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    start = ("bin/demo", "--detach", "--yes", "--fresh", "--name", NAME, "--port", str(free_port()))
    try:
        done = subprocess.run(start, cwd=ROOT, capture_output=True, text=True, timeout=400)
        assert done.returncode == 0, done.stdout + done.stderr
        path = ROOT / "var" / NAME / "state.json"
        assert path.stat().st_mode & 0o777 == 0o600
        yield Demo(json.loads(path.read_text()))
    finally:
        stop = ("bin/demo", "--stop", "--name", NAME)
        subprocess.run(stop, cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    return {**browser_type_launch_args, "executable_path": "/usr/bin/chromium", "args": list(OPTIONS)}


@pytest.fixture
def signed_in(browser: Browser, demo: Demo) -> Iterator[Callable[[str], Page]]:
    """`signed_in("owner")`: a page of the running panel, through its own sign-in page."""
    contexts = []

    def sign_in(login: str) -> Page:
        context = browser.new_context(base_url=demo.url, viewport={"width": 1360, "height": 900})
        contexts.append(context)
        page = context.new_page()
        page.goto("/")
        page.fill("input[name=login]", demo.state["logins"][login]["user"])
        page.fill("input[name=password]", demo.state["logins"][login]["password"])
        page.press("input[name=password]", "Enter")
        expect(page.locator(".who")).to_contain_text(demo.state["logins"][login]["user"])
        return page

    yield sign_in
    for context in contexts:
        context.close()


@pytest.fixture
def operator_key(demo: Demo) -> str:
    """The operator's public SSH key."""
    return Path(demo.state["operator_ssh_key"] + ".pub").read_text()
