"""What an operator's own rule may say: known matches, five verdicts, nothing that could shut the admin out. Pure.

A list of what is allowed, not of what is not: iptables reads files (`-m set`, `--from-file`, bpf objects), loads
modules and jumps anywhere if it is let. The scratch namespace then tells what only the kernel knows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from dom0.members import INSIDE, ZNET
from firewall import grammar
from firewall.findings import Problem
from firewall.specs import CustomRule, Site

VERDICTS = ("ACCEPT", "DROP", "REJECT", "RETURN", "LOG")
EXAMPLE = "-i eth0 -p tcp --dport 9100 -j ACCEPT"

_ARGUMENT = re.compile(r"[A-Za-z0-9!.,:/+_%=@-]+")
_PLACED = re.compile(
    r"-t|--table(=.*)?|-[AIDRFLSNXPEZCM]|--(append|insert|delete|replace|flush|new-chain|policy|modprobe)\S*"
)
_INTERFACE = re.compile(r"[A-Za-z0-9_.-]{1,15}\+?|[A-Za-z0-9_.-]{0,14}\+")
_PORTS = re.compile(r"[0-9]{1,5}(:[0-9]{1,5})?")
_PROTOS = ("tcp", "udp", "icmp", "sctp", "esp", "ah", "gre", "all")
_SHORT: Mapping[str, str] = {
    "--protocol": "-p",
    "--source": "-s",
    "--src": "-s",
    "--destination": "-d",
    "--dst": "-d",
    "--in-interface": "-i",
    "--out-interface": "-o",
    "--match": "-m",
    "--jump": "-j",
    "--source-port": "--sport",
    "--destination-port": "--dport",
    "--source-ports": "--sports",
    "--destination-ports": "--dports",
}
_PORT_OPTIONS: Mapping[str, int] = {"--sport": 1, "--dport": 1}
#: Module → its options and how many values each takes.
_MODULES: Mapping[str, Mapping[str, int]] = {
    "tcp": {**_PORT_OPTIONS, "--tcp-flags": 2, "--syn": 0, "--tcp-option": 1},
    "udp": _PORT_OPTIONS,
    "sctp": _PORT_OPTIONS,
    "icmp": {"--icmp-type": 1},
    "multiport": {"--sports": 1, "--dports": 1, "--ports": 1},
    "conntrack": {
        f"--ct{what}": 1
        for what in (
            *("state", "proto", "status", "dir", "origsrc", "origdst", "replsrc", "repldst"),
            *("origsrcport", "origdstport", "replsrcport", "repldstport"),
        )
    },
    "state": {"--state": 1},
    "limit": {"--limit": 1, "--limit-burst": 1},
    "hashlimit": {
        f"--hashlimit-{what}": 1
        for what in ("upto", "above", "burst", "mode", "srcmask", "dstmask", "name", "htable-size", "htable-expire")
    },
    "connlimit": {
        "--connlimit-upto": 1,
        "--connlimit-above": 1,
        "--connlimit-mask": 1,
        "--connlimit-saddr": 0,
        "--connlimit-daddr": 0,
    },
    "addrtype": {"--src-type": 1, "--dst-type": 1, "--limit-iface-in": 0, "--limit-iface-out": 0},
    "iprange": {"--src-range": 1, "--dst-range": 1},
    "mac": {"--mac-source": 1},
    "mark": {"--mark": 1},
    "pkttype": {"--pkt-type": 1},
    "length": {"--length": 1},
    "ttl": {"--ttl-eq": 1, "--ttl-lt": 1, "--ttl-gt": 1},
    "dscp": {"--dscp": 1, "--dscp-class": 1},
    "time": {
        **{f"--{what}": 1 for what in ("timestart", "timestop", "datestart", "datestop", "weekdays", "monthdays")},
        "--contiguous": 0,
        "--kerneltz": 0,
    },
    "owner": {"--uid-owner": 1, "--gid-owner": 1},
    "set": {"--match-set": 2},
}
#: Modules a protocol brings along without being named.
_IMPLIED = ("tcp", "udp", "sctp", "icmp")
_TARGET_OPTIONS: Mapping[str, Mapping[str, int]] = {
    "REJECT": {"--reject-with": 1},
    "LOG": {
        "--log-prefix": 1,
        "--log-level": 1,
        "--log-tcp-sequence": 0,
        "--log-tcp-options": 0,
        "--log-ip-options": 0,
        "--log-uid": 0,
    },
}
_WHY_NOT: Mapping[str, str] = {
    "comment": "Comments name the object that decides; only the panel writes them. Your reason has a field.",
    "physdev": "It turns bridge-nf-call-iptables on for the whole host. Name the zone's bridge with -i or -o instead.",
    "bpf": "It runs a program from a file or in numbers nobody can read back.",
    "u32": "Nobody can read back what it matches.",
    "string": "It looks into packets one by one and is passed by splitting the text.",
    "recent": "It keeps lists outside the revision, which no return could put back. Use -m hashlimit.",
}


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """A rule taken apart: options in their short names with their values, which of them are negated, the verdict."""

    options: Mapping[str, tuple[str, ...]]
    negated: frozenset[str] = frozenset()
    modules: tuple[str, ...] = ()
    verdict: str = ""

    def only(self, *names: str) -> bool:
        """Whether one of these options narrows the rule, not negated."""
        return any(name in self.options and name not in self.negated for name in names)


class _Wrong(ValueError):
    """Why the rule can't be taken."""


