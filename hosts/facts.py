"""What a host's worker reported, as labelled lines for its card."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hosts.models import Host
from ui import words

MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Fact:
    label: str
    text: str
    mono: bool = True


def lines(host: Host) -> list[Fact]:
    """The facts that are there; a worker of another version may report fewer."""
    return [fact for fact in _all(host) if fact.text]


def _all(host: Host) -> Iterator[Fact]:
    facts, figures = host.facts, host.figures
    yield Fact(label="Hypervisor", text=str(facts.get("libvirt", "")))
    for nic in facts.get("nics", ()):
        yield Fact(label=f"NIC {nic['name']}", text=", ".join(nic.get("addresses", ())))
    yield Fact(label="Bridges are called", text=f"{facts['bridge_prefix']}…" if facts.get("bridge_prefix") else "")
    vpn = facts.get("vpn") or {}
    yield Fact(label="Admin VPN", text=" ".join(str(vpn[k]) for k in ("interface", "address", "network") if vpn.get(k)))
    yield Fact(label="Volume groups", text=", ".join(facts.get("volume_groups") or ()))
    yield Fact(label="Panel answers on port", text=str(facts.get("panel_port") or ""))
    yield Fact(label="Operators’ SSH on port", text=str(facts.get("admin_ssh_port") or ""))
    if "free_bytes" in figures:
        yield Fact(label="Free disk", text=words.size(figures["free_bytes"]), mono=False)
    if "free_memory_mib" in figures:
        yield Fact(label="Free memory", text=words.size(figures["free_memory_mib"] * MIB), mono=False)
