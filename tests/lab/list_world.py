"""What stands around the demo inside a host of the lab: its namespaces, its database, its machines, `fridu`.

Standard library alone, and one process: emulated, each start of a program costs a second, of Django twenty.
"""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import json
import os
import selectors
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
NAME = "demo"
VAR = ROOT / "var" / NAME
IMAGES, VOLUMES = VAR / "lib" / "images", VAR / "lib" / "volumes"
ONE, TWO = "91.121.65.140", "87.98.130.56"
#: What must come may take so long under emulation.
COMES_S = 120.0
#: Nobody who does not answer within this will: packets take milliseconds, even here.
SILENT_S = 4.0
CLONE_NEWNET = 0x40000000
WARM = ("/srv/fridu/.venv/bin/python", "-m", "tests.lab.warm")
_libc = ctypes.CDLL(None, use_errno=True)


def until(what: Callable[[], Any], seconds: float = COMES_S, every: float = 0.2) -> Any:
    """Poll `what` until it is true; the last value is returned and the caller asserts on it."""
    end = time.monotonic() + seconds
    while True:
        value = what()
        if value or time.monotonic() > end:
            return value
        time.sleep(every)


class World:
    """The demo that runs here."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = json.loads((VAR / "state.json").read_text())
        argv = (sys.executable, "-B", "-m", "demo.enter", "--name", NAME, *WARM)
        self._warm = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)

    def enter(self, place: str) -> None:
        """Put this process into the namespace of dom0, the Internet or the VPN. Raises OSError."""
        with open(f"/run/netns/{self.state['netns'][place]}") as space:
            if _libc.setns(space.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), f"setns to {place}")

    def at(self, place: str, deed: Callable[[], Any]) -> Any:
        """What `deed` returns, done by a fork in that namespace; None where it met an OSError."""
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            with contextlib.suppress(BaseException):
                self.enter(place)
                with contextlib.suppress(OSError), open(writer, "w") as out:
                    json.dump(deed(), out)
            os._exit(0)
        os.close(writer)
        with open(reader) as answer:
            said = answer.read()
        os.waitpid(child, 0)
        return json.loads(said) if said else None

    def body(self, address: str, place: str = "internet", port: int = 80, path: str = "/") -> str:
        """The page there, "" where nobody answers."""

        def ask() -> str:
            link = http.client.HTTPConnection(address, port, timeout=15)
            link.request("GET", path)
            return link.getresponse().read().decode(errors="replace")

        return str(self.at(place, ask) or "")

    def greeting(self, address: str, port: int, place: str = "internet") -> str:
        """The first line a TCP server says, "" where nobody answers."""

        def ask() -> str:
            with socket.create_connection((address, port), timeout=SILENT_S) as link:
                link.settimeout(15)
                return link.recv(200).decode(errors="replace").strip()

        return str(self.at(place, ask) or "")

    def opens(self, *ports: tuple[str, int], place: str = "internet") -> dict[tuple[str, int], bool]:
        """Of those (address, port) that answer a SYN: True for yes, False for no. All are asked at once."""
        return {(address, port): said for address, port, said in self.at(place, lambda: _knock(ports)) or ()}

    def silent(self, address: str, ports: tuple[int, ...]) -> list[int]:
        """Those UDP ports from which neither an answer nor a refusal comes."""

        def ask() -> list[int]:
            links = []
            for port in ports:
                link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                link.connect((address, port))
                link.send(b"?")
                link.setblocking(False)
                links.append((port, link))
            time.sleep(2)
            quiet = []
            for port, link in links:
                with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
                    link.recv(100)
                    continue
                # Refused is an answer too; asked again, an error that was fetched is gone.
                if link.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                    quiet.append(port)
            return quiet

        return list(self.at("internet", ask) or ())

    def ssh(self, address: str, command: str, *, place: str = "internet", key: str = "") -> str:
        """What a command says on a machine; "" where nobody is let in."""
        argv = (
            *("ip", "netns", "exec", self.state["netns"][place]),
            *("ssh", "-i", key or self.state["ssh_key"], "-o", "StrictHostKeyChecking=no", "-o", "BatchMode=yes"),
            *("-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=30", "-o", "LogLevel=ERROR"),
            *(f"root@{address}", command),
        )
        done = subprocess.run(argv, capture_output=True, text=True, timeout=180, stdin=subprocess.DEVNULL)
        return done.stdout.strip()

    def sql(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """What stands in the database."""
        with contextlib.closing(sqlite3.connect(f"file:{self.state['database']}?mode=ro", uri=True)) as link:
            return link.execute(query, values).fetchall()

    def machine(self, name: str) -> int:
        return int(self.sql("select id from machines_machine where name = ?", name)[0][0])

    def job_in(self, number: int, *states: str) -> bool:
        """Whether job `number` comes to one of those states."""
        found = "select state from hosts_job where id = ?"
        return bool(until(lambda: self.sql(found, number)[0][0] in states, 2 * COMES_S))

    def job_said(self, number: int) -> str:
        """How it is, for whom it failed."""
        return str(self.sql("select state, message, note from hosts_job where id = ?", number))

    def newest_job(self) -> int:
        return int(self.sql("select max(id) from hosts_job")[0][0])

    def pid(self, service: str) -> int:
        """The process of a service now; 0 while it is down."""
        pids = json.loads((VAR / "run" / "pids.json").read_text())
        return int(pids.get(service, {}).get("pid", 0))

    def fridu(self, login: str, *words: str) -> tuple[int, str]:
        """The command line on dom0 as one of the demo's users: its exit status, what it said."""
        return self._asked({"words": ["--as", self.state["logins"][login]["user"], *words]})

    def python(self, code: str) -> Any:
        """What `code` left in `out`, run on dom0 with Django."""
        status, said = self._asked({"code": f"{code}\nimport json\nprint('\\n@' + json.dumps(out, default=str))"})
        assert status == 0, said
        return json.loads(said.rsplit("\n@", 1)[1])

    def _asked(self, wish: dict[str, object]) -> tuple[int, str]:
        assert self._warm.stdin is not None
        assert self._warm.stdout is not None
        self._warm.stdin.write(json.dumps(wish) + "\n")
        self._warm.stdin.flush()
        code, said = json.loads(self._warm.stdout.readline())
        return int(code), str(said)

    def end(self) -> None:
        """Have the command line end, too."""
        assert self._warm.stdin is not None
        self._warm.stdin.close()
        self._warm.wait(60)

    @contextlib.contextmanager
    def held(self, address: str, port: int) -> Iterator[Callable[[], bool]]:
        """A TCP connection from the Internet held open; asked, it says whether its other end still answers."""
        ours, theirs = socket.socketpair()
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                ours.close()
                self.enter("internet")
                _hold(address, port, theirs)
            os._exit(0)
        theirs.close()

        def alive() -> bool:
            ours.sendall(b"?")
            return ours.recv(1) == b"y"

        try:
            yield alive
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            ours.close()


def _hold(address: str, port: int, asked: socket.socket) -> None:
    with socket.create_connection((address, port), timeout=15) as link:
        link.recv(200)
        link.settimeout(SILENT_S)
        while asked.recv(1):
            said = b""
            with contextlib.suppress(OSError):
                link.sendall(b"NOOP\r\n")
                said = link.recv(200)
            asked.sendall(b"y" if said else b"n")


def _knock(ports: tuple[tuple[str, int], ...]) -> list[tuple[str, int, bool]]:
    found: list[tuple[str, int, bool]] = []
    watch = selectors.DefaultSelector()
    for at in ports:
        link = socket.socket()
        link.setblocking(False)
        link.connect_ex(at)
        watch.register(link, selectors.EVENT_WRITE, at)
    end = time.monotonic() + SILENT_S
    while (left := end - time.monotonic()) > 0 and watch.get_map():
        for key, _ in watch.select(left):
            knocked = key.fileobj
            assert isinstance(knocked, socket.socket)
            found.append((*key.data, knocked.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0))
            watch.unregister(knocked)
            knocked.close()
    return found