def problems(rule: CustomRule, site: Site | None = None) -> Iterator[Problem]:
    """Why a rule can't be taken (blocking), else what it opens that one might not have meant.

    `site` gives names to bridges; without it only the rule itself is judged.
    """
    about = f"own rule in {rule.place}"
    try:
        parsed = parse(rule.rule)
        _refuse_dangerous(rule.place, parsed, site or Site())
    except _Wrong as wrong:
        yield Problem(about=about, field="rule", sentence=str(wrong))
        return
    for sentence in _remarks(rule.place, parsed, site or Site()):
        yield Problem(about=about, field="rule", sentence=sentence, blocks=False)


def parse(text: str) -> Parsed:
    """The rule as options. Raises ValueError with a sentence."""
    words = text.split(" ")
    if not text.strip() or len(text) > 300 or not all(_ARGUMENT.fullmatch(w) for w in words):
        raise _Wrong(
            "A rule is iptables arguments on one line, separated by single spaces, without quotes and at most "
            f"300 characters: {EXAMPLE}"
        )
    if any(_PLACED.fullmatch(w) for w in words):
        raise _Wrong(f"Table, chain and command come from the place you choose; leave them out: {EXAMPLE}")
    reader = _Reader(words=words)
    reader.read()
    return Parsed(
        options=reader.options,
        negated=frozenset(reader.negated),
        modules=tuple(reader.modules),
        verdict=reader.verdict,
    )


