"""Who reaches what, for the whole site: every pair of parties, answered by walking the compiled rules. Pure.

Asked are the ports some object names, and one that none names, which stands for all the rest.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network

from firewall import own_rule_lint
from firewall.explain import SOMEBODY, Explainer, Question
from firewall.specs import DOM0, PROTOS, VPN, Ports, Service, Site


@dataclass(frozen=True, kw_only=True)
class Reach:
    """What `source` may open to `target`: `words`, and "all", "some" or "" for how much that is.

    `published` are the services by which it is reached besides, under public addresses.
    """

    source: str
    target: str
    words: str
    look: str
    published: tuple[Service, ...] = ()

    @property
    def only_published(self) -> bool:
        """Whether published services are the only way there."""
        return bool(self.published) and not self.look


def matrix(site: Site, *, names: Mapping[str, str] | None = None, vpn_address: str = "") -> tuple[Reach, ...]:
    """Every pair of the site's parties, sources in the order of the policy grid."""
    asker = _Asker(Explainer(site, names, vpn_address=vpn_address))
    parties = tuple(site.parties())
    return tuple(asker.reach(source, target) for source in parties for target in parties)


class _Asker:
    """Asks for whole zones: for an address in each that no object names."""

    def __init__(self, explainer: Explainer) -> None:
        self.explainer, self.site = explainer, explainer.site
        self.zones = {z.name: z for z in self.site.zones}
        named = {s.target for s in self.site.services} | {
            (r.address or "").split("/")[0] for r in self.site.restrictions
        }
        self.anybody = {z.name: _free(z.network, named | {z.gateway}) for z in self.site.zones}
        taken = [p for c in self.site.policy for p in c.ports] + [r.ports for r in self.site.restrictions]
        taken += [s.ports for s in self.site.services]
        # A cell that lists 1-65535 leaves none; then the last one answers for all.
        self.other = next((p for p in range(65500, 60000, -7) if not any(t.first <= p <= t.last for t in taken)), 65500)

    def reach(self, source: str, target: str) -> Reach:
        """One pair."""
        if source == target:
            words, look = ("inside: free", "all") if source in self.zones else ("–", "")
            return Reach(source=source, target=target, words=words, look=look)
        where = self._address(source, target)
        open_, closed = list[Ports](), list[Ports]()
        for ports in self._named(source, target):
            (open_ if self._gets(source, where, ports.proto, ports.first) else closed).append(ports)
        rest: dict[str, bool] = {proto: self._gets(source, where, proto, self.other) for proto in PROTOS}
        words, look = _words(rest, open_, closed)
        published = tuple(self._published(source, target))
        return Reach(source=source, target=target, words=words, look=look, published=published)

    def _gets(self, source: str, address: str, proto: str, port: int) -> bool:
        asked = Question(source=self.anybody.get(source, source), target=address, proto=proto, port=port)
        return bool(self.explainer.ask(asked).reaches)

    def _address(self, source: str, target: str) -> str:
        if target in self.zones:
            return self.anybody[target]
        if target == VPN:
            network = (self.site.vpn.network if self.site.vpn else "") or "192.0.2.0/24"
            return _free(network, {self.explainer.vpn_address})
        if target == DOM0 and source in self.zones:
            return self.zones[source].gateway
        if target == DOM0 and source == VPN and self.explainer.vpn_address:
            return self.explainer.vpn_address
        return next((a.ip for a in self.site.addresses), SOMEBODY) if target == DOM0 else SOMEBODY

    def _named(self, source: str, target: str) -> tuple[Ports, ...]:
        """The ports that an object names for this pair, each protocol by itself, once."""
        site = self.site
        named: list[Ports] = list(site.cell(source, target).ports)
        named += [r.ports for r in site.restrictions if site.zone(r.zone).name in (source, target)]
        named += [ports for rule in site.custom for ports in _said(rule.rule)]
        if target == DOM0:
            named += [s.ports for s in site.services if s.target is None]
            named += [Ports(proto="tcp", first=p, last=p) for p in (site.ssh_port, site.panel_port) if p]
            named += [Ports(proto=proto, first=53, last=53) for proto in PROTOS]
        singles = (each for ports in named for each in ports.each)
        return tuple(sorted(dict.fromkeys(singles), key=lambda p: (p.proto, p.first, p.last)))

    def _published(self, source: str, target: str) -> Iterator[Service]:
        """Services whose machine is in the target and that the source really gets through to."""
        zone = self.zones.get(target)
        for service in self.site.services if zone else ():
            if service.target and zone and zone.holds(service.target):
                proto = service.ports.each[0].proto
                if self._gets(source, service.external or "", proto, service.port_first):
                    yield service


def _said(rule: str) -> Iterator[Ports]:
    """The ports an own rule is about, by number and protocol; nothing where it says none, or can't be read."""
    try:
        options = own_rule_lint.parse(rule).options
    except ValueError:
        return
    values = ",".join((*options.get("--dport", ()), *options.get("--dports", ())))
    for proto in PROTOS if values else ():
        if (proto,) == options.get("-p"):
            spans = [span.partition(":") for span in values.split(",")]
            yield from (Ports(proto=proto, first=int(a), last=int(b or a)) for a, _, b in spans)


def _free(network: str, named: Container[str | None]) -> str:
    return next(str(host) for host in IPv4Network(network).hosts() if str(host) not in named)


def _words(rest: Mapping[str, bool], open_: list[Ports], closed: list[Ports]) -> tuple[str, str]:
    shut = [str(p) for p in closed if rest.get(p.proto)]
    single = [str(p) for p in open_ if not rest.get(p.proto, False)]
    if all(rest.values()):
        return (f"everything but {', '.join(shut)}", "some") if shut else ("everything", "all")
    whole = [f"every {proto}" + (f" but {', '.join(shut)}" if shut else "") for proto, says in rest.items() if says]
    words = ", ".join([*whole, *single])
    return (words, "some") if words else ("nothing", "")
