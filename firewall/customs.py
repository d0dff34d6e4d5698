"""The samples' own iptables lines, turned into what they mean: cells of the policy grid. Pure.

`-A after-forwarding -i A -o B -j ACCEPT` and `-A after-input -i A -j ACCEPT`, optionally with a protocol
and port, where A and B are zone bridges or the VPN. Any other line stays the operator's custom rule.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from firewall import own_rule_lint
from firewall.findings import Finding, Severity
from firewall.grammar import Words
from firewall.specs import BOTH, DOM0, PING, PLACES, VPN, Cell, CustomRule, Place, Ports, Proto, Site, Vpn

_APPEND = re.compile(r"(?:ip4?tables|/\S*/iptables)\s+(?:-t\s+filter\s+)?(?:-A|--append)\s+(\S+)\s+(.+)")
_VPN = re.compile(r"(tun|tap|wg|ppp)[0-9]*\+?")


@dataclass
class Customs:
    """Collects cells while the lines go by; `site()` is the site with them, `until` the rules that expire."""

    base: Site
    cells: dict[tuple[str, str], Cell] = field(default_factory=dict)
    own: list[CustomRule] = field(default_factory=list)
    until: dict[CustomRule, str] = field(default_factory=dict)
    vpn: Vpn | None = None

    def __post_init__(self) -> None:
        self.vpn = self.base.vpn
        self.cells = {(c.source, c.target): c for c in self.base.policy}

    def site(self) -> Site:
        return replace(self.base, vpn=self.vpn, policy=tuple(self.cells.values()), custom=tuple(self.own))

    def take(self, line: int, said: Words) -> Finding:
        """Take one command of the start block and say what became of it."""
        match = _APPEND.fullmatch(said.body)
        place = next((p for p in PLACES if match and match[1] == p), None)
        if match is None or place is None:
            return _said(
                line,
                Severity.ERROR,
                f"`{said.body[:70]}` is not understood: only `iptables -A` into before- or after- "
                "input, output and forwarding is. Left out.",
            )
        arguments = match[2].split()
        if "OWN" not in said.extras and (found := self._cells(line, place, arguments, "BOTH" in said.extras)):
            return found
        return self._own(line, place, arguments, said)

    def _cells(self, line: int, place: Place, arguments: list[str], both: bool) -> Finding | None:
        pairs = self.pairs(place, arguments)
        if pairs is None:
            return None
        ports = _ports(_options(arguments) or {})
        for pair in pairs:
            self.cells[pair] = _widened(self.cells.get(pair), pair, ports or None, both)
        return self._told(line, pairs, "everything" if not ports else str(ports))

    def pairs(self, place: Place, arguments: list[str]) -> list[tuple[str, str]] | None:
        """The cells these arguments mean; None where no cell says the same."""
        options = _options(arguments)
        if options is None or options.pop("-j", "") != "ACCEPT":
            return None
        ports = _ports(options)
        sources = self._parties(options.pop("-i", ""))
        targets = self._parties(options.pop("-o", "")) if place == "after-forwarding" else (DOM0,)
        if options or not sources or not targets or ports is False:
            return None
        if place not in ("after-forwarding", "after-input") or (place == "after-input" and sources != (VPN,)):
            return None
        return [(s, t) for s in sources for t in targets if s != t]

    def _parties(self, interface: str) -> tuple[str, ...]:
        """The zones or the VPN an interface pattern (`xen-br+`) means; empty: neither."""
        if not interface:
            return ()
        pattern = interface[:-1] + "*" if interface.endswith("+") else interface
        zones = tuple(z.name for z in self.base.zones if fnmatchcase(z.bridge, pattern))
        if zones:
            return zones
        if (self.vpn and self.vpn.interface == interface) or _VPN.fullmatch(interface):
            self.vpn = self.vpn or Vpn(interface=interface)
            return (VPN,)
        return ()

    def _told(self, line: int, pairs: list[tuple[str, str]], what: str) -> Finding:
        zones = {z.name: z for z in self.base.zones}
        if all(s in zones and t in zones for s, t in pairs):
            return self._zones_told(line, pairs, what)
        words = "; ".join(f"{_called(s)} may open {what} to {_called(t)}" for s, t in pairs)
        return _said(line, Severity.INFO, f"Became policy: {words}.")

    def _zones_told(self, line: int, pairs: list[tuple[str, str]], what: str) -> Finding:
        if not pairs:
            return _said(line, Severity.INFO, "Names only one zone: inside a zone machines talk anyway.")
        names = ", ".join(f"{s} → {t}" for s, t in pairs)
        isolated = sorted({z.name for z in self.base.zones if z.isolated and any(z.name in p for p in pairs)})
        more = f" {', '.join(isolated)} included, which has no Internet of its own." if isolated else ""
        every = len(pairs) == len(self.base.zones) * (len(self.base.zones) - 1)
        opens = "every zone to every other" if every else "one zone to another"
        return _said(
            line,
            Severity.WARNING,
            f"This opens {opens}, for {what}: {names}.{more} It became policy; close the cells you don't need.",
        )

    def _own(self, line: int, place: Place, arguments: list[str], said: Words) -> Finding:
        reason = said.comment[:200] or f"from line {line} of the rule file"
        rule = CustomRule(place=place, rule=" ".join(arguments), reason=reason)
        for problem in own_rule_lint.problems(rule, self.base):
            if problem.blocks:
                return _said(line, Severity.ERROR, f"It can't be an own rule in {place}: {problem.sentence}")
        self.own.append(rule)
        if until := said.extras.get("UNTIL"):
            self.until[rule] = until
        return _said(
            line,
            Severity.WARNING,
            f"Kept as your own rule in {place}; no cell of the policy grid says the same. Look at it before you apply.",
        )


def is_policy(site: Site, rule: CustomRule) -> bool:
    """Whether this own rule would be read as cells of the policy, were it not marked as one's own."""
    return Customs(replace(site, policy=())).pairs(rule.place, rule.rule.split()) is not None


