"""What a compiled rule is, and its matches in the words iptables-save prints. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from firewall.specs import PING, Cell, Ports


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule: `args` follow `-A chain`; `about` names the object that asks for it ("" = the layout)."""

    chain: str
    args: str
    about: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table's own chains in their order, policies of built-in chains, and the rules in their order."""

    name: str
    chains: tuple[str, ...]
    rules: tuple[Rule, ...]
    policies: tuple[tuple[str, str], ...] = ()


ECHO = "-p icmp -m icmp --icmp-type 8"


def match(ports: Ports) -> str:
    """Destination ports of one protocol (`Ports.each`), or a ping."""
    if ports == PING:
        return ECHO
    return f"-p {ports.proto} -m {ports.proto} --dport {span(ports)}"


def sent_to(ports: Ports) -> str:
    """The ports a packet was sent to, wherever DNAT has led it since."""
    return f"-p {ports.proto} -m conntrack --ctorigdstport {span(ports)}"


def span(ports: Ports) -> str:
    return str(ports.first) if ports.first == ports.last else f"{ports.first}:{ports.last}"


def accept(chain: str, where: str, cell: Cell) -> Iterator[Rule]:
    """What a policy cell opens, for packets that match `where` (with a space at its end)."""
    if cell.everything:
        yield Rule(chain=chain, args=f"{where}-j ACCEPT", about=policy_name(cell))
        return
    for ports in cell.ports:
        for each in ports.each:
            yield Rule(chain=chain, args=f"{where}{match(each)} -j ACCEPT", about=policy_name(cell))


def policy_name(cell: Cell) -> str:
    return f"policy {cell.source} → {cell.target}"
