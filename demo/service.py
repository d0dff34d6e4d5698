"""A long-running process of the demo, and how to ask the keeper for it. The keeper is dom0's process 1."""

from __future__ import annotations

import array
import json
import os
import socket
from dataclasses import asdict, dataclass, field
from typing import Any

from demo.layout import Layout, Problem


@dataclass(frozen=True, kw_only=True)
class Service:
    """A program with its arguments. `uid` 0 = root.

    In `argv`, {passed} stands for the number of the socket passed along with the request, {listening} for that
    of a socket that the keeper opens on `listens` ("ADDRESS:PORT") inside dom0; both outlive the process.
    """

    name: str
    argv: tuple[str, ...]
    uid: int = 0
    gid: int = 0  # 0 = the same number as uid
    env: dict[str, str] = field(default_factory=dict)
    listens: str = ""
    longest_wait_s: float = 5.0  # before it is started again, however often it died
    beats: str = ""  # a file it writes to all the time; where it no longer does, it is ended and started again


def ask(layout: Layout, request: dict[str, Any], *, pass_fd: int | None = None) -> dict[str, Any]:
    """One question, one answer. Raises Problem with the keeper's sentence, or when there is no keeper."""
    folder = os.open(layout.run, os.O_PATH | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(30)
            # By way of the folder's descriptor: a socket's path has 108 bytes, a clone's may have more.
            link.connect(f"/proc/self/fd/{folder}/{layout.control_socket.name}")
            parts = [] if pass_fd is None else [_right(pass_fd)]
            link.sendmsg([json.dumps(request).encode() + b"\n"], parts)
            answer = json.loads(link.makefile("rb").readline() or b'{"error": "no answer"}')
    except OSError as error:
        raise Problem(f"dom0's keeper doesn't answer ({error}); bin/demo --stop cleans up.") from error
    finally:
        os.close(folder)
    if "error" in answer:
        raise Problem(str(answer["error"]))
    return dict(answer)


def start(layout: Layout, service: Service, *, pass_fd: int | None = None) -> None:
    """Have the keeper start `service` and keep it running. Raises Problem."""
    ask(layout, {"do": "start", "service": asdict(service)}, pass_fd=pass_fd)


def stop(layout: Layout, *names: str) -> None:
    """Have the keeper end services and not start them again; an unknown name is already stopped."""
    ask(layout, {"do": "stop", "names": names})


def _right(fd: int) -> tuple[int, int, array.array[int]]:
    return (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))
