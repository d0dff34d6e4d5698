"""Listening on one interface for a moment: ARP and DHCP only, so many frames and so long. The kernel sifts."""

from __future__ import annotations

import ctypes
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from dom0 import frames
from dom0.frames import Frame

FRAMES = 400  # looked at in one go, whatever a guest sends
LENGTH = 700  # bytes of each: ends of long frames say nothing here
CLONE_NEWNET = 0x40000000
_ALL, _OUTGOING = 0x0003, 4
_ATTACH_FILTER = 26
# ARP, or a whole IPv4 datagram from udp 67 or 68: ldh [12]; jeq arp; jeq ip; ldb [23]; jeq udp; ldh [20]; jset; ldxb; …
_PROGRAM = (
    (0x28, 0, 0, 12), (0x15, 9, 0, 0x0806), (0x15, 0, 9, 0x0800), (0x30, 0, 0, 23), (0x15, 0, 7, 17),
    (0x28, 0, 0, 20), (0x45, 5, 0, 0x1FFF), (0xB1, 0, 0, 14), (0x48, 0, 0, 14), (0x15, 1, 0, 67), (0x15, 0, 1, 68),
    (0x06, 0, 0, LENGTH), (0x06, 0, 0, 0),
)  # fmt: skip
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A frame, and where: `sent` by this host (towards a machine, for its interface), or come in."""

    interface: str
    frame: Frame
    sent: bool


class Tap:
    """A packet socket on one interface; `net` is the path of another network namespace it is in.

    Raises OSError where there is no such interface.
    """

    def __init__(self, interface: str, net: str = "") -> None:
        self.interface = interface
        self.socket = _made(net)
        try:
            self._sift()
            self.socket.bind((interface, _ALL))
        except OSError:
            self.socket.close()
            raise

    def _sift(self) -> None:
        code = b"".join(struct.pack("HBBI", *line) for line in _PROGRAM)
        kept = ctypes.create_string_buffer(code)
        head = struct.pack("HL", len(_PROGRAM), ctypes.addressof(kept))
        self.socket.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, head)

    @property
    def mac(self) -> str:
        """The interface's own hardware address."""
        return frames.mac(self.socket.getsockname()[4])

    def send(self, data: bytes) -> None:
        """Raises OSError, of an interface that is down too."""
        self.socket.send(data)

    def __enter__(self) -> Tap:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


def listen(taps: Iterable[Tap], within_s: float, enough: Callable[[list[Seen]], bool]) -> list[Seen]:
    """What the taps see until it is `enough`, the time is up, or there are too many frames."""
    by = {tap.socket.fileno(): tap for tap in taps}
    poll, seen, deadline = select.poll(), list[Seen](), time.monotonic() + within_s
    for handle in by:
        poll.register(handle, select.POLLIN)
    for _ in range(FRAMES):
        left = deadline - time.monotonic()
        if left <= 0 or enough(seen):
            break
        for handle, _event in poll.poll(left * 1000):
            seen.extend(_next(by[handle]))
    return seen


def _next(tap: Tap) -> list[Seen]:
    try:
        data, address = tap.socket.recvfrom(LENGTH, socket.MSG_DONTWAIT)
    except OSError:  # gone, or down since
        return []
    frame = frames.read(data)
    return [Seen(interface=tap.interface, frame=frame, sent=address[2] == _OUTGOING)] if frame else []


def _made(net: str) -> socket.socket:
    """A socket that hears nothing before it is bound; in another namespace by a thread that enters it and ends."""
    if not net:
        return socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    made: list[socket.socket] = []
    failed: list[OSError] = []

    def make() -> None:
        try:
            with open(net, "rb") as handle:
                if _libc.setns(handle.fileno(), CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), net)
                made.append(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return made[0]
