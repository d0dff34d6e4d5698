"""External addresses: reported by the host's worker, or put on a card by a job where the host file allows it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from netaddr import AddrFormatError, IPAddress, IPNetwork, IPSet

from accounts.doors import check
from audit.log import Actor, Thing
from dom0.added import Added
from dom0.errors import Refused
from hosts.models import Host, Job
from hosts.services import job_create
from zones.dependents import dependents_of
from zones.models import ExternalAddress, NetworkSeen, Zone

#: "This network", loopback, link-local, multicast and what lies beyond.
NOWHERE = IPSet(["0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3"])


def address_sync(host: Host) -> list[ExternalAddress]:
    """Bring the external addresses in line with what the host's worker reported; returns those made.

    One the host reports no more goes only when nothing uses it: observation never deletes a wish.
    """
    reported = {
        address: nic["name"] for nic in host.facts.get("nics", ()) for address in nic.get("addresses", ()) if address
    }
    reported = {**added_on(host), **reported}
    with transaction.atomic():
        known = {row.address: row for row in ExternalAddress.objects.filter(host=host)}
        for address, row in known.items():
            if address not in reported and not dependents_of(row):
                row.delete()
            elif address in reported and row.nic != reported[address]:
                row.nic = reported[address]
                row.save(update_fields=["nic"])
        new = [a for a in reported if a not in known]
        taken = set(ExternalAddress.objects.filter(address__in=new).values_list("address", flat=True))
        return [
            ExternalAddress.objects.create(host=host, nic=reported[address], address=address)
            for address in new
            if address not in taken
        ]


def added_on(host: Host) -> dict[str, str]:
    """The addresses Fridu put on the host's cards, as last seen: card by address."""
    seen = NetworkSeen.objects.filter(host=host).first()
    return dict(seen.added) if seen else {}


def missing(rows: Iterable[ExternalAddress]) -> set[int]:
    """Ids of the addresses that are not on their card, as last seen; none of a host nobody looked at."""
    links = {seen.host_id: seen.links for seen in NetworkSeen.objects.only("host_id", "links")}
    if not links:
        return set()
    out = set()
    for row in rows:
        found = links.get(row.host_id)
        if found is not None and row.address not in _on(found.get(row.nic, {})):
            out.add(row.pk)
    return out


def may_add(host: Host, nic: str, address: str) -> bool:
    """Whether the host file lets Fridu put `address` on `nic`."""
    cards = {card["name"]: card for card in host.facts.get("nics", ())}
    allowed = cards.get(nic, {}).get("may_add", ())
    return any(IPAddress(address) in IPNetwork(network) for network in allowed)


def address_add(actor: Actor, *, host: Host, nic: str, address: str, reason: str = "", approved: bool = False) -> Job:
    """Ask for the job that puts an address on a card and keeps it there at boot; its row comes with the job's end.

    Raises ValidationError per field (nic, address), Refused, PermissionDenied.
    """
    check(actor, "address.add")
    with transaction.atomic():
        check_address(host, nic, address)
        return _ask(actor, "address.add", host, Added(nic=nic, address=address), reason, approved)


def address_remove(actor: Actor, row: ExternalAddress, *, reason: str = "", approved: bool = False) -> Job:
    """Ask for the job that takes an address of ours off its card. Raises Refused, PermissionDenied."""
    check(actor, "address.remove")
    with transaction.atomic():
        refuse_needed(row)
        return _ask(actor, "address.remove", row.host, Added(nic=row.nic, address=row.address), reason, approved)


def refuse_used(row: ExternalAddress) -> None:
    """Raise Refused, naming them, while zones or services use the address."""
    standing = dependents_of(row)
    if standing:
        names = ", ".join(f"{each.kind} {each.name}" for each in standing[:5])
        raise Refused(f"{row.address} is in use: {names}.", note="Give those another address first.")


def refuse_needed(row: ExternalAddress) -> None:
    """Raise Refused while something uses the address, or where it is not ours to take off."""
    refuse_used(row)
    if row.address not in added_on(row.host):
        raise Refused(
            f"{row.address} stands in {row.host}'s own host file, not among the addresses Fridu put there.",
            note=f"Take it out of [[nic]] {row.nic} in /etc/fridu/host.toml and off the card; it goes here by itself.",
        )


