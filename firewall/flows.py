"""Which open flows a change cuts: all that is closed, moved, newly published, or leaves by another address. Pure.

A rule decides about new connections only; without this, what was unpublished goes on talking, and a UDP
sender that was there before its rule stays untranslated for as long as it keeps sending. Flows that end at
dom0 itself are forgotten at every apply (`firewall-applied`), so nothing here speaks of them but by name.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property

from firewall.rule_flows import rule_flows
from firewall.specs import DOM0, ICMP, INTERNET, VPN, Cell, Ports, Restriction, Site, Zone

Span = tuple[int, int, str, int]


def cut(before: Site, after: Site) -> tuple[str, ...]:
    """Filters (`dom0.flows`) of exactly the flows whose treatment changed, each once, in order."""
    lines = (
        *_services(before, after),
        *_zones(before, after),
        *_vpn(before, after),
        *_narrowed(before, after),
        *_restricted(before, after),
        *_custom(before, after),
    )
    return tuple(dict.fromkeys(lines))


def _services(before: Site, after: Site) -> Iterator[str]:
    """Port by port: who takes one out of a range leaves the connections to the others alone."""
    old, new = _published(before), _published(after)
    for end in sorted(old.keys() | new.keys()):
        was, now = old.get(end, Published()), new.get(end, Published())
        proto, ip = end
        for first, last in _changed(was, now):
            yield f"-p {proto} --orig-dst {ip} --orig-port-dst {_span(first, last)}"


def _changed(was: Published, now: Published) -> Iterator[tuple[int, int]]:
    """The ports that lead elsewhere now, as ranges that don't touch each other."""
    changed = was.spans ^ now.spans
    low, high = min((span[0] for span in changed), default=0), max((span[1] for span in changed), default=-1)
    near = [span for span in was.spans | now.spans if span[0] <= high and span[1] >= low]
    edges = sorted({edge for first, last, _, _ in near for edge in (first, last + 1)})
    begun: int | None = None
    for edge in edges:
        differs = was.leads(edge) != now.leads(edge)
        if begun is not None and not differs:
            yield begun, edge - 1
        begun = (edge if begun is None else begun) if differs else None


class Published:
    """Where the ports of one (proto, address) lead. A span is (first, last, target, target's first port)."""

    def __init__(self) -> None:
        self.spans: set[Span] = set()

    @cached_property
    def _machines(self) -> list[Span]:
        return sorted(span for span in self.spans if span[2])  # they never overlap

    @cached_property
    def _own(self) -> list[Span]:
        return [span for span in self.spans if not span[2]]

    def leads(self, port: int) -> tuple[str, int] | None:
        """The machine and its port, ("", port) for dom0's own, None where nothing is published."""
        place = bisect_right(self._machines, port, key=lambda span: span[0]) - 1
        if place >= 0:
            first, last, target, inner = self._machines[place]
            if port <= last:  # DNAT comes before dom0's own
                return target, inner + port - first
        return ("", port) if any(first <= port <= last for first, last, _, _ in self._own) else None


def _published(site: Site) -> dict[tuple[str, str], Published]:
    out: dict[tuple[str, str], Published] = defaultdict(Published)
    for service in site.services:
        inner = service.target_ports.first
        for ip in site.addresses_of(service):
            for ports in service.ports.each:
                out[ports.proto, ip].spans.add((ports.first, ports.last, service.target or "", inner))
    return out


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def _now(zone: Zone, after: Site) -> Zone | None:
    return next((z for z in after.zones if z.number == zone.number), None)


def _zones(before: Site, after: Site) -> Iterator[str]:
    """A zone that goes or sits elsewhere loses all; one that leaves by another address, what it had outside."""
    for zone in before.zones:
        now = _now(zone, after)
        if now is None or (now.network, now.bridge) != (zone.network, zone.bridge):
            yield from _all_of(zone.network)
        elif zone.external and (now.external, now.nic) != (zone.external, zone.nic):
            yield f"--orig-src {zone.network} --reply-dst {zone.external}"
            if now.isolated:
                # A neighbour's published port is no way out any more, nor is its own a way in.
                for address in before.addresses:
                    yield f"--orig-src {zone.network} --orig-dst {address.ip}"
                    yield f"--orig-dst {address.ip} --reply-src {zone.network}"


def _all_of(network: str) -> Iterator[str]:
    yield f"--orig-src {network}"
    yield f"--reply-src {network}"


def _vpn(before: Site, after: Site) -> Iterator[str]:
    if before.vpn and before.vpn.network and before.vpn != after.vpn:
        yield from _all_of(before.vpn.network)


def _narrowed(before: Site, after: Site) -> Iterator[str]:
    called = {zone.name: same.name for zone in before.zones if (same := _now(zone, after))}
    for cell in before.policy:
        now = after.cell(called.get(cell.source, cell.source), called.get(cell.target, cell.target))
        if now.everything:
            continue
        kept = tuple(p for ports in now.ports for p in ports.each)
        for who in _between(before, cell):
            if cell.everything:
                yield who + "".join(f" ! {_to(p)}" for p in kept)
            for ports in cell.ports:
                yield from _gone(who, ports, kept)


