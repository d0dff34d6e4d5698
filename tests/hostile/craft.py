"""Packets nobody honest sends: fragments, IP options, VLAN tags, IPv6, segments from the middle of a stream."""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterator

from tests.host.wire import checksum, mac

EVERYBODY = "ff:ff:ff:ff:ff:ff"
NOP = b"\x01"


def ipv4(
    source: str,
    target: str,
    proto: int,
    body: bytes,
    *,
    options: bytes = b"",
    offset: int = 0,
    more: bool = False,
    ident: int = 1,
    version: int = 4,
    claimed: int = 0,
) -> bytes:
    """An IPv4 packet; `offset` in bytes, `options` a multiple of four, `claimed` a total length that is a lie."""
    words = 5 + len(options) // 4
    size = claimed or 4 * words + len(body)
    fragment = (0x2000 if more else 0) | offset // 8
    head = struct.pack("!BBHHHBBH", version << 4 | words, 0, size, ident, fragment, 64, proto, 0)
    head += socket.inet_aton(source) + socket.inet_aton(target) + options
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body


def udp(sport: int, dport: int, body: bytes) -> bytes:
    """A UDP datagram without checksum, which is legal."""
    return struct.pack("!HHHH", sport, dport, 8 + len(body), 0) + body


def lease_question(chaddr: str, body: bytes) -> bytes:
    """A DHCP message as far as the hardware address it is about, and something behind."""
    return b"\x01\x01\x06\0" + bytes(24) + mac(chaddr) + bytes(10) + body


def tcp(source: str, target: str, sport: int, dport: int, *, flags: int, body: bytes = b"") -> bytes:
    """A TCP segment with some sequence number."""
    bare = struct.pack("!HHIIBBHHH", sport, dport, 0x1000, 0x2000, 5 << 4, flags, 1000, 0, 0) + body
    pseudo = socket.inet_aton(source) + socket.inet_aton(target) + struct.pack("!BBH", 0, 6, len(bare))
    return bare[:16] + struct.pack("!H", checksum(pseudo + bare)) + bare[18:]


SYN, ACK = 0x02, 0x18


def fragments(packet: bytes, first: int, *, ident: int = 77) -> Iterator[bytes]:
    """A packet without options in two fragments; `first` bytes of its content in the first, a multiple of 8."""
    source, target = socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20])
    proto, body = packet[9], packet[20:]
    yield ipv4(source, target, proto, body[:first], more=True, ident=ident)
    yield ipv4(source, target, proto, body[first:], offset=first, ident=ident)


def loose_route(by: str) -> bytes:
    """The option that asks routers to send it on to `by`."""
    return NOP + bytes((131, 7, 4)) + socket.inet_aton(by)


def tagged(number: int, kind: int, body: bytes, *, tag: int = 0x8100) -> tuple[int, bytes]:
    """Ether type and body of a frame with a VLAN tag; `number` 0 is a priority tag, which Linux strips."""
    return tag, struct.pack("!HH", number, kind) + body


def error(source: str, target: str, kind: int, code: int, about: bytes) -> bytes:
    """An ICMP error about a packet."""
    bare = struct.pack("!BBHI", kind, code, 0, 0) + about
    return ipv4(source, target, 1, bare[:2] + struct.pack("!H", checksum(bare)) + bare[4:])


def redirect(source: str, target: str, gateway: str, about: bytes) -> bytes:
    """ICMP: "send what `about` (the packet's head) goes to by `gateway` from now on"."""
    bare = struct.pack("!BBH", 5, 1, 0) + socket.inet_aton(gateway) + about[:28]
    return ipv4(source, target, 1, bare[:2] + struct.pack("!H", checksum(bare)) + bare[4:])


def echo(source: str, target: str, ident: int, *, reply: bool = False) -> bytes:
    """A ping, or the answer to one."""
    bare = struct.pack("!BBHHH", 0 if reply else 8, 0, 0, ident, 1) + b"fridu"
    return ipv4(source, target, 1, bare[:2] + struct.pack("!H", checksum(bare)) + bare[4:])


def router_advertisement(source_mac: str) -> bytes:
    """ "I am your router": IPv6, to all nodes."""
    source, target = link_local(source_mac), ipaddress.IPv6Address("ff02::1").packed
    bare = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + b"\x01\x01" + mac(source_mac)
    pseudo = source + target + struct.pack("!II", len(bare), 58)
    body = bare[:2] + struct.pack("!H", checksum(pseudo + bare)) + bare[4:]
    return struct.pack("!IHBB", 6 << 28, len(body), 58, 255) + source + target + body


def link_local(of: str) -> bytes:
    """The fe80:: address an interface gives itself by its MAC."""
    m = mac(of)
    return b"\xfe\x80" + bytes(6) + bytes((m[0] ^ 2, m[1], m[2], 0xFF, 0xFE, m[3], m[4], m[5]))
