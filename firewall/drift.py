"""How the live rules differ from the revision in force, line by line, in words; and which of it can be adopted. Pure.

Compared are our own chains, our jumps into them, the policies of the built-in chains and the kernel's settings;
foreign chains are nobody's business here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

from dom0 import chains
from dom0.policy_files import SETTINGS
from dom0.state import State
from firewall import own_rule_lint, render
from firewall.rule_flows import EVERYTHING, rule_flows
from firewall.specs import PLACES, CustomRule, Place, Site

Family = Literal["v4", "v6", "bridge", "kernel"]
FAMILIES = ("v4", "v6", "bridge")
#: Settings that exist only while a module or a bridge does; absent is as good as off.
OPTIONAL = ("net.bridge.", "net.ipv6.conf.", "net.ipv4.conf.")
FILES: Mapping[str, Family] = {render.V4: "v4", render.V6: "v6", render.BRIDGE: "bridge", SETTINGS: "kernel"}
#: Whoever changed more than this by hand wants to restore, not to read.
MANY = 200
#: Where a chain of ours hands over to the operators' last rules, or ends.
_LAST = re.compile(r"^-A \S+ -j (fr-after-\w+|DROP)$")
_COMMENT = re.compile(r'--comment (?:"([^"]*)"|(\S+))')


@dataclass(frozen=True, kw_only=True)
class Line:
    """One difference: `gone` from the host, or come there. `where` is the table and chain it stands in.

    `late`: it stands behind our own last word there, so it meets only what we left undecided.
    """

    family: Family
    gone: bool
    where: str
    text: str
    words: str
    late: bool = False

    @property
    def raw(self) -> str:
        return f"{'-' if self.gone else '+'} {self.text}"


def settings(text: str) -> dict[str, str]:
    """The kernel settings in a revision's file."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {key.strip(): value.strip() for key, _, value in pairs}


def differences(files: Mapping[str, str], site: Site, state: State) -> tuple[Line, ...]:
    """What differs on the host from the revision whose files and site these are; at most MANY lines."""
    found = [
        *_rules("v4", files[render.V4], site, state),
        *_rules("v6", files[render.V6], site, state),
        *_bridge(files[render.BRIDGE], state),
        *_kernel(files[SETTINGS], state),
    ]
    return tuple(found[:MANY])


def _kernel(text: str, state: State) -> Iterator[Line]:
    for key, value in settings(text).items():
        live = state.sysctls.get(key)
        if live == value or (live is None and key.startswith(OPTIONAL)):
            continue
        words = f"{key} is {live} instead of {value}" if live is not None else f"this kernel has no {key} any more"
        yield Line(family="kernel", gone=False, where="", text=f"{key} = {live}", words=words)


def _bridge(text: str, state: State) -> Iterator[Line]:
    live = state.rules.get("bridge", "")
    if not render.bridge_loaded(text, live):
        words = "the bridge rules are not those of the revision" if live else "the bridge rules are gone"
        yield Line(family="bridge", gone=not live, where="bridge", text="table bridge fridu", words=words)


Section = tuple[str, str]  # table, chain


def _sections(said: str) -> dict[Section, list[str]]:
    """`chains.ours` by table and chain; what belongs to the table itself under no chain."""
    out: dict[Section, list[str]] = {}
    table, chain = "", ""
    for line in said.splitlines():
        if line.startswith("*"):
            table, chain = line[1:], ""
        elif line.startswith(f":{chains.PREFIX}"):
            chain = line[1:]
            out[table, chain] = []
        else:
            out.setdefault((table, chain), []).append(line)
    return out


def _rules(family: Family, text: str, site: Site, state: State) -> Iterator[Line]:
    wanted, live = chains.wanted(text), chains.ours(state.rules.get(family, ""))
    if wanted == live:
        return
    old, new = _sections(wanted), _sections(live)
    for section in sorted(old.keys() | new.keys()):
        table, chain = section
        if chain and (section in old) != (section in new):
            yield _chain(family, table, chain, section in old)
        for gone, line, late in _differing(old.get(section, []), new.get(section, [])):
            words = _rule_words(site, chain, line, gone) if chain else _table_words(line, gone)
            yield Line(family=family, gone=gone, where=f"{table} {chain}".strip(), text=line, words=words, late=late)


def _chain(family: Family, table: str, chain: str, gone: bool) -> Line:
    words = f"chain {chain} is gone" if gone else f"somebody made chain {chain}"
    return Line(family=family, gone=gone, where=f"{table} {chain}", text=f":{chain}", words=words)


def _differing(old: list[str], new: list[str]) -> Iterator[tuple[bool, str, bool]]:
    """Lines that are gone, then those that came, and whether they came behind our own last word."""
    last = next((at for at, line in enumerate(new) if line in old and _LAST.search(line)), len(new))
    for tag, a, b, c, d in SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes():
        if tag != "equal":
            yield from ((True, line, False) for line in old[a:b])
            yield from ((False, new[at], at > last) for at in range(c, d))


def _table_words(line: str, gone: bool) -> str:
    if line.startswith(":"):
        chain, policy = line[1:].split()[:2]
        return f"the policy of {chain} is not {policy} any more" if gone else f"the policy of {chain} is {policy} now"
    chain = line.split()[1]
    return f"others' rules run before ours in {chain}" if gone else f"our rules run first in {chain}"


def _rule_words(site: Site, chain: str, line: str, gone: bool) -> str:
    rule = line.split(" ", 2)[2]
    where = _place_words(site, chain)
    if not gone:
        return f"somebody added a rule to {where}: {rule}"
    named = _COMMENT.search(rule)
    about = f" of {named[1] or named[2]}" if named else ""
    return f"a rule{about} is gone from {where}: {rule}"