@dataclass
class _Reader:
    words: list[str]
    at: int = 0
    options: dict[str, tuple[str, ...]] = field(default_factory=dict)
    negated: set[str] = field(default_factory=set)
    modules: list[str] = field(default_factory=list)
    verdict: str = ""

    def read(self) -> None:
        while self.at < len(self.words):
            negated = self.words[self.at] == "!"
            self.at += negated
            if self.at == len(self.words):
                raise _Wrong("The rule ends with “!”; say what is not meant.")
            option = _SHORT.get(self.words[self.at], self.words[self.at])
            self.at += 1
            self.option(option, negated)
        if not self.verdict:
            raise _Wrong(f"The rule must end in -j and one of {', '.join(VERDICTS)}.")

    def option(self, option: str, negated: bool) -> None:
        if not option.startswith("-"):
            raise _Wrong(f"“{option[:40]}” is no option. One value an option: {EXAMPLE}")
        values = self.values(option, self.arity(option))
        if option in self.options and option not in ("-m",):
            raise _Wrong(f"{option} stands twice; keep one.")
        if negated and option in ("-m", "-j", *_TARGET_OPTIONS["REJECT"], *_TARGET_OPTIONS["LOG"]):
            raise _Wrong(f"“!” can't stand before {option}.")
        self.options[option] = values
        if negated:
            self.negated.add(option)
        self.check(option, values)

    def arity(self, option: str) -> int:
        if option in ("-p", "-s", "-d", "-i", "-o", "-m", "-j"):
            return 1
        proto = self.options.get("-p", ("",))[0]
        loaded = (*self.modules, *((proto,) if proto in _IMPLIED else ()))
        known = {name: count for module in loaded for name, count in _MODULES[module].items()}
        known |= _TARGET_OPTIONS.get(self.verdict, {})
        if option not in known:
            raise _Wrong(self.unknown(option))
        return known[option]

    def unknown(self, option: str) -> str:
        if option in ("-g", "--goto"):
            return f"A rule ends in one of {', '.join(VERDICTS)}; it jumps to no other chain."
        owner = next((m for m, options in _MODULES.items() if option in options), "")
        if owner:
            first = f"-p {owner}" if owner in _IMPLIED else f"-m {owner}"
            return f"{option} needs {first} before it."
        if any(option in options for options in _TARGET_OPTIONS.values()):
            return f"{option} goes with another verdict, after -j."
        return f"{option[:40]} is none of the matches an own rule can have."

    def values(self, option: str, count: int) -> tuple[str, ...]:
        found = tuple(self.words[self.at : self.at + count])
        if len(found) < count or any(v == "!" or v.startswith("-") for v in found):
            raise _Wrong(f"{option} needs {'a value' if count == 1 else f'{count} values'} after it.")
        self.at += count
        return found

    def check(self, option: str, values: tuple[str, ...]) -> None:
        value = values[0] if values else ""
        if option == "-m":
            if value not in _MODULES:
                raise _Wrong(_WHY_NOT.get(value, f"-m {value[:30]} is none of the matches an own rule can have."))
            self.modules.append(value)
        elif option == "-j":
            if value not in VERDICTS:
                raise _Wrong(
                    f"-j {value[:30]}: a rule ends in one of {', '.join(VERDICTS)}; it jumps to no other chain, and "
                    "addresses are translated by published services and zones alone."
                )
            self.verdict = value
        elif option == "-p" and value not in _PROTOS:
            raise _Wrong(f"-p {value[:20]} must be one of {', '.join(_PROTOS)}.")
        elif option in ("-s", "-d") and not _network(value):
            raise _Wrong(f"{option} {value[:30]} is no address or network. Example: {option} 10.10.3.0/24.")
        elif option in ("-i", "-o") and not _INTERFACE.fullmatch(value):
            raise _Wrong(f"{option} {value[:30]} is no interface. Example: {option} eth0.")
        elif option == "--hashlimit-name" and value.startswith("fr-"):
            raise _Wrong(
                f"--hashlimit-name {value[:15]}: lists that begin with fr- are the panel's own. Use another name."
            )
        elif option in ("--sport", "--dport"):
            _ports(option, (value,))
        elif option in ("--sports", "--dports", "--ports"):
            _ports(option, value.split(","))
        elif option == "--match-set" and value not in (ZNET, INSIDE):
            raise _Wrong(
                f"There is no set {value[:31]}. The panel keeps {ZNET} (zones) and {INSIDE} (private networks)."
            )


def _network(value: str) -> bool:
    address, _, prefix = value.partition("/")
    return grammar.is_address(address) and (not prefix or (prefix.isdigit() and int(prefix) <= 32))


def _ports(option: str, spans: list[str] | tuple[str, ...]) -> None:
    for span in spans:
        if not _PORTS.fullmatch(span):
            raise _Wrong(f"{option} {span[:20]} is no port. Write 9100, or a range as 5000:5010.")
        low, high = (int(part) for part in (span.split(":") * 2)[:2])
        if not 0 < low <= high < 65536:
            raise _Wrong(f"{option} {span}: ports go from 1 to 65535, the lower one first.")