def _gone(who: str, ports: Ports, kept: Sequence[Ports]) -> Iterator[str]:
    for mine in ports.each:
        if any(k.proto == mine.proto and k.first <= mine.first and mine.last <= k.last for k in kept):
            continue
        yield f"{_to(mine)} {who}" + "".join(f" ! {_to(k)}" for k in kept if k.overlaps(mine))


def _to(ports: Ports) -> str:
    if ports.proto == ICMP:
        return "-p icmp"
    return f"-p {ports.proto} --orig-port-dst {_span(ports.first, ports.last)}"


def _between(site: Site, cell: Cell) -> Iterator[str]:
    """What tells the flows of a cell from others: to the Internet they leave by their zone's address."""
    source = _network(site, cell.source)
    if not source or cell.target == DOM0:
        return
    if cell.target != INTERNET:
        target = _network(site, cell.target)
        if target:
            yield f"--orig-src {source} --orig-dst {target}"
        return
    zone = next((z for z in site.zones if z.name == cell.source), None)
    first = {address.nic: address.ip for address in reversed(site.addresses)}
    leaves = [zone.external] if zone else list(first.values())
    yield from (f"--orig-src {source} --reply-dst {ip}" for ip in leaves if ip)


def _network(site: Site, party: str) -> str:
    if party == VPN:
        return (site.vpn.network or "") if site.vpn else ""
    return next((z.network for z in site.zones if z.name == party), "")


def _restricted(before: Site, after: Site) -> Iterator[str]:
    """What a restriction that came now holds, and what one that went had exempted from the others."""
    for zone in after.zones:
        for direction in ("out", "in"):
            old = [r for r in before.restrictions if (r.zone, r.direction) == (zone.number, direction)]
            new = [r for r in after.restrictions if (r.zone, r.direction) == (zone.number, direction)]
            for place, restriction in enumerate(new):
                exempt = _exempting(new[:place])
                if restriction.action != "ACCEPT" and not _held(restriction, exempt, old):
                    yield from _restriction(zone, restriction, exempt)


def _exempting(ahead: Sequence[Restriction]) -> list[Restriction]:
    return [r for r in ahead if r.action == "ACCEPT"]


def _same(one: Restriction, other: Restriction) -> bool:
    closes = (one.action == "ACCEPT") == (other.action == "ACCEPT")
    return closes and (one.ports, one.address) == (other.ports, other.address)


def _held(restriction: Restriction, exempt: Sequence[Restriction], old: Sequence[Restriction]) -> bool:
    """Whether the same was held before, with no more exempted."""
    for place, was in enumerate(old):
        if _same(was, restriction):
            return all(any(_same(e, now) for now in exempt) for e in _exempting(old[:place]))
    return False


def _restriction(zone: Zone, restriction: Restriction, exempt: Sequence[Restriction]) -> Iterator[str]:
    """By the port it was sent to, and by the one it arrived at."""
    near = f"--orig-src {zone.network}" if restriction.direction == "out" else f"--reply-src {zone.network}"
    spared = "".join(f" ! {way}" for e in exempt for way in _ways(e))
    for way in _ways(restriction):
        yield f"{near} {way}{spared}"


def _ways(restriction: Restriction) -> Iterator[str]:
    """As the rules do: "only to" looks at the machine it goes to and at the address it was sent to."""
    address, out = restriction.address, restriction.direction == "out"
    for ports in restriction.ports.each:
        sent, goes = (f"--{end} {_span(ports.first, ports.last)}" for end in ("orig-port-dst", "reply-port-src"))
        end = f" {'--reply-src' if out else '--orig-src'} {address}" if address else ""
        yield f"-p {ports.proto}{end} {sent}"
        yield f"-p {ports.proto}{end} {goes}"
        if address and out:
            yield f"-p {ports.proto} --orig-dst {address} {sent}"
            if restriction.action != "ACCEPT":
                yield f"-p {ports.proto} --orig-dst {address} {goes}"


def _custom(before: Site, after: Site) -> Iterator[str]:
    """An operator's rule that came and drops, or went and let through: what conntrack knows of its words.

    A rule with words no flow shows (a limit, a set, the opposite of a match) is taken by those it does show, so a
    few flows more may have to open again; where it shows neither address nor port, nothing is cut.
    """
    was, now = ({(c.place, c.rule) for c in site.custom} for site in (before, after))
    for site, verdicts, changed in ((after, ("DROP", "REJECT"), now - was), (before, ("ACCEPT", "RETURN"), was - now)):
        for place, rule in sorted(changed):
            if not place.endswith("-input"):  # ends at dom0: forgotten anyway
                yield from rule_flows(site, rule, verdicts)
