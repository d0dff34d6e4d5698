"""A packet's way through the compiled rules, as the kernel would walk them. Pure.

It reads the very words that are loaded (`firewall.rules`), so it can't know better than they do; a match of an
operator's own rule that it does not understand makes that rule "unsure" instead of guessed.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from ipaddress import IPv4Address, IPv4Network

from dom0.members import INSIDE, LOOPBACK, ZNET
from firewall import rules
from firewall.rules import Rule
from firewall.specs import Site

#: A walk ends with one of these; any target that is neither one nor a chain of ours only does something on the way.
FINAL = ("ACCEPT", "DROP", "REJECT", "DNAT", "SNAT")
#: A client's own port: none that a rule names.
CLIENT_PORT = 40000


@dataclass(frozen=True, kw_only=True)
class Packet:
    """The first packet of a connection. `enters` is "" for dom0's own, `leaves` "" for what dom0 receives.

    `sent_to` is where it was sent before it was translated, None while it was not.
    """

    proto: str
    source: str
    target: str
    port: int = 0
    enters: str = ""
    leaves: str = ""
    sent_to: tuple[str, int] | None = None

    @property
    def first_target(self) -> str:
        return self.sent_to[0] if self.sent_to else self.target


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What becomes of a packet in one hook: the rule that says so, None for the hook's own policy.

    `unsure` are rules before it that nobody here understands whole: they may decide otherwise.
    """

    target: str
    rule: Rule | None = None
    unsure: tuple[Rule, ...] = ()

    @property
    def passes(self) -> bool:
        return self.target == "ACCEPT"


Says = bool | None  # None: can't tell
Test = Callable[["Walker", Packet], Says]


@dataclass(frozen=True)
class _Parsed:
    rule: Rule
    tests: tuple[Test, ...]
    target: str
    to: str = ""
    ports: range | None = None  # destination ports, where the rule names them: most rules end here


class Walker:
    """One site's rules, taken apart once, for any number of packets.

    `also_own`: addresses of dom0 that the site does not know, such as the one in the admin VPN, and their interfaces.
    """

    def __init__(self, site: Site, also_own: Mapping[str, str] | None = None) -> None:
        self.site, self._also_own = site, dict(also_own or {})
        self._chains: dict[str, list[_Parsed]] = {}
        for table in rules.tables(site):
            self._chains.update((chain, []) for chain in table.chains)
            for rule in table.rules:
                self._chains.setdefault(rule.chain, []).append(_parsed(rule))

    @cached_property
    def own(self) -> Mapping[str, str]:
        """dom0's own addresses → the interface each is on."""
        gateways = {z.gateway: z.bridge for z in self.site.zones}
        return {**{a.ip: a.nic for a in self.site.addresses}, **gateways, **self._also_own}

    @cached_property
    def inside(self) -> tuple[IPv4Network, ...]:
        """Networks nobody outside may speak from or to (the set fr-inside)."""
        vpn = self.site.vpn.network if self.site.vpn else None
        named = (LOOPBACK, *(z.network for z in self.site.zones), *((vpn,) if vpn else ()))
        return tuple(IPv4Network(network) for network in named)

    def hook(self, chain: str, packet: Packet, *, policy: str) -> Verdict:
        """Walk the built-in hook that leads into `chain` and has this policy."""
        unsure: list[Rule] = []
        found = self._walk(chain, packet, unsure)
        if found is None:
            return Verdict(target=policy, unsure=tuple(unsure))
        return Verdict(target=found.target, rule=found.rule, unsure=tuple(unsure))

    def translated(self, packet: Packet) -> tuple[Packet, Rule | None]:
        """The packet after destination NAT with the service's rule; itself and None where nothing is published."""
        found = self._walk("fr-dnat", packet, []) if packet.target in self.own else None
        if found is None or found.target != "DNAT":
            return packet, None
        address, port = _destination(found.to, packet.port)
        return replace(packet, target=address, port=port, sent_to=(packet.target, packet.port)), found.rule

    def leaves_as(self, packet: Packet) -> str:
        """The source address it leaves with."""
        found = self._walk("fr-snat", packet, [])
        return found.to if found and found.target == "SNAT" else packet.source

    def _walk(self, chain: str, packet: Packet, unsure: list[Rule]) -> _Parsed | None:
        """The rule that ends the walk; None where the chain is left without one."""
        for parsed in self._chains.get(chain, ()):
            if parsed.ports is not None and packet.port not in parsed.ports:
                continue
            says = self._says(parsed, packet)
            if says is None:
                unsure.append(parsed.rule)
            if not says:
                continue
            if parsed.target == "RETURN":
                return None
            if parsed.target in FINAL:
                return parsed
            if found := self._walk(parsed.target, packet, unsure):
                return found
        return None

    def _says(self, parsed: _Parsed, packet: Packet) -> Says:
        says: Says = True
        for test in parsed.tests:
            said = test(self, packet)
            if said is False:
                return False
            says = says and said
        return says


@lru_cache(maxsize=4096)
def _ip(text: str) -> IPv4Address:
    return IPv4Address(text)


@lru_cache(maxsize=2)
def walker(site: Site, vpn: tuple[str, str] | None = None) -> Walker:
    """One for the same site, compiled once; `vpn` is dom0's own address in the admin VPN and its interface."""
    return Walker(site, dict((vpn,)) if vpn else None)


