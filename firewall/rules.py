"""A site's objects as ordered rules: which table, which chain, which words, because of which object.

Pure. The layout is one that held against packets: own `fr-*` chains only; publication lives in the nat
table alone and filter accepts what was published by `ctstate DNAT`, so no moment of an apply is half open.
Arguments are written the way iptables-save prints them: what is live can be compared as text.
Where subnets sit is membership (`dom0.members`): the rules here only name its sets.
"""

from __future__ import annotations

from collections.abc import Iterator

from dom0.members import INSIDE, KNOWN, OWN_LEASE, ZNET
from firewall import nat
from firewall.nat import BUCKET_ABOVE
from firewall.rule import ECHO, Rule, Table, accept, match, policy_name, sent_to, span
from firewall.specs import DOM0, INTERNET, PING, PLACES, VPN, Ports, Restriction, Service, Site, Zone

__all__ = ("BUCKET_ABOVE", "Rule", "Table", "dom0_services", "match", "tables")

#: Open connections one machine may hold through or to dom0: it can't fill the table of all.
CONNECTIONS_PER_MACHINE = 2000
PING_LIMIT = "-m limit --limit 20/sec --limit-burst 40"
CONNLIMIT = f"-m connlimit --connlimit-above {CONNECTIONS_PER_MACHINE} --connlimit-mask 32 --connlimit-saddr -j DROP"
#: New connections a second: those ended at once count for connlimit no more, but stay in the table, up to 30 s by the
#: revision's own sysctl. So one machine has 2,000 + 300 · 30 = 11,000 entries at most, beside its 2,000 open ones.
NEW_PER_SECOND = 300
NEWLIMIT = (
    f"-m hashlimit --hashlimit-above {NEW_PER_SECOND}/sec --hashlimit-burst {CONNECTIONS_PER_MACHINE} "
    "--hashlimit-mode srcip --hashlimit-name fr-new -j DROP"
)
INVALID = "-m conntrack --ctstate INVALID -j DROP"
#: An answer: whatever opens no connection. Its flow may be forgotten, so its state says nothing.
ANSWER = "! --tcp-flags FIN,SYN,RST,ACK SYN"


def tables(site: Site) -> tuple[Table, ...]:
    """The IPv4 tables in the order they are applied: raw, mangle, filter, nat.

    If a later one fails, the worst is a new denial beside an old publication, never the reverse.
    """
    return (_raw(site), _mangle(site), _filter(site), nat.table(site))


def dom0_services(site: Site) -> tuple[Service, ...]:
    """dom0's own services, each of one protocol, ordered by card, address, protocol and port."""
    out = [one for s in site.services if s.target is None for one in s.each]
    return tuple(sorted(out, key=lambda s: (s.nic or "", s.external or "", s.proto, s.port_first, s.name)))


def _any_bridge(site: Site) -> str:
    return f"-i {site.bridge_prefix}+"


# raw: nobody speaks with another's address