def _said(line: int, severity: Severity, sentence: str) -> Finding:
    return Finding(line=line, severity=severity, sentence=sentence)


def _called(party: str) -> str:
    return "the admin VPN" if party == VPN else party


def _options(words: list[str]) -> dict[str, str] | None:
    """`-i A -o B` as a mapping; None where a word is no option with one value."""
    if len(words) % 2 or any(not w.startswith("-") for w in words[::2]) or len(set(words[::2])) * 2 != len(words):
        return None
    return dict(zip(words[::2], words[1::2], strict=True))


def _ports(options: dict[str, str]) -> Ports | bool | None:
    """Takes -p, -m and --dport out; None: no ports named, False: something else is."""
    proto, module, span, kind = (options.pop(key, "") for key in ("-p", "-m", "--dport", "--icmp-type"))
    if not (proto or module or span or kind):
        return None
    if proto == "icmp" and module in ("", "icmp") and kind in ("8", "echo-request") and not span:
        return PING
    first, _, last = span.partition(":")
    if proto not in ("tcp", "udp") or module not in ("", proto) or kind:
        return False
    if not all(part.isascii() and part.isdigit() and len(part) < 6 for part in (first, last or first)):
        return False
    ports = Ports(proto="tcp" if proto == "tcp" else "udp", first=int(first), last=int(last or first))
    return ports if ports.valid else False


def _widened(cell: Cell | None, pair: tuple[str, str], ports: Ports | bool | None, both: bool) -> Cell:
    if not isinstance(ports, Ports) or (cell and cell.everything):
        return Cell(source=pair[0], target=pair[1], everything=True)
    before = cell.ports if cell else ()
    other: Proto = "udp" if ports.proto == "tcp" else "tcp"
    if both and (half := replace(ports, proto=other)) in before:
        whole = replace(ports, proto=BOTH)
        return Cell(source=pair[0], target=pair[1], ports=tuple(whole if p == half else p for p in before))
    return Cell(source=pair[0], target=pair[1], ports=(*before, *(() if ports in before else (ports,))))
