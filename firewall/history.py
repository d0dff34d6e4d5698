"""What years of hand-editing leave in a rule file: legal or not, each is said in words. Pure."""

from __future__ import annotations

import re
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from firewall.findings import Finding, Severity
from firewall.specs import Service, Site, Zone

#: Ports a service's own name promises; only digits in a wrong order are taken for a slip of the pen.
USUAL = {
    "SIP": 5060,
    "SMTP": 25,
    "SSH": 22,
    "WEB": 80,
    "HTTP": 80,
    "HTTPS": 443,
    "IMAP": 143,
    "IMAPS": 993,
    "POP": 110,
    "DNS": 53,
    "LDAP": 389,
    "NTP": 123,
}


def judge(
    site: Site, services: Mapping[int, Service], commented: Sequence[tuple[int, str]]
) -> tuple[list[Finding], tuple[Service, ...]]:
    """Findings about services (by line) and commented statements, and the services that can't work."""
    findings: list[Finding] = []
    left_out: list[Service] = []
    taken = _Taken()
    for line, service in services.items():
        reason = _unusable(site, service) or taken.by(line, service)
        if reason:
            left_out.append(service)
            findings.append(Finding(line=line, severity=Severity.ERROR, sentence=reason))
        findings += [
            Finding(line=line, severity=severity, sentence=sentence)
            for severity, sentence in _oddities(site, services.values(), service, bool(reason))
        ]
    findings += [_commented(site, line, text) for line, text in commented]
    return findings, tuple(left_out)


@dataclass
class _Taken:
    """Ports published by the lines before; kept apart and in order, so that 5000 lines are read in a moment."""

    spans: dict[tuple[str, str], list[tuple[int, int, int, str]]] = field(default_factory=dict)

    def by(self, line: int, service: Service) -> str:
        """Why another line has the service's port; "" where none has, and from then on it is taken."""
        if service.target is None:
            return ""
        rooms = [self.spans.setdefault((service.external or "", half.proto), []) for half in service.each]
        for room in rooms:
            at = bisect_left(room, (service.port_first,))
            for first, last, other, name in room[max(at - 1, 0) : at + 1]:
                if first <= service.port_last and service.port_first <= last:
                    return (
                        f"{service.where} is already published as {name} (line {other}); "
                        "one port leads to one machine. Choose another port."
                    )
        for room in rooms:
            insort(room, (service.port_first, service.port_last, line, service.name))
        return ""


def _unusable(site: Site, service: Service) -> str:
    if service.target is None:
        if service.nic in site.nics or (service.nic is None and site.addresses):
            return ""
        return (
            f"{service.name} is dom0's own on {service.nic}, but no zone has an address there. "
            f"Cards with addresses: {', '.join(site.nics) or 'none'}."
        )
    own = _publisher(site, service)
    actual = site.zone_of(service.target)
    if actual is None:
        near = f" Did you mean {_nearest(service.target, own)}?" if own else ""
        where = f": {own.name} is {own.network}" if own else ""
        return (
            f"{service.name} points to {service.target}, which is in no zone{where}. "
            f"Nothing would answer, so it is left out.{near}"
        )
    if service.target == actual.gateway:
        return f"{service.name} points to {service.target}, dom0 itself in {actual.name}. Name a machine, or ZONE=none."
    if own and service.external is None:
        return (
            f"{service.name} can't be published: {own.name} has no external address. "
            "Give the zone one, then read the file again."
        )
    if actual.isolated:
        return (
            f"{service.name} points to {service.target} in {actual.name}, which is isolated from the Internet. "
            f"Give {actual.name} an external address, or choose a machine of another zone."
        )
    return ""


def _publisher(site: Site, service: Service) -> Zone | None:
    """The zone a service belongs to; none where only its address is named."""
    return next((z for z in site.zones if z.number == service.zone), None)


def _nearest(target: str, zone: Zone) -> str:
    return ".".join((*zone.network.split("/")[0].split(".")[:3], target.rsplit(".", 1)[1]))


def _oddities(
    site: Site, services: Iterable[Service], service: Service, unusable: bool
) -> Iterator[tuple[Severity, str]]:
    yield from _transposed(service)
    if service.target is None:
        for other in services:
            if other.target and other.nic == service.nic and other.ports.overlaps(service.ports):
                yield Severity.WARNING, _shadowed(site, service, other)
        return
    own, actual = _publisher(site, service), site.zone_of(service.target)
    if own and actual and actual != own and not unusable:
        yield (
            Severity.INFO,
            f"{service.name} belongs to {own.name}, its target {service.target} is in {actual.name}. "
            f"That works (a machine shared by both zones): {service.where} reaches {actual.name}.",
        )


def _shadowed(site: Site, service: Service, other: Service) -> str:
    rest = [ip for ip in site.addresses_of(service) if ip != other.external]
    where = f"only on {', '.join(rest)}" if rest else "nowhere any more"
    return (
        f"{service.name} ({service.ports}) is shadowed on {other.external}: there the port leads to "
        f"{other.target} as {other.name}. dom0 itself answers it {where}."
    )


def _transposed(service: Service) -> Iterator[tuple[Severity, str]]:
    for word in re.split(r"[_.-]", service.name):
        usual = USUAL.get(word.upper())
        port = service.port_first
        if usual and port != usual and sorted(str(port)) == sorted(str(usual)):
            yield (
                Severity.WARNING,
                f"{service.name} is published on {service.ports}; {word} usually is {usual}. "
                "A slip of the pen? Phones and programs won't look there unless told.",
            )


def _commented(site: Site, line: int, text: str) -> Finding:
    names = [z.name for z in site.zones]
    match = re.search(r"\bZONE=(\S+)", text)
    if match and match[1] != "none" and match[1] not in names:
        sentence = (
            f"Commented out, so nothing is done. It names zone {match[1]}, which this file doesn't have "
            f"({', '.join(names) or 'no zones'}): as it stands it would restrict nothing."
        )
        return Finding(line=line, severity=Severity.WARNING, sentence=sentence)
    return Finding(line=line, severity=Severity.INFO, sentence="Commented out, so nothing is done.")
