"""A site's objects as ordered rules: which table, which chain, which words, because of which object.

Pure. The layout is one that held against packets: own `fr-*` chains only; publication lives in the nat
table alone and filter accepts what was published by `ctstate DNAT`, so no moment of an apply is half open.
Arguments are written the way iptables-save prints them: what is live can be compared as text.
Where subnets sit is membership (`dom0.members`): the rules here only name its sets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dom0.members import INSIDE, ZNET
from firewall.specs import DOM0, INTERNET, PLACES, VPN, Cell, Ports, Restriction, Service, Site, Zone

#: Open connections one machine may hold through or to dom0: it can't fill the table of all.
CONNECTIONS_PER_MACHINE = 2000
#: Above so many services, an address gets one chain per 64 ports: the last stays as near as the first.
BUCKET_ABOVE = 300
#: Mark of a frame the bridge table found to come from its own machine.
KNOWN = 0x40000000
PING = "-p icmp -m icmp --icmp-type 8"
PING_LIMIT = "-m limit --limit 20/sec --limit-burst 40"
CONNLIMIT = f"-m connlimit --connlimit-above {CONNECTIONS_PER_MACHINE} --connlimit-mask 32 --connlimit-saddr -j DROP"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule: `args` follow `-A chain`; `about` names the object that asks for it ("" = the layout)."""

    chain: str
    args: str
    about: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table's own chains in their order, policies of built-in chains, and the rules in their order."""

    name: str
    chains: tuple[str, ...]
    rules: tuple[Rule, ...]
    policies: tuple[tuple[str, str], ...] = ()


def tables(site: Site) -> tuple[Table, ...]:
    """The IPv4 tables in the order they are applied: raw, filter, nat.

    If a later one fails, the worst is a new denial beside an old publication, never the reverse.
    """
    return (_raw(site), _filter(site), _nat(site))


def published(site: Site) -> tuple[Service, ...]:
    """Services that lead to a machine, ordered by address, protocol and port."""
    out = [s for s in site.services if s.target is not None]
    return tuple(sorted(out, key=lambda s: (_numeric(s.external or ""), s.proto, s.port_first)))


def dom0_services(site: Site) -> tuple[Service, ...]:
    """dom0's own services, ordered by card, address, protocol and port."""
    out = [s for s in site.services if s.target is None]
    return tuple(sorted(out, key=lambda s: (s.nic or "", s.external or "", s.proto, s.port_first)))


def match(ports: Ports) -> str:
    """Destination ports as iptables-save prints them."""
    span = str(ports.first) if ports.first == ports.last else f"{ports.first}:{ports.last}"
    return f"-p {ports.proto} -m {ports.proto} --dport {span}"


def _numeric(ip: str) -> tuple[int, ...]:
    return tuple(int(part) for part in ip.split(".") if part)


def _any_bridge(site: Site) -> str:
    return f"-i {site.bridge_prefix}+"


# raw: nobody speaks with another's address


def _raw(site: Site) -> Table:
    chain, bridges = "fr-antispoof", _any_bridge(site)
    args = [
        f"{bridges} -m mark ! --mark {KNOWN:#x}/{KNOWN:#x} -j DROP",
        f"{bridges} -m set --match-set {ZNET} src,src -j RETURN",
        f"-s 0.0.0.0/32 {bridges} -p udp -m udp --sport 68 --dport 67 -j RETURN",
        f"{bridges} -j DROP",
    ]
    for nic in site.nics:
        args.append(f"-i {nic} -m set --match-set {INSIDE} src -j DROP")
        args.append(f"-i {nic} -m set --match-set {INSIDE} dst -j DROP")
    if site.vpn and site.vpn.network:
        args.append(f"! -s {site.vpn.network} -i {site.vpn.interface} -j DROP")
    return Table(name="raw", chains=(chain,), rules=tuple(Rule(chain=chain, args=a) for a in args))


# filter: who may open a connection to whom


def _filter(site: Site) -> Table:
    custom = tuple(f"fr-{place}" for place in PLACES)
    fixed = ("fr-in", "fr-fwd", "fr-out", "fr-ping", "fr-admin", "fr-zin", "fr-vin", "fr-dom0", "fr-vo", "fr-vi")
    zoned = tuple(name for z in site.zones for name in _zone_chains(site, z))
    rules = (*_input(site), *_forward(site), *_output(), *_custom(site))
    return Table(
        name="filter",
        chains=(*fixed, *custom, *zoned),
        rules=rules,
        policies=(("INPUT", "DROP"), ("FORWARD", "DROP"), ("OUTPUT", "ACCEPT")),
    )


