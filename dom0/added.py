"""External addresses Fridu itself puts on a card: what says on dom0 that one is ours. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import IPv4Address

FOLDER = "addresses"


@dataclass(frozen=True, kw_only=True)
class Added:
    """One address of ours: "198.51.100.7" on "eth0"."""

    nic: str
    address: str

    @property
    def text(self) -> str:
        """What is kept for the next boot; `read` is its inverse."""
        return json.dumps({"nic": self.nic, "address": self.address}) + "\n"

    @property
    def by_hand(self) -> str:
        """The command an administrator types on dom0."""
        return f"ip address add {self.address}/32 dev {self.nic}"


def path(state: str, address: str) -> str:
    """The file that says the address is ours and where it belongs."""
    return f"{state}/{FOLDER}/{address}.json"


def read(text: str) -> Added:
    """The address of a kept file. Raises ValueError, KeyError or TypeError where it is none."""
    data = json.loads(text)
    return Added(nic=str(data["nic"]), address=str(IPv4Address(data["address"])))
