"""Can X reach Y, and why (not)? Answered by walking the compiled rules and naming the objects that decide. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network

from firewall.rules import Rule
from firewall.specs import DOM0, INTERNET, VPN, Site, Zone
from firewall.walk import Packet, Verdict, Walker, walker
from firewall.words import party

#: Stands for anybody on the Internet (RFC 5737: documentation, nobody has it).
SOMEBODY = "198.51.100.7"


@dataclass(frozen=True, kw_only=True)
class Question:
    """May `source` ("internet", "vpn", "dom0" or a machine's address) open proto:port of `target` (an address)?

    `proto` is "tcp", "udp" or "icmp" (an echo request; `port` 0).
    """

    source: str
    target: str
    proto: str
    port: int = 0


@dataclass(frozen=True, kw_only=True)
class Reason:
    """One object that decides: its kind ("service", "restriction", "policy", "zone", "custom", "layout"), its name."""

    kind: str
    name: str
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Answer:
    """`reaches` None: an operator's own rule decides that only the kernel can judge.

    `arrives` is (address, port) it ends up at, `as_source` the address it is seen with; `rules` are the deciding
    rules as they are loaded.
    """

    reaches: bool | None
    reasons: tuple[Reason, ...]
    arrives: tuple[str, int] | None = None
    as_source: str = ""
    rules: tuple[Rule, ...] = ()

    @property
    def sentence(self) -> str:
        return " ".join(reason.sentence for reason in self.reasons)


class Explainer:
    """Answers any number of questions about one site.

    `names` gives machine names by address, `vpn_address` dom0's own in the admin VPN.
    """

    def __init__(self, site: Site, names: Mapping[str, str] | None = None, *, vpn_address: str = "") -> None:
        self.site, self.names, self.vpn_address = site, dict(names or {}), vpn_address

    @cached_property
    def _walker(self) -> Walker:
        vpn = self.site.vpn
        return walker(self.site, (self.vpn_address, vpn.interface) if vpn and self.vpn_address else None)

    def ask(self, question: Question) -> Answer:
        """Raises ValueError for a source the site does not know."""
        packet = self._packet(question)
        inside = self._same_bridge(packet)
        if inside is not None:
            return inside
        raw = self._walker.hook("fr-antispoof", packet, policy="ACCEPT")
        if not raw.passes and raw.target != "RETURN":
            return self._stopped_at_the_door(packet, raw)
        moved, service = self._walker.translated(packet)
        local = moved.target in self._walker.own
        if packet.enters == "":
            return self._from_dom0(moved, service)
        if local:
            return self._judged(moved, service, self._walker.hook("fr-in", moved, policy="DROP"), local=True)
        moved = replace(moved, leaves=self._way_to(moved))
        return self._judged(moved, service, self._walker.hook("fr-fwd", moved, policy="DROP"), local=False)

    def lands(self, question: Question) -> tuple[str, int]:
        """Where the packet would come out if nothing stopped it. Raises ValueError as `ask` does."""
        moved, _ = self._walker.translated(self._packet(question))
        return moved.target, moved.port

    # where it comes in and goes out

    def _packet(self, question: Question) -> Packet:
        source, enters = self._source(question)
        return Packet(proto=question.proto, source=source, target=question.target, port=question.port, enters=enters)

    def _source(self, question: Question) -> tuple[str, str]:
        site = self.site
        if question.source == INTERNET:
            there = next((a.nic for a in site.addresses if a.ip == question.target), "")
            return SOMEBODY, there or next(iter(site.nics), "")
        if question.source == VPN:
            if site.vpn is None:
                raise ValueError("This host has no admin VPN.")
            hosts = IPv4Network(site.vpn.network or "0.0.0.0/0").hosts()
            return str(next(hosts)), site.vpn.interface.rstrip("+")
        if question.source == DOM0:
            return next((a.ip for a in site.addresses), "127.0.0.1"), ""
        zone = site.zone_of(question.source)
        if zone is None:
            raise ValueError(f"{question.source} is in no zone.")
        return question.source, zone.bridge

    def _way_to(self, packet: Packet) -> str:
        zone = self.site.zone_of(packet.target)
        if zone is not None:
            return zone.bridge
        vpn = self.site.vpn
        if vpn and vpn.network and _holds(vpn.network, packet.target):
            return vpn.interface.rstrip("+")
        own = self._zone_on(packet.enters)
        return (own.nic if own and own.nic else "") or next(iter(self.site.nics), "")

    def _zone_on(self, bridge: str) -> Zone | None:
        return next((z for z in self.site.zones if z.bridge == bridge), None)

    def _same_bridge(self, packet: Packet) -> Answer | None:
        zone = self.site.zone_of(packet.target)
        if zone is None or zone.bridge != packet.enters or packet.target in self._walker.own:
            return None
        said = f"Both are in {zone.name}: machines of one zone talk directly over {zone.bridge}, no rule judges that."
        return Answer(
            reaches=True,
            reasons=(Reason(kind="zone", name=zone.name, sentence=said),),
            arrives=(packet.target, packet.port),
            as_source=packet.source,
        )

    # what is said about it

    def _stopped_at_the_door(self, packet: Packet, verdict: Verdict) -> Answer:
        said = (
            f"{packet.target} is a private address: nobody on the Internet reaches it but by a published service."
            if self._way_in(packet) == INTERNET
            else "It does not come from where its address belongs."
        )
        return self._answer(False, packet, verdict, Reason(kind="layout", name="anti-spoofing", sentence=said))

    def _from_dom0(self, packet: Packet, service: Rule | None) -> Answer:
        verdict = self._walker.hook("fr-out", packet, policy="ACCEPT")
        reason = self._custom(verdict) or Reason(
            kind="layout", name=DOM0, sentence="dom0 itself may open connections to everybody."
        )
        return self._answer(verdict.passes, packet, verdict, *self._published(packet, service), reason)

    def _judged(self, packet: Packet, service: Rule | None, verdict: Verdict, *, local: bool) -> Answer:
        reason = self._custom(verdict) or (self._input(packet, verdict) if local else self._forward(packet, verdict))
        reasons = (*self._published(packet, service), *((reason,) if reason else ()))
        if verdict.passes and packet.sent_to and reason and reason.kind == "layout":
            reasons = reasons[:-1]  # published: that it is let through goes without saying
        return self._answer(verdict.passes, packet, verdict, *reasons, service=service)

    def _answer(
        self, reaches: bool, packet: Packet, verdict: Verdict, *reasons: Reason, service: Rule | None = None
    ) -> Answer:
        unsure = tuple(self._unsure(rule) for rule in verdict.unsure)
        rules = tuple(rule for rule in (service, verdict.rule, *verdict.unsure) if rule is not None)
        return Answer(
            reaches=None if unsure else reaches,
            reasons=(*unsure, *reasons),
            arrives=(packet.target, packet.port) if reaches else None,
            as_source=self._walker.leaves_as(packet) if reaches and packet.leaves else packet.source,
            rules=rules,
        )

    def _published(self, packet: Packet, service: Rule | None) -> Iterator[Reason]:
        if service is None or packet.sent_to is None:
            return
        address, port = packet.sent_to
        said = (
            f"{packet.proto} {port} of {address} is published as {service.about}: "
            f"it goes to {self._called(packet.target)}, port {packet.port}."
        )
        yield Reason(kind="service", name=service.about, sentence=said)

    def _input(self, packet: Packet, verdict: Verdict) -> Reason:
        rule, way = verdict.rule, self._way_in(packet)
        what, who = self._what(packet), party(way)
        if verdict.passes and rule is not None:
            if rule.about.startswith("admin-"):
                said = f"The admin's own way in, {what}, is always open from {who}."
                return Reason(kind="layout", name=rule.about, sentence=said)
            if rule.about.startswith("policy "):
                return Reason(kind="policy", name=rule.about, sentence=f"The policy lets {who} open {what} of dom0.")
            if rule.chain == "fr-dom0" and rule.about:
                said = f"{rule.about} is dom0's own service on {what}."
                return Reason(kind="service", name=rule.about, sentence=said)
            return Reason(kind="layout", name=DOM0, sentence=f"dom0 answers {what} from {who}.")
        if way == INTERNET:
            said = f"Nothing is published on {what} of {packet.target}, and dom0 offers nothing there."
            return Reason(kind="layout", name=DOM0, sentence=said)
        if way != VPN and packet.target not in self._gateway(way):
            said = f"{packet.target} is dom0's, but not its address in {way}; from there only the gateway answers."
            return Reason(kind="layout", name=DOM0, sentence=said)
        said = f"The policy does not let {who} open {what} of dom0."
        return Reason(kind="policy", name=f"policy {way} → {DOM0}", sentence=said)

    def _forward(self, packet: Packet, verdict: Verdict) -> Reason:
        rule, source, target = verdict.rule, self._way_in(packet), self._party_on(packet.leaves)
        what = self._what(packet)
        if rule is not None and rule.chain.startswith(("fr-ro-", "fr-ri-")):
            zone = self.site.zone(int(rule.chain.rpartition("-")[2])).name
            way = "out of" if rule.chain.startswith("fr-ro-") else "into"
            # It may have met the port as it was sent, before a neighbour's published one was translated.
            met = f"{packet.proto} {packet.sent_to[1]}" if packet.sent_to and "--ctorigdstport" in rule.args else what
            said = f"The restriction {rule.about} of {zone} lets no {met} {way} it."
            return Reason(kind="restriction", name=rule.about, sentence=said)
        if verdict.passes:
            if rule is not None and rule.about.startswith("policy "):
                said = f"The policy lets {party(source)} open {what} to {party(target)}."
                return Reason(kind="policy", name=rule.about, sentence=said)
            return Reason(kind="layout", name="forwarding", sentence="Published services are let through.")
        isolated = next((z for z in self.site.zones if z.isolated and z.name in (source, target)), None)
        if isolated and (packet.sent_to or INTERNET in (source, target)):
            said = f"{isolated.name} is isolated: it has no external address, so nothing leaves or enters it."
            return Reason(kind="zone", name=isolated.name, sentence=said)
        said = f"The policy does not let {party(source)} open {what} to {party(target)}."
        return Reason(kind="policy", name=f"policy {source} → {target}", sentence=said)

    def _custom(self, verdict: Verdict) -> Reason | None:
        rule = verdict.rule
        if rule is None or not rule.chain.startswith(("fr-before-", "fr-after-")):
            return None
        does = "accepts" if verdict.passes else "drops"
        place = rule.chain.removeprefix("fr-")
        said = f"An operator's own rule in {place} {does} it: {rule.args} ({rule.about})."
        return Reason(kind="custom", name=rule.args, sentence=said)

    def _unsure(self, rule: Rule) -> Reason:
        place = rule.chain.removeprefix("fr-")
        said = (
            f"An operator's own rule in {place} may decide otherwise: {rule.args} ({rule.about}). Only a probe tells."
        )
        return Reason(kind="custom", name=rule.args, sentence=said)

    def _party_on(self, interface: str) -> str:
        zone = self._zone_on(interface)
        if zone is not None:
            return zone.name
        vpn = self.site.vpn
        return VPN if vpn and interface == vpn.interface.rstrip("+") else INTERNET

    def _way_in(self, packet: Packet) -> str:
        return self._party_on(packet.enters)

    def _gateway(self, zone: str) -> tuple[str, ...]:
        return tuple(z.gateway for z in self.site.zones if z.name == zone)

    def _what(self, packet: Packet) -> str:
        return "pings" if packet.proto == "icmp" else f"{packet.proto} {packet.port}"

    def _called(self, address: str) -> str:
        name = self.names.get(address)
        return f"{name} ({address})" if name else address


def _holds(network: str, address: str) -> bool:
    return IPv4Address(address) in IPv4Network(network)
