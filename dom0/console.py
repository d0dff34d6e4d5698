"""dom0's console process: between Redis, where the panel asks, and the machines' consoles.

`python -m dom0.console` reads the host file and $FRIDU_BROKER_URL; no Django, no database. It listens nowhere. What is
typed and printed is kept in memory alone and said to no log.
"""

from __future__ import annotations

import logging
import os
import queue
import secrets
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import redis

from dom0 import console_wire as wire
from dom0 import host
from dom0.console_link import Closed, Link

PACE_BYTES_S = 256 << 10  # of one machine; it waits when it prints more
CONSOLES = 32
VIEWERS = 16
TYPED_ENTRIES = 64  # not yet taken by the machine
BLOCK_MS = 500

log = logging.getLogger("fridu.console")


class Line(Protocol):
    """What a console needs of dom0.console_link.Link."""

    def receive(self) -> bytes: ...
    def send(self, keys: bytes) -> None: ...
    def close(self) -> None: ...


class Console:
    """One machine's open console: who looks at it, who types, and what it printed last."""

    def __init__(self, db: Any, name: str, uuid: str, dial: Callable[[], Line]) -> None:
        self.db, self.uuid = db, uuid
        self.run = secrets.token_hex(8)
        self.key = wire.shown(name, self.run)
        self.viewers: dict[str, tuple[str, float]] = {}
        self.hand = ""  # the viewer who types
        self.over = ""
        self.empty_since = time.monotonic()
        self._dial = dial
        self._line: Line | None = None
        self._typed: queue.Queue[bytes] = queue.Queue(TYPED_ENTRIES)
        self._entries: deque[tuple[bytes, int]] = deque()
        self._bytes = 0
        self._printed = 0
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Open it. Raises Closed."""
        self._line = line = self._dial()
        for work in (self._print, self._type):
            threading.Thread(target=work, args=(line,), name=f"{work.__name__}-{self.uuid}", daemon=True).start()

    def come(self, viewer: str, name: str, was: str = "") -> None:
        """A viewer looks at it; where nobody types, this one does. Raises Closed where too many look.

        `was` is the same browser's viewer before its line broke, of which nobody has heard the end yet.
        """
        former = self.viewers.pop(was, None)
        if former is not None and self.hand == was:
            self.hand = ""
        if viewer not in self.viewers and len(self.viewers) >= VIEWERS:
            raise Closed(wire.FULL)
        self.viewers[viewer] = (name, time.monotonic())
        if not self.hand:
            self.take(viewer)

    def take(self, viewer: str) -> None:
        """From now on this viewer types; the others are told."""
        if viewer in self.viewers:
            self.hand = viewer
            self._tell(e="hand", v=viewer, n=self.viewers[viewer][0])

    def keep(self, viewer: str) -> None:
        if viewer in self.viewers:
            self.viewers[viewer] = (self.viewers[viewer][0], time.monotonic())

    def leave(self, viewer: str) -> None:
        if self.viewers.pop(viewer, None) is None:
            return
        self.empty_since = time.monotonic()
        if self.hand == viewer:
            self.hand = ""
            if len(self.viewers) == 1:
                self.take(*self.viewers)
            else:
                self._tell(e="hand", v="", n="")

    def type(self, viewer: str, keys: bytes) -> None:
        """Keys of whoever may type; where the machine takes none for long, they are dropped and that is said."""
        if viewer != self.hand:
            return
        try:
            self._typed.put_nowait(keys)
        except queue.Full:
            self._tell(e="deaf")

    def sweep(self) -> None:
        """Forget viewers of whom nothing was heard, keep the stream alive, end what nobody looks at."""
        now = time.monotonic()
        for viewer, (_, heard) in list(self.viewers.items()):
            if now - heard > wire.VIEWER_LIVES_S:
                self.leave(viewer)
        if not self.viewers and now - self.empty_since > wire.LINGER_S:
            self.end(wire.LEFT)
        if not self.over:
            self.db.expire(self.key, wire.SHOWN_LIVES_S)

    def end(self, code: str) -> None:
        """Close it once; its viewers learn why."""
        with self._lock:
            if self.over:
                return
            self.over = code
        self._tell(e="over", c=code)
        self.db.expire(self.key, wire.OVER_LIVES_S)
        self._typed = queue.Queue(TYPED_ENTRIES)
        if self._line is not None:
            self._line.close()

    def _print(self, line: Line) -> None:
        try:
            while not self.over:
                data = line.receive()
                self._show({"d": data, "o": self._printed}, len(data))
                self._printed += len(data)
                time.sleep(len(data) / PACE_BYTES_S)
        except Closed as closed:
            self.end(closed.code)
        except redis.RedisError:
            self.over = self.over or wire.LIBVIRT
            line.close()

    def _type(self, line: Line) -> None:
        try:
            while not self.over:
                try:
                    keys = self._typed.get(timeout=1)
                except queue.Empty:
                    continue
                line.send(keys)
        except Closed:
            pass  # whoever receives says why

    def _tell(self, **fields: str) -> None:
        self._show(dict(fields), 0)

    def _show(self, fields: dict[str, Any], size: int) -> None:
        """Append, and drop the oldest beyond the bounds, so that neither a flood nor single letters grow it."""
        with self._lock:
            entry = self.db.xadd(self.key, fields)
            self._entries.append((entry, size))
            self._bytes += size
            before = len(self._entries)
            while self._bytes > wire.SHOWN_BYTES or len(self._entries) > wire.SHOWN_ENTRIES:
                self._bytes -= self._entries.popleft()[1]
            if len(self._entries) < before:
                self.db.xtrim(self.key, minid=self._entries[0][0], approximate=False)
            if len(self._entries) == 1:
                self.db.expire(self.key, wire.SHOWN_LIVES_S)


class Desk:
    """Every open console of this host, and what the panel asks of them."""

    def __init__(self, db: Any, name: str, dial: Callable[[str], Line]) -> None:
        self.db, self.name, self.dial = db, name, dial
        self.open: dict[str, Console] = {}

    def serve(self, ended: threading.Event) -> None:
        """Until `ended`. Keys that were typed for a process before this one find no console and are dropped."""
        asked = wire.asked(self.name)
        swept = 0.0
        while not ended.is_set():
            for _, entries in self.db.xread({asked: "0"}, count=64, block=BLOCK_MS) or ():
                self.db.xdel(asked, *(entry for entry, _ in entries))
                for _, fields in entries:
                    self.handle({key.decode(): value for key, value in fields.items()})
            if time.monotonic() - swept > 1:
                swept = time.monotonic()
                self.sweep()

    def handle(self, asked: Mapping[str, bytes]) -> None:
        """One thing that was asked; what makes no sense is dropped."""
        viewer, uuid = asked.get("viewer", b"").decode("ascii", "replace"), asked.get("machine", b"").decode()
        op = asked.get("op", b"").decode("ascii", "replace")
        if op == "open":
            # A thread: libvirt may take its time, and others type meanwhile.
            who = (uuid, viewer, asked.get("name", b"").decode(), asked.get("was", b"").decode("ascii", "replace"))
            threading.Thread(target=self._come, args=who, daemon=True).start()
            return
        console = self.open.get(uuid)
        if console is None or console.over:
            return
        if op == "keys":
            console.type(viewer, asked.get("keys", b"")[: wire.KEYS_BYTES])
        elif op in ("take", "keep", "leave"):
            {"take": console.take, "keep": console.keep, "leave": console.leave}[op](viewer)

    def sweep(self) -> None:
        for uuid, console in list(self.open.items()):
            console.sweep()
            if console.over and self.open.get(uuid) is console:
                del self.open[uuid]

    def close(self) -> None:
        for console in list(self.open.values()):
            console.end(wire.QUIT)

    def _come(self, uuid: str, viewer: str, name: str, was: str) -> None:
        try:
            console = self._console(uuid)
            console.come(viewer, name, was)
            answer = {"run": console.run, "hand": console.hand, "name": console.viewers.get(console.hand, ("",))[0]}
        except Closed as closed:
            answer = {"no": closed.code}
        log.info("console of %s: %s", uuid, answer.get("no", "open"))
        key = wire.answers(self.name, viewer)
        self.db.pipeline().xadd(key, answer).expire(key, wire.ANSWER_S).execute()

    def _console(self, uuid: str) -> Console:
        with _OPENING:
            console = self.open.get(uuid)
            if console is not None and not console.over:
                return console
            if len(self.open) >= CONSOLES:
                raise Closed(wire.FULL)
            console = Console(self.db, self.name, uuid, lambda: self.dial(uuid))
            console.begin()
            self.open[uuid] = console
            return console


_OPENING = threading.Lock()


def main() -> None:
    """Serve until SIGTERM. A broker that is away ends the process: whoever keeps it starts it again."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    config = host.load()
    db = redis.Redis.from_url(
        wire.redis_url(os.environ["FRIDU_BROKER_URL"]), socket_timeout=5, socket_connect_timeout=5
    )
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    signal.signal(signal.SIGINT, lambda *_: ended.set())
    desk = Desk(db, config.name, lambda uuid: Link(config.libvirt, uuid))
    log.info("consoles of %s", config.name)
    try:
        desk.serve(ended)
    finally:
        desk.close()


if __name__ == "__main__":
    main()
