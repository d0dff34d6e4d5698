"""A drawing of the network in text, as the original document has them, against the rules made from it. Pure.

"Draw your target network, and build rules from your graphic": where the two differ, one of them is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import AddressValueError, IPv4Address

from firewall.findings import Finding, Severity
from firewall.specs import Site

_BRIDGE = re.compile(r"([A-Za-z][A-Za-z0-9]*-?br[0-9]+)\s*\(([0-9.]{7,15})\)")
_ADDRESS = re.compile(r"(?<![0-9.(=:])(\d{1,3}(?:\.\d{1,3}){3})(?![0-9.])")


def looks_like_one(text: str) -> bool:
    """Whether this is a drawing: bridges with their addresses, and lines."""
    return bool(_BRIDGE.search(text)) and ("---" in text or "|" in text)


def compare(text: str, site: Site) -> tuple[Finding, ...]:
    """What the drawing shows and the rules say otherwise."""
    return tuple(
        Finding(line=line, severity=Severity.WARNING, sentence=sentence)
        for line, raw in enumerate(text.split("\n"), start=1)
        for sentence in (*_bridges(raw, site), *_machines(raw, site))
    )


def _bridges(raw: str, site: Site) -> Iterator[str]:
    for name, address in _BRIDGE.findall(raw):
        here = next((z for z in site.zones if z.bridge == name), None)
        there = next((z for z in site.zones if z.gateway == address), None)
        if there and there.bridge != name:
            yield f"The drawing puts {address} ({there.name}) on {name}, the rules on {there.bridge}."
        elif here and here.gateway != address:
            yield f"{name} has {address} in the drawing, {here.gateway} ({here.name}) in the rules."
        elif not here and not there:
            yield f"{name} with {address} is drawn; no zone of the rules has either."


def _machines(raw: str, site: Site) -> Iterator[str]:
    rest = _BRIDGE.sub("", raw)
    drawn = [text for text in _ADDRESS.findall(rest) if _inside(text)]
    targets = {s.target for s in site.services if s.target}
    for address in drawn:
        zone = site.zone_of(address)
        if zone is None and not (site.vpn and site.vpn.network and _in_vpn(address, site.vpn.network)):
            near = sorted(t for t in targets if t.rsplit(".", 1)[0] != address.rsplit(".", 1)[0])
            led = f" The rules lead to {', '.join(near[:6])}." if near else ""
            yield f"{address} is drawn, but in no zone of the rules.{led}"


def _inside(text: str) -> bool:
    try:
        return IPv4Address(text).is_private
    except AddressValueError:
        return False


def _in_vpn(address: str, network: str) -> bool:
    first, _, length = network.partition("/")
    shift = 32 - int(length or 32)
    return int(IPv4Address(address)) >> shift == int(IPv4Address(first)) >> shift
