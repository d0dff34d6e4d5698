"""What a cell of the policy comes to once published services are counted in. Pure.

A closed cell does not keep a zone from a neighbour's published port, and a machine may be published by two zones:
the compiled rules are asked, service by service, whether it is reached from there, and why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network

from firewall.explain import Explainer, Question
from firewall.specs import DOM0, INTERNET, VPN, Service, Site, Zone

MOST = 8


@dataclass(frozen=True, kw_only=True)
class Reached:
    """One published service as seen from the cell's source; `shared`: another zone's address leads there.

    `reaches` None: an operator's own rule decides that only the kernel can judge.
    """

    name: str
    machine: str
    where: str
    reaches: bool | None
    because: str
    shared: str = ""


@dataclass(frozen=True, kw_only=True)
class Effective:
    """The services looked at, and how many more there are."""

    reached: tuple[Reached, ...] = ()
    more: int = 0


def effective(site: Site, source: str, target: str, names: Mapping[str, str]) -> Effective:
    """For a cell whose target is a zone; nothing for any other. `names` gives machine names by address.

    Services of other zones' addresses come first: those are the ones nobody looks for.
    """
    zone = next((z for z in site.zones if z.name == target), None)
    asker = _asker(site, source, names)
    if zone is None or not asker:
        return Effective()
    there = [s for s in site.services if s.target and zone.holds(s.target) and s.external]
    there.sort(key=lambda s: (s.zone == zone.number, s.external, s.port_first))
    explainer = Explainer(site, names)
    shown = tuple(_reached(site, zone, explainer, asker, service, names) for service in there[:MOST])
    return Effective(reached=shown, more=len(there) - len(shown))


def _asker(site: Site, source: str, names: Mapping[str, str]) -> str:
    """Somebody of the source: the party itself, or a machine of the zone (any address of it, where it has none)."""
    if source in (INTERNET, VPN, DOM0):
        return source
    zone = next((z for z in site.zones if z.name == source), None)
    if zone is None:
        return ""
    living = (address for address in names if zone.holds(address))
    free = (str(ip) for ip in IPv4Network(zone.network).hosts() if str(ip) != zone.gateway)
    return next(living, "") or next(free, "")


def _reached(
    site: Site, zone: Zone, explainer: Explainer, asker: str, service: Service, names: Mapping[str, str]
) -> Reached:
    each = service.each[0]
    question = Question(source=asker, target=str(service.external), proto=each.proto, port=service.port_first)
    answer = explainer.ask(question)
    other = next((z.name for z in site.zones if z.number == service.zone and z != zone), "")
    return Reached(
        name=service.name,
        machine=names.get(str(service.target), str(service.target)),
        where=service.where,
        reaches=answer.reaches,
        because=answer.sentence,
        shared=other,
    )
