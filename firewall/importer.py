"""Reads the seed's rule files: shell by look, data by content. Parsed, never sourced.

A limited grammar: assignments, CreateZone / CreateApp / TuneZone with KEY=VALUE, comments, and the block
`if test "$ACTION" = "start" ; then` … `DoIt iptables …` … `fi`. Everything else is reported with its line.
Pure: text in, a Site and findings out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError

from firewall import history
from firewall.customs import Customs
from firewall.findings import Finding, Severity
from firewall.quickstart import Quickstart
from firewall.specs import INTERNET, RESERVED, Address, Cell, Ports, Restriction, Service, Site, Zone

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,30}")
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(\S*|\"[^\"]*\"|'[^']*')")
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))")
_COMMENT = re.compile(r"(?:^|[\s;])#.*$")
_SHELL = re.compile(r"[`|&<>(){}\\*?]|\$")
_START = re.compile(r"""if\s+test\s+["']?\$\{?ACTION\}?["']?\s*=\s*["']?start["']?\s*;\s*then""")
#: What the seed's words can't say (`firewall.exporter` writes it).
_POLICY = re.compile(r"#! Policy FROM=(\S+) TO=(\S+) PORTS=(\S+)")
_STATEMENTS = {
    "CreateZone": ("NAME", "NIC", "EXT", "BR", "INT", "MASK"),
    "CreateApp": ("NAME", "ZONE", "EXT", "INT"),
    "TuneZone": ("NAME", "ZONE", "DIR", "ACTION", "PORT"),
}
_OPTIONAL = {"TuneZone": ("ADDR",)}


@dataclass(frozen=True, kw_only=True)
class Read:
    """What came out of a rule file: the site that can be built, what was said about each line.

    `asked` are placeholder names that stand where an address must stand: answer them and read again.
    `left_out` are the objects that were understood but can't work as written.
    """

    site: Site
    findings: tuple[Finding, ...]
    asked: tuple[str, ...] = ()
    left_out: tuple[Service | Restriction, ...] = ()

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.severity == Severity.ERROR)


class _NotUnderstood(ValueError):
    """A line that says something we can't take; the text is the finding."""


def read(text: str, *, answers: Mapping[str, str] | None = None, host: Site | None = None) -> Read:
    """Read a rule file.

    `answers` replaces placeholders (EXT=MyExternalIP) by addresses. `host` gives what no rule file says:
    ssh and panel port, bridge and vif prefix, the admin VPN.
    """
    parser = _Parser(answers=dict(answers or {}), base=host or Site())
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        parser.line(number, line)
    return parser.result()


