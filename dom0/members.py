"""Membership: which subnet sits on which bridge, which vif has which MAC and address.

Pure. Zone and machine jobs add single elements to these sets before start and remove them after
deletion; the firewall's policy only names the sets and never fills, flushes or rolls them back.
Every command is safe to repeat unless it says otherwise.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

#: ipset hash:net,iface: the subnet that may speak on a bridge.
ZNET = "fr-znet"
#: ipset hash:net: subnets nobody outside may speak from or to.
INSIDE = "fr-inside"
#: nft table of family bridge and its set of (vif, MAC, IPv4 address).
TABLE = "fridu"
VIFS = "members"
#: Mark of a frame the bridge table found to come from its own machine.
KNOWN = 0x40000000

#: A question for a lease, as an iptables match: from a client's port, and about the very hardware the frame is from.
#: dnsmasq believes the address in the question: else a machine declines or returns a neighbour's lease (measured:
#: the neighbour gets no offer for ten minutes). The bytecode compares BOOTP's chaddr with the frame's sender:
#: ldx 4*([0]&15); ld [x+36]; st 0; ldh [x+40]; st 1; ld [LL+6]; ldx 0; jne; ldh [LL+10]; ldx 1; jne; ret all.
OWN_LEASE = (
    '-p udp -m udp --sport 68 --dport 67 -m bpf --bytecode "13,177 0 0 0,64 0 0 36,2 0 0 0,72 0 0 40,2 0 0 1,'
    '32 0 0 4292870150,97 0 0 0,29 0 4 0,40 0 0 4292870154,97 0 0 1,29 0 1 0,6 0 0 65535,6 0 0 0"'
)

#: A machine's DHCP question and its ARP probe come from nowhere.
NOWHERE = "0.0.0.0"  # noqa: S104
#: Keys by which a plan asks for every element of a set (`dom0.network.found_members`).
EVERY_NET, EVERY_INSIDE, EVERY_VIF = f"{ZNET} *", f"{INSIDE} *", f"{VIFS} *"
LOOPBACK = "127.0.0.0/8"

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,14}")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_IP = re.compile(r"\d{1,3}(\.\d{1,3}){3}(/\d{1,2})?")

Argv = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Member:
    """One element of one set, in the words of the tool that owns the set."""

    set: str
    element: str

    @property
    def key(self) -> str:
        """How the observed state names it: "fr-znet 10.10.1.0/24,xen-br1"."""
        return f"{self.set} {self.element}"

    @property
    def add(self) -> Argv:
        if self.set == VIFS:
            return ("nft", "add", "element", "bridge", TABLE, VIFS, f"{{ {self.element} }}")
        return ("ipset", "add", self.set, self.element, "-exist")

    @property
    def remove(self) -> Argv:
        """The command that takes it out; nft's ends with code 1 where it is not there."""
        if self.set == VIFS:
            return ("nft", "delete", "element", "bridge", TABLE, VIFS, f"{{ {self.element} }}")
        return ("ipset", "del", self.set, self.element, "-exist")


def create_sets() -> tuple[Argv, ...]:
    """Commands that make the empty sets; they change nothing where the sets exist."""
    kind = "type ifname . ether_addr . ipv4_addr;"
    return (
        ("ipset", "create", ZNET, "hash:net,iface", "-exist"),
        ("ipset", "create", INSIDE, "hash:net", "-exist"),
        ("nft", f"add table bridge {TABLE}; add set bridge {TABLE} {VIFS} {{ {kind} }}"),
    )


def host_members(vpn_network: str = "") -> tuple[Member, ...]:
    """What is inside on every host: loopback, and the admin VPN's network where there is one."""
    networks = (LOOPBACK, *((vpn_network,) if vpn_network else ()))
    return tuple(Member(set=INSIDE, element=_checked(_IP, n, "a network")) for n in networks)


def zone_members(bridge: str, network: str) -> tuple[Member, ...]:
    """The elements of one zone.

    Raises ValueError for a bridge or network that is none.
    """
    _checked(_NAME, bridge, "a bridge")
    _checked(_IP, network, "a network")
    return (Member(set=ZNET, element=f"{network},{bridge}"), Member(set=INSIDE, element=network))


def machine_member(vif: str, mac: str, ip: str) -> tuple[Member, ...]:
    """The elements of one machine: its address, and "nowhere" for its DHCP question.

    Raises ValueError for a vif, MAC or address that is none.
    """
    _checked(_NAME, vif, "an interface")
    _checked(_MAC, mac.lower(), "a MAC")
    _checked(_IP, ip, "an address")
    return tuple(Member(set=VIFS, element=f'"{vif}" . {mac.lower()} . {each}') for each in (ip, NOWHERE))


def of_bridge(keys: Iterable[str], bridge: str) -> tuple[Member, ...]:
    """The elements among the observed `keys` that say a subnet sits on `bridge`."""
    heads = tuple(key.removeprefix(f"{ZNET} ") for key in keys if key.startswith(f"{ZNET} "))
    return tuple(Member(set=ZNET, element=head) for head in heads if head.endswith(f",{bridge}"))


def of_vif(keys: Iterable[str], vif: str) -> tuple[Member, ...]:
    """The elements among the observed `keys` that say which MAC and address a vif has."""
    heads = tuple(key.removeprefix(f"{VIFS} ") for key in keys if key.startswith(f'{VIFS} "{vif}" . '))
    return tuple(Member(set=VIFS, element=head) for head in heads)


def boot_files(members: Iterable[Member]) -> tuple[str, str]:
    """Text for `ipset restore` and for `nft -f` that makes the sets and fills them, e.g. at boot."""
    wanted = sorted(members, key=lambda m: m.key)
    ipset = [f"create {ZNET} hash:net,iface -exist", f"create {INSIDE} hash:net -exist"]
    ipset += [f"add {m.set} {m.element} -exist" for m in wanted if m.set != VIFS]
    nft = [f"add table bridge {TABLE}"]
    nft.append(f"add set bridge {TABLE} {VIFS} {{ type ifname . ether_addr . ipv4_addr; }}")
    nft += [f"add element bridge {TABLE} {VIFS} {{ {m.element} }}" for m in wanted if m.set == VIFS]
    return "\n".join(ipset) + "\n", "\n".join(nft) + "\n"


def found_in_ipset(save: str) -> tuple[str, ...]:
    """Keys of the elements in the output of `ipset save`."""
    out = []
    for line in save.splitlines():
        words = line.split()
        if len(words) >= 3 and words[0] == "add" and words[1] in (ZNET, INSIDE):
            out.append(f"{words[1]} {words[2]}")
    return tuple(out)


def found_in_nft(text: str) -> tuple[str, ...]:
    """Keys of the elements in the output of `nft -j list set bridge fridu members`."""
    elements: list[Any] = []
    for entry in json.loads(text or "{}").get("nftables", ()):
        elements += entry.get("set", {}).get("elem", ())
    triples = [e["concat"] for e in elements if isinstance(e, dict) and "concat" in e]
    return tuple(f'{VIFS} "{vif}" . {mac} . {ip}' for vif, mac, ip in triples)


def _checked(pattern: re.Pattern[str], text: str, what: str) -> str:
    if not pattern.fullmatch(text):
        raise ValueError(f"{text!r} is not {what}")
    return text