def check_address(host: Host, nic: str, address: str) -> None:
    """Raise ValidationError per field for an address that can't go on that card."""
    cards = {card["name"]: card for card in host.facts.get("nics", ())}
    errors: dict[str, list[str]] = {}
    if nic not in cards:
        there = ", ".join(cards) or "none"
        errors["nic"] = [f"{host} has no card “{nic[:20]}” in its host file. Cards there: {there}."]
    if said := _complaint(host, address):
        errors["address"] = [said]
    if not errors and not may_add(host, nic, address):
        errors["address"] = [by_hand(host, nic, address)]
    if errors:
        raise ValidationError(errors)


def _complaint(host: Host, address: str) -> str:
    try:
        ip = IPAddress(address, version=4)
    except (AddrFormatError, ValueError):
        return f"“{address[:40]}” is not an IPv4 address. One looks like 198.51.100.7."
    if str(ip) != address:
        return f"Write the address as {ip}."
    if ip in NOWHERE:
        return f"{address} is no address of a card towards the Internet. One looks like 198.51.100.7."
    other = ExternalAddress.objects.filter(address=address).select_related("host").first()
    if other is not None and other.host_id != host.pk:
        return f"{address} is on {other.nic} of {other.host}. One address answers on one host alone."
    if other is not None and other.pk not in missing([other]):
        return f"{address} is on {other.nic} of {host} already."
    for zone in Zone.objects.filter(host=host):
        if ip in zone.network:
            return f"{address} lies inside zone {zone.name} ({zone.cidr}). An external address lies outside all zones."
    vpn = host.facts.get("vpn", {}).get("network")
    if vpn and ip in IPNetwork(vpn):
        return f"{address} lies inside the admin VPN ({vpn}). An external address lies outside it."
    return _elsewhere(host, address)


def _elsewhere(host: Host, address: str) -> str:
    """Where the host has it on an interface that is no card of its host file."""
    seen = NetworkSeen.objects.filter(host=host).first()
    cards = {card["name"] for card in host.facts.get("nics", ())}
    for name, link in (seen.links if seen else {}).items():
        if name not in cards and address in _on(link):
            return f"{address} is on {name} of {host}, which is no card of its host file."
    return ""


def by_hand(host: Host, nic: str, address: str) -> str:
    """What an administrator does on dom0 where Fridu may not."""
    card: dict[str, Any] = next((card for card in host.facts.get("nics", ()) if card["name"] == nic), {})
    added, named = Added(nic=nic, address=address), list(card.get("addresses", ()))
    says = f"The host file does not let Fridu put {address} on {nic}. On the host, as root: {added.by_hand}"
    if address in named:
        return f"{says}."
    listed = ", ".join(f'"{each}"' for each in (*named, address))
    return (
        f"{says}, and in /etc/fridu/host.toml under [[nic]] {nic}: addresses = [{listed}]. "
        "Or allow it there: may_add = true."
    )


def _on(link: dict[str, Any]) -> set[str]:
    return {str(text).partition("/")[0] for text in link.get("addresses", ())}


def _ask(actor: Actor, kind: str, host: Host, added: Added, reason: str, approved: bool) -> Job:
    verb, way = ("Put", "on") if kind == "address.add" else ("Take", "off")
    return job_create(
        actor,
        kind,
        host=host,
        title=f"{verb} {added.address} {way} {added.nic}",
        target=Thing(kind="address", id=str(host.pk), text=added.address),
        reason=reason,
        args={"nic": added.nic, "address": added.address},
        approved=approved,
    )


def booked(host: Host, added: Added) -> None:
    """The row of an address that has just been put on its card."""
    with transaction.atomic():
        seen = NetworkSeen.objects.select_for_update().filter(host=host).first()
        if seen is not None:
            seen.added[added.address] = added.nic
            link = seen.links.setdefault(added.nic, {"kind": "", "mac": "", "addresses": []})
            if added.address not in _on(link):
                link["addresses"].append(f"{added.address}/32")
            seen.save(update_fields=["added", "links"])
        ExternalAddress.objects.update_or_create(address=added.address, defaults={"host": host, "nic": added.nic})


def unbooked(host: Host, added: Added) -> None:
    """The row of an address that is off its card goes, where nothing came to use it meanwhile."""
    with transaction.atomic():
        seen = NetworkSeen.objects.select_for_update().filter(host=host).first()
        if seen is not None and seen.added.pop(added.address, None):
            seen.save(update_fields=["added"])
        for row in ExternalAddress.objects.filter(host=host, address=added.address):
            if not dependents_of(row):
                row.delete()