@dataclass
class _Parser:
    answers: dict[str, str]
    base: Site
    variables: dict[str, str] = field(default_factory=dict)
    zones: dict[int, Zone] = field(default_factory=dict)
    services: dict[int, Service] = field(default_factory=dict)
    restrictions: dict[int, Restriction] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    commented: list[tuple[int, str]] = field(default_factory=list)
    customs: list[tuple[int, str]] = field(default_factory=list)
    policies: list[tuple[int, re.Match[str]]] = field(default_factory=list)
    quickstart: Quickstart = field(default_factory=Quickstart)
    block: int = 0  # line where the open `if` stands

    def say(self, line: int, severity: Severity, sentence: str) -> None:
        self.findings.append(Finding(line=line, severity=severity, sentence=sentence))

    def line(self, number: int, raw: str) -> None:
        text = raw.strip()
        if match := _POLICY.fullmatch(text):
            self.policies.append((number, match))
            return
        if text.startswith("#"):
            if text.lstrip("# ").split(" ", 1)[0] in _STATEMENTS:
                self.commented.append((number, text.lstrip("# ")))
            return
        text = _COMMENT.sub("", text).strip()
        if not text.rstrip("; "):
            return
        if (found := self.quickstart.take(number, text)) is not None:
            self.findings += found
            return
        try:
            self.statement(number, text)
        except _NotUnderstood as problem:
            self.say(number, Severity.ERROR, str(problem))

    def statement(self, number: int, text: str) -> None:
        if _START.fullmatch(text):
            self.block = number
        elif text.rstrip("; ") == "fi" and self.block:
            self.block = 0
        elif self.block and text.startswith("DoIt "):
            self.customs.append((number, text.rstrip("; ").removeprefix("DoIt ").strip()))
        elif self.block:
            raise _NotUnderstood("Inside the start block only `DoIt iptables …` is understood; left out.")
        else:
            self.plain(number, text.rstrip("; "))

    def plain(self, number: int, text: str) -> None:
        if match := _ASSIGNMENT.fullmatch(text):
            name, value = match[1], match[2].strip("\"'")
            self.variables[name] = self.expanded(value)
            return
        word, _, rest = text.partition(" ")
        if word not in _STATEMENTS:
            if _SHELL.search(text) or word in ("if", "for", "while", "case", "source", "."):
                raise _NotUnderstood(
                    f"`{text[:60]}` is a shell command. A rule file is only read here, never run: "
                    "write the result of the command in its place."
                )
            raise _NotUnderstood(
                f"`{word[:40]}` is not understood. Known: CreateZone, CreateApp, TuneZone, NAME=value "
                "and the start block with its DoIt lines."
            )
        fields = self.fields(word, rest)
        {"CreateZone": self.zone, "CreateApp": self.app, "TuneZone": self.tune}[word](number, fields)

    def expanded(self, value: str) -> str:
        def known(match: re.Match[str]) -> str:
            name = match[1] or match[2]
            if name not in self.variables:
                raise _NotUnderstood(f"${name} has no value up to here. Write `{name}=…` on a line above.")
            return self.variables[name]

        out = _VARIABLE.sub(known, value)
        if _SHELL.search(out):
            raise _NotUnderstood(
                f"`{value[:60]}` needs a shell to be evaluated. Nothing here is ever run: write the value."
            )
        return out

    def fields(self, word: str, rest: str) -> dict[str, str]:
        out: dict[str, str] = {}
        for token in rest.split():
            match = _ASSIGNMENT.fullmatch(token)
            if not match:
                raise _NotUnderstood(f"`{token[:40]}` is not KEY=VALUE.")
            if match[1] in out:
                raise _NotUnderstood(f"{match[1]} stands twice on this line; keep one.")
            out[match[1]] = self.expanded(match[2].strip("\"'"))
        wanted, allowed = _STATEMENTS[word], (*_STATEMENTS[word], *_OPTIONAL.get(word, ()))
        if unknown := [key for key in out if key not in allowed]:
            raise _NotUnderstood(f"{word} has no {', '.join(unknown)}. It takes {', '.join(allowed)}.")
        if missing := [key for key in wanted if not out.get(key)]:
            raise _NotUnderstood(f"{word} needs {', '.join(missing)}; the line is left out.")
        return out

    def named(self, name: str, taken: Mapping[int, Zone | Service | Restriction]) -> str:
        if not _NAME.fullmatch(name):
            raise _NotUnderstood(
                f"`{name[:40]}` can't be a name: a letter first, then at most 30 letters, digits, . _ -"
            )
        for line, other in taken.items():
            if other.name == name:
                raise _NotUnderstood(f"{name} is already defined on line {line}; give this one another name.")
        return name

    def zone(self, number: int, got: dict[str, str]) -> None:
        name = self.named(got["NAME"], self.zones)
        if name in RESERVED or name == "none":
            raise _NotUnderstood(f"{name} can't be a zone's name: it already means something else.")
        gateway, network = _subnet(got["INT"], got["MASK"])
        external = self.external(number, name, got["EXT"])
        if external and got["NIC"] == "none":
            raise _NotUnderstood(f"EXT={external} needs the card it lives on: NIC=eth0 instead of NIC=none.")
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]{0,14}", got["BR"]):
            raise _NotUnderstood(f"`{got['BR'][:40]}` can't be a bridge's name: at most 15 characters.")
        for line, other in self.zones.items():
            if other.bridge == got["BR"]:
                raise _NotUnderstood(f"{got['BR']} is {other.name}'s bridge (line {line}); each zone has its own.")
            if IPv4Network(other.network).overlaps(IPv4Network(network)):
                raise _NotUnderstood(
                    f"{network} overlaps {other.network} of {other.name} (line {line}); "
                    "machines of one could pass for the other's."
                )
        nic = None if external is None or got["NIC"] == "none" else got["NIC"]
        self.zones[number] = Zone(
            number=len(self.zones) + 1,
            name=name,
            bridge=got["BR"],
            gateway=gateway,
            network=network,
            external=external if nic else None,
            nic=nic,
        )

    def external(self, number: int, zone: str, value: str) -> str | None:
        if value == "none":
            return None
        value = self.answers.get(value, value)
        if _is_address(value):
            return value
        self.asked.append(value)
        self.say(
            number,
            Severity.WARNING,
            f"EXT={value} is a placeholder, not an address. Say which public address {zone} has; "
            "until then the zone is isolated and publishes nothing.",
        )
        return None

    def app(self, number: int, got: dict[str, str]) -> None:
        name = self.named(got["NAME"], self.services)
        ports = _ports(got["EXT"])
        if got["ZONE"] == "none":
            self.services[number] = Service(
                name=name, proto=ports.proto, port_first=ports.first, port_last=ports.last, nic=got["INT"]
            )
            return
        zone = self.zone_named(got["ZONE"])
        target, _, port = got["INT"].partition(":")
        if not _is_address(target):
            raise _NotUnderstood(f"INT={got['INT']} must be a machine's address and port: INT=10.10.1.3:8080.")
        first = _port(port.split("-")[0]) if port else ports.first
        if first + ports.last - ports.first > 65535:
            raise _NotUnderstood(f"{ports.span} moved to {first} would end above port 65535.")
        self.services[number] = Service(
            name=name,
            proto=ports.proto,
            port_first=ports.first,
            port_last=ports.last,
            external=zone.external,
            nic=zone.nic,
            target=target,
            target_port=first,
            zone=zone.number,
        )

    def tune(self, number: int, got: dict[str, str]) -> None:
        name = self.named(got["NAME"], self.restrictions)
        direction, action = got["DIR"].lower(), got["ACTION"].upper()
        if direction not in ("in", "out"):
            raise _NotUnderstood(f"DIR={got['DIR']} must be in or out (seen from the zone).")
        if action not in ("DROP", "REJECT", "ACCEPT"):
            raise _NotUnderstood(f"ACTION={got['ACTION']} must be DROP, REJECT or ACCEPT.")
        self.restrictions[number] = Restriction(
            name=name,
            zone=self.zone_named(got["ZONE"]).number,
            direction="in" if direction == "in" else "out",
            action="DROP" if action == "DROP" else "REJECT" if action == "REJECT" else "ACCEPT",
            ports=_ports(got["PORT"]),
            address=got.get("ADDR"),
        )

    def zone_named(self, name: str) -> Zone:
        for zone in self.zones.values():
            if zone.name == name:
                return zone
        known = ", ".join(z.name for z in self.zones.values()) or "none"
        raise _NotUnderstood(f"There is no zone {name}. Zones up to here: {known}.")

    def result(self) -> Read:
        if self.block:
            self.say(self.block, Severity.WARNING, "This `if` has no `fi`; its lines were read up to the end.")
        zones = tuple(self.zones.values())
        pairs = {(z.external, z.nic): None for z in zones if z.external and z.nic}
        site = replace(
            self.base,
            addresses=tuple(Address(ip=ip, nic=nic) for ip, nic in pairs if ip and nic),
            zones=zones,
            policy=tuple(Cell(source=z.name, target=INTERNET, everything=True) for z in zones if z.external),
        )
        customs = Customs(site)
        for number, command in self.customs:
            self.findings.append(customs.take(number, command))
        site = self.extended(customs.site())
        said, left_out = history.judge(site, self.services, self.commented)
        self.findings += said
        kept = tuple(s for s in self.services.values() if s not in left_out)
        site = replace(site, services=kept, restrictions=tuple(self.restrictions.values()))
        ordered = sorted(self.findings, key=lambda f: f.line)
        return Read(site=site, findings=tuple(ordered), asked=tuple(self.asked), left_out=left_out)

    def extended(self, site: Site) -> Site:
        """The site with the `#! Policy` lines."""
        cells = {(c.source, c.target): c for c in site.policy}
        for number, match in self.policies:
            source, target, what = match.groups()
            try:
                ports = () if what in ("all", "none") else tuple(_ports(p) for p in what.split(","))
            except _NotUnderstood as problem:
                self.say(number, Severity.ERROR, str(problem))
                continue
            cells.pop((source, target), None)
            if what != "none":
                cells[source, target] = Cell(source=source, target=target, everything=what == "all", ports=ports)
        return replace(site, policy=tuple(cells.values()))


def _is_address(text: str) -> bool:
    try:
        IPv4Address(text)
    except AddressValueError:
        return False
    return True


def _subnet(gateway: str, mask: str) -> tuple[str, str]:
    try:
        network = IPv4Network(f"{gateway}/{mask}", strict=False)
    except (AddressValueError, NetmaskValueError, ValueError):
        raise _NotUnderstood(
            f"INT={gateway} MASK={mask} is no subnet. Example: INT=10.10.1.1 MASK=255.255.255.0."
        ) from None
    return gateway, str(network)


def _ports(text: str) -> Ports:
    proto, _, span = text.partition(":")
    if proto not in ("tcp", "udp") or not span:
        raise _NotUnderstood(f"{text} must be proto:port, for example tcp:25 or udp:5000-5010.")
    first, _, last = span.replace(":", "-").partition("-")
    low, high = _port(first), _port(last or first)
    if high < low:
        raise _NotUnderstood(f"{span} runs backwards; write {high}-{low}.")
    return Ports(proto="tcp" if proto == "tcp" else "udp", first=low, last=high)


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65536:
        raise _NotUnderstood(f"`{text[:20]}` is no port; ports go from 1 to 65535.")
    return int(text)
