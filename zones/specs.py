"""A zone as the planner reads it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network

from dom0.bridge import ceilings
from dom0.dnsmasq import Files


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
