"""What a frame on a machine's interface says, as far as diagnosis needs it: ARP and DHCP. Pure.

Guests write these bytes: nothing of them is ever repeated but numbers that were read out of them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

BROADCAST = "ff:ff:ff:ff:ff:ff"
NOTHING = "0.0.0.0"  # noqa: S104 - the address of who has none yet
_ARP, _IPV4, _UDP = 0x0806, 0x0800, 17
_MAGIC = b"\x63\x82\x53\x63"
_DHCP = {1: "DISCOVER", 2: "OFFER", 3: "REQUEST", 4: "DECLINE", 5: "ACK", 6: "NAK", 7: "RELEASE", 8: "INFORM"}


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One frame. `what`: "who-has", "is-at", "DISCOVER", "OFFER", …, or "" for anything else."""

    what: str
    source: str  # the sender's MAC, of the frame itself
    about: str = ""  # the hardware it speaks of: ARP's sender, DHCP's client
    sender: str = ""  # the IPv4 address ARP's sender claims
    address: str = ""  # who is asked for, or what is offered
    xid: int = 0  # DHCP's number of the conversation

    @property
    def text(self) -> str:
        """In one line."""
        if self.what == "who-has":
            return f"{self.about} ({self.sender}) asks who has {self.address}"
        if self.what == "is-at":
            return f"{self.sender} is at {self.about}, says {self.source}"
        about = f" for {self.about}" if self.about != self.source else ""
        return f"DHCP {self.what} from {self.source}{about}" + (
            f": {self.address}" if self.address not in ("", NOTHING) else ""
        )


def read(data: bytes) -> Frame | None:
    """The frame that `data` begins with; None for anything but well-formed ARP and DHCP over Ethernet and IPv4."""
    if len(data) < 14:
        return None
    (kind,) = struct.unpack_from("!H", data, 12)
    if kind == _ARP:
        return _arp(data)
    return _dhcp(data) if kind == _IPV4 else None


def _arp(data: bytes) -> Frame | None:
    if len(data) < 42 or data[14:20] != b"\0\x01\x08\0\x06\x04":
        return None
    (operation,) = struct.unpack_from("!H", data, 20)
    what = {1: "who-has", 2: "is-at"}.get(operation)
    if what is None:
        return None
    sender, target = _ip(data[28:32]), _ip(data[38:42])
    return Frame(what=what, source=mac(data[6:12]), about=mac(data[22:28]), sender=sender, address=target)


def _dhcp(data: bytes) -> Frame | None:
    if len(data) < 34 or data[23] != _UDP or struct.unpack_from("!H", data, 20)[0] & 0x1FFF:
        return None
    boot = 14 + (data[14] & 0xF) * 4 + 8
    if len(data) < boot + 241 or data[boot + 236 : boot + 240] != _MAGIC:
        return None
    ports = struct.unpack_from("!HH", data, boot - 8)
    what = _DHCP.get(_message(data[boot + 240 :]))
    if what is None or not {67, 68}.issuperset(ports):
        return None
    return Frame(
        what=what,
        source=mac(data[6:12]),
        about=mac(data[boot + 28 : boot + 34]),
        address=_ip(data[boot + 16 : boot + 20]),
        xid=struct.unpack_from("!I", data, boot + 4)[0],
    )


def _message(options: bytes) -> int:
    """DHCP's message type, 0 where it has none."""
    at = 0
    while at + 1 < len(options) and options[at] != 255:
        if options[at] == 0:
            at += 1
            continue
        length = options[at + 1]
        if options[at] == 53 and length == 1 and at + 2 < len(options):
            return options[at + 2]
        at += 2 + length
    return 0


def who_has(source: str, sender: str, address: str) -> bytes:
    """The ARP question `sender` (at `source`) asks about `address`."""
    head = _raw(BROADCAST) + _raw(source) + struct.pack("!HHHBBH", _ARP, 1, _IPV4, 6, 4, 1)
    return head + _raw(source) + IPv4Address(sender).packed + bytes(6) + IPv4Address(address).packed


def discover(source: str, xid: int) -> bytes:
    """The DHCPDISCOVER of a client with that MAC."""
    boot = struct.pack("!BBBBIHH", 1, 1, 6, 0, xid, 0, 0x8000) + bytes(16) + _raw(source) + bytes(10 + 192)
    boot += _MAGIC + bytes((53, 1, 1, 55, 2, 1, 3, 255))
    boot += bytes(max(0, 300 - len(boot)))
    udp = struct.pack("!HHHH", 68, 67, 8 + len(boot), 0) + boot  # no checksum: IPv4 allows that
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, _UDP, 0) + bytes(4) + b"\xff" * 4
    ip = ip[:10] + struct.pack("!H", _checksum(ip)) + ip[12:]
    return _raw(BROADCAST) + _raw(source) + struct.pack("!H", _IPV4) + ip + udp


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def mac(raw: bytes) -> str:
    return raw.hex(":")


def _raw(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _ip(raw: bytes) -> str:
    return str(IPv4Address(raw))
