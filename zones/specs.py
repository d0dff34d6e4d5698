"""A zone as the planner reads it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network

from dom0.bridge import ceilings
from dom0.dnsmasq import Files
from dom0.errors import Refused

_GRAMMAR = {
    "name": re.compile(r"[A-Za-z][A-Za-z0-9-]{0,14}"),
    "bridge": re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,14}"),
    "domain": re.compile(r"([a-z][a-z0-9.-]{0,62})?"),
}


@dataclass(frozen=True, kw_only=True)
class ZoneSpec:
    """One bridge with one subnet; `isolated` means no way out and no names from outside."""

    host: str
    name: str
    bridge: str
    gateway: str  # "10.10.1.1"
    prefix: int
    isolated: bool
    domain: str
    files: Files
    vpn_network: str = ""
    lease_first: str = ""  # of the range for guests nobody entered; "": they get no address
    lease_last: str = ""
    in_kbit: int = 0  # ceiling of what goes to its machines, kbit/s; 0: none
    out_kbit: int = 0  # and of what leaves the zone

    def __post_init__(self) -> None:
        """Raises Refused for what must not become a file's name or a line of one: it is root who writes them."""
        for field, grammar in _GRAMMAR.items():
            if not grammar.fullmatch(found := getattr(self, field)):
                raise Refused(f"{found[:60]!r} is no {field} of a zone.", note="Nothing was changed. Mend the zone.")
        for found in (f"{self.gateway}/{self.prefix}", self.lease_first, self.lease_last):
            try:
                IPv4Interface(found or self.gateway)
            except ValueError as error:
                raise Refused(f"{found[:60]!r} of {self.name} is no address.", note="Mend the zone.") from error

    @property
    def interface(self) -> IPv4Interface:
        return IPv4Interface(f"{self.gateway}/{self.prefix}")

    @property
    def network(self) -> IPv4Network:
        return self.interface.network

    @property
    def ceilings(self) -> str:
        return ceilings(self.in_kbit, self.out_kbit)

    @property
    def members_file(self) -> str:
        """What `ipset restore` reads at boot to make the zone a member again."""
        return f"{self.files.state}/members/zone-{self.name}.ipset"

    @property
    def bridge_file(self) -> str:
        """What `dom0.boot` makes the bridge of."""
        return f"{self.files.state}/zones/{self.name}.json"
