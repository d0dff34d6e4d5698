"""Sockets, servers and raw frames inside network namespaces, from one process.

A thread that has entered a namespace makes the socket; the socket stays there, the thread goes.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import selectors
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
CLONE_NEWNET = 0x40000000
#: How long an answer that must come may take on a busy box, s. Who wants to see that none comes says how long.
PATIENCE_S = 15.0
_libc = ctypes.CDLL(None, use_errno=True)


def inside(ns: str, work: Callable[[], T]) -> T:
    """What `work` gives in the namespace; processes it starts are in there too."""
    out: list[T] = []
    wrong: list[BaseException] = []

    def run() -> None:
        try:
            # A path ("/proc/PID/ns/net") names a namespace that has no name.
            with open(ns if ns.startswith("/") else f"/run/netns/{ns}", "rb") as handle:
                if _libc.setns(handle.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), f"setns {ns}")
            out.append(work())
        except BaseException as error:
            wrong.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if wrong:
        raise wrong[0]
    return out[0]


def ip(*words: str) -> str:
    return subprocess.run(("ip", *words), check=True, capture_output=True, text=True).stdout


def command(ns: str, *argv: str) -> str:
    enter = ("nsenter", f"--net={ns}") if ns.startswith("/") else ("ip", "netns", "exec", ns)
    return subprocess.run((*enter, *argv), check=True, capture_output=True, text=True).stdout


class Server:
    """Answers "NAME peer" on a port, then echoes; remembers what it was sent."""

    def __init__(self, ns: str, name: str, port: int, *, udp: bool = False) -> None:
        self.name, self.udp, self.heard = name, udp, list[bytes]()
        kind = socket.SOCK_DGRAM if udp else socket.SOCK_STREAM
        self.socket = inside(ns, lambda: socket.socket(socket.AF_INET6, kind))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.socket.bind(("::", port))
        if not udp:
            self.socket.listen(200)
        threading.Thread(target=self._answer_udp if udp else self._answer_tcp, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def _answer_udp(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                data, peer = self.socket.recvfrom(2000)
                if peer is None:  # shut down
                    return
                self.heard.append(data)
                with contextlib.suppress(OSError):  # a made-up sender can't be answered; the next one can
                    self.socket.sendto(self._greeting(peer[0]), peer)

    def _answer_tcp(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, peer = self.socket.accept()
                threading.Thread(target=self._talk, args=(connection, peer[0]), daemon=True).start()

    def _talk(self, connection: socket.socket, peer: str) -> None:
        with connection, contextlib.suppress(OSError):
            connection.sendall(self._greeting(peer))
            while data := connection.recv(2000):
                connection.sendall(data)

    def _greeting(self, peer: str) -> bytes:
        return f"{self.name} {peer.removeprefix('::ffff:')}\n".encode()


def connect(ns: str, address: str, port: int, *, timeout_s: float = PATIENCE_S) -> socket.socket:
    """An open TCP connection; OSError where nobody answers in time."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = inside(ns, lambda: socket.socket(family, socket.SOCK_STREAM))
    made.settimeout(timeout_s)
    try:
        # In there: fe80::1%eth0 means that namespace's eth0.
        where = inside(ns, lambda: socket.getaddrinfo(address, port, family, socket.SOCK_STREAM)[0][4])
        made.connect(where)
    except OSError:
        made.close()
        raise
    return made