def _refuse_dangerous(place: str, rule: Parsed, site: Site) -> None:
    if place.endswith("input") and "-o" in rule.options:
        raise _Wrong("What comes to dom0 itself has no way out: -o never matches there. Use -i.")
    if place.endswith("output") and "-i" in rule.options:
        raise _Wrong("What dom0 sends has come in nowhere: -i never matches there. Use -o.")
    if place.endswith("output") and rule.only("-o") and rule.options["-o"][0] == "lo":
        raise _Wrong("What dom0 says to itself passes before own rules, for the panel needs its database and queue.")
    if "owner" in rule.modules and not place.endswith("output"):
        raise _Wrong("-m owner knows only what dom0 itself sends; it goes into before-output or after-output.")
    if place.endswith("output") and rule.verdict in ("DROP", "REJECT") and not _new_only(rule):
        raise _Wrong(
            "It would also stop dom0's answers to you, on ssh and the panel. With -m conntrack --ctstate NEW it "
            "stops only what dom0 itself opens."
        )
    if place.endswith("input") and rule.verdict == "ACCEPT" and _from_anybody(rule, site) and not _narrowed(rule):
        raise _Wrong(
            "That opens everything of dom0 to the Internet. Name a port (-p tcp --dport 9100), a sender "
            "(-s 198.51.100.7), or a card of the inside (-i)."
        )


def _new_only(rule: Parsed) -> bool:
    """Whether the rule leaves alone what answers a connection the admin opened."""
    states = (*rule.options.get("--ctstate", ()), *rule.options.get("--state", ()))
    if states and not rule.negated & {"--ctstate", "--state"}:
        return all(state == "NEW" for state in states)
    # Nobody's client asks from a port below 1024, so none of the admin's answers go there.
    spans = [
        span for name in ("--dport", "--dports") for value in rule.options.get(name, ()) for span in value.split(",")
    ]
    known = all(int(span.split(":")[-1]) < 1024 for span in spans)
    return bool(spans) and known and not rule.negated & {"--dport", "--dports", "-p"}


def _from_anybody(rule: Parsed, site: Site) -> bool:
    """Whether a stranger on the Internet can be meant: through a card, or through no interface in particular."""
    sender = rule.options.get("-s", ("0.0.0.0/0",))[0]
    if (rule.only("-s") and int([*sender.split("/"), "32"][1]) >= 8) or rule.only("--src-range"):
        return False
    if not rule.only("-i"):
        return True
    pattern = rule.options["-i"][0]
    inside = [z.bridge for z in site.zones] + ([site.vpn.interface] if site.vpn else [])
    if pattern.startswith((site.bridge_prefix, "tun", "tap", "wg", "lo")):
        return False
    shell = pattern[:-1] + "*" if pattern.endswith("+") else pattern
    return any(fnmatchcase(nic, shell) for nic in site.nics) or pattern not in inside


def _narrowed(rule: Parsed) -> bool:
    proto = rule.options.get("-p", ("all",))[0]
    if "-p" in rule.negated or proto == "all":
        return False
    return proto not in ("tcp", "udp", "sctp") or rule.only("--dport", "--dports", "--ports", "--sport", "--sports")


def _remarks(place: str, rule: Parsed, site: Site) -> Iterator[str]:
    """What it does beyond what one might have meant."""
    if rule.verdict == "LOG" and not {"limit", "hashlimit"} & set(rule.modules):
        yield "Every packet it meets becomes a line of dom0's log; -m limit --limit 5/min keeps that small."
    if rule.verdict != "ACCEPT" or _narrowed(rule):
        return
    if place.endswith("input"):
        yield f"It opens everything of dom0 to {_who(rule, site, '-i')}: root inside a machine is among them."
    elif place.endswith("forwarding"):
        where = _who(rule, site, "-o")
        yield f"It lets {_who(rule, site, '-i')} open everything to {where}, whatever policy and restrictions say."


def _who(rule: Parsed, site: Site, option: str) -> str:
    """The interface's own name for people: its zones, the VPN, a card."""
    if not rule.only(option):
        return "everybody"
    pattern = rule.options[option][0]
    shell = pattern[:-1] + "*" if pattern.endswith("+") else pattern
    zones = [z.name for z in site.zones if fnmatchcase(z.bridge, shell)]
    if zones:
        return ", ".join(zones)
    if site.vpn and fnmatchcase(site.vpn.interface, shell):
        return "the admin VPN"
    return "the Internet" if pattern in site.nics else pattern