def _zone_chains(site: Site, zone: Zone) -> Iterator[str]:
    yield from (f"fr-zo-{zone.number}", f"fr-zi-{zone.number}")
    for direction in ("out", "in"):
        if any(r.zone == zone.number and r.direction == direction for r in site.restrictions):
            yield _restriction_chain(zone, direction)


def _restriction_chain(zone: Zone, direction: str) -> str:
    return f"fr-r{direction[0]}-{zone.number}"


def _input(site: Site) -> Iterator[Rule]:
    # Before "established": all pings of one sender are one flow, which nothing below would ever slow down.
    yield Rule(chain="fr-in", args=f"{PING} -j fr-ping")
    yield Rule(chain="fr-in", args="-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT")
    yield Rule(chain="fr-in", args="-i lo -j ACCEPT")
    yield Rule(chain="fr-in", args="-m conntrack --ctstate INVALID -j DROP")
    # Before the operator's own rules: nothing written there can shut the admin out.
    yield Rule(chain="fr-in", args="-j fr-admin")
    yield Rule(chain="fr-in", args="-j fr-before-input")
    yield Rule(chain="fr-in", args=f"{_any_bridge(site)} -j fr-zin")
    if site.vpn:
        yield Rule(chain="fr-in", args=f"-i {site.vpn.interface} -j fr-vin")
    yield Rule(chain="fr-in", args="-j fr-dom0")
    yield Rule(chain="fr-in", args="-j fr-after-input")
    # After the operator's own rules, before anybody else's: a foreign ACCEPT opens nothing of ours.
    for nic in site.nics:
        yield Rule(chain="fr-in", args=f"-i {nic} -j DROP")
    yield from _pings(site)
    yield from _admin(site)
    yield from _from_zones(site)
    yield from _from_vpn(site)
    yield from _dom0(site)


def _pings(site: Site) -> Iterator[Rule]:
    for interface in (*site.nics, *((site.vpn.interface,) if site.vpn else ())):
        yield Rule(chain="fr-ping", args=f"-i {interface} {PING_LIMIT} -j RETURN")
        yield Rule(chain="fr-ping", args=f"-i {interface} -j DROP")


def _admin(site: Site) -> Iterator[Rule]:
    ssh = match(Ports(proto="tcp", first=site.ssh_port, last=site.ssh_port))
    ways = [(nic, ssh, "admin-ssh") for nic in site.nics]
    if site.vpn:
        ways.append((site.vpn.interface, ssh, "admin-ssh"))
        if site.panel_port:
            panel = match(Ports(proto="tcp", first=site.panel_port, last=site.panel_port))
            ways.append((site.vpn.interface, panel, "admin-panel"))
    for interface, port, name in ways:
        yield Rule(chain="fr-admin", args=f"-i {interface} {port} -m comment --comment {name} -j ACCEPT", about=name)


def _from_zones(site: Site) -> Iterator[Rule]:
    """What a machine may ask dom0 for: DHCP, DNS, ping, and single ports the policy names."""
    yield Rule(chain="fr-zin", args="-p udp -m udp --dport 67 -j ACCEPT")
    yield Rule(chain="fr-zin", args="-m addrtype ! --dst-type LOCAL --limit-iface-in -j DROP")
    yield Rule(chain="fr-zin", args=CONNLIMIT)
    yield Rule(chain="fr-zin", args="-p udp -m udp --dport 53 -j ACCEPT")
    yield Rule(chain="fr-zin", args="-p tcp -m tcp --dport 53 -j ACCEPT")
    yield Rule(chain="fr-zin", args=f"{PING} -j ACCEPT")
    for zone in site.zones:
        cell = site.cell(zone.name, DOM0)
        for ports in cell.ports:
            yield Rule(chain="fr-zin", args=f"-i {zone.bridge} {match(ports)} -j ACCEPT", about=_policy_name(cell))
    yield Rule(chain="fr-zin", args="-j DROP")


def _from_vpn(site: Site) -> Iterator[Rule]:
    if not site.vpn:
        return
    yield Rule(chain="fr-vin", args=f"{PING} -j ACCEPT")
    cell = site.cell(VPN, DOM0)
    yield from _accept("fr-vin", "", cell)
    yield Rule(chain="fr-vin", args="-j fr-after-input")
    yield Rule(chain="fr-vin", args="-j DROP")


def _dom0(site: Site) -> Iterator[Rule]:
    for service in dom0_services(site):
        only = f"-d {service.external}/32 " if service.external else ""
        for nic in (service.nic,) if service.nic else site.nics:
            args = f"{only}-i {nic} {match(service.ports)} -m comment --comment {service.name} -j ACCEPT"
            yield Rule(chain="fr-dom0", args=args, about=service.name)
    cell = site.cell(INTERNET, DOM0)
    for nic in site.nics:
        for ports in cell.ports:
            yield Rule(chain="fr-dom0", args=f"-i {nic} {match(ports)} -j ACCEPT", about=_policy_name(cell))
        yield Rule(chain="fr-dom0", args=f"-i {nic} {PING} -j ACCEPT")


