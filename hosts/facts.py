"""What a host's worker reported, as labelled lines for its card."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

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
    for name in facts.get("volume_groups") or ():
        yield Fact(label=f"Volume group {name}", text=_room(name, figures.get("places")), mono=False)
    yield Fact(label="Panel answers on port", text=str(facts.get("panel_port") or ""))
    yield Fact(label="Operators’ SSH on port", text=str(facts.get("admin_ssh_port") or ""))
    yield from _used(figures)
    if "free_bytes" in figures:
        yield Fact(label="Free disk", text=words.size(figures["free_bytes"]), mono=False)
    if "free_memory_mib" in figures:
        reserve = facts.get("reserved_memory_mib")
        kept = f", {words.size(reserve * MIB)} kept for the host" if reserve else ""
        yield Fact(label="Free memory", text=f"{words.size(figures['free_memory_mib'] * MIB)}{kept}", mono=False)


def _room(group: str, places: Mapping[str, Any] | None) -> str:
    """What a volume group has left, as the last round found it."""
    if places is None:
        return "not looked at yet"
    if group not in places:
        return "missing"
    return f"{words.size(places[group]['free_bytes'])} free of {words.size(places[group]['size_bytes'])}"


def _used(figures: Mapping[str, Any]) -> Iterator[Fact]:
    """What the host does, and what its machines use together."""
    load, machines = figures.get("load") or {}, figures.get("machines") or {}
    if "load" in load:
        busy = f"{load['busy']:.0%} busy" if "busy" in load else ""
        processors = words.count(int(load["processors"]), "processor")
        said = ", ".join(part for part in (processors, busy, f"load {load['load']:.1f}") if part)
        yield Fact(label="Processors", text=said, mono=False)
        memory = f"{words.size(load['used_mib'] * MIB)} of {words.size(load['memory_mib'] * MIB)}"
        yield Fact(label="Memory in use", text=memory, mono=False)
        yield Fact(label="Up for", text=words.lasting(load["up_s"]), mono=False)
    if machines.get("at"):
        yield Fact(label="Machines running", text=str(machines["running"]), mono=False)
        net = f"{words.rate(machines['net_in'])} in, {words.rate(machines['net_out'])} out"
        disk = f"{words.size(machines['disk_read'])}/s read, {words.size(machines['disk_written'])}/s written"
        yield Fact(label="Their processors", text=f"{machines['cpu'] / 1000:.1f} busy", mono=False)
        yield Fact(label="Their network", text=net, mono=False)
        yield Fact(label="Their disks", text=disk, mono=False)
    names = ", ".join(one["name"] for one in figures.get("unknown", ()))
    yield Fact(label="Not in the panel", text=names, mono=False)
