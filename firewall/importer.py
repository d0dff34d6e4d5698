"""Reads the seed's rule files: shell by look, data by content. Parsed, never sourced.

A limited grammar: assignments, CreateZone / CreateApp / TuneZone with KEY=VALUE, comments, and the block
`if test "$ACTION" = "start" ; then` … `DoIt iptables …` … `fi`. What the seed has no word for stands in comments
the old script passes over (`#! …`, `;#! KEY=VALUE`; `firewall.exporter` writes them). Everything else is reported
with its line and kept for review. Pure: text in, a Site and findings out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network

from firewall import grammar, history, lint
from firewall.customs import Customs
from firewall.findings import Finding, Severity
from firewall.grammar import NotUnderstood, Variables, Words
from firewall.quickstart import Quickstart
from firewall.specs import BOTH, INTERNET, RESERVED, Address, Cell, CustomRule, Restriction, Service, Site, Zone

MAX_LINES = 5000
MAX_LINE = 1000
_START = re.compile(r"""if\s+test\s+["']?\$\{?ACTION\}?["']?\s*=\s*["']?start["']?\s*;\s*then""")
_POLICY = re.compile(r"FROM=(\S+) TO=(\S+) PORTS=(\S+)")
_ADDRESS = re.compile(r"NIC=(\S+) EXT=(\S+)")


@dataclass(frozen=True, kw_only=True)
class Unread:
    """A line that was not taken over, as it stands in the file."""

    line: int
    text: str


@dataclass(frozen=True, kw_only=True)
class Read:
    """What came out of a rule file: the site that can be built, what was said about each line.

    `asked` are placeholder names that stand where an address must stand: answer them and read again.
    `left_out` are the objects that were understood but can't work as written, `review` every line that was not
    taken over. `until` says when own rules expire, as the file has it.
    """

    site: Site
    findings: tuple[Finding, ...]
    asked: tuple[str, ...] = ()
    left_out: tuple[Service | Restriction, ...] = ()
    review: tuple[Unread, ...] = ()
    until: Mapping[CustomRule, str] = field(default_factory=dict)

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.severity == Severity.ERROR)


def read(text: str, *, answers: Mapping[str, str] | None = None, host: Site | None = None) -> Read:
    """Read a rule file.

    `answers` replaces placeholders (EXT=MyExternalIP) by addresses, and names of cards by others. `host` gives
    what no rule file says: ssh and panel port, bridge and vif prefix, the admin VPN.
    """
    parser = _Parser(answers=dict(answers or {}), base=host or Site())
    lines = text.replace("\r\n", "\n").split("\n")
    for number, line in enumerate(lines[:MAX_LINES], start=1):
        parser.line(number, line)
    if len(lines) > MAX_LINES:
        parser.say(MAX_LINES + 1, Severity.ERROR, f"Only {MAX_LINES} lines are read; from here on nothing was.")
    return parser.result()