def answer(ns: str, address: str, port: int, *, udp: bool = False, timeout_s: float = PATIENCE_S) -> str:
    """What a server there says ("NAME peer"); "" where nothing comes back."""
    try:
        if udp:
            with inside(ns, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as made:
                made.settimeout(timeout_s)
                made.sendto(b"hello", (address, port))
                return made.recv(200).decode().strip()
        with connect(ns, address, port, timeout_s=timeout_s) as made:
            return made.recv(200).decode().strip()
    except OSError:
        return ""


def closed(ns: str, address: str, port: int, *, udp: bool = False) -> bool:
    """Whether nothing answers there within a wait that is long beside the microseconds of a veth."""
    return answer(ns, address, port, udp=udp, timeout_s=0.5) == ""


def open_ports(ns: str, address: str, ports: Iterable[int], *, wait_s: float = 1.0) -> set[int]:
    """Which TCP ports accept a connection, all tried at once: until none has answered for `wait_s`."""
    found: set[int] = set()
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as stack:
        for port in ports:
            made = stack.enter_context(inside(ns, lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM)))
            made.setblocking(False)
            made.connect_ex((address, port))
            selector.register(made, selectors.EVENT_WRITE, port)
        while selector.get_map() and (ready := selector.select(wait_s)):
            for key, _ in ready:
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                    found.add(key.data)
                selector.unregister(sock)
    return found


@dataclass(frozen=True)
class Probe:
    """A question to a port: a TCP connection, or a UDP datagram, from a namespace."""

    ns: str
    address: str
    port: int
    udp: bool = False


REFUSED = "refused"


def answers(probes: Iterable[Probe], *, quiet_s: float = 0.5, most_s: float = 6.0) -> dict[Probe, str]:
    """What each is answered, all asked at once: the server's line, REFUSED (RST or ICMP), or "" for silence.

    Silence is what has not answered when nobody has for `quiet_s`.
    """
    told: dict[Probe, str] = dict.fromkeys(probes, "")
    with selectors.EpollSelector() as selector, contextlib.ExitStack() as stack:
        for ns in dict.fromkeys(p.ns for p in told):
            mine = [p for p in told if p.ns == ns]
            for probe, sock in zip(mine, inside(ns, lambda mine=mine: [_opened(p) for p in mine]), strict=True):
                stack.enter_context(sock)
                if sock.connect_ex((probe.address, probe.port)) not in (0, errno.EINPROGRESS):
                    continue  # no route: nothing can come back
                if probe.udp:
                    with contextlib.suppress(OSError):
                        sock.send(b"hello")
                selector.register(sock, selectors.EVENT_READ, probe)
        end = time.monotonic() + most_s
        while selector.get_map() and time.monotonic() < end:
            ready = selector.select(quiet_s)
            if not ready:
                break
            for key, _ in ready:
                assert isinstance(key.fileobj, socket.socket)
                told[key.data] = _heard(key.fileobj)
                selector.unregister(key.fileobj)
    return told


def _opened(probe: Probe) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if probe.udp else socket.SOCK_STREAM)
    sock.setblocking(False)
    return sock


def _heard(sock: socket.socket) -> str:
    try:
        return sock.recv(200).decode().strip() or REFUSED
    except OSError:
        return REFUSED


def echoes(connection: socket.socket, *, timeout_s: float = PATIENCE_S) -> bool:
    """Whether an established connection still carries a line there and back."""
    connection.settimeout(timeout_s)
    word = os.urandom(4).hex().encode()
    try:
        connection.sendall(word)
        seen = b""
        while word not in seen:
            data = connection.recv(200)
            if not data:
                return False
            seen += data
    except OSError:
        return False
    return True


def echoing(connections: Iterable[socket.socket], *, quiet_s: float = 0.5) -> set[socket.socket]:
    """Which of these carry a word there and back, all at once."""
    alive: set[socket.socket] = set()
    word = os.urandom(4).hex().encode()
    with selectors.EpollSelector() as selector:
        for connection in connections:
            connection.setblocking(False)
            with contextlib.suppress(OSError):
                connection.sendall(word)
                selector.register(connection, selectors.EVENT_READ)
        while selector.get_map() and (ready := selector.select(quiet_s)):
            for key, _ in ready:
                assert isinstance(key.fileobj, socket.socket)
                try:
                    data = key.fileobj.recv(2000)
                except OSError:
                    data = b""
                if word in data:
                    alive.add(key.fileobj)
                if word in data or not data:
                    selector.unregister(key.fileobj)
    return alive


