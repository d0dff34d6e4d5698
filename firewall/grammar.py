"""The seed's rule language, word by word: comments, variables, KEY=VALUE, ports, subnets. Pure; nothing is ever run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError

from firewall.specs import BOTH, ICMP, PING, PROTOS, Ports, proto_of

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,30}")
ZONE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,14}")
INTERFACE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,14}")
BRIDGE = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,14}")
#: Where a zone's subnet may lie: private addresses, and those between a provider and its customers.
INSIDE = tuple(IPv4Network(n) for n in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"))

_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(\"[^\"]*\"|'[^']*'|\S*)")
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))")
_COMMENT = re.compile(r"(?:^|[\s;])#(.*)$")
_SHELL = re.compile(r"[`|&<>(){}\\*?;]|\$")
_SHELL_WORDS = ("if", "else", "elif", "for", "while", "case", "until", "function", "source", ".", "eval", "exec")

STATEMENTS: Mapping[str, tuple[str, ...]] = {
    "CreateZone": ("NAME", "NIC", "EXT", "BR", "INT", "MASK"),
    "CreateApp": ("NAME", "ZONE", "EXT", "INT"),
    "TuneZone": ("NAME", "ZONE", "DIR", "ACTION", "PORT"),
}
#: What the seed's words can't say, in a comment the old script passes over: `#! …` or `;#! KEY=VALUE` at the end.
EXTRAS: Mapping[str, tuple[str, ...]] = {
    "CreateApp": ("BOTH", "ON", "CARD"),
    "TuneZone": ("ADDR", "BOTH"),
    "DoIt": ("OWN", "UNTIL", "BOTH"),
}


class NotUnderstood(ValueError):
    """A line that says something we can't take; the text is the finding."""


@dataclass(frozen=True, kw_only=True)
class Words:
    """A line without its comment; `extras` are the KEY=VALUE of `;#! …`, `comment` is the rest of it."""

    body: str
    comment: str = ""
    extras: Mapping[str, str] = field(default_factory=dict)


def words(text: str) -> Words:
    """Part a line from its comment. A word the comment's `#!` does not know is comment."""
    match = _COMMENT.search(text)
    if not match:
        return Words(body=text.strip().rstrip("; "))
    body, comment = text[: match.start()].strip().rstrip("; "), match[1].strip()
    if not comment.startswith("!"):
        return Words(body=body, comment=comment)
    marks, _, reason = comment[1:].partition(" # ")
    extras = {m[1]: m[2] for word in marks.split() if (m := _ASSIGNMENT.fullmatch(word))}
    return Words(body=body, comment=reason.strip(), extras=extras)


@dataclass
class Variables:
    """What was assigned up to here."""

    known: dict[str, str] = field(default_factory=dict)

    def assign(self, text: str) -> bool:
        """Take `NAME=value`; False where the line is none. Raises NotUnderstood."""
        match = _ASSIGNMENT.fullmatch(text)
        if match:
            self.known[match[1]] = self.expanded(_bare(match[2]))
        return bool(match)

    def expanded(self, value: str) -> str:
        """`value` with its variables filled in. Raises NotUnderstood."""

        def fill(match: re.Match[str]) -> str:
            name = match[1] or match[2]
            if name not in self.known:
                raise NotUnderstood(f"${name} has no value up to here. Write `{name}=…` on a line above.")
            return self.known[name]

        out = _VARIABLE.sub(fill, value)
        if _SHELL.search(out):
            raise NotUnderstood(
                f"`{value[:60]}` needs a shell to be evaluated. Nothing here is ever run: write the value."
            )
        if len(out) > 400:
            raise NotUnderstood("That is longer than any value of a rule file.")
        return out