@dataclass
class _Parser:
    answers: dict[str, str]
    base: Site
    variables: Variables = field(default_factory=Variables)
    zones: dict[int, Zone] = field(default_factory=dict)
    services: dict[int, Service] = field(default_factory=dict)
    restrictions: dict[int, Restriction] = field(default_factory=dict)
    addresses: dict[str, Address] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    commented: list[tuple[int, str]] = field(default_factory=list)
    customs: list[tuple[int, Words]] = field(default_factory=list)
    policies: list[tuple[int, re.Match[str]]] = field(default_factory=list)
    named_on: dict[tuple[str, str], int] = field(default_factory=dict)
    halves: dict[tuple[str, str], int] = field(default_factory=dict)  # lines of BOTH= that wait for their other half
    quickstart: Quickstart = field(default_factory=Quickstart)
    texts: dict[int, str] = field(default_factory=dict)
    kept: list[Unread] = field(default_factory=list)  # lines an earlier import left
    block: int = 0  # line where the open `if` stands

    def say(self, line: int, severity: Severity, sentence: str) -> None:
        self.findings.append(Finding(line=line, severity=severity, sentence=sentence))

    def line(self, number: int, raw: str) -> None:
        text = "".join(c if c.isprintable() else " " for c in raw[:MAX_LINE]).strip()
        self.texts[number] = text
        try:
            if len(raw) > MAX_LINE:
                raise NotUnderstood(f"This line has {len(raw)} characters; no rule is so long.")
            if text.startswith("#!") and text[2:3] == " ":
                self.extension(number, text[2:].strip())
            elif text.startswith("#"):
                self.comment(number, text)
            elif (said := grammar.words(text)).body:
                self.words(number, said)
        except NotUnderstood as problem:
            self.say(number, Severity.ERROR, str(problem))

    def comment(self, number: int, text: str) -> None:
        said = text.lstrip("# ")
        if said.split(" ", 1)[0] in grammar.STATEMENTS:
            self.commented.append((number, said))

    def extension(self, number: int, text: str) -> None:
        """A `#! …` line: what only Fridu reads."""
        word, _, rest = text.partition(" ")
        if word == "Review":
            self.kept.append(Unread(line=number, text=rest.strip()))
            self.say(
                number,
                Severity.WARNING,
                "An earlier import left this line for review; nothing is done with it. "
                "Take `#! Review` away to have it read again, or the whole line once it is dealt with.",
            )
        elif word == "Policy" and (policy := _POLICY.fullmatch(rest)):
            self.policies.append((number, policy))
        elif word == "Address" and (address := _ADDRESS.fullmatch(rest)):
            self.address(address[1], address[2])
        elif word in ("CreateApp", "TuneZone"):
            self.words(number, grammar.words(text))
        else:
            raise NotUnderstood("After `#!` only Policy, Address, CreateApp, TuneZone and Review are understood.")

    def words(self, number: int, said: Words) -> None:
        if (found := self.quickstart.take(number, said.body)) is not None:
            self.findings += found
        elif _START.fullmatch(said.body):
            self.block = number
        elif said.body == "fi" and self.block:
            self.block = 0
        elif self.block and said.body.startswith("DoIt "):
            command = self.variables.expanded(said.body.removeprefix("DoIt ").strip())
            self.customs.append((number, replace(said, body=command)))
        elif self.block:
            raise NotUnderstood("Inside the start block only `DoIt iptables …` is understood; left out.")
        else:
            self.statement(number, said)

    def statement(self, number: int, said: Words) -> None:
        if self.variables.assign(said.body):
            return
        word, _, rest = said.body.partition(" ")
        build: dict[str, Callable[[int, dict[str, str]], None]] = {
            "CreateZone": self.zone,
            "CreateApp": self.app,
            "TuneZone": self.tune,
        }
        if word not in build:
            raise grammar.complain(said.body)
        build[word](number, grammar.fields(word, rest, said.extras, self.variables))

    def named(self, number: int, kind: str, name: str) -> None:
        """Take a name among its kind. Raises NotUnderstood."""
        if not grammar.NAME.fullmatch(name):
            raise NotUnderstood(
                f"`{name[:40]}` can't be a name: a letter first, then at most 30 letters, digits, _ and -."
            )
        key = (kind, name)
        if self.named_on.setdefault(key, number) != number:
            raise NotUnderstood(f"{name} is already defined on line {self.named_on[key]}; give this one another name.")

    def zone(self, number: int, got: dict[str, str]) -> None:
        name = got["NAME"]
        if name.lower() in RESERVED or name.lower() == "none":
            raise NotUnderstood(f"{name} can't be a zone's name: it already means something else.")
        if not grammar.ZONE_NAME.fullmatch(name):
            raise NotUnderstood(
                f"{name} can't be a zone's name: a letter, then at most 14 letters, digits and hyphens."
            )
        network = grammar.subnet(got["INT"], got["MASK"])
        external = self.external(number, name, got["EXT"])
        if external and got["NIC"] == "none":
            raise NotUnderstood(f"EXT={external} needs the card it lives on: NIC=eth0 instead of NIC=none.")
        self.own_place(name, got["BR"], network)
        nic = self.address(got["NIC"], external).nic if external else None
        self.named(number, "zone", name)
        self.zones[number] = Zone(
            number=len(self.zones) + 1,
            name=name,
            bridge=got["BR"],
            gateway=got["INT"],
            network=network,
            external=external,
            nic=nic,
        )

    def own_place(self, name: str, bridge: str, network: str) -> None:
        """Raise NotUnderstood where a zone's bridge or subnet can't be its own."""
        if not grammar.BRIDGE.fullmatch(bridge):
            raise NotUnderstood(
                f"`{bridge[:40]}` can't be a bridge's name: at most 15 characters, letters, digits and hyphens."
            )
        for line, other in self.zones.items():
            if other.bridge == bridge:
                raise NotUnderstood(f"{bridge} is {other.name}'s bridge (line {line}); each zone has its own.")
            if IPv4Network(other.network).overlaps(IPv4Network(network)):
                raise NotUnderstood(
                    f"{network} overlaps {other.network} of {other.name} (line {line}); "
                    "machines of one could pass for the other's."
                )
        vpn = self.base.vpn.network if self.base.vpn else None
        if vpn and IPv4Network(vpn).overlaps(IPv4Network(network)):
            raise NotUnderstood(f"{network} of {name} overlaps the admin VPN ({vpn}); it needs a subnet of its own.")

    def external(self, number: int, zone: str, value: str) -> str | None:
        if value == "none":
            return None
        said = self.answers.get(value, value)
        if grammar.is_address(said):
            return said
        self.asked.append(value)
        answered = f" `{said[:20]}` is no address either." if said != value else ""
        self.say(
            number,
            Severity.WARNING,
            f"EXT={value} is a placeholder, not an address.{answered} Say which public address {zone} has; "
            "until then the zone is isolated and publishes nothing.",
        )
        return None

    def address(self, nic: str, ip: str) -> Address:
        """Note that a public address lives on a card. Raises NotUnderstood."""
        nic = self.card(nic)
        if not grammar.is_address(ip):
            raise NotUnderstood(f"EXT={ip[:20]} is no address. Example: EXT=91.121.65.140.")
        known = self.addresses.setdefault(ip, Address(ip=ip, nic=nic))
        if known.nic != nic:
            raise NotUnderstood(
                f"{ip} is on {known.nic} by a line above, here on {nic}; one address lives on one card."
            )
        return known

    def card(self, nic: str) -> str:
        nic = self.answers.get(nic, nic)
        if not grammar.INTERFACE.fullmatch(nic):
            raise NotUnderstood(f"`{nic[:20]}` is no network card. Example: eth0.")
        return nic

    def app(self, number: int, got: dict[str, str]) -> None:
        ports = grammar.ports(got["EXT"])
        to_dom0 = got["ZONE"] == "none" and not grammar.is_address(got["INT"].partition(":")[0])
        made = Service(
            name=got.get("BOTH") or got["NAME"], proto=ports.proto, port_first=ports.first, port_last=ports.last
        )
        made = self.of_dom0(made, got) if to_dom0 else self.of_machine(made, got)
        line = self.halves.get(("app", made.name)) if "BOTH" in got else None
        first = self.services.get(line or 0)
        if line and first and replace(first, proto=made.proto) == made and first.proto != made.proto:
            self.services[line] = replace(first, proto=BOTH)
            return
        self.named(number, "service", made.name)
        self.services[number] = made
        if "BOTH" in got:
            self.halves["app", made.name] = number

    def of_dom0(self, made: Service, got: dict[str, str]) -> Service:
        if "ON" in got:
            there = self.address_known(got["ON"])
            return replace(made, external=there.ip, nic=there.nic)
        return made if got.get("CARD") == "any" else replace(made, nic=self.card(got["INT"]))

    def of_machine(self, made: Service, got: dict[str, str]) -> Service:
        zone = None if got["ZONE"] == "none" else self.zone_named(got["ZONE"])
        if zone is None and "ON" not in got:
            raise NotUnderstood(
                f"ZONE=none is dom0's own, so INT is a card such as eth0. For {got['INT'][:40]} name the zone."
            )
        target, _, port = got["INT"].partition(":")
        if not grammar.is_address(target):
            raise NotUnderstood(f"INT={got['INT'][:40]} must be a machine's address and port: INT=10.10.1.3:8080.")
        first = grammar.port(port.replace("-", ":").split(":")[0]) if port else made.port_first
        if first + made.port_last - made.port_first > 65535:
            raise NotUnderstood(f"{made.ports.span} moved to {first} would end above port 65535.")
        on = zone.external if zone else None
        there = self.address_known(got["ON"]) if "ON" in got else self.addresses.get(on or "")
        return replace(
            made,
            external=there.ip if there else None,
            nic=there.nic if there else None,
            target=target,
            target_port=first,
            zone=zone.number if zone else None,
        )

    def address_known(self, ip: str) -> Address:
        if ip not in self.addresses:
            raise NotUnderstood(f"ON={ip[:20]}: no zone and no `#! Address` line above says which card has it.")
        return self.addresses[ip]

    def tune(self, number: int, got: dict[str, str]) -> None:
        direction, action = got["DIR"].lower(), got["ACTION"].upper()
        if direction not in ("in", "out"):
            raise NotUnderstood(f"DIR={got['DIR'][:20]} must be in or out (seen from the zone).")
        if action not in ("DROP", "REJECT", "ACCEPT"):
            raise NotUnderstood(f"ACTION={got['ACTION'][:20]} must be DROP, REJECT or ACCEPT.")
        if "ADDR" in got and not lint.is_network(got["ADDR"]):
            raise NotUnderstood(f"ADDR={got['ADDR'][:20]} is no address or network. Example: 10.10.3.0/24.")
        zone = self.zone_named(got["ZONE"])
        made = Restriction(
            name=got.get("BOTH") or got["NAME"],
            zone=zone.number,
            direction="in" if direction == "in" else "out",
            action="DROP" if action == "DROP" else "REJECT" if action == "REJECT" else "ACCEPT",
            ports=grammar.ports(got["PORT"]),
            address=lint.canonical(got["ADDR"]) if "ADDR" in got else None,
        )
        line = self.halves.get((zone.name, made.name)) if "BOTH" in got else None
        first = self.restrictions.get(line or 0)
        if line and first and first.ports != made.ports and replace(first, ports=made.ports) == made:
            self.restrictions[line] = replace(first, ports=replace(first.ports, proto=BOTH))
            return
        self.named(number, f"restriction of {zone.name}", made.name)
        self.restrictions[number] = made
        if "BOTH" in got:
            self.halves[zone.name, made.name] = number

    def zone_named(self, name: str) -> Zone:
        for zone in self.zones.values():
            if zone.name == name:
                return zone
        known = ", ".join(z.name for z in self.zones.values()) or "none"
        raise NotUnderstood(f"There is no zone {name[:40]}. Zones up to here: {known}.")

    def result(self) -> Read:
        if self.block:
            self.say(self.block, Severity.WARNING, "This `if` has no `fi`; its lines were read up to the end.")
        zones = tuple(self.zones.values())
        site = replace(
            self.base,
            addresses=tuple(self.addresses.values()),
            zones=zones,
            policy=tuple(Cell(source=z.name, target=INTERNET, everything=True) for z in zones if z.external),
        )
        customs = Customs(site)
        for number, said in self.customs:
            self.findings.append(customs.take(number, said))
        site = self.extended(customs.site())
        said_of, left_out = history.judge(site, self.services, self.commented)
        self.findings += said_of
        out = set(left_out)
        site = replace(
            site,
            services=tuple(s for s in self.services.values() if s not in out),
            restrictions=tuple(self.restrictions.values()),
        )
        ordered = sorted(self.findings, key=lambda f: f.line)
        return Read(
            site=site,
            findings=tuple(ordered),
            asked=tuple(dict.fromkeys(self.asked)),
            left_out=left_out,
            review=self.unread(),
            until=customs.until,
        )

    def unread(self) -> tuple[Unread, ...]:
        """Every line nothing became of, in the file's order."""
        lines = {f.line for f in self.findings if f.severity == Severity.ERROR and f.line in self.texts}
        new = [Unread(line=n, text=self.texts[n]) for n in lines]
        return tuple(sorted((*self.kept, *new), key=lambda u: u.line))

    def extended(self, site: Site) -> Site:
        """The site with the `#! Policy` lines."""
        cells = {(c.source, c.target): c for c in site.policy}
        parties = set(site.parties())
        for number, match in self.policies:
            source, target, what = match.groups()
            try:
                if unknown := [p for p in (source, target) if p not in parties]:
                    raise NotUnderstood(f"There is no {unknown[0][:40]} here: {', '.join(parties)} are.")
                ports = () if what in ("all", "none") else tuple(grammar.cell_ports(p) for p in what.split(","))
            except NotUnderstood as problem:
                self.say(number, Severity.ERROR, str(problem))
                continue
            cells.pop((source, target), None)
            if what != "none":
                cells[source, target] = Cell(source=source, target=target, everything=what == "all", ports=ports)
        return replace(site, policy=tuple(cells.values()))