def _forward(site: Site) -> Iterator[Rule]:
    yield Rule(chain="fr-fwd", args="-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT")
    # Frames within a bridge are seen here only where something turned bridge-nf-call-iptables on; the bridge table
    # judged them already. Not by a physdev match: it loads br_netfilter, which turns the switch on for the whole box.
    for zone in site.zones:
        within = f"-i {zone.bridge} -o {zone.bridge} -m conntrack ! --ctstate DNAT -j ACCEPT"
        yield Rule(chain="fr-fwd", args=within, about=zone.name)
    yield Rule(chain="fr-fwd", args="-m conntrack --ctstate INVALID -j DROP")
    yield Rule(chain="fr-fwd", args="-j fr-before-forwarding")
    for zone in site.zones:
        yield Rule(chain="fr-fwd", args=f"-i {zone.bridge} -j fr-zo-{zone.number}")
    if site.vpn:
        yield Rule(chain="fr-fwd", args=f"-i {site.vpn.interface} -j fr-vo")
    for zone in site.zones:
        yield Rule(chain="fr-fwd", args=f"-o {zone.bridge} -j fr-zi-{zone.number}")
    if site.vpn:
        yield Rule(chain="fr-fwd", args=f"-o {site.vpn.interface} -j fr-vi")
    yield Rule(chain="fr-fwd", args="-j fr-after-forwarding")
    # A foreign ACCEPT behind us (Docker's, libvirt's) opens neither a zone nor the VPN.
    for interface in (f"{site.bridge_prefix}+", *((site.vpn.interface,) if site.vpn else ())):
        yield Rule(chain="fr-fwd", args=f"-i {interface} -j DROP")
        yield Rule(chain="fr-fwd", args=f"-o {interface} -j DROP")
    for zone in site.zones:
        yield from _out_of(site, zone)
        yield from _into(site, zone)
    yield from _vpn_forward(site)


def _out_of(site: Site, zone: Zone) -> Iterator[Rule]:
    chain = f"fr-zo-{zone.number}"
    yield Rule(chain=chain, args=CONNLIMIT)
    yield from _restricted(site, zone, "out", chain)
    if zone.isolated:
        # A neighbour's published port would be a way through dom0's external address.
        yield Rule(chain=chain, args="-m conntrack --ctstate DNAT -j DROP", about=zone.name)
        for nic in site.nics:
            yield Rule(chain=chain, args=f"-o {nic} -j DROP", about=zone.name)
    else:
        yield from _accept(chain, f"-o {zone.nic} ", site.cell(zone.name, INTERNET))


def _into(site: Site, zone: Zone) -> Iterator[Rule]:
    chain = f"fr-zi-{zone.number}"
    yield from _restricted(site, zone, "in", chain)
    if not zone.isolated:
        yield Rule(chain=chain, args="-m conntrack --ctstate DNAT -j ACCEPT")
    for other in site.zones:
        if other.number != zone.number:
            yield from _accept(chain, f"-i {other.bridge} ", site.cell(other.name, zone.name))
    if site.vpn:
        yield from _accept(chain, f"-i {site.vpn.interface} ", site.cell(VPN, zone.name))


def _vpn_forward(site: Site) -> Iterator[Rule]:
    if not site.vpn:
        return
    for nic in site.nics:
        yield from _accept("fr-vo", f"-o {nic} ", site.cell(VPN, INTERNET))
    for zone in site.zones:
        yield from _accept("fr-vi", f"-i {zone.bridge} ", site.cell(zone.name, VPN))


def _accept(chain: str, where: str, cell: Cell) -> Iterator[Rule]:
    if cell.everything:
        yield Rule(chain=chain, args=f"{where}-j ACCEPT", about=_policy_name(cell))
    else:
        for ports in cell.ports:
            yield Rule(chain=chain, args=f"{where}{match(ports)} -j ACCEPT", about=_policy_name(cell))


def _policy_name(cell: Cell) -> str:
    return f"policy {cell.source} → {cell.target}"


def _restricted(site: Site, zone: Zone, direction: str, chain: str) -> Iterator[Rule]:
    mine = [r for r in site.restrictions if r.zone == zone.number and r.direction == direction]
    if not mine:
        return
    own = _restriction_chain(zone, direction)
    yield Rule(chain=chain, args=f"-j {own}")
    for restriction in mine:
        yield from _restriction(own, restriction)


