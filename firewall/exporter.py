"""A site in the seed's language again; reading the result back gives the same site. Pure.

What the seed's words can't say stands in comment lines the importer understands: `#! Policy …`.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network

from firewall.specs import DOM0, INTERNET, VPN, Cell, Ports, Site

RULE = "# " + "-" * 50


def rule_file(site: Site) -> str:
    """The whole rule file."""
    parts = [
        ("Zones definition", list(_zones(site))),
        ("Application Port & Forwarding (default ACCEPT = none)", list(_services(site))),
        ("Zone Restriction (default input/out ACCEPT all)", list(_restrictions(site))),
        ("Policy between zones, admin VPN and dom0", list(_block(site))),
    ]
    out = [line for title, lines in parts for line in (f"# {title}", RULE, *lines, "")]
    return "\n".join(out)


def _zones(site: Site) -> Iterator[str]:
    for zone in site.zones:
        mask = IPv4Network(zone.network).netmask
        yield (
            f"CreateZone NAME={zone.name} NIC={zone.nic or 'none'} EXT={zone.external or 'none'} "
            f"BR={zone.bridge} INT={zone.gateway} MASK={mask}"
        )


def _services(site: Site) -> Iterator[str]:
    zones = {z.number: z for z in site.zones}
    by_address = {z.external: z for z in reversed(site.zones) if z.external}
    for service in site.services:
        outside = f"{service.proto}:{service.ports.span}"
        if service.target is None:
            yield f"CreateApp NAME={service.name} ZONE=none EXT={outside} INT={service.nic or site.nics[0]}"
            continue
        zone = zones[service.zone] if service.zone in zones else by_address.get(service.external or "")
        name = zone.name if zone else "none"
        inside = f"{service.target}:{service.target_ports.first}"
        yield f"CreateApp NAME={service.name} ZONE={name} EXT={outside} INT={inside}"


def _restrictions(site: Site) -> Iterator[str]:
    for r in site.restrictions:
        only = f" ADDR={r.address}" if r.address else ""
        yield (
            f"TuneZone NAME={r.name} ZONE={site.zone(r.zone).name} DIR={r.direction} "
            f"ACTION={r.action} PORT={_port(r.ports)}{only}"
        )


def _port(ports: Ports) -> str:
    return f"{ports.proto}:{ports.span}"


def _block(site: Site) -> Iterator[str]:
    lines, said = [], []
    for cell in site.policy:
        arguments = list(_arguments(site, cell))
        if arguments:
            lines += [f" DoIt iptables -A {a}" for a in arguments]
        elif not _implied(site, cell):
            said.append(_extension(cell))
    for zone in site.zones:
        if zone.external and not site.cell(zone.name, INTERNET).everything:
            said.append(_extension(site.cell(zone.name, INTERNET)))
    lines += [f" DoIt iptables -A {rule.place} {rule.rule}" for rule in site.custom]
    if lines:
        yield from ('if test "$ACTION" = "start" ; then', *lines, "fi")
    yield from dict.fromkeys(said)


def _implied(site: Site, cell: Cell) -> bool:
    """A zone with an external address reaches the Internet: the seed has no word for it."""
    return cell.everything and cell.target == INTERNET and any(z.name == cell.source for z in site.zones)


def _extension(cell: Cell) -> str:
    what = "all" if cell.everything else ",".join(_port(p) for p in cell.ports) or "none"
    return f"#! Policy FROM={cell.source} TO={cell.target} PORTS={what}"


def _arguments(site: Site, cell: Cell) -> Iterator[str]:
    source, target = _interface(site, cell.source), _interface(site, cell.target)
    if source and target:
        where = f"after-forwarding -i {source} -o {target}"
    elif cell.source == VPN and cell.target == DOM0 and source:
        where = f"after-input -i {source}"
    else:
        return
    if cell.everything:
        yield f"{where} -j ACCEPT"
    for ports in cell.ports:
        span = str(ports.first) if ports.first == ports.last else f"{ports.first}:{ports.last}"
        yield f"{where} -p {ports.proto} --dport {span} -j ACCEPT"


def _interface(site: Site, party: str) -> str:
    if party == VPN:
        return site.vpn.interface if site.vpn else ""
    return next((z.bridge for z in site.zones if z.name == party), "")