_CALLED = {
    "fr-in": "what comes to dom0",
    "fr-fwd": "what passes through dom0",
    "fr-out": "what dom0 sends",
    "fr-zin": "what machines may ask of dom0",
    "fr-vin": "what the admin VPN may ask of dom0",
    "fr-dom0": "dom0's own services",
    "fr-admin": "the admin's own ways",
    "fr-antispoof": "the check of senders",
    "fr-dnat": "what is published",
    "fr-snat": "the addresses zones leave with",
}


def _place_words(site: Site, chain: str) -> str:
    kind, _, number = chain.rpartition("-")
    zone = next((z.name for z in site.zones if str(z.number) == number), "")
    if zone and kind in ("fr-zo", "fr-zi", "fr-ro", "fr-ri"):
        return f"what {'leaves' if kind.endswith('o') else 'enters'} {zone}"
    if chain.startswith("fr-dn-"):
        return f"what is published on {chain.split('-')[2]}"
    return _CALLED.get(chain, chain.removeprefix("fr-"))


# restoring

_PUBLISHED = re.compile(r"-p (tcp|udp) .*--dport (\d+)(?::(\d+))? .*-j DNAT")


def leaked(site: Site, lines: tuple[Line, ...]) -> tuple[str, ...]:
    """Filters (`dom0.flows`) of connections that came to be through what somebody changed, as far as its words name
    an address, a port or a zone: restoring the rules alone would leave them open.
    """
    found: list[str] = []
    for line in lines:
        table, _, chain = line.where.partition(" ")
        if line.family != "v4" or not line.text.startswith("-A "):
            continue
        rule = line.text.split(" ", 2)[2]
        if table == "filter":
            said = f"{_by_bridge(site, chain, rule)}{rule}"
            found += rule_flows(site, said, ("DROP", "REJECT") if line.gone else ("ACCEPT", "RETURN"))
        elif (way := _PUBLISHED.search(rule)) and chain.startswith("fr-dn-"):
            span = f"{way[2]}-{way[3]}" if way[3] else way[2]
            found.append(f"-p {way[1]} --orig-dst {chain.split('-')[2]} --orig-port-dst {span}")
    return tuple(dict.fromkeys(each for each in found if each != EVERYTHING))


# adopting


@dataclass(frozen=True, kw_only=True)
class Adoption:
    """What of the differences become own rules, and sentences for those that can't."""

    rules: tuple[CustomRule, ...]
    refused: tuple[str, ...]


def adoption(site: Site, lines: tuple[Line, ...]) -> Adoption:
    """Own rules that say what somebody added to our filter chains; the rest has to be wished for or restored."""
    rules: list[CustomRule] = []
    refused: list[str] = []
    for line in lines:
        place = _place(site, line)
        rule = CustomRule(place=place[0], rule=place[1]) if place else None
        why = _wrong(site, rule) if rule else _why_not(line)
        if rule and not why:
            rules.append(rule)
        else:
            refused.append(f"{line.words} ({why})")
    return Adoption(rules=tuple(rules), refused=tuple(refused))


def _place(site: Site, line: Line) -> tuple[Place, str] | None:
    """Where an own rule stands for this line, and its words there; None where none can."""
    table, _, chain = line.where.partition(" ")
    if line.family != "v4" or line.gone or table != "filter" or not line.text.startswith("-A "):
        return None
    rule = line.text.split(" ", 2)[2]
    for place in PLACES:
        if chain == f"fr-{place}":
            return place, rule
    side = ""
    if chain not in _WHOLE:
        # A zone's chain is reached by its bridge alone; an own rule has to say so.
        side = _by_bridge(site, chain, rule)
        if not side:
            return None
    before, after = _WHOLE.get(chain) or (_INPUT if chain in ("fr-zin", "fr-vin") else _FORWARDING)
    return (after if line.late else before), side + rule


_INPUT: tuple[Place, Place] = ("before-input", "after-input")
_FORWARDING: tuple[Place, Place] = ("before-forwarding", "after-forwarding")
#: Chains all packets of one way pass, with the places for own rules there.
_WHOLE: Mapping[str, tuple[Place, Place]] = {
    "fr-in": _INPUT,
    "fr-dom0": _INPUT,
    "fr-fwd": _FORWARDING,
    "fr-out": ("before-output", "after-output"),
}


def _by_bridge(site: Site, chain: str, rule: str) -> str:
    """The interface by which a zone's or the VPN's chain is reached, as words; "" where the rule names it itself."""
    kind, _, number = chain.rpartition("-")
    bridge = next((z.bridge for z in site.zones if str(z.number) == number), "")
    side, interface = {
        "fr-zin": ("-i", f"{site.bridge_prefix}+"),
        "fr-vin": ("-i", site.vpn.interface if site.vpn else ""),
    }.get(chain, ({"fr-zo": "-i", "fr-zi": "-o"}.get(kind, ""), bridge))
    return f"{side} {interface} " if side and interface and side not in rule.split() else ""


def _wrong(site: Site, rule: CustomRule) -> str:
    """Why the rule could not be applied; adopted all the same it would stop every apply."""
    for problem in own_rule_lint.problems(rule, site):
        if problem.blocks:
            said = problem.sentence.partition(". ")[0].rstrip(".")
            return said[0].lower() + said[1:]
    return ""


def _why_not(line: Line) -> str:
    if line.family == "kernel":
        return "the kernel's settings belong to the layout"
    if line.family in ("bridge", "v6"):
        return "there are no own rules for it"
    if line.gone:
        return "what is missing can only be restored, or its object changed"
    if line.where.startswith("nat"):
        return "publish it as a service"
    return "no own rule stands in that place"


def scope_of(files: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Families and kernel settings to look at for a revision's files."""
    return FAMILIES, tuple(settings(files[SETTINGS]))