def _raw(site: Site) -> Table:
    chain, bridges = "fr-antispoof", _any_bridge(site)
    args = [
        # Where bridged frames are shown to iptables, the kernel puts these into the table whatever the rules say.
        *(f"{bridges} -m pkttype --pkt-type {kind} -j CT --notrack" for kind in ("broadcast", "multicast")),
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


# mangle: a lease that every machine can read


def _mangle(site: Site) -> Table:
    """dnsmasq's answers leave with a checksum to be filled by a card there is none of between dom0 and a machine.

    A DHCP client reads them raw; many drop one whose checksum is wrong (seen: 0x175c instead of 0x6eae on a veth).
    """
    args = f"-o {site.bridge_prefix}+ -p udp -m udp --sport 67 -j CHECKSUM --checksum-fill"
    return Table(name="mangle", chains=("fr-checksum",), rules=(Rule(chain="fr-checksum", args=args),))


# filter: who may open a connection to whom


def _filter(site: Site) -> Table:
    custom = tuple(f"fr-{place}" for place in PLACES)
    fixed = (
        "fr-in",
        "fr-fwd",
        "fr-out",
        "fr-ping",
        "fr-stray",
        "fr-related",
        "fr-admin",
        "fr-zin",
        "fr-vin",
        "fr-dom0",
        "fr-share",
        "fr-within",
        "fr-vo",
        "fr-vi",
    )
    zoned = tuple(name for z in site.zones for name in _zone_chains(site, z))
    rules = (*_related(site), *_input(site), *_forward(site), *_output(site), *_custom(site))
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
    yield Rule(chain="fr-in", args=f"{ECHO} -j fr-ping")
    yield from _open_already("fr-in")
    yield Rule(chain="fr-in", args="-i lo -j ACCEPT")
    # An apply forgets every flow that ends at dom0, so the packets of those that live on have no state any more:
    # the admin's, and those of dom0's own services, are judged one by one and stand before the INVALID drop.
    yield Rule(chain="fr-in", args="-m conntrack --ctstate INVALID -j fr-stray")
    # Before the operator's own rules: nothing written there can shut the admin out.
    yield Rule(chain="fr-in", args="-j fr-admin")
    yield Rule(chain="fr-in", args="-j fr-before-input")
    yield Rule(chain="fr-in", args=f"{_any_bridge(site)} -j fr-zin")
    if site.vpn:
        yield Rule(chain="fr-in", args=f"-i {site.vpn.interface} -j fr-vin")
    yield Rule(chain="fr-in", args="-j fr-dom0")
    yield Rule(chain="fr-in", args=INVALID)
    yield Rule(chain="fr-in", args="-j fr-after-input")
    # After the operator's own rules, before anybody else's: a foreign ACCEPT opens nothing of ours.
    for nic in site.nics:
        yield Rule(chain="fr-in", args=f"-i {nic} -j DROP")
    yield from _pings(site)
    yield from _strays(site)
    yield from _admin(site)
    yield from _from_zones(site)
    yield from _from_vpn(site)
    yield from _dom0(site)


def _open_already(chain: str) -> Iterator[Rule]:
    yield Rule(chain=chain, args="-m conntrack --ctstate ESTABLISHED -j ACCEPT")
    yield Rule(chain=chain, args="-m conntrack --ctstate RELATED -j fr-related")


def _related(site: Site) -> Iterator[Rule]:
    """ICMP errors: from the Internet anybody on the way may send them; from inside, only who has a part in it.

    conntrack looks at whom an error is for, never at whom it is from: any machine could send what it likes into a
    closed zone, as an error about a connection there.
    """
    vpn = [(site.vpn.interface, site.vpn.network)] if site.vpn and site.vpn.network else []
    for interface, network in (*((zone.bridge, zone.network) for zone in site.zones), *vpn):
        for end in ("ctorigsrc", "ctreplsrc"):
            yield Rule(chain="fr-related", args=f"-i {interface} -m conntrack --{end} {network} -j ACCEPT")
    for interface in (f"{site.bridge_prefix}+", *(interface for interface, _ in vpn)):
        yield Rule(chain="fr-related", args=f"-i {interface} -j DROP")
    yield Rule(chain="fr-related", args="-j ACCEPT")


def _strays(site: Site) -> Iterator[Rule]:
    """Where a port of dom0 leads to a machine on some address, a stray packet of that connection is not dom0's.

    Its reset would end the machine's connection.
    """
    own = tuple(_own_tcp(site))
    low, high = min(p.first for p in own), max(p.last for p in own)
    for service in site.published:
        if service.proto == "tcp" and service.port_first <= high and low <= service.port_last:
            ports = service.ports
            if any(ports.overlaps(p) for p in own):
                args = f"-d {service.external}/32 {match(ports)} -j DROP"
                yield Rule(chain="fr-stray", args=args, about=service.name)
    if site.vpn:
        for ip in dict.fromkeys(s.external for s in site.published):
            yield Rule(chain="fr-stray", args=f"-d {ip}/32 -i {site.vpn.interface} -j DROP")


def _own_tcp(site: Site) -> Iterator[Ports]:
    """dom0's own open tcp ports towards the Internet."""
    yield Ports(proto="tcp", first=site.ssh_port, last=site.ssh_port)
    asked = (*(s.ports for s in dom0_services(site)), *(p for q in site.cell(INTERNET, DOM0).ports for p in q.each))
    yield from (ports for ports in asked if ports.proto == "tcp")


def _pings(site: Site) -> Iterator[Rule]:
    for interface in (*site.nics, *((site.vpn.interface,) if site.vpn else ())):
        yield Rule(chain="fr-ping", args=f"-i {interface} {PING_LIMIT} -j RETURN")
        yield Rule(chain="fr-ping", args=f"-i {interface} -j DROP")


def _ways(site: Site) -> Iterator[tuple[str, int, str]]:
    """The admin's ways in: interface, tcp port, name."""
    for interface in (*site.nics, *((site.vpn.interface,) if site.vpn else ())):
        yield interface, site.ssh_port, "admin-ssh"
    if site.vpn and site.panel_port:
        yield site.vpn.interface, site.panel_port, "admin-panel"


def _admin(site: Site) -> Iterator[Rule]:
    for interface, port, name in _ways(site):
        args = f"-i {interface} -p tcp -m tcp --dport {port} -m comment --comment {name} -j ACCEPT"
        yield Rule(chain="fr-admin", args=args, about=name)


def _from_zones(site: Site) -> Iterator[Rule]:
    """What a machine may ask dom0 for: DHCP, DNS, ping, and single ports the policy names."""
    # From a client's port only: from any other, each question would be a connection more. Before the share, for all
    # machines without an address yet are one to it.
    yield Rule(chain="fr-zin", args=f"-d 255.255.255.255/32 {OWN_LEASE} -j ACCEPT")
    yield Rule(chain="fr-zin", args="-m addrtype ! --dst-type LOCAL --limit-iface-in -j DROP")
    yield Rule(chain="fr-zin", args="-j fr-share")
    yield Rule(chain="fr-zin", args=f"{OWN_LEASE} -j ACCEPT")
    yield Rule(chain="fr-zin", args="-p udp -m udp --dport 53 -j ACCEPT")
    yield Rule(chain="fr-zin", args="-p tcp -m tcp --dport 53 -j ACCEPT")
    yield Rule(chain="fr-zin", args=f"{ECHO} -j ACCEPT")
    for zone in site.zones:
        cell = site.cell(zone.name, DOM0)
        for each in (each for ports in cell.ports for each in ports.each if ports != PING):
            yield Rule(chain="fr-zin", args=f"-i {zone.bridge} {match(each)} -j ACCEPT", about=policy_name(cell))
    yield Rule(chain="fr-zin", args="-j DROP")


def _from_vpn(site: Site) -> Iterator[Rule]:
    if not site.vpn:
        return
    yield Rule(chain="fr-vin", args=f"{ECHO} -j ACCEPT")
    yield from accept("fr-vin", "", site.cell(VPN, DOM0))
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
        for each in (each for ports in cell.ports for each in ports.each if ports != PING):
            yield Rule(chain="fr-dom0", args=f"-i {nic} {match(each)} -j ACCEPT", about=policy_name(cell))
        yield Rule(chain="fr-dom0", args=f"-i {nic} {ECHO} -j ACCEPT")


def _forward(site: Site) -> Iterator[Rule]:
    yield from _open_already("fr-fwd")
    # Frames within a bridge are seen here only where something turned bridge-nf-call-iptables on; the bridge table
    # judged them already. Not by a physdev match: it loads br_netfilter, which turns the switch on for the whole box.
    for zone in site.zones:
        within = f"-i {zone.bridge} -o {zone.bridge} -m conntrack ! --ctstate DNAT -j fr-within"
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
    # Seen here, they are connections in the table too.
    yield Rule(chain="fr-within", args="-j fr-share")
    yield Rule(chain="fr-within", args="-j ACCEPT")
    yield from (Rule(chain="fr-share", args=limit) for limit in (CONNLIMIT, NEWLIMIT))
    for zone in site.zones:
        yield from _out_of(site, zone)
        yield from _into(site, zone)
    yield from _vpn_forward(site)


def _out_of(site: Site, zone: Zone) -> Iterator[Rule]:
    chain = f"fr-zo-{zone.number}"
    yield Rule(chain=chain, args="-j fr-share")
    yield from _restricted(site, zone, "out", chain)
    if zone.isolated:
        # A neighbour's published port would be a way through dom0's external address.
        yield Rule(chain=chain, args="-m conntrack --ctstate DNAT -j DROP", about=zone.name)
        for nic in site.nics:
            yield Rule(chain=chain, args=f"-o {nic} -j DROP", about=zone.name)
    else:
        yield from accept(chain, f"-o {zone.nic} ", site.cell(zone.name, INTERNET))


def _into(site: Site, zone: Zone) -> Iterator[Rule]:
    chain = f"fr-zi-{zone.number}"
    yield from _restricted(site, zone, "in", chain)
    if not zone.isolated:
        yield Rule(chain=chain, args="-m conntrack --ctstate DNAT -j ACCEPT")
    for other in site.zones:
        if other.number != zone.number:
            yield from accept(chain, f"-i {other.bridge} ", site.cell(other.name, zone.name))
    if site.vpn:
        yield from accept(chain, f"-i {site.vpn.interface} ", site.cell(VPN, zone.name))


def _vpn_forward(site: Site) -> Iterator[Rule]:
    if not site.vpn:
        return
    for nic in site.nics:
        yield from accept("fr-vo", f"-o {nic} ", site.cell(VPN, INTERNET))
    for zone in site.zones:
        yield from accept("fr-vi", f"-i {zone.bridge} ", site.cell(zone.name, VPN))


def _restricted(site: Site, zone: Zone, direction: str, chain: str) -> Iterator[Rule]:
    mine = [r for r in site.restrictions if r.zone == zone.number and r.direction == direction]
    if not mine:
        return
    own = _restriction_chain(zone, direction)
    yield Rule(chain=chain, args=f"-j {own}")
    for restriction in mine:
        yield from _restriction(own, restriction)


def _restriction(chain: str, restriction: Restriction) -> Iterator[Rule]:
    verdict = {"DROP": "-j DROP", "ACCEPT": "-j RETURN", "REJECT": "-j REJECT --reject-with "}[restriction.action]
    for ports in restriction.ports.each:
        answer = ("tcp-reset" if ports.proto == "tcp" else "icmp-port-unreachable") if "REJECT" in verdict else ""
        for way in _restricted_ways(restriction, ports):
            args = f"{way} -m comment --comment {restriction.name} {verdict}{answer}"
            yield Rule(chain=chain, args=args, about=restriction.name)


def _restricted_ways(restriction: Restriction, ports: Ports) -> Iterator[str]:
    """By the port the packet goes to, and by the one it was sent to: DNAT comes before filter.

    "Only to" a public address of ours must look at where the packet was sent as well: it goes to a machine by now.
    "Only from" sees the sender itself, which SNAT leaves alone until the packet is out. ACCEPT exempts from the
    restrictions below it and opens nothing that the policy closes; on the way out it never exempts what was sent to
    another port, or a neighbour's published port would be a way round those below.
    """
    out, address = restriction.direction == "out", restriction.address
    where = f"{'-d' if out else '-s'} {_net(address)} " if address else ""
    if not out or restriction.action != "ACCEPT":
        yield where + match(ports)
    yield where + sent_to(ports)
    if address and out:
        original = f"-m conntrack --ctorigdst {address.removesuffix('/32')}"
        yield f"-p {ports.proto} {original} --ctorigdstport {span(ports)}"
        if restriction.action != "ACCEPT":
            yield f"{match(ports)} {original}"


def _net(address: str) -> str:
    return address if "/" in address else f"{address}/32"


def _output(site: Site) -> Iterator[Rule]:
    # The admin's answers, and nothing else, pass the operator's own rules and foreign ones.
    for interface, port, name in _ways(site):
        args = f"-o {interface} -p tcp -m tcp --sport {port} {ANSWER} -m comment --comment {name} -j ACCEPT"
        yield Rule(chain="fr-out", args=args, about=name)
    if site.vpn and site.vpn.port:
        # OpenVPN pings its clients by itself: that would begin a flow whose answers get in, and so keep a tunnel
        # alive (and a trial confirmed through it) whose port the rules have closed. It may answer, never begin.
        for nic in site.nics:
            args = f"-o {nic} -p udp -m udp --sport {site.vpn.port} -m conntrack --ctstate NEW -j DROP"
            yield Rule(chain="fr-out", args=args, about="admin-vpn")
    # What dom0 says to itself: the panel's way to its database and queue.
    yield Rule(chain="fr-out", args="-o lo -j RETURN")
    yield Rule(chain="fr-out", args="-j fr-before-output")
    yield Rule(chain="fr-out", args="-j fr-after-output")


def _custom(site: Site) -> Iterator[Rule]:
    for place in PLACES:
        for rule in site.custom:
            if rule.place == place:
                yield Rule(chain=f"fr-{place}", args=rule.rule, about=rule.reason or "own rule")