def _restriction(chain: str, restriction: Restriction) -> Iterator[Rule]:
    """By the port the packet goes to, and by the one it was sent to: DNAT comes before filter."""
    side = "-d" if restriction.direction == "out" else "-s"
    where = f"{side} {_net(restriction.address)} " if restriction.address else ""
    ports, name = restriction.ports, f"-m comment --comment {restriction.name}"
    span = str(ports.first) if ports.first == ports.last else f"{ports.first}:{ports.last}"
    verdict = {
        "DROP": "-j DROP",
        # ACCEPT exempts from the restrictions below it; it opens nothing that the policy closes.
        "ACCEPT": "-j RETURN",
        "REJECT": "-j REJECT --reject-with " + ("tcp-reset" if ports.proto == "tcp" else "icmp-port-unreachable"),
    }[restriction.action]
    original = f"-p {ports.proto} -m conntrack --ctorigdstport {span}"
    for port in (match(ports), original):
        yield Rule(chain=chain, args=f"{where}{port} {name} {verdict}", about=restriction.name)


def _net(address: str) -> str:
    return address if "/" in address else f"{address}/32"


def _output() -> Iterator[Rule]:
    yield Rule(chain="fr-out", args="-j fr-before-output")
    yield Rule(chain="fr-out", args="-j fr-after-output")


def _custom(site: Site) -> Iterator[Rule]:
    for place in PLACES:
        for rule in site.custom:
            if rule.place == place:
                yield Rule(chain=f"fr-{place}", args=rule.rule, about=rule.reason or "own rule")


# nat: what is published, and the address each zone leaves with


def _nat(site: Site) -> Table:
    chains, rules = ["fr-dnat", "fr-snat"], []
    services = published(site)
    for ip in dict.fromkeys(s.external for s in services):
        here = [s for s in services if s.external == ip]
        rules.append(Rule(chain="fr-dnat", args=f"-d {ip}/32 -j fr-dn-{ip}"))
        for chain, content in _address_chains(f"fr-dn-{ip}", here):
            chains.append(chain)
            rules.extend(content)
    rules.extend(_source_nat(site))
    return Table(name="nat", chains=tuple(chains), rules=tuple(rules))


def _address_chains(chain: str, services: list[Service]) -> Iterator[tuple[str, list[Rule]]]:
    if len(services) <= BUCKET_ABOVE:
        yield chain, [_dnat(chain, s) for s in services]
        return
    first: list[Rule] = []
    buckets: dict[tuple[str, int], list[Service]] = {}
    for service in services:
        low, high = service.port_first // 64, service.port_last // 64
        if low == high:
            buckets.setdefault((service.proto, low), []).append(service)
        else:
            first.append(_dnat(chain, service))
    for proto, low in buckets:
        span = f"{low * 64}:{low * 64 + 63}"
        jump = f"-p {proto} -m {proto} --dport {span} -j {_bucket(chain, proto, low)}"
        first.append(Rule(chain=chain, args=jump))
    yield chain, first
    for (proto, low), content in buckets.items():
        name = _bucket(chain, proto, low)
        yield name, [_dnat(name, s) for s in content]


def _bucket(chain: str, proto: str, low: int) -> str:
    # A chain's name has at most 28 characters: fr-dn-255.255.255.255-t1023 are 27.
    return f"{chain}-{proto[0]}{low}"


def _dnat(chain: str, service: Service) -> Rule:
    inner = service.target_ports
    target = f"{service.target}"
    if inner.first != service.port_first:
        target += f":{inner.span}" + (f"/{service.port_first}" if inner.first != inner.last else "")
    elif inner.first == inner.last:
        target += f":{inner.first}"
    args = f"{match(service.ports)} -m comment --comment {service.name} -j DNAT --to-destination {target}"
    return Rule(chain=chain, args=args, about=service.name)


def _source_nat(site: Site) -> Iterator[Rule]:
    for zone in site.zones:
        if zone.isolated:
            continue
        leave = f"-s {zone.network} -o {zone.nic} -j SNAT --to-source {zone.external}"
        # A machine that asks for its own zone's published port must get the answer through dom0 again.
        hairpin = f"-s {zone.network} -o {zone.bridge} -m conntrack --ctstate DNAT -j SNAT --to-source {zone.gateway}"
        yield Rule(chain="fr-snat", args=leave, about=zone.name)
        yield Rule(chain="fr-snat", args=hairpin, about=zone.name)
    vpn, cell = site.vpn, site.cell(VPN, INTERNET)
    if vpn and vpn.network and (cell.everything or cell.ports):
        for nic in site.nics:
            first = next((a.ip for a in site.addresses if a.nic == nic), None)
            if first:
                args = f"-s {vpn.network} -o {nic} -j SNAT --to-source {first}"
                yield Rule(chain="fr-snat", args=args, about=_policy_name(cell))
