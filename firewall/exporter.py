"""A site in the seed's language again; reading the result back gives the same site. Pure.

What the seed's words can't say stands in comments the old script passes over and the importer understands:
`;#! KEY=VALUE` at the end of a line that says as much as the seed can, a whole `#! …` line where the seed could
only say something wider than what is meant. Zones get their numbers anew when the file is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Network

from firewall import customs
from firewall.specs import BOTH, DOM0, INTERNET, PING, PROTOS, VPN, Address, Cell, CustomRule, Ports, Service, Site

RULE = "# " + "-" * 50


def rule_file(site: Site, *, until: Mapping[CustomRule, str] | None = None, review: Iterable[str] = ()) -> str:
    """The whole rule file.

    `until` says when own rules expire (ISO 8601), `review` are lines of an imported file nobody has dealt with yet.
    """
    parts = [
        ("Zones definition", list(_zones(site))),
        ("Application Port & Forwarding (default ACCEPT = none)", list(_services(site))),
        ("Zone Restriction (default input/out ACCEPT all)", list(_restrictions(site))),
        ("Policy between zones, admin VPN and dom0", list(_block(site, until or {}))),
        ("Needs review: lines of an imported file that were not taken over", [f"#! Review {_line(r)}" for r in review]),
    ]
    parts = [part for part in parts if part[1] or not part[0].startswith("Needs")]
    out = [line for title, lines in parts for line in (f"# {title}", RULE, *lines, "")]
    if any("#!" in line for line in out):
        out = [
            "# Where #! stands, the seed's words don't suffice: Fridu reads on, the old script passes over it.",
            *out,
        ]
    return "\n".join(out)


def _line(text: str) -> str:
    return " ".join(text.split())


def _zones(site: Site) -> Iterator[str]:
    named = tuple(dict.fromkeys(Address(ip=z.external, nic=z.nic) for z in site.zones if z.external and z.nic))
    if named != site.addresses:
        yield from (f"#! Address NIC={a.nic} EXT={a.ip}" for a in site.addresses)
    for zone in site.zones:
        mask = IPv4Network(zone.network).netmask
        yield (
            f"CreateZone NAME={zone.name} NIC={zone.nic or 'none'} EXT={zone.external or 'none'} "
            f"BR={zone.bridge} INT={zone.gateway} MASK={mask}"
        )


def _services(site: Site) -> Iterator[str]:
    names = {service.name for service in site.services}
    for service in site.services:
        if service.proto != BOTH:
            yield _service(site, service, service.name, "")
            continue
        for half in service.each:
            # The old script takes a name once.
            name = _free(f"{service.name}_{half.proto}", names)
            names.add(name)
            yield _service(site, half, name, f"BOTH={service.name}")


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _service(site: Site, service: Service, name: str, marks: str) -> str:
    outside = f"{service.proto}:{service.ports.span}"
    if service.target is None:
        return _own(site, service, f"CreateApp NAME={name} ZONE=none EXT={outside}", marks)
    zone = next((z for z in site.zones if z.number == service.zone), None)
    start = f"CreateApp NAME={name} ZONE={zone.name if zone else 'none'} EXT={outside}"
    line = f"{start} INT={service.target}:{service.target_ports.first}"
    if zone and zone.external == service.external:
        return _marked(line, marks)
    # On another address than its zone's: the seed would publish it on that one.
    return f"#! {_marked(line, f'ON={service.external} {marks}'.strip())}"


def _own(site: Site, service: Service, start: str, marks: str) -> str:
    card = service.nic or next(iter(site.nics), "none")
    if service.external:
        # The seed opens a port of dom0 on a whole card.
        return f"#! {_marked(f'{start} INT={card}', f'ON={service.external} {marks}'.strip())}"
    return _marked(f"{start} INT={card}", marks if service.nic else f"CARD=any {marks}".strip())


def _marked(line: str, marks: str, comment: str = "") -> str:
    said = f" # {comment}" if comment else ""
    return f"{line} ;#! {marks}{said}" if marks else line + said


def _restrictions(site: Site) -> Iterator[str]:
    names = {r.name for r in site.restrictions}
    for r in site.restrictions:
        for half in r.ports.each:
            name, marks = r.name, ""
            if r.ports.proto == BOTH:
                name, marks = _free(f"{r.name}_{half.proto}", names), f"BOTH={r.name}"
                names.add(name)
            line = (
                f"TuneZone NAME={name} ZONE={site.zone(r.zone).name} DIR={r.direction} "
                f"ACTION={r.action} PORT={_port(half)}"
            )
            # Without the address the seed would restrict everybody.
            yield f"#! {_marked(line, f'ADDR={r.address} {marks}'.strip())}" if r.address else _marked(line, marks)


def _port(ports: Ports) -> str:
    return "icmp" if ports == PING else f"{ports.proto}:{ports.span}"


def _block(site: Site, until: Mapping[CustomRule, str]) -> Iterator[str]:
    lines, said = [], []
    for cell in site.policy:
        arguments = list(_arguments(site, cell))
        if arguments:
            lines += [f" DoIt iptables -A {a}" for a in arguments]
        elif not _implied(site, cell) and (cell.everything or cell.ports):
            said.append(_extension(cell))
    for zone in site.zones:
        if zone.external and not site.cell(zone.name, INTERNET).everything:
            said.append(_extension(site.cell(zone.name, INTERNET)))
    lines += [_custom(site, rule, until.get(rule, "")) for rule in site.custom]
    if lines:
        yield from ('if test "$ACTION" = "start" ; then', *lines, "fi")
    yield from dict.fromkeys(said)


def _custom(site: Site, rule: CustomRule, until: str) -> str:
    marks = ["OWN=yes"] if customs.is_policy(site, rule) else []
    marks += [f"UNTIL={until}"] if until else []
    reason = _line(rule.reason)
    # A reason that begins like marks stands behind empty ones.
    line = f" DoIt iptables -A {rule.place} {rule.rule}"
    return f"{line} ;#! # {reason}" if reason.startswith("!") and not marks else _marked(line, " ".join(marks), reason)


def _implied(site: Site, cell: Cell) -> bool:
    """A zone with an external address reaches the Internet: the seed has no word for it."""
    return cell.everything and cell.target == INTERNET and any(z.name == cell.source and z.external for z in site.zones)


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
        return
    for ports in cell.ports:
        if ports == PING:
            yield f"{where} -p icmp --icmp-type 8 -j ACCEPT"
            continue
        span = str(ports.first) if ports.first == ports.last else f"{ports.first}:{ports.last}"
        mark = " ;#! BOTH=yes" if ports.proto == BOTH else ""
        for proto in PROTOS if ports.proto == BOTH else (ports.proto,):
            yield f"{where} -p {proto} --dport {span} -j ACCEPT{mark}"


def _interface(site: Site, party: str) -> str:
    if party == VPN:
        return site.vpn.interface if site.vpn else ""
    return next((z.bridge for z in site.zones if z.name == party), "")
