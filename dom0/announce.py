"""Telling a card's neighbours that an address is here now: gratuitous ARP (RFC 5227), as `arping -U` and `-A` send it.

The kernel sends one only where `arp_notify` is set, and only when the card comes up.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from ipaddress import IPv4Address

from dom0.added import Added

ARP = 0x0806
ETHERNET = 1  # ARPHRD_ETHER
REQUEST, REPLY = 1, 2
EVERYBODY = b"\xff" * 6
TYPES = struct.Struct("!HHBBH")  # hardware, protocol, the lengths of their addresses, operation


def announce(added: Added) -> None:
    """Say on the card's link who has the address. Nobody has to hear it: a card without a link is not told of."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as card:
        card.bind((added.nic, ARP))
        _, _, _, kind, mac = card.getsockname()
        if kind != ETHERNET:
            return
        for operation in (REQUEST, REPLY):  # some routers heed only the one, some only the other
            card.send(frame(operation, mac, added.address))


def frame(operation: int, mac: bytes, address: str) -> bytes:
    """A broadcast in which sender and target are the same address."""
    ip = IPv4Address(address).packed
    asked = EVERYBODY if operation == REPLY else bytes(6)
    head = EVERYBODY + mac + struct.pack("!H", ARP)
    return head + TYPES.pack(ETHERNET, 0x0800, 6, 4, operation) + mac + ip + asked + ip
