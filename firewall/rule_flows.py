"""The flows an operator's own rule speaks of, as far as conntrack knows its words. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from firewall.specs import Site

#: Words with a value that say nothing about which packets.
SAYS_NOTHING = ("-m", "--match", "--comment", "--reject-with", "--log-prefix", "--log-level")
SHORT = {
    "--protocol": "-p",
    "--source": "-s",
    "--destination": "-d",
    "--in-interface": "-i",
    "--out-interface": "-o",
    "--jump": "-j",
    "--destination-port": "--dport",
    "--source-port": "--sport",
    "--destination-ports": "--dports",
    "--source-ports": "--sports",
}
#: The filter of a rule that names nothing and means all.
EVERYTHING = "--orig-src 0.0.0.0/0"
KNOWN = ("-p", "-s", "-d", "-i", "-o", "-j", "--dport", "--sport", "--dports", "--sports")


@dataclass
class _Words:
    """A rule taken apart; `whole` where every word of it is one that a flow shows."""

    said: dict[str, str] = field(default_factory=dict)
    whole: bool = True


def rule_flows(site: Site, rule: str, verdicts: tuple[str, ...]) -> Iterator[str]:
    """Filters of the flows the rule matches, where its verdict is one of `verdicts`; none where it shows neither
    address nor port and has words no flow shows.
    """
    words = _read(rule)
    said = words.said
    if said.get("-j", "") not in verdicts:
        return
    # Filter sees a packet after its target was translated and before its source is.
    parts = [
        *_address("--orig-src", said.get("-s") or _network(site, said.get("-i", ""))),
        *_address("--reply-src", said.get("-d") or _network(site, said.get("-o", ""))),
    ]
    whole = words.whole and all(not said.get(x) or _network(site, said[x]) for x in ("-i", "-o"))
    far, near = _spans(said, "--dport"), _spans(said, "--sport")
    if not (whole or parts or far != [""] or near != [""]):
        return
    proto = [f"-p {said['-p']}"] if said.get("-p") in ("tcp", "udp", "icmp") else []
    for to in far:
        for of in near:
            ports = [*([f"--reply-port-src {to}"] if to else []), *([f"--orig-port-src {of}"] if of else [])]
            yield " ".join([*proto, *parts, *ports]) or EVERYTHING


def _read(rule: str) -> _Words:
    out = _Words()
    try:
        rest = shlex.split(rule)
    except ValueError:
        return out
    while rest:
        word = SHORT.get(rest[0], rest[0])
        if word == "!":
            out.whole, rest = False, rest[3:]  # with the match it turns round, and its value
        elif word in KNOWN and len(rest) > 1:
            out.said[word], rest = rest[1], rest[2:]
        elif word in SAYS_NOTHING and len(rest) > 1:
            out.whole = out.whole and (word != "-m" or rest[1] in ("tcp", "udp", "icmp", "comment", "multiport"))
            rest = rest[2:]
        else:
            out.whole, rest = False, rest[1:]
    return out


def _address(option: str, value: str) -> list[str]:
    return [f"{option} {value}"] if value and value[0].isdigit() and "," not in value else []


def _network(site: Site, interface: str) -> str:
    """The subnet behind a zone's bridge or the VPN; "" for a card, and for a pattern of several."""
    pattern = interface[:-1] + "*" if interface.endswith("+") else interface
    found = [z.network for z in site.zones if fnmatchcase(z.bridge, pattern)]
    if site.vpn and site.vpn.network and interface and site.vpn.interface.rstrip("+") == interface.rstrip("+"):
        found.append(site.vpn.network)
    return found[0] if interface and len(found) == 1 else ""


def _spans(said: dict[str, str], option: str) -> list[str]:
    """Ports of `--dport` or `--dports` in the filters' manner; one empty text where none is named."""
    text = said.get(option) or said.get(f"{option}s") or ""
    spans = [span.replace(":", "-") for span in text.split(",") if span.replace(":", "").isdigit()]
    return [f"{s}65535" if s.endswith("-") else f"0{s}" if s.startswith("-") else s for s in spans] or [""]
