"""The panel's side of open consoles: one thread with an event loop, between websockets and Redis.

A page's request ends once its connection is handed over, so an open console holds none of the threads that serve pages.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import threading
from collections.abc import Awaitable
from typing import Any

import redis.asyncio
import redis.exceptions
from django.conf import settings
from django.db import connections
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import OPEN, Protocol, Side

from dom0 import console_wire as wire
from machines.console import Visit, may_still

VIEWERS = 64  # of one process of the panel
BATCH = 16  # entries sent at once
MESSAGE_BYTES = 16 << 10
SLOW_S = 20.0  # a browser that takes nothing for so long is gone
LEAVES_S = 1.0  # for the page to close its end, so that the last word is read before
LOOKS_MS = 500

log = logging.getLogger("fridu.console")


class Line:
    """A websocket on a connection that is upgraded already. At most one sends at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._protocol = Protocol(Side.SERVER, state=OPEN, max_size=MESSAGE_BYTES)
        self._sending = asyncio.Lock()

    async def send(self, data: bytes) -> None:
        self._protocol.send_binary(data)
        await self._flush()

    async def say(self, **words: Any) -> None:
        self._protocol.send_text(json.dumps(words).encode())
        await self._flush()

    async def ping(self) -> None:
        self._protocol.send_ping(b"")
        await self._flush()

    async def receive(self) -> list[tuple[bool, bytes]]:
        """(is text, content) of the messages that came; raises ConnectionError at the end."""
        data = await self._reader.read(MESSAGE_BYTES)
        if not data:
            raise ConnectionResetError
        self._protocol.receive_data(data)
        await self._flush()
        frames = [event for event in self._protocol.events_received() if isinstance(event, Frame)]
        if self._protocol.close_expected() or any(frame.opcode is Opcode.CLOSE for frame in frames):
            raise ConnectionResetError
        whole = [frame for frame in frames if frame.opcode in (Opcode.TEXT, Opcode.BINARY) and frame.fin]
        return [(frame.opcode is Opcode.TEXT, bytes(frame.data)) for frame in whole]

    async def left(self, within_s: float) -> None:
        """Wait for the other end to close, no longer than that."""
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(within_s):
                while True:
                    await self.receive()

    async def close(self) -> None:
        with contextlib.suppress(Exception):
            self._protocol.send_close(CloseCode.NORMAL_CLOSURE)
            await self._flush()
        self._writer.close()

    async def _flush(self) -> None:
        async with self._sending:
            for data in self._protocol.data_to_send():
                if data:
                    self._writer.write(data)
            async with asyncio.timeout(SLOW_S):
                await self._writer.drain()


class Over(Exception):
    """The console is over, for a reason of dom0.console_wire's."""


