"""One question to a DNS server: which IPv4 address has this name."""

from __future__ import annotations

import os
import socket
import struct
import time
from ipaddress import IPv4Address


def ask(server: str, name: str, within_s: float) -> str:
    """The address, "" where the server says there is none. Raises OSError where it says nothing in time."""
    number = os.urandom(2)
    query = number + struct.pack("!HHHHH", 0x0100, 1, 0, 0, 0) + _labels(name) + struct.pack("!HH", 1, 1)
    deadline = time.monotonic() + within_s
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.connect((server, 53))
        line.settimeout(within_s)
        line.send(query)
        while time.monotonic() < deadline:
            answer = line.recv(1500)
            if answer[:2] == number:
                return address_in(answer, len(query))
    raise TimeoutError(f"{server} does not answer")


def address_in(answer: bytes, at: int) -> str:
    """The first address of an answer whose question ends at byte `at`; "" for none, or for no answer at all."""
    if len(answer) < 12:
        return ""
    (count,) = struct.unpack_from("!H", answer, 6)
    for _ in range(min(count, 8)):
        at = _past_name(answer, at)
        if at + 10 > len(answer):
            return ""
        kind, _klass, _ttl, length = struct.unpack_from("!HHIH", answer, at)
        if kind == 1 and length == 4 and at + 14 <= len(answer):
            return str(IPv4Address(answer[at + 10 : at + 14]))
        at += 10 + length
    return ""


def _labels(name: str) -> bytes:
    return b"".join(bytes((len(part),)) + part.encode() for part in name.split(".")) + b"\0"


def _past_name(data: bytes, at: int) -> int:
    while at < len(data) and data[at]:
        if data[at] & 0xC0:
            return at + 2
        at += 1 + data[at]
    return at + 1