def pings(ns: str, address: str, *, timeout_s: float = PATIENCE_S) -> bool:
    made = inside(ns, lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
    with made:
        made.settimeout(timeout_s)
        body = struct.pack("!BBHHH", 8, 0, 0, os.getpid() & 0xFFFF, 1) + b"fridu"
        made.sendto(body[:2] + struct.pack("!H", checksum(body)) + body[4:], (address, 0))
        end = time.monotonic() + timeout_s
        with contextlib.suppress(OSError):
            while time.monotonic() < end:
                data, peer = made.recvfrom(200)
                if peer[0] == address and data[20] == 0:
                    return True
    return False


def pinged(asked: Iterable[tuple[str, str]], *, wait_s: float = 0.5) -> set[tuple[str, str]]:
    """Which of these (namespace, address) answer a ping, all asked at once."""
    wanted = set(asked)
    found: set[tuple[str, str]] = set()
    body = struct.pack("!BBHHH", 8, 0, 0, os.getpid() & 0xFFFF, 1) + b"fridu"
    packet = body[:2] + struct.pack("!H", checksum(body)) + body[4:]
    with selectors.EpollSelector() as selector, contextlib.ExitStack() as stack:
        for ns in sorted({ns for ns, _ in wanted}):
            made = inside(ns, lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
            stack.enter_context(made).setblocking(False)
            selector.register(made, selectors.EVENT_READ, ns)
            for _, address in sorted(pair for pair in wanted if pair[0] == ns):
                with contextlib.suppress(OSError):
                    made.sendto(packet, (address, 0))
        while found != wanted and (ready := selector.select(wait_s)):
            for key, _ in ready:
                assert isinstance(key.fileobj, socket.socket)
                with contextlib.suppress(BlockingIOError):
                    data, peer = key.fileobj.recvfrom(200)
                    if data[20] == 0:
                        found.add((key.data, peer[0]))
    return found & wanted


# frames


def checksum(data: bytes) -> int:
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def ether(to: str, of: str, kind: int, body: bytes) -> bytes:
    return mac(to) + mac(of) + struct.pack("!H", kind) + body


def udp_packet(source: str, target: str, sport: int, dport: int, body: bytes) -> bytes:
    """An IPv4 packet with UDP in it (UDP checksum left out, which is legal)."""
    udp = struct.pack("!HHHH", sport, dport, 8 + len(body), 0) + body
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0)
    ends = socket.inet_aton(source) + socket.inet_aton(target)
    return head[:10] + struct.pack("!H", checksum(head + ends)) + ends + udp


def arp_reply(sender_mac: str, sender_ip: str, target_mac: str, target_ip: str) -> bytes:
    return (
        struct.pack("!HHBBH", 1, 0x0800, 6, 4, 2)
        + mac(sender_mac)
        + socket.inet_aton(sender_ip)
        + mac(target_mac)
        + socket.inet_aton(target_ip)
    )


def send_frame(ns: str, interface: str, frame: bytes) -> None:
    with inside(ns, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)) as made:
        made.bind((interface, 0))
        made.send(frame)


@contextlib.contextmanager
def sniffing(ns: str, interface: str) -> Iterator[Callable[[bytes], bool]]:
    """Gives `saw(part, …)`: whether a frame with these bytes came in, waiting a moment for it."""
    made = inside(ns, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003)))
    frames: list[bytes] = []

    def saw(part: bytes, wait_s: float = 0.4) -> bool:
        end = time.monotonic() + wait_s
        while True:
            if any(part in frame for frame in frames):
                return True
            left = end - time.monotonic()
            if left <= 0:
                return False
            made.settimeout(left)
            with contextlib.suppress(OSError):
                data, source = made.recvfrom(2000)
                if source[2] != socket.PACKET_OUTGOING:
                    frames.append(data)

    with made:
        made.bind((interface, 0x0003))
        yield saw