class Viewing:
    """One viewer's open console, from its opening to its end."""

    def __init__(self, visit: Visit, line: Line, db: Any) -> None:
        self.visit, self.line, self.db = visit, line, db
        self.run = ""

    async def go(self) -> None:
        try:
            await self._open()
            await _first(self._show(), self._take_in(), self._keep())
        except Over as over:
            await self.line.say(over=str(over))
            await self.line.left(LEAVES_S)
        finally:
            with contextlib.suppress(redis.exceptions.RedisError):
                await self._ask(op="leave")

    async def _ask(self, **fields: Any) -> None:
        key = wire.asked(self.visit.host)
        asked = {"machine": self.visit.uuid, "viewer": self.visit.viewer, **fields}
        pipe = self.db.pipeline()
        pipe.xadd(key, asked, maxlen=wire.ASKED_ENTRIES, approximate=False).expire(key, wire.ASKED_LIVES_S)
        await pipe.execute()

    async def _open(self) -> None:
        """Raises Over."""
        await self._ask(op="open", name=self.visit.name, was=self.visit.was)
        key = wire.answers(self.visit.host, self.visit.viewer)
        got = await self.db.xread({key: "0"}, block=wire.ANSWER_S * 1000)
        if not got:
            raise Over("silent")
        answer = {name.decode(): value.decode() for name, value in got[0][1][0][1].items()}
        await self.db.delete(key)
        if "no" in answer:
            raise Over(answer["no"])
        self.run = answer["run"]
        again = self.run == self.visit.run
        hand = self._hand(answer["hand"], answer["name"])
        await self.line.say(run=self.run, again=again, me=self.visit.viewer, **hand)

    def _hand(self, viewer: str, name: str) -> dict[str, Any]:
        return {"mine": viewer == self.visit.viewer, "who": name}

    async def _show(self) -> None:
        """What was printed, from where this browser stands; what is too old is said to be missing. Raises Over."""
        key = wire.shown(self.visit.host, self.run)
        last = self.visit.after if self.run == self.visit.run else "0"
        printed, replay = -1 if last != "0" else 0, True
        while True:
            # A first look waits for nothing: the browser must learn where what is old ends.
            got = await self.db.xread({key: last}, count=BATCH, block=None if replay else LOOKS_MS)
            entries = got[0][1] if got else []
            if not entries:
                if replay:
                    await self.line.say(live=True)
                    replay = False
                elif not await self.db.exists(key):
                    raise Over("lost")
                continue
            last = entries[-1][0].decode()
            printed = await self._pass_on(entries, printed)
            await self.line.say(at=last)

    async def _pass_on(self, entries: list[tuple[bytes, dict[bytes, bytes]]], printed: int) -> int:
        text = b""
        for _, fields in entries:
            if b"d" in fields:
                begins = int(fields[b"o"])
                if printed >= 0 and begins > printed:
                    await self.line.say(missing=begins - printed)
                text += fields[b"d"]
                printed = begins + len(fields[b"d"])
                continue
            if text:
                await self.line.send(text)
                text = b""
            await self._event({name.decode(): value.decode() for name, value in fields.items()})
        if text:
            await self.line.send(text)
        return printed

    async def _event(self, event: dict[str, str]) -> None:
        if event["e"] == "over":
            raise Over(event["c"])
        if event["e"] == "hand":
            await self.line.say(**self._hand(event["v"], event["n"]))
        elif event["e"] == "deaf":
            await self.line.say(deaf=True)

    async def _take_in(self) -> None:
        while True:
            for is_text, content in await self.line.receive():
                if is_text:
                    if content == b"take":
                        await self._ask(op="take")
                    continue
                for start in range(0, len(content), wire.KEYS_BYTES):
                    await self._ask(op="keys", keys=content[start : start + wire.KEYS_BYTES])

    async def _keep(self) -> None:
        """Say that this viewer is still there, for as long as they may be. Raises Over."""
        while True:
            await asyncio.sleep(wire.KEEP_S)
            if not await asyncio.to_thread(_may_still, self.visit):
                raise Over("denied")
            await self._ask(op="keep")
            await self.line.ping()


def _may_still(visit: Visit) -> bool:
    try:
        return may_still(visit)
    finally:
        connections.close_all()


async def _first(*works: Awaitable[None]) -> None:
    """Until one of them ends or fails; the others are cancelled. Raises what it raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    done.pop().result()


class Hub:
    """The thread and its loop; begun with the first console."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._open: set[asyncio.Task[None]] = set()

    def take(self, sock: socket.socket, visit: Visit) -> None:
        """Serve an upgraded connection from now on; returns at once."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="consoles", daemon=True).start()
        self._loop.call_soon_threadsafe(self._begin, sock, visit)

    def _begin(self, sock: socket.socket, visit: Visit) -> None:
        if len(self._open) >= VIEWERS:
            sock.close()
            return
        task = asyncio.ensure_future(self._serve(sock, visit))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _serve(self, sock: socket.socket, visit: Visit) -> None:
        sock.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=sock, limit=MESSAGE_BYTES)
        line = Line(reader, writer)
        db = redis.asyncio.Redis.from_url(wire.redis_url(settings.CELERY_BROKER_URL), socket_connect_timeout=2)
        try:
            await Viewing(visit, line, db).go()
        except (ConnectionError, TimeoutError):
            pass  # the browser went away
        except redis.exceptions.RedisError:
            log.warning("consoles: the queue does not answer")
        finally:
            await line.close()
            await db.aclose()


hub = Hub()