def fields(word: str, rest: str, extras: Mapping[str, str], variables: Variables) -> dict[str, str]:
    """KEY=VALUE of one statement. Raises NotUnderstood for one missing, unknown or named twice."""
    out: dict[str, str] = {}
    for token in rest.split():
        match = _ASSIGNMENT.fullmatch(token)
        if not match:
            raise NotUnderstood(f"`{token[:40]}` is not KEY=VALUE.")
        if match[1] in out:
            raise NotUnderstood(f"{match[1]} stands twice on this line; keep one.")
        out[match[1]] = variables.expanded(_bare(match[2]))
    out |= {key: variables.expanded(value) for key, value in extras.items()}
    wanted, allowed = STATEMENTS[word], (*STATEMENTS[word], *EXTRAS.get(word, ()))
    if unknown := [key for key in out if key not in allowed]:
        raise NotUnderstood(f"{word} has no {', '.join(unknown)[:60]}. It takes {', '.join(STATEMENTS[word])}.")
    if missing := [key for key in wanted if not out.get(key)]:
        raise NotUnderstood(f"{word} needs {', '.join(missing)}; the line is left out.")
    return out


def complain(text: str) -> NotUnderstood:
    """What to say of a line that begins with no word of the language."""
    word = text.split(" ", 1)[0]
    if _SHELL.search(text) or word in _SHELL_WORDS:
        return NotUnderstood(
            f"`{text[:60]}` is a shell command. A rule file is only read here, never run: "
            "write the result of the command in its place."
        )
    return NotUnderstood(
        f"`{word[:40]}` is not understood. Known: CreateZone, CreateApp, TuneZone, NAME=value "
        "and the start block with its DoIt lines."
    )


def ports(text: str) -> Ports:
    """`tcp:25`, `udp:5000-5010`, `both:53`. Raises NotUnderstood."""
    proto, _, span = text.partition(":")
    if proto not in (*PROTOS, BOTH) or not span:
        raise NotUnderstood(f"{text[:40]} must be proto:port, for example tcp:25, udp:5000-5010 or both:53.")
    first, _, last = span.replace(":", "-").partition("-")
    low, high = port(first), port(last or first)
    if high < low:
        raise NotUnderstood(f"{span} runs backwards; write {high}-{low}.")
    return Ports(proto=proto_of(proto), first=low, last=high)


def cell_ports(text: str) -> Ports:
    """As `ports`, and `icmp` for ping. Raises NotUnderstood."""
    return PING if text == ICMP else ports(text)


def port(text: str) -> int:
    """One port. Raises NotUnderstood."""
    if not text.isascii() or not text.isdigit() or len(text) > 5 or not 0 < int(text) < 65536:
        raise NotUnderstood(f"`{text[:20]}` is no port; ports go from 1 to 65535.")
    return int(text)


def is_address(text: str) -> bool:
    """Whether this is one IPv4 address."""
    try:
        IPv4Address(text)
    except AddressValueError:
        return False
    return True


def subnet(gateway: str, mask: str) -> str:
    """The network of INT and MASK. Raises NotUnderstood where no zone can have it."""
    try:
        network = IPv4Network(f"{gateway}/{mask}", strict=False)
        inside = IPv4Address(gateway)
    except (AddressValueError, NetmaskValueError, ValueError):
        raise NotUnderstood(
            f"INT={gateway[:20]} MASK={mask[:20]} is no subnet. Example: INT=10.10.1.1 MASK=255.255.255.0."
        ) from None
    if not 16 <= network.prefixlen <= 29:
        raise NotUnderstood(
            f"MASK={mask[:20]} makes {network.num_addresses} addresses; a zone has 8 to 65,536. "
            "Example: MASK=255.255.255.0."
        )
    if inside in (network.network_address, network.broadcast_address):
        raise NotUnderstood(
            f"INT={gateway} stands for all of {network}, not for dom0 in it. "
            f"INT={network.network_address + 1} would do."
        )
    if not any(network.subnet_of(private) for private in INSIDE):
        raise NotUnderstood(
            f"{network} is not a private subnet; its machines would answer for somebody else's addresses."
        )
    return str(network)


def _bare(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] in "\"'" and value[-1] == value[0] else value
