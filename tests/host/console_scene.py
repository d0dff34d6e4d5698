"""The panel behind gunicorn, dom0's console process and a browser's part, inside a private dom0 (for test_console).

Imported by snippets of tests.host.life, whose database and machines it uses.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from websockets.sync.client import ClientConnection, unix_connect

from accounts.models import User
from demo.layout import REDIS_SOCKET

PYTHON = "/srv/fridu/.venv/bin/python"
SOCKET = "/run/fridu/panel-test.sock"
ENV = {**os.environ, "FRIDU_BROKER_URL": f"redis+socket://{REDIS_SOCKET}"}
CSRF = "c" * 32
PAGES = (
    "-m", "gunicorn", "fridu_site.wsgi:application", "--workers=1", "--threads=4", "--worker-class=gthread",
    "--no-control-socket", f"--bind=unix:{SOCKET}",
)  # fmt: skip
db = redis.Redis(unix_socket_path=REDIS_SOCKET)


def until(so: Callable[[], Any], seconds: float = 20) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := so()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


class Unix(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(SOCKET)


def session(name: str) -> str:
    user, store = User.objects.get(username=name), SessionStore()
    store[SESSION_KEY], store[HASH_SESSION_KEY] = str(user.pk), user.get_session_auth_hash()
    store[BACKEND_SESSION_KEY] = "allauth.account.auth_backends.AuthenticationBackend"
    store.create()
    return str(store.session_key)


def asked(method: str, path: str, key: str) -> tuple[int, bytes]:
    link = Unix("localhost")
    headers = {"Cookie": f"sessionid={key}; csrftoken={CSRF}", "X-CSRFToken": CSRF}
    link.request(method, path, headers=headers)
    answer = link.getresponse()
    return answer.status, answer.read()


class Browser:
    """One browser's part: gets a ticket, opens the line, keeps what it is sent."""

    def __init__(self, machine: int, key: str, query: str = "") -> None:
        _, body = asked("POST", f"/machines/{machine}/console/ticket/", key)
        self.ticket = json.loads(body)["ticket"]
        self.line = dial(machine, key, self.ticket, query)
        self.text, self.words = b"", []
        self.seen: dict[str, Any] = {}

    def hears(self, so: Callable[[Browser], Any], seconds: float = 20) -> bool:
        """Take what comes until `so`; whether it came to that."""
        deadline = time.monotonic() + seconds
        while not so(self) and time.monotonic() < deadline:
            try:
                got = self.line.recv(timeout=0.1)
            except TimeoutError:
                continue
            except Exception as error:
                self.seen["closed"] = str(error)
                break
            if isinstance(got, bytes):
                self.text += got
            else:
                self.words.append(json.loads(got))
                self.seen |= self.words[-1]
        return bool(so(self))

    def reads(self, text: bytes, seconds: float = 20) -> bool:
        return self.hears(lambda it: text in it.text, seconds)

    def prompts(self) -> bool:
        """Whether the machine asks who logs in; whatever somebody left there before."""
        deadline, self.text = time.monotonic() + 30, b""
        while time.monotonic() < deadline and not self.text.endswith(b"login: "):
            self.type(b"\r" if b"#" not in self.text else b"exit\r")
            self.text = b""
            self.hears(lambda it: it.text.endswith(b"login: "), 2)
        return self.text.endswith(b"login: ")

    def type(self, text: bytes) -> None:
        self.line.send(text)


def dial(machine: int, key: str, ticket: str, query: str = "", origin: str = "http://localhost") -> ClientConnection:
    return unix_connect(
        SOCKET,
        f"ws://localhost/machines/{machine}/console/line/{query}",
        subprotocols=["fridu.console", ticket],  # type: ignore[list-item]
        additional_headers={"Cookie": f"sessionid={key}"},
        origin=origin,  # type: ignore[arg-type]
        compression=None,
    )


class Scene:
    """`with Scene() as scene`: both processes; what they said is in `said`."""

    def __enter__(self) -> Scene:
        self.said = open("/tmp/console-said", "w+b")
        self.process, self.panel = self.start("-m", "dom0.console"), self.start(*PAGES)
        until(lambda: Path(SOCKET).exists() and _answers(), 60)
        return self

    def start(self, *argv: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen((PYTHON, *argv), env=ENV, cwd="/srv/fridu", stdout=self.said, stderr=self.said)

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGKILL)
        process.wait()

    def __exit__(self, *_: object) -> None:
        for process in (self.panel, self.process):
            process.terminate()
            process.wait(timeout=20)
        self.said.seek(0)
        self.all_said = self.said.read()


def _answers() -> bool:
    try:
        return asked("GET", "/sign-in/", "")[0] < 500
    except OSError:
        return False


def keys() -> list[str]:
    return sorted(key.decode() for key in db.keys("dom0.*console*"))
