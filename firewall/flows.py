"""Which open flows a change cuts: `conntrack -D` for all that is closed, moved or newly published. Pure.

A rule decides about new connections only; without this, what was unpublished goes on talking, and a UDP
sender that was there before its rule stays untranslated for as long as it keeps sending.
"""

from __future__ import annotations

from collections.abc import Iterator

from firewall.specs import DOM0, INTERNET, VPN, Cell, Restriction, Site

Argv = tuple[str, ...]
#: Up to so many ports of a range are named one by one; conntrack knows no ranges.
PORTS_ONE_BY_ONE = 64


def cut(before: Site, after: Site) -> tuple[Argv, ...]:
    """Commands that forget exactly the flows whose treatment changed, each once, in order.

    conntrack ends with code 1 where there was none to forget.
    """
    out: list[Argv] = []
    old, new = _by_end(before), _by_end(after)
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            proto, ip, _, _ = key
            target = old[key][0] if key in old else None
            out += _service(proto, ip, key[2], key[3], target)
    out += [argv for cell in _narrowed(before, after) for argv in _cell(before, cell)]
    for restriction in after.restrictions:
        if restriction not in before.restrictions and restriction.action != "ACCEPT":
            out += _restriction(after, restriction)
    return tuple(dict.fromkeys(("conntrack", "-D", *argv) for argv in out))


End = tuple[str, str, int, int]


def _by_end(site: Site) -> dict[End, tuple[str | None, int]]:
    """Where each published (proto, address, first, last) leads: target and its first port."""
    out: dict[End, tuple[str | None, int]] = {}
    # Machines' services last: DNAT comes before dom0's own.
    for service in sorted(site.services, key=lambda s: s.target is not None):
        for ip in site.addresses_of(service):
            key = (service.proto, ip, service.port_first, service.port_last)
            out[key] = (service.target, service.target_ports.first)
    return out


def _service(proto: str, ip: str, first: int, last: int, target: str | None) -> Iterator[Argv]:
    base = ("-p", proto, "--orig-dst", ip)
    if last - first < PORTS_ONE_BY_ONE:
        yield from ((*base, "--orig-port-dst", str(port)) for port in range(first, last + 1))
    elif target:
        yield (*base, "--reply-src", target)
    else:
        yield base


def _narrowed(before: Site, after: Site) -> Iterator[Cell]:
    for cell in before.policy:
        now = after.cell(cell.source, cell.target)
        gone = tuple(p for p in cell.ports if p not in now.ports)
        if (cell.everything or gone) and not now.everything:
            yield Cell(source=cell.source, target=cell.target, everything=cell.everything, ports=gone)


def _cell(site: Site, cell: Cell) -> Iterator[Argv]:
    source, target = _network(site, cell.source), _network(site, cell.target)
    who = (*(("--orig-src", source) if source else ()), *(("--orig-dst", target) if target else ()))
    if not source and not target:
        return
    if cell.everything:
        yield who
    for ports in cell.ports:
        for port in range(ports.first, min(ports.last, ports.first + PORTS_ONE_BY_ONE) + 1):
            yield ("-p", ports.proto, *who, "--orig-port-dst", str(port))


def _network(site: Site, party: str) -> str:
    if party in (INTERNET, DOM0):
        return ""
    if party == VPN:
        return (site.vpn.network or "") if site.vpn else ""
    return next((z.network for z in site.zones if z.name == party), "")


def _restriction(site: Site, restriction: Restriction) -> Iterator[Argv]:
    """By the port it was sent to, and by the one it arrived at."""
    network, ports = site.zone(restriction.zone).network, restriction.ports
    side = ("--orig-src", network) if restriction.direction == "out" else ("--reply-src", network)
    for port in range(ports.first, min(ports.last, ports.first + PORTS_ONE_BY_ONE) + 1):
        yield ("-p", ports.proto, *side, "--orig-port-dst", str(port))
        yield ("-p", ports.proto, *side, "--reply-port-src", str(port))
