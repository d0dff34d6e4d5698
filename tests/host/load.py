"""New connections at a steady rate, counted: run as a process of its own inside a namespace.

`python tests/host/load.py serve ADDRESS PORT` takes connections and echoes.
`python tests/host/load.py ask JSON` opens `rate` connections a second to each of `open` and `closed`, in turn from
each of `sources`, and keeps one echoed transfer going, until its stdin ends; then it says what came of them, as JSON.
No import of ours: the process begins at once and costs little.
"""

from __future__ import annotations

import collections
import contextlib
import json
import select
import socket
import struct
import sys
import time
from typing import Any

#: A turn of the loop that took longer than this was the box's own pause: no gap of the transfer's.
TURN_S = 0.05
#: A SYN that was dropped is sent again after 1 s: whoever is later than this was not let in at once.
LATE_S, LOST_S, CLOSED_S = 0.5, 10.0, 0.2
RESET = struct.pack("ii", 1, 0)
BIND_ADDRESS_NO_PORT = 24


def serve(address: str, port: int) -> None:
    server = socket.create_server((address, port), backlog=4000)
    server.setblocking(False)
    watch = select.epoll()
    watch.register(server, select.EPOLLIN)
    open_: dict[int, socket.socket] = {}
    print("ready", flush=True)
    while True:
        for number, _ in watch.poll():
            if number == server.fileno():
                with contextlib.suppress(OSError):
                    connection, _ = server.accept()
                    connection.setblocking(False)
                    open_[connection.fileno()] = connection
                    watch.register(connection, select.EPOLLIN)
                continue
            data = b""
            with contextlib.suppress(OSError):
                data = open_[number].recv(65536)
                open_[number].sendall(data)
            if not data:
                watch.unregister(number)
                open_.pop(number).close()


class Asker:
    """The connections under way, and the counts."""

    def __init__(self, wish: dict[str, Any]) -> None:
        self.wish = wish
        self.watch = select.epoll()
        self.waiting: collections.deque[tuple[float, int]] = collections.deque()
        self.open: dict[int, tuple[socket.socket, float, bool]] = {}
        self.asked = collections.Counter[str]()
        self.slowest = 0.0
        self.turn = 0

    def ask(self, now: float, target: list[Any], *, closed: bool) -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        sock.setsockopt(socket.IPPROTO_IP, BIND_ADDRESS_NO_PORT, 1)
        self.turn += 1
        sock.bind((self.wish["sources"][self.turn % len(self.wish["sources"])], 0))
        sock.connect_ex((target[0], target[1]))
        self.watch.register(sock, select.EPOLLOUT)
        self.open[sock.fileno()] = (sock, now, closed)
        self.waiting.append((now, sock.fileno()))
        self.asked["closed" if closed else "open"] += 1

    def answered(self, number: int, now: float) -> None:
        sock, began, closed = self.open.pop(number)
        in_ = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        self.watch.unregister(number)
        sock.close()
        if closed:
            self.asked["leaked"] += in_
            return
        self.asked["lost"] += not in_
        self.slowest = max(self.slowest, now - began)
        self.asked["late"] += in_ and now - began > LATE_S

    def give_up(self, now: float) -> None:
        """Close what nobody will answer any more."""
        for _ in range(len(self.waiting)):
            began, number = self.waiting[0]
            entry = self.open.get(number)
            if entry is None or entry[1] != began:
                self.waiting.popleft()
                continue
            if now - began < CLOSED_S:
                return
            self.waiting.popleft()
            if not entry[2] and now - began < LOST_S:
                self.waiting.append((began, number))
                return
            self.asked["lost"] += not entry[2]
            self.watch.unregister(number)
            entry[0].close()
            del self.open[number]


class Transfer:
    """One connection that carries something all the time."""

    def __init__(self, wish: dict[str, Any]) -> None:
        self.sock = socket.create_connection(tuple(wish["transfer"]), source_address=(wish["sources"][0], 0))
        self.sock.setblocking(False)
        self.bytes, self.longest, self.silent, self.turned, self.alive = 0, 0.0, 0.0, time.monotonic(), True

    def go_on(self, now: float) -> None:
        self.silent += min(now - self.turned, TURN_S)
        self.longest, self.turned = max(self.longest, self.silent), now
        try:
            with contextlib.suppress(BlockingIOError):
                self.sock.send(bytes(1400))
            with contextlib.suppress(BlockingIOError):
                data = self.sock.recv(65536)
                self.bytes += len(data)
                self.silent = 0.0
        except OSError:
            self.alive = False


def ask(wish: dict[str, Any]) -> None:
    asker, transfer = Asker(wish), Transfer(wish)
    print("ready", flush=True)
    asker.watch.register(sys.stdin.fileno(), select.EPOLLIN | select.EPOLLHUP)
    began, sent, ending = time.monotonic(), 0, 0.0
    while not ending or asker.open or time.monotonic() < ending:
        now = time.monotonic()
        while not ending and sent < (now - began) * wish["rate"]:
            asker.ask(now, wish["open"], closed=False)
            asker.ask(now, wish["closed"][sent % len(wish["closed"])], closed=True)
            sent += 1
        for number, _ in asker.watch.poll(0.001):
            if number != sys.stdin.fileno():
                asker.answered(number, time.monotonic())
            elif not sys.stdin.buffer.read(1):
                asker.watch.unregister(number)
                ending = now + 0.2
        transfer.go_on(time.monotonic())
        asker.give_up(time.monotonic())
    said = {name: asker.asked[name] for name in ("open", "lost", "late", "closed", "leaked")}
    said |= {"slowest_ms": round(asker.slowest * 1000, 1), "seconds": round(ending - began, 1)}
    gap = round(transfer.longest * 1000, 1)
    said |= {"transferred": transfer.bytes, "transfer_gap_ms": gap, "transfer_alive": transfer.alive}
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2], int(sys.argv[3]))
    else:
        ask(json.loads(sys.argv[2]))
