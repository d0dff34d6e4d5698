"""The nat table: what is published, and the address each zone leaves with. Pure.

Publication lives here alone; the filter table accepts what was translated (`ctstate DNAT`). Whoever may send to
a public address of ours reaches what is published there: the Internet, the VPN, dom0, and every zone that is not
isolated, the publisher's own too (hairpin). Policy and the zones' ways out say nothing about that; a
restriction does.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby
from operator import attrgetter

from firewall.rule import Rule, Table, match, policy_name
from firewall.specs import PROTOS, VPN, Ports, Proto, Service, Site, Zone

#: Above so many services, an address gets one chain per 64 ports: the last stays as near as the first.
BUCKET_ABOVE = 300
BUCKET = 64
#: Above so many buckets they are found by one chain per 4096 ports.
SHELVES_ABOVE = 128
SHELF = 4096
#: A range over more buckets than that stands before them instead of in each.
COPIES = 8


def table(site: Site) -> Table:
    """The nat table."""
    chains, rules = ["fr-dnat", "fr-snat"], list[Rule]()
    for ip, services in groupby(site.published, key=attrgetter("external")):
        rules.append(Rule(chain="fr-dnat", args=f"-d {ip}/32 -j fr-dn-{ip}"))
        for chain, content in _address(f"fr-dn-{ip}", tuple(services)):
            chains.append(chain)
            rules.extend(content)
    rules.extend(_source(site))
    return Table(name="nat", chains=tuple(chains), rules=tuple(rules))


@lru_cache(maxsize=16)  # a change concerns one address; a host has few, each with up to some thousand services
def _address(chain: str, services: tuple[Service, ...]) -> tuple[tuple[str, tuple[Rule, ...]], ...]:
    """The chains of one public address, each with its rules."""
    return tuple((name, tuple(content)) for name, content in _chains(chain, services))


def _chains(chain: str, services: tuple[Service, ...]) -> Iterator[tuple[str, list[Rule]]]:
    if len(services) <= BUCKET_ABOVE:
        yield chain, [_dnat(chain, s) for s in services]
        return
    first: list[Rule] = []
    buckets: dict[tuple[Proto, int], list[Service]] = {}
    for service in services:
        low, high = service.port_first // BUCKET, service.port_last // BUCKET
        if high - low >= COPIES:
            first.append(_dnat(chain, service))
            continue
        for number in range(low, high + 1):
            buckets.setdefault((service.proto, number), []).append(service)
    jumps, shelves = _jumps(chain, buckets)
    yield chain, first + jumps
    yield from shelves
    for (proto, number), content in buckets.items():
        name = _bucket(chain, proto, number)
        yield name, [_dnat(name, s) for s in content]


def _jumps(
    chain: str, buckets: dict[tuple[Proto, int], list[Service]]
) -> tuple[list[Rule], list[tuple[str, list[Rule]]]]:
    """The rules that lead to the buckets, and the chains between where there are many."""
    if len(buckets) <= SHELVES_ABOVE:
        return [_to_bucket(chain, chain, proto, number) for proto, number in buckets], []
    jumps: list[Rule] = []
    shelves: list[tuple[str, list[Rule]]] = []
    for proto in PROTOS:
        numbers = [number for of, number in buckets if of == proto]
        for shelf in sorted({number * BUCKET // SHELF for number in numbers}):
            name = f"{chain}-{proto[0].upper()}{shelf}"
            jumps.append(_jump(chain, name, proto, shelf * SHELF, SHELF))
            here = [number for number in numbers if number * BUCKET // SHELF == shelf]
            shelves.append((name, [_to_bucket(name, chain, proto, number) for number in here]))
    return jumps, shelves


def _to_bucket(here: str, chain: str, proto: Proto, number: int) -> Rule:
    return _jump(here, _bucket(chain, proto, number), proto, number * BUCKET, BUCKET)


def _jump(here: str, there: str, proto: Proto, first: int, size: int) -> Rule:
    return Rule(chain=here, args=f"{match(Ports(proto=proto, first=first, last=first + size - 1))} -j {there}")


def _bucket(chain: str, proto: Proto, number: int) -> str:
    # A chain's name has at most 28 characters: fr-dn-255.255.255.255-t1023 are 27.
    return f"{chain}-{proto[0]}{number}"


def _dnat(chain: str, service: Service) -> Rule:
    """The one rule a site has thousands of: put together without a detour (half the time of a whole render)."""
    first, last, proto = service.port_first, service.port_last, service.proto
    inner = first if service.target_port is None else service.target_port
    if first == last:
        span, target = f"{first}", f"{service.target}:{inner}"
    elif first == inner:
        span, target = f"{first}:{last}", f"{service.target}"
    else:
        span, target = f"{first}:{last}", f"{service.target}:{inner}-{inner + last - first}/{first}"
    args = f"-p {proto} -m {proto} --dport {span} -m comment --comment {service.name} -j DNAT --to-destination {target}"
    return Rule(chain=chain, args=args, about=service.name)


def _source(site: Site) -> Iterator[Rule]:
    for zone in site.zones:
        if not zone.isolated:
            yield from _leaving(zone)
    vpn, cell = site.vpn, site.cell(VPN, "internet")
    if vpn and vpn.network and (cell.everything or cell.ports):
        for nic in site.nics:
            first = next((a.ip for a in site.addresses if a.nic == nic), None)
            if first:
                args = f"-s {vpn.network} -o {nic} -j SNAT --to-source {first}"
                yield Rule(chain="fr-snat", args=args, about=policy_name(cell))


def _leaving(zone: Zone) -> Iterator[Rule]:
    leave = f"-s {zone.network} -o {zone.nic} -j SNAT --to-source {zone.external}"
    # A machine that asks for its own zone's published port must get the answer through dom0 again.
    hairpin = f"-s {zone.network} -o {zone.bridge} -m conntrack --ctstate DNAT -j SNAT --to-source {zone.gateway}"
    yield Rule(chain="fr-snat", args=leave, about=zone.name)
    yield Rule(chain="fr-snat", args=hairpin, about=zone.name)
