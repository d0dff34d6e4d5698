"""The difference between two sites, as a person would say it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Network
from typing import Literal

from firewall.specs import BOTH, INTERNET, VPN, Cell, CustomRule, Ports, Restriction, Service, Site, Zone

Kind = Literal["opens", "closes", "moves", "changes", "stays"]
ORDER: tuple[Kind, ...] = ("opens", "closes", "moves", "changes", "stays")


@dataclass(frozen=True, kw_only=True)
class Change:
    """One difference: `what` is its subject, `rest` goes on with the sentence, `detail` says more."""

    kind: Kind
    what: str
    rest: str = ""
    detail: str = ""

    @property
    def sentence(self) -> str:
        """What changes says itself how; of the rest the kind is the verb."""
        parts = (self.what, self.rest) if self.kind == "changes" else (self.kind, self.what, self.rest)
        return " ".join(part for part in parts if part)


def difference(before: Site, after: Site, *, names: Mapping[str, str] | None = None) -> tuple[Change, ...]:
    """What opens, closes, moves and changes from `before` to `after`; empty when nothing does.

    `names` gives machine names by address. What stays is told by `stays`.
    """
    called = dict(names or {})
    found = [
        *_services(before, after, called),
        *_policy(before, after),
        *_restrictions(before, after),
        *_custom(before, after),
        *_zones(before, after),
        *_host(before, after),
    ]
    return tuple(sorted(found, key=lambda change: ORDER.index(change.kind)))


def stays(before: Site, after: Site) -> Change:
    """The comforting half: what this change leaves alone."""
    same = len(set(before.services) & set(after.services))
    parts = [f"{same} other service{'' if same == 1 else 's'}"] if same else []
    if before.policy == after.policy and after.policy:
        parts.append("the policy between zones")
    ssh = f"ssh to dom0 on tcp {after.ssh_port}"
    return Change(kind="stays", what=", ".join([*parts, ssh]), detail=_still(before, after))


def counts(changes: tuple[Change, ...]) -> str:
    """`1 opens, 2 close` for the heading."""
    out = []
    for kind in ORDER[:-1]:
        number = sum(change.kind == kind for change in changes)
        if number:
            out.append(f"{number} {kind if number == 1 else kind.removesuffix('s')}")
    return ", ".join(out) or "nothing changes"


def _still(before: Site, after: Site) -> str:
    both = [
        f"{c.source} still reaches {c.target}"
        for c in after.policy
        if c.everything and c in before.policy and _is_zone(after, c.source) and _is_zone(after, c.target)
    ]
    return "; ".join(both[:4]) + ("." if both else "")


def _is_zone(site: Site, name: str) -> bool:
    return any(z.name == name for z in site.zones)


def ends(site: Site) -> dict[tuple[str, str, int, int], Service]:
    """Services by the outside end they occupy: address, protocol, first and last port; of "both" one for each."""
    out: dict[tuple[str, str, int, int], Service] = {}
    for service in site.services:
        for ip in site.addresses_of(service) if service.target else (service.external or f"card {service.nic or ''}",):
            for one in service.each:
                out[(ip, one.proto, one.port_first, one.port_last)] = one
    return out


def _services(before: Site, after: Site, called: Mapping[str, str]) -> Iterator[Change]:
    old, new = ends(before), ends(after)
    differing = [(key, old.get(key), new.get(key)) for key in old.keys() | new.keys() if old.get(key) != new.get(key)]
    for was, now in _together(sorted(differing, key=lambda found: found[0])):
        admins = next((s for s in (was, now) if s and _is_admins(s, after)), None)
        if admins and (was is None or now is None):
            comes = "becomes" if was is None else "is no longer"
            yield Change(kind="changes", what=_end(admins), rest=f"{comes} service {admins.name}", detail=_ALWAYS)
        elif was is None and now is not None:
            yield Change(kind="opens", what=_end(now), rest=f"to {_to(now, called)}", detail=_whom(now))
        elif now is None and was is not None:
            detail = f"Service {was.name}. Connections that are open through it are cut."
            yield Change(kind="closes", what=_end(was), rest=f"to {_to(was, called)}", detail=detail)
        elif was and now:
            yield from _kept(was, now, called)


#: Of a service of dom0's that opens no more than is open anyway.
_ALWAYS = "The admin's own ssh is always open there, with the service or without."


def _is_admins(service: Service, site: Site) -> bool:
    return service.target is None and service.ports == Ports(proto="tcp", first=site.ssh_port, last=site.ssh_port)


Pair = tuple[Service | None, Service | None]


def _together(differing: Iterable[tuple[tuple[str, str, int, int], Service | None, Service | None]]) -> list[Pair]:
    """What was and what is, of each end; where tcp and udp of one object change alike, told as one."""
    found: dict[tuple[str, int, int, Service | None, Service | None], list[Pair]] = {}
    for (ip, _, first, last), was, now in differing:
        alike = was and replace(was, proto=BOTH), now and replace(now, proto=BOTH)
        found.setdefault((ip, first, last, *alike), []).append((was, now))
    return [(key[3], key[4]) if len(pairs) == 2 else pairs[0] for key, pairs in found.items()]


def _kept(was: Service, now: Service, called: Mapping[str, str]) -> Iterator[Change]:
    if (was.target, was.target_ports) != (now.target, now.target_ports):
        yield Change(
            kind="moves",
            what=_end(now),
            rest=f"from {_to(was, called)} to {_to(now, called)}",
            detail=f"Service {now.name}. Open connections to {_to(was, called)} are cut; new ones go to the new place.",
        )
    elif was.name != now.name:
        yield Change(kind="changes", what=_end(now), rest=f"is called {now.name} instead of {was.name}")


def _end(service: Service) -> str:
    return service.where


def _to(service: Service, called: Mapping[str, str]) -> str:
    if service.target is None:
        return "dom0"
    return f"{called.get(service.target, service.target)}, port {service.target_ports.span}"


def _whom(service: Service) -> str:
    return f"For everyone on the Internet. Service {service.name}."


def _policy(before: Site, after: Site) -> Iterator[Change]:
    pairs = dict.fromkeys((c.source, c.target) for c in (*before.policy, *after.policy))
    for source, target in pairs:
        was, now = before.cell(source, target), after.cell(source, target)
        way = f"from {party(source)} to {party(target)}"
        if now.everything != was.everything:
            kind: Kind = "opens" if now.everything else "closes"
            but = f"only {now.words} stays open" if was.everything and now.ports else ""
            yield Change(kind=kind, what="everything", rest=way, detail=but)
            continue
        if now.everything:
            continue
        yield from _ports(was, now, way)


def _ports(was: Cell, now: Cell, way: str) -> Iterator[Change]:
    yield from (Change(kind="opens", what=what, rest=way) for what in _told(now, was))
    yield from (Change(kind="closes", what=what, rest=way) for what in _told(was, now))


def _told(here: Cell, there: Cell) -> Iterator[str]:
    """The ports of one that the other has not; tcp and udp of one entry together, where neither is there."""
    theirs = {one for ports in there.ports for one in ports.each}
    for ports in here.ports:
        missing = [one for one in ports.each if one not in theirs]
        yield from (str(p) for p in ((ports,) if len(missing) == len(ports.each) else missing))


def party(party: str) -> str:
    """A party of the policy within a sentence."""
    return {INTERNET: "the Internet", VPN: "the admin VPN"}.get(party, party)


def turns(before: Site, after: Site) -> list[tuple[Restriction | None, Restriction | None]]:
    """Each restriction that differs, as it was and as it will be; both, where one of them stops all the other does."""
    old, new = set(before.restrictions), set(after.restrictions)
    gone, found = (
        [r for r in before.restrictions if r not in new],
        list[tuple[Restriction | None, Restriction | None]](),
    )
    for now in (r for r in after.restrictions if r not in old):
        alike = (r for r in gone if (r.zone, r.name) == (now.zone, now.name) and (covers(r, now) or covers(now, r)))
        was = next(alike, None)
        if was:
            gone.remove(was)
        found.append((was, now))
    return [*found, *((was, None) for was in gone)]


def covers(wide: Restriction, narrow: Restriction) -> bool:
    """Whether one restriction stops all that the other stops."""
    if wide.direction != narrow.direction or "ACCEPT" in (wide.action, narrow.action):
        return False
    if wide.address and not (narrow.address and IPv4Network(narrow.address).subnet_of(IPv4Network(wide.address))):
        return False
    protos = {one.proto for one in wide.ports.each} >= {one.proto for one in narrow.ports.each}
    return protos and wide.ports.first <= narrow.ports.first and narrow.ports.last <= wide.ports.last


def _restrictions(before: Site, after: Site) -> Iterator[Change]:
    for was, now in turns(before, after):
        if was and now:
            yield _turned(after, was, now)
        elif now:
            yield _restriction(after, now, comes=True)
        elif was:
            yield _restriction(before, was, comes=False)


def _turned(site: Site, was: Restriction, now: Restriction) -> Change:
    """A restriction that stops more than it did, or less, or the same otherwise."""
    if covers(was, now) and covers(now, was):
        verb, former = ("rejects", "dropping") if now.action == "REJECT" else ("drops", "rejecting")
        what = f"zone restriction {now.name} of {site.zone(now.zone).name}"
        return Change(kind="changes", what=what, rest=f"{verb} {now.ports} instead of {former} it")
    if covers(now, was):
        more = _restriction(site, now, comes=True)
        return replace(more, detail=f"Zone restriction {now.name}; so far only {was.ports}{_only(was)}.")
    less = _restriction(site, was, comes=False)
    detail = f"Zone restriction {now.name} stops less than so far."
    return replace(less, rest=f"{less.rest}, but for {now.ports}{_only(now)}", detail=detail)


def _only(restriction: Restriction) -> str:
    side = "to" if restriction.direction == "out" else "from"
    return f" ({side} {restriction.address} only)" if restriction.address else ""


def _restriction(site: Site, restriction: Restriction, *, comes: bool) -> Change:
    side = "out of" if restriction.direction == "out" else "into"
    closing = (restriction.action != "ACCEPT") == comes
    return Change(
        kind="closes" if closing else "opens",
        what=str(restriction.ports),
        rest=f"{side} {site.zone(restriction.zone).name}{_only(restriction)}",
        detail=f"Zone restriction {restriction.name} {'comes' if comes else 'goes'}.",
    )


def _custom(before: Site, after: Site) -> Iterator[Change]:
    for rule in after.custom:
        if rule not in before.custom:
            yield Change(kind="changes", what=f"own rule in {rule.place} comes", detail=_rule(rule))
    for rule in before.custom:
        if rule not in after.custom:
            yield Change(kind="changes", what=f"own rule in {rule.place} goes", detail=_rule(rule))


def _rule(rule: CustomRule) -> str:
    return f"{rule.rule}{' — ' + rule.reason if rule.reason else ''}"


def _zones(before: Site, after: Site) -> Iterator[Change]:
    old = {z.number: z for z in before.zones}
    new = {z.number: z for z in after.zones}
    for number in sorted(old.keys() | new.keys()):
        was, now = old.get(number), new.get(number)
        if was is None and now is not None:
            way = f"leaves with {now.external}" if now.external else "isolated from the Internet"
            yield Change(kind="changes", what=f"zone {now.name} comes", rest=f"on {now.bridge}, {way}")
        elif now is None and was is not None:
            yield Change(kind="changes", what=f"zone {was.name} goes", rest=f"with {was.network}")
        elif was and now and was != now:
            yield Change(kind="changes", what=f"zone {now.name}", rest="changes its " + "; its ".join(_zone(was, now)))


def _zone(was: Zone, now: Zone) -> Iterator[str]:
    for label, old, new in (
        ("name", was.name, now.name),
        ("bridge", was.bridge, now.bridge),
        ("gateway", was.gateway, now.gateway),
        ("subnet", was.network, now.network),
        ("external address", was.external, now.external),
        ("card", was.nic, now.nic),
    ):
        if old != new:
            yield f"{label} from {old or 'none'} to {new or 'none'}"


def _host(before: Site, after: Site) -> Iterator[Change]:
    for label, old, new in (
        ("the admin's ssh", before.ssh_port, after.ssh_port),
        ("the panel's port on the admin VPN", before.panel_port, after.panel_port),
        ("the admin VPN's interface", before.vpn and before.vpn.interface, after.vpn and after.vpn.interface),
        ("the admin VPN's network", before.vpn and before.vpn.network, after.vpn and after.vpn.network),
    ):
        if old != new:
            rest = f"moves from {old} to {new}" if old and new else f"comes: {new}" if new else f"goes: {old} no more"
            yield Change(kind="changes", what=label, rest=rest)
    for address in after.addresses:
        if address not in before.addresses and before.addresses:
            yield Change(kind="changes", what=f"external address {address.ip}", rest=f"on {address.nic} comes")
    for address in before.addresses:
        if address not in after.addresses:
            yield Change(kind="changes", what=f"external address {address.ip}", rest=f"on {address.nic} goes")
