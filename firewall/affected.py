"""Whom a change touches: machines, zones and dom0, what newly reaches them and what no longer does. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from firewall.specs import DOM0, INTERNET, VPN, Cell, Restriction, Service, Site
from firewall.words import covers, ends, party, turns


@dataclass(frozen=True, kw_only=True)
class Touched:
    """One machine, zone or dom0 that is reached differently: from whom on what, newly (`gains`) or no longer."""

    name: str
    zone: str = ""
    gains: tuple[str, ...] = ()
    loses: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Mark:
    name: str
    zone: str
    comes: bool
    says: str


def touched(before: Site, after: Site, names: Mapping[str, str]) -> tuple[Touched, ...]:
    """Everybody a change touches, by zone and name. `names` gives machine names by address."""
    marks = [*_services(before, after, names), *_cells(before, after), *_restrictions(before, after)]
    found: dict[tuple[str, str], list[_Mark]] = {}
    for mark in marks:
        found.setdefault((mark.zone, mark.name), []).append(mark)
    return tuple(
        Touched(
            name=name,
            zone=zone,
            gains=tuple(dict.fromkeys(m.says for m in found[zone, name] if m.comes)),
            loses=tuple(dict.fromkeys(m.says for m in found[zone, name] if not m.comes)),
        )
        for zone, name in sorted(found)
    )


def _services(before: Site, after: Site, names: Mapping[str, str]) -> Iterator[_Mark]:
    old, new = ends(before), ends(after)
    for key in sorted(old.keys() | new.keys()):
        was, now = old.get(key), new.get(key)
        if was and now and (was.target, was.target_ports) == (now.target, now.target_ports):
            continue
        if now:
            yield _reached(after, now, names, comes=True)
        if was:
            yield _reached(before, was, names, comes=False)


def _reached(site: Site, service: Service, names: Mapping[str, str], *, comes: bool) -> _Mark:
    says = f"reachable from the Internet on {service.where}"
    if service.target is None:
        return _Mark(name=DOM0, zone="", comes=comes, says=says)
    zone = site.zone_of(service.target)
    name = names.get(service.target, service.target)
    return _Mark(name=name, zone=zone.name if zone else "", comes=comes, says=says)


def _cells(before: Site, after: Site) -> Iterator[_Mark]:
    for source, target in dict.fromkeys((c.source, c.target) for c in (*before.policy, *after.policy)):
        was, now = before.cell(source, target), after.cell(source, target)
        for ports in _open(now) - _open(was):
            yield _policy(source, target, ports, comes=True)
        for ports in _open(was) - _open(now):
            yield _policy(source, target, ports, comes=False)


def _open(cell: Cell) -> set[str]:
    return {"everything"} if cell.everything else {str(ports) for ports in cell.ports}


def _policy(source: str, target: str, ports: str, *, comes: bool) -> _Mark:
    if target in (INTERNET, VPN):
        # What changes for the Internet or the VPN is what its new guest may do there.
        return _Mark(name=source, zone="", comes=comes, says=f"opening {ports} to {party(target)}")
    return _Mark(name=target, zone="", comes=comes, says=f"reachable from {party(source)} on {ports}")


def _restrictions(before: Site, after: Site) -> Iterator[_Mark]:
    for was, now in turns(before, after):
        if was and now:
            yield from _turned(after, was, now)
        elif now:
            yield _restricted(after, now, comes=True)
        elif was:
            yield _restricted(before, was, comes=False)


def _turned(site: Site, was: Restriction, now: Restriction) -> Iterator[_Mark]:
    """One that stops more than it did takes away, one that stops less gives back, but for what it stops still."""
    if not covers(was, now):
        yield _restricted(site, now, comes=True)
    elif not covers(now, was):
        given = _restricted(site, was, comes=False)
        yield replace(given, says=f"{given.says}, but for {now.ports}")


def _restricted(site: Site, restriction: Restriction, *, comes: bool) -> _Mark:
    """A restriction that comes takes away, but for one that lets through."""
    way = "sending" if restriction.direction == "out" else "receiving"
    only = f" ({'to' if way == 'sending' else 'from'} {restriction.address})" if restriction.address else ""
    opens = (restriction.action == "ACCEPT") == comes
    return _Mark(name=site.zone(restriction.zone).name, zone="", comes=opens, says=f"{way} {restriction.ports}{only}")
