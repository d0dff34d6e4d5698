"""All that can be said of a zone before its host is asked: sentences by field, each with a value that works."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network

from django.core.exceptions import ValidationError
from netaddr import AddrFormatError, IPAddress, IPNetwork, IPSet

from dom0.added import Added
from dom0.state import Route
from hosts.models import Host
from zones import rates, render
from zones.addresses import missing
from zones.models import ExternalAddress, NetworkSeen, Zone

RESERVED = ("internet", "vpn", "dom0", "none")
INSIDE = IPSet(["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"])
BRIDGE = re.compile(r"[A-Za-z0-9-]{1,15}")

Complaint = tuple[str, str]  # field, sentence


def check_zone(zone: Zone) -> None:
    """Everything that can be said before the host is asked. Raises ValidationError per field."""
    errors: dict[str, list[str]] = {}
    try:
        zone.full_clean(validate_constraints=False)
    except ValidationError as error:
        errors = {**error.message_dict}
        errors.pop("bridge", None)  # said below, with a name that would do
    for field, sentence in _complaints(zone):
        errors.setdefault(field, [sentence])
    if "prefix" in errors:
        for field in ("gateway", "lease_first", "lease_last"):
            errors.pop(field, None)  # judged with a subnet nobody means
    if errors:
        raise ValidationError(errors)


def free_gateway(host: Host) -> str:
    """The gateway to offer for the next zone, first of a free /24 in 10.10.0.0/16; "" for none left."""
    vpn = host.facts.get("vpn", {}).get("network")
    taken = IPSet([zone.network for zone in Zone.objects.filter(host=host)] + ([IPNetwork(vpn)] if vpn else []))
    taken |= IPSet([network for _, _, network in _elsewhere(host, "")])
    routes = list(_routes(host, ""))
    subnets = ((n, f"10.10.{n}.0/24") for n in range(1, 255))
    free = (n for n, text in subnets if IPSet([text]).isdisjoint(taken) and not _routed(text, routes))
    return next((f"10.10.{n}.1" for n in free), "")


def _routed(subnet: str, routes: Iterable[Route]) -> bool:
    return any(route.meets(IPv4Network(subnet)) for route in routes)


def free_number(host: Host) -> int:
    """The lowest free number; zones keep theirs, chain names hang on it."""
    taken = set(Zone.objects.filter(host=host).values_list("number", flat=True))
    return next(n for n in range(1, len(taken) + 2) if n not in taken)


def free_bridge(host: Host, number: int) -> str:
    """A bridge name nobody on the host has, as far as was seen."""
    prefix = host.facts.get("bridge_prefix", "xen-br")
    taken = {*Zone.objects.filter(host=host).values_list("bridge", flat=True), *_links(host)}
    return next(name for n in range(number, number + len(taken) + 1) if (name := f"{prefix}{n}") not in taken)


def _complaints(zone: Zone) -> Iterator[Complaint]:
    yield from _name(zone)
    yield from _bridge(zone)
    yield from _external(zone)
    try:
        network = zone.network
    except (AddrFormatError, ValueError):
        return  # full_clean said so, beside the field
    yield from _subnet(zone, network)
    yield from _lease(zone, network)
    for field, rate in (("in_kbit", zone.in_kbit), ("out_kbit", zone.out_kbit)):
        if rate is not None and (said := rates.complaint(rate)):
            yield field, said


def _name(zone: Zone) -> Iterator[Complaint]:
    if zone.name.lower() in RESERVED:
        yield "name", f"{zone.name} means something else in the rules. Use another name, such as zFulup."
    if Zone.objects.filter(host=zone.host, name__iexact=zone.name).exclude(pk=zone.pk).exists():
        yield "name", f"There is a zone {zone.name} already. Use another name."


def _bridge(zone: Zone) -> Iterator[Complaint]:
    prefix = zone.host.facts.get("bridge_prefix", "xen-br")
    free = free_bridge(zone.host, zone.number)
    if not BRIDGE.fullmatch(zone.bridge) or not zone.bridge.startswith(prefix) or zone.bridge == prefix:
        yield "bridge", f"A bridge's name begins with {prefix} and has at most 15 characters, for example {free}."
    other = Zone.objects.filter(host=zone.host, bridge=zone.bridge).exclude(pk=zone.pk).first()
    if other is not None:
        yield "bridge", f"{zone.bridge} is the bridge of {other.name}. Free: {free}."
    link = _links(zone.host).get(zone.bridge)
    if link is not None and link.get("mac") != render.bridge_mac(zone.host.name, zone.name):
        yield (
            "bridge",
            f"{zone.host} has an interface {zone.bridge} already, and it is not {zone.name}'s. It stays as it is; "
            f"free: {free}.",
        )


def _external(zone: Zone) -> Iterator[Complaint]:
    row = zone.external
    if row is None:
        return
    if row.host_id != zone.host_id:
        yield "external", f"{row.address} belongs to {row.host}, not to {zone.host}."
    chosen = not Zone.objects.filter(pk=zone.pk, external=row).exists()  # one that went missing later is told elsewhere
    if chosen and missing([row]):
        on_host = Added(nic=row.nic, address=row.address).by_hand
        yield (
            "external",
            f"{row.address} is not on {row.nic} of {row.host}: nobody would reach what goes out by it. Put it there "
            f"first (External addresses, or as root on the host: {on_host}), or choose another.",
        )


def _subnet(zone: Zone, network: IPNetwork) -> Iterator[Complaint]:
    if network not in INSIDE:
        yield "gateway", f"{zone.cidr} is not a private subnet. Use one such as 10.10.{zone.number}.1 with /24."
    vpn = zone.host.facts.get("vpn", {}).get("network")
    if vpn and _overlap(network, IPNetwork(vpn)):
        yield "gateway", f"{zone.cidr} overlaps the admin VPN ({vpn}). Use another subnet."
    for name, text, there in _elsewhere(zone.host, zone.bridge):
        if _overlap(network, there):
            yield (
                "gateway",
                f"{zone.cidr} overlaps {text} of {name} on {zone.host}; machines could not be told from what is "
                f"there. Use another subnet, for example {free_gateway(zone.host)}/24.",
            )
    for route in _routes(zone.host, zone.bridge):
        if route.meets(IPv4Network(str(network))):
            yield (
                "gateway",
                f"{zone.cidr} overlaps the route {route.text} of {zone.host}; what that leads to would not be reached "
                f"any more. Use another subnet, for example {free_gateway(zone.host)}/24, or take the route away.",
            )
    for row in ExternalAddress.objects.filter(host=zone.host):
        if IPAddress(row.address) in network:
            yield "gateway", f"The external address {row.address} of {row.nic} lies in {zone.cidr}. Use another subnet."


def _lease(zone: Zone, network: IPNetwork) -> Iterator[Complaint]:
    first, last = zone.lease_first, zone.lease_last
    if not first and not last:
        return
    example = f"{network[min(100, network.size // 2)]}-{network[min(150, network.size - 2)]}"
    if not first or not last:
        yield ("lease_last" if first else "lease_first"), f"A range has two ends, for example {example}."
        return
    try:
        ends = IPAddress(first, version=4), IPAddress(last, version=4)
    except (AddrFormatError, ValueError):
        return  # full_clean said so, beside the field
    outside = [end not in network or end in (network.network, network.broadcast) for end in ends]
    for field, end, out in zip(("lease_first", "lease_last"), ends, outside, strict=True):
        if out:
            yield field, f"{end} is no address a guest in {zone.cidr} can have. Use for example {example}."
    if any(outside):
        return
    if ends[0] > ends[1]:
        yield "lease_last", f"{last} comes before {first}. Use for example {example}."
    elif ends[0] <= IPAddress(zone.gateway) <= ends[1]:
        yield "lease_first", f"The range holds the gateway {zone.gateway}. Use for example {example}."


def _overlap(one: IPNetwork, other: IPNetwork) -> bool:
    return one in other or other in one


def _links(host: Host) -> dict[str, dict[str, object]]:
    """What the watcher saw of the host's interfaces; empty before it looked."""
    seen = NetworkSeen.objects.filter(host=host).first()
    return seen.links if seen else {}


def _routes(host: Host, bridge: str) -> Iterator[Route]:
    """The routes the watcher saw, but those over a zone's bridge."""
    seen = NetworkSeen.objects.filter(host=host).first()
    zones = {*Zone.objects.filter(host=host).values_list("bridge", flat=True), bridge}
    for to, way, device in seen.routes if seen else ():
        if device not in zones:
            yield Route(to=to, way=way, device=device)


def _elsewhere(host: Host, bridge: str) -> Iterator[tuple[str, str, IPNetwork]]:
    """Addresses the host itself has on interfaces that are no zone's: name, address, network."""
    zones = {*Zone.objects.filter(host=host).values_list("bridge", flat=True), bridge}
    for name, link in _links(host).items():
        for text in link.get("addresses", ()) if name not in zones else ():  # type: ignore[attr-defined]
            yield name, text, IPNetwork(text).cidr
