"""Forgetting flows: the kernel's table read once, and exactly the flows deleted that a filter names.

A filter is written in conntrack's own words, so a line can be tried by hand behind `conntrack -L`; more than
conntrack, it takes a range of ports (`--orig-port-dst 5000-5010`) and exceptions (`… ! -p tcp --orig-port-dst 25`).
Through netlink: one `conntrack -D` reads the whole table and takes about 10 ms, a thousand of them 10 s. IPv4 only;
IPv6 is closed.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from dom0 import runner
from dom0.errors import Refused
from dom0.host import HostConfig

Tuple = tuple[int, int, int, int]  # source, destination, source port, destination port; 0 where there is none

PROTOS = {"tcp": 6, "udp": 17, "icmp": 1}
#: conntrack's option → the tuple it speaks of (original, reply) and the place in it.
ADDRESSES = {"--orig-src": (0, 0), "--orig-dst": (0, 1), "--reply-src": (1, 0), "--reply-dst": (1, 1)}
PORTS = {"--orig-port-src": (0, 2), "--orig-port-dst": (0, 3), "--reply-port-src": (1, 2), "--reply-port-dst": (1, 3)}

NETLINK_NETFILTER = 12
GET, DELETE = 0x0101, 0x0102  # subsystem conntrack
REQUEST, ACK, DUMP = 0x1, 0x4, 0x300
ERROR, DONE = 2, 3
TUPLE_ORIG, TUPLE_REPLY, ID, ZONE = 1, 2, 12, 18
HEAD = struct.Struct("=IHHII")
ATTRIBUTE = struct.Struct("=HH")
FAMILY = struct.pack("=BBH", socket.AF_INET, 0, 0)


@dataclass(frozen=True, slots=True)
class Flow:
    """One IPv4 flow: protocol number, its tuples as they went out and come back, and what deletes it."""

    proto: int
    tuples: tuple[Tuple, Tuple]
    handle: bytes = b""


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which flows: all that is named has to fit, and no exception may."""

    proto: int = 0
    nets: tuple[tuple[int, int, int, int], ...] = ()  # tuple, place, network, mask
    ports: tuple[tuple[int, int, int, int], ...] = ()  # tuple, place, first, last
    unless: tuple[Filter, ...] = ()

    def fits(self, flow: Flow) -> bool:
        if self.proto and flow.proto != self.proto:
            return False
        for side, place, network, mask in self.nets:
            if flow.tuples[side][place] & mask != network:
                return False
        for side, place, first, last in self.ports:
            if not first <= flow.tuples[side][place] <= last:
                return False
        return not any(one.fits(flow) for one in self.unless)


def parse(line: str) -> Filter:
    """A filter from its line. Raises Refused for one that says nothing, or something nobody knows."""
    parts: list[list[str]] = [[]]
    for word in line.split():
        if word == "!":
            parts.append([])
        else:
            parts[-1].append(word)
    first, *unless = (_part(part, line) for part in parts)
    return Filter(proto=first.proto, nets=first.nets, ports=first.ports, unless=tuple(unless))


def _part(words: Sequence[str], line: str) -> Filter:
    if not words or len(words) % 2:
        raise Refused(f"“{line[:100]}” names no flows.", note="Say for example: -p tcp --orig-dst 203.0.113.9")
    proto, nets, ports = 0, [], []
    for option, value in zip(words[::2], words[1::2], strict=True):
        try:
            if option == "-p":
                proto = PROTOS[value]
            elif option in ADDRESSES:
                nets.append((*ADDRESSES[option], *_net(value)))
            else:
                first, _, last = value.partition("-")
                ports.append((*PORTS[option], int(first), int(last or first)))
        except (KeyError, ValueError, OSError) as error:
            raise Refused(f"A filter of flows has no {option} {value[:40]}.", note=f"In: {line[:100]}") from error
    return Filter(proto=proto, nets=tuple(nets), ports=tuple(ports))


@lru_cache(maxsize=4096)
def _net(text: str) -> tuple[int, int]:
    address, _, bits = text.partition("/")
    mask = (0xFFFFFFFF << (32 - int(bits or 32))) & 0xFFFFFFFF
    return struct.unpack("!I", socket.inet_pton(socket.AF_INET, address))[0] & mask, mask


def chosen(flows: Iterable[Flow], filters: Sequence[Filter]) -> Iterator[Flow]:
    """The flows any of the filters fits. One address and port, the usual case, costs a look-up, not a loop."""
    exact: dict[tuple[int, int, int], list[Filter]] = {}
    rest: list[Filter] = []
    for one in filters:
        key = _exact(one)
        if key:
            exact.setdefault(key, []).append(one)
        else:
            rest.append(one)
    for flow in flows:
        near = exact.get((flow.proto, flow.tuples[0][1], flow.tuples[0][3]), ())
        if any(one.fits(flow) for one in near) or any(one.fits(flow) for one in rest):
            yield flow