def _destination(to: str, port: int) -> tuple[str, int]:
    """`10.0.0.2:2525`, or a range `10.0.0.2:6000-6010/5000`: its first port is what 5000 was sent to."""
    address, _, span = to.partition(":")
    span, _, base = span.partition("/")
    first, _, last = span.partition("-")
    return address, int(first) + (port - int(base) if last and base else 0) if first else port


def _parsed(rule: Rule) -> _Parsed:
    said = shlex.split(rule.args)
    words = iter(said)
    readers = {**_READERS, "--dst-type": _local_there} if "--limit-iface-in" in said else _READERS
    tests: list[Test] = []
    negated = False
    for word in words:
        if word in ("-j", "--jump"):
            break
        if word == "!":
            negated = True
            continue
        test = readers[word](words) if word in readers else _unknown if word.startswith("-") else None
        if test is not None:
            tests.append(_not(test) if negated else test)
        negated = False
    target = next(words, "")
    to = next((word for word in words if word[:1].isdigit()), "")  # --to-source and --to-destination; else nothing
    ports = _span(said[said.index("--dport") + 1]) if "! --dport" not in rule.args and "--dport" in said[:-1] else None
    return _Parsed(rule, tuple(tests), target, to, ports)


def _span(text: str) -> range:
    """`25`, `5000:5010`, `1024:` or `:1023`. Raises ValueError."""
    first, colon, last = text.partition(":")
    return range(int(first or 0), int(last or (65535 if colon else first)) + 1)


def _unknown(walker: Walker, packet: Packet) -> Says:
    return None


def _not(test: Test) -> Test:
    def turned(walker: Walker, packet: Packet) -> Says:
        said = test(walker, packet)
        return None if said is None else not said

    return turned


Words = Iterator[str]


def _skip(words: Words) -> None:
    """An option that never decides about the first packet of a connection: a comment, a module's name."""
    next(words, "")


def _interface(attribute: str) -> Callable[[Words], Test]:
    def read(words: Words) -> Test:
        pattern = next(words, "")

        def test(walker: Walker, packet: Packet) -> Says:
            name: str = getattr(packet, attribute)
            return bool(name) and (name.startswith(pattern[:-1]) if pattern.endswith("+") else name == pattern)

        return test

    return read


def _address(attribute: str) -> Callable[[Words], Test]:
    def read(words: Words) -> Test:
        try:
            networks = [IPv4Network(part, strict=False) for part in next(words, "").split(",")]
        except ValueError:  # a name: only the host can tell what it stood for when the rule was loaded
            return _unknown
        return lambda walker, packet: any(_ip(getattr(packet, attribute)) in n for n in networks)

    return read


def _proto(words: Words) -> Test:
    name = next(words, "")
    return lambda walker, packet: name in (packet.proto, "all")


def _port(of: Callable[[Packet], int]) -> Callable[[Words], Test]:
    def read(words: Words) -> Test:
        spans = [_span(part) for part in next(words, "").split(",")]
        return lambda walker, packet: packet.proto in ("tcp", "udp") and any(of(packet) in span for span in spans)

    return read


def _state(words: Words) -> Test:
    names = set(next(words, "").split(","))
    return lambda walker, packet: bool(names & ({"NEW", "DNAT"} if packet.sent_to else {"NEW"}))


def _local(words: Words) -> Test:
    kind = next(words, "")
    return lambda walker, packet: kind == "LOCAL" and packet.target in walker.own


def _local_there(words: Words) -> Test:
    """Not any address of dom0: one of the interface it came in by."""
    kind = next(words, "")
    return lambda walker, packet: kind == "LOCAL" and walker.own.get(packet.target) == packet.enters


def _set(words: Words) -> Test:
    name, directions = next(words, ""), next(words, "").split(",")

    def test(walker: Walker, packet: Packet) -> Says:
        address = _ip(packet.source if directions[0] == "src" else packet.target)
        if name == INSIDE:
            return any(address in network for network in walker.inside)
        if name == ZNET:
            return any(z.bridge == packet.enters and address in IPv4Network(z.network) for z in walker.site.zones)
        return None

    return test


def _always(says: bool) -> Callable[[Words], Test]:
    """For a limit that one packet does not reach, and a mark that every frame of a known machine carries."""

    def read(words: Words) -> Test:
        next(words, "")
        return lambda walker, packet: says

    return read


_READERS: Mapping[str, Callable[[Words], Test | None]] = {
    "-m": _skip,
    "--comment": _skip,
    "--limit-burst": _skip,
    "--connlimit-mask": _skip,
    "--hashlimit-burst": _skip,
    "--hashlimit-mode": _skip,
    "--hashlimit-name": _skip,
    "--connlimit-saddr": lambda words: None,
    "--limit-iface-in": lambda words: None,
    "-i": _interface("enters"),
    "-o": _interface("leaves"),
    "-s": _address("source"),
    "-d": _address("target"),
    "-p": _proto,
    "--dport": _port(lambda packet: packet.port),
    "--dports": _port(lambda packet: packet.port),
    "--sport": _port(lambda packet: CLIENT_PORT),
    "--ctorigdst": _address("first_target"),
    "--ctorigdstport": _port(lambda packet: packet.sent_to[1] if packet.sent_to else packet.port),
    "--ctstate": _state,
    "--dst-type": _local,
    "--match-set": _set,
    "--mark": _always(True),
    "--limit": _always(True),
    "--connlimit-above": _always(False),
    "--pkt-type": _always(False),
    "--bytecode": _always(True),
    "--hashlimit-above": _always(False),
    "--icmp-type": _always(True),
}
