"""Which addresses of a zone a machine may have, and what hangs on an address."""

from __future__ import annotations

from collections.abc import Iterator

from netaddr import AddrFormatError, IPAddress

from hosts.models import Host
from machines import changing, following, strangers
from machines.models import Expected, Machine
from zones.models import Zone

MAC_PREFIX = "aa:bb"
VIF_PREFIX = "fr"


def free_addresses(zone: Zone, limit: int, *, near: str = "") -> list[str]:
    """At most `limit` free addresses of the zone: its lowest ones, or those after (else before) `near`."""
    if not near:
        return [text for _, text in zip(range(limit), _free(zone, 1, 1), strict=False)]
    at = int(IPAddress(near)) - int(zone.network.first)
    after = [text for _, text in zip(range(limit), _free(zone, at + 1, 1), strict=False)]
    return after or [text for _, text in zip(range(limit), _free(zone, at - 1, -1), strict=False)]


def complaint(zone: Zone, address: str, *, name: str = "", mine: Machine | None = None, back: bool = False) -> str:
    """Why a machine can't have `address` in `zone`, with one that works; "" where it can.

    An address kept for a machine of a former box is free for one called `name` as that one. `mine`: the machine that
    is to move there, and with `back` did live there.
    """
    example = next(iter(free_addresses(zone, 1)), "")
    works = f"Free there: {example}." if example else f"{zone.name} is full; choose another zone."
    try:
        wanted = IPAddress(address, version=4)
    except (AddrFormatError, ValueError):
        return f"“{address[:40]}” is not an address. {works}"
    if wanted not in zone.network:
        return f"{address} is not in zone {zone.name} ({zone.cidr}). {works}"
    near = next(iter(free_addresses(zone, 1, near=str(wanted))), "")
    beside = f"Free and next to it: {near}." if near else f"{zone.name} is full; choose another zone."
    if str(wanted) == zone.gateway:
        return f"{address} is {zone.name}'s gateway, dom0 itself. {beside}"
    if wanted in (zone.network.network, zone.network.broadcast):
        return f"{address} stands for all of {zone.name} ({zone.cidr}), not for one machine. {beside}"
    holder = Machine.objects.filter(host=zone.host_id, address=str(wanted)).first()
    if holder and holder != mine:
        return f"{holder.name} has {address} already. {beside}"
    stranger = strangers.addresses(zone.host).get(str(wanted))
    if stranger and stranger != name and not holder:
        return f"{stranger}, which the panel does not know, has {address} on {zone.host}. {beside}"
    promised = changing.kept(zone.host, "address", but=mine.pk if mine else None).get(str(wanted))
    if promised:
        return f"A job of {promised} still needs {address}. {beside}"
    if str(wanted) in following.held(zone.host) and not back and not holder:
        return f"What is published still leads to {address}, until somebody applies the firewall. {beside}"
    kept = Expected.objects.filter(host=zone.host_id, address=str(wanted)).first()
    if kept and kept.name.lower() != name.lower():
        return f"{address} is kept for {kept.name} of the former box. {beside}"
    return ""


def mac_of(address: str) -> str:
    """The MAC of a machine at that address.

    Made of the address, so that a machine made anew at it fits the lease dnsmasq still holds for the former one.
    """
    return ":".join((MAC_PREFIX, *(f"{byte:02x}" for byte in IPAddress(address).packed)))


def vif_of(address: str, prefix: str = VIF_PREFIX) -> str:
    """The name of its interface on dom0, at most 15 characters; never "vif…", which libxl drops silently."""
    return f"{prefix}{IPAddress(address).packed.hex()}"


def drawn(host: Host, address: str) -> tuple[str, str]:
    """MAC and vif of a new machine at that address.

    A machine whose zone was moved keeps both, so another may have those of the address: then the next ones are free.
    One that follows a machine of the former box takes that one's over.
    """
    prefix = host.facts.get("vif_prefix", VIF_PREFIX)
    mine = Expected.objects.filter(host=host, address=address).first()
    if mine and mine.mac:
        return mine.mac, mine.vif
    taken = {text for pair in Machine.objects.filter(host=host).values_list("mac", "vif") for text in pair}
    kept = Expected.objects.filter(host=host).exclude(address=address)
    taken |= {text for pair in kept.values_list("mac", "vif") for text in pair}
    taken |= strangers.cards(host)
    mac, vif = mac_of(address), vif_of(address, prefix)
    for n in range(0xBB, 0x100):
        found = f"aa:{n:02x}{mac[5:]}", vif if n == 0xBB else f"{vif}{n:x}"
        if not taken & set(found):
            return found
    return mac, vif


def _free(zone: Zone, start: int, step: int) -> Iterator[str]:
    taken = {int(IPAddress(a)) for a in Machine.objects.filter(host=zone.host_id).values_list("address", flat=True)}
    taken |= {int(IPAddress(a)) for a in Expected.objects.filter(host=zone.host_id).values_list("address", flat=True)}
    kept = {*changing.kept(zone.host, "address"), *following.held(zone.host), *strangers.addresses(zone.host)}
    taken |= {int(IPAddress(address)) for address in kept}
    taken.add(int(IPAddress(zone.gateway)))
    if zone.lease_first and zone.lease_last:
        # A guest nobody entered may have one of these.
        taken.update(range(int(IPAddress(zone.lease_first)), int(IPAddress(zone.lease_last)) + 1))
    first, size = int(zone.network.first), int(zone.network.size)
    offsets = range(max(start, 1), size - 1) if step > 0 else range(min(start, size - 2), 0, -1)
    return (str(IPAddress(first + n)) for n in offsets if first + n not in taken)