def _exact(one: Filter) -> tuple[int, int, int] | None:
    places = {(side, place): (low, high) for side, place, low, high in (*one.nets, *one.ports)}
    network, mask = places.get((0, 1), (0, 0))
    first, last = places.get((0, 3), (0, -1))
    return (one.proto, network, first) if one.proto and mask == 0xFFFFFFFF and first == last else None


def forget(lines: Iterable[str]) -> tuple[int, int]:
    """Delete the flows the filters name; how many they were, and of how many. Raises Refused, OSError."""
    filters = [parse(line) for line in lines if line.strip()]
    if not filters:
        return 0, 0
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as link:
        link.settimeout(10)
        link.bind((0, 0))
        found = list(_dump(link))
        gone = sum(_delete(link, number, flow) for number, flow in enumerate(chosen(found, filters), start=2))
    return gone, len(found)


def forget_own() -> int:
    """Delete the flows that end at dom0 itself, those it opened and machines' left alone; how many they were."""
    found = json.loads(runner.run(("ip", "-json", "-4", "address", "show")).stdout or "[]")
    own = {a["local"] for link in found if link for a in link["addr_info"]}
    return forget(f"--reply-src {address}" for address in sorted(own))[0]


def _dump(link: socket.socket) -> Iterator[Flow]:
    link.send(HEAD.pack(HEAD.size + 4, GET, REQUEST | DUMP, 1, 0) + FAMILY)
    while True:
        for kind, body in _messages(link.recv(1 << 17)):
            if kind == DONE:
                return
            if kind == ERROR:
                _raise(body)
            elif (flow := _flow(body[4:])) is not None:
                yield flow


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + HEAD.size <= len(data):
        size, kind, _, _, _ = HEAD.unpack_from(data, at)
        yield kind, data[at + HEAD.size : at + size]
        at += (size + 3) & ~3


def _raise(body: bytes) -> None:
    code = -struct.unpack_from("=i", body)[0]
    if code:
        raise OSError(code, "the kernel's table of flows can't be read")


def _attributes(data: bytes) -> dict[int, bytes]:
    out, at = {}, 0
    while at + 4 <= len(data):
        size, kind = ATTRIBUTE.unpack_from(data, at)
        out[kind & 0x3FFF] = data[at + 4 : at + size]
        at += max((size + 3) & ~3, 4)
    return out


def _flow(body: bytes) -> Flow | None:
    found = _attributes(body)
    if TUPLE_ORIG not in found or TUPLE_REPLY not in found:
        return None
    proto, original = _tuple(found[TUPLE_ORIG])
    _, reply = _tuple(found[TUPLE_REPLY])
    kept = b"".join(_attribute(kind, found[kind]) for kind in (TUPLE_ORIG, ID, ZONE) if kind in found)
    return Flow(proto, (original, reply), kept)


def _tuple(data: bytes) -> tuple[int, Tuple]:
    parts = _attributes(data)
    ends, proto = _attributes(parts.get(1, b"")), _attributes(parts.get(2, b""))
    source, target = (int.from_bytes(ends.get(n, b""), "big") for n in (1, 2))
    sport, dport = (int.from_bytes(proto.get(n, b""), "big") for n in (2, 3))
    return int.from_bytes(proto.get(1, b""), "big"), (source, target, sport, dport)


def _attribute(kind: int, data: bytes) -> bytes:
    nested = 0x8000 if kind == TUPLE_ORIG else 0
    return ATTRIBUTE.pack(4 + len(data), kind | nested) + data + b"\0" * (-len(data) % 4)


def _delete(link: socket.socket, number: int, flow: Flow) -> bool:
    """Whether it was still there."""
    body = FAMILY + flow.handle
    link.send(HEAD.pack(HEAD.size + len(body), DELETE, REQUEST | ACK, number, 0) + body)
    for kind, answer in _messages(link.recv(1 << 14)):
        if kind == ERROR:
            return bool(struct.unpack_from("=i", answer)[0] == 0)
    return False


def flows_forget(config: HostConfig, args: Mapping[str, str], stdin: str) -> str:
    """Forget the flows of the filters on stdin, one a line."""
    gone, all_ = forget(stdin.splitlines())
    return f"{gone} of {all_} flows forgotten"


VERBS: Mapping[str, Callable[[HostConfig, Mapping[str, str], str], str]] = {"flows-forget": flows_forget}
