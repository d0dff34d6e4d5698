"""Our chains among foreign ones: what of an `iptables-save` is ours, and the least that makes it what is wanted. Pure.

The files of a revision hold only our own `fr-*` chains and never a jump: iptables-restore --noflush
would add a jump again each time, and flushing a built-in chain would throw out Docker's and Xen's rules.
So the jumps that are missing, and the chains that are ours but no longer wanted, are spliced in at apply,
and a chain that is loaded as wanted already is left alone, its counters too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain as chained
from itertools import pairwise

PREFIX = "fr-"
#: In the order in which a failure can only close; the order a rule file must have too.
TABLES = ("raw", "mangle", "filter", "nat")
ACCEPT = "ACCEPT"

#: By table: built-in chain and the rule that leads into ours. It stands in front: nothing foreign runs before.
JUMPS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "raw": (("PREROUTING", "-j fr-antispoof"),),
    "mangle": (("POSTROUTING", "-j fr-checksum"),),
    "filter": (("INPUT", "-j fr-in"), ("FORWARD", "-j fr-fwd"), ("OUTPUT", "-j fr-out")),
    "nat": (
        ("PREROUTING", "-m addrtype --dst-type LOCAL -j fr-dnat"),
        ("OUTPUT", "! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j fr-dnat"),
        ("POSTROUTING", "-j fr-snat"),
    ),
}

_COUNTERS = re.compile(r" \[\d+:\d+\]$")
#: iptables-save quotes words that need no quotes.
_QUOTED = re.compile(r' "([\w:.,/@+=-]+)"')


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table of a save or restore text: our chains with their rules, the rules of foreign chains, policies.

    Rules are whole lines (`-A fr-in -i lo -j ACCEPT`) in their order, without quotes that nothing needs.
    """

    chains: Mapping[str, tuple[str, ...]]
    foreign: tuple[str, ...] = ()
    policies: Mapping[str, str]


_NOTHING = Table(chains={}, policies={})


@lru_cache(maxsize=8)  # the same live text is asked about several times in one apply
def read(text: str) -> Mapping[str, Table]:
    """The output of iptables-save (either family, with counters or without), or a file for iptables-restore."""
    out: dict[str, Table] = {}
    chains: dict[str, list[str]] = {}
    foreign: list[str] = []
    policies: dict[str, str] = {}
    table = ""
    for line in text.splitlines():
        if line.startswith("["):
            line = line.partition("] ")[2]
        if line.startswith("-A fr-"):
            chains.setdefault(line[3:].split(" ", 1)[0], []).append(_QUOTED.sub(r" \1", line) if '"' in line else line)
        elif line.startswith("-A "):
            foreign.append(line)
        elif line.startswith(":"):
            name, policy = line[1:].split()[:2]
            if name.startswith(PREFIX):
                chains.setdefault(name, [])
            elif policy != "-":
                policies[name] = policy
        elif line.startswith("*"):
            table, chains, foreign, policies = line[1:].strip(), {}, [], {}
        elif line == "COMMIT":
            frozen = {chain: tuple(rules) for chain, rules in chains.items()}
            out[table] = Table(chains=frozen, foreign=tuple(foreign), policies=policies)
    return out


def normal(save: str) -> str:
    """A save without dates and counters: it changes only when the rules do."""
    lines = (line for line in save.splitlines() if line and not line.startswith("#"))
    return "".join((_COUNTERS.sub(" [0:0]", line) if line.startswith(":") else line) + "\n" for line in lines)


def mended(save: str, table: str, said: str) -> str:
    """A normal save in which one chain is what `iptables -t TABLE -S CHAIN` says now.

    Raises ValueError, KeyError or IndexError where `save` does not have that chain, or nothing was said.
    """
    lines, rules = save.splitlines(), said.splitlines()
    what, chain, *policy = rules[0].split()
    begin = lines.index(f"*{table}")
    end = lines.index("COMMIT", begin)
    heads: list[str] = []
    by_chain: dict[str, list[str]] = {}
    for line in lines[begin + 1 : end]:
        if line.startswith(":"):
            heads.append(line)
            by_chain[line[1:].split(" ", 1)[0]] = []
        else:
            by_chain[line.split(" ", 2)[1]].append(line)
    heads[list(by_chain).index(chain)] = f":{chain} {policy[0] if what == '-P' else '-'} [0:0]"
    by_chain[chain] = rules[1:]
    return "\n".join([*lines[: begin + 1], *heads, *chained.from_iterable(by_chain.values()), *lines[end:], ""])


def ours(save: str) -> str:
    """The part of a save that is ours, in a form that is equal exactly when the rules are.

    Chains sorted (iptables prints them in the order of their making), rules grouped by chain in their
    order, our jumps that stand in front, policies of the built-in chains we set.
    """
    found = read(save)
    return _said(found, {table: _in_front(found.get(table, _NOTHING), table) for table in TABLES})


def wanted(text: str) -> str:
    """What `ours` will say once the restore file `text` is applied."""
    file = read(text)
    return _said(file, {table: _jumps(file.get(table, _NOTHING), table) for table in TABLES})


def _said(found: Mapping[str, Table], jumps: Mapping[str, list[str]]) -> str:
    out: list[str] = []
    for name in TABLES:
        table = found.get(name, _NOTHING)
        out.append(f"*{name}")
        if name == "filter":
            out += [f":{chain} {table.policies.get(chain, ACCEPT)}" for chain in ("INPUT", "FORWARD", "OUTPUT")]
        out += jumps[name]
        for chain in sorted(table.chains):
            out.append(f":{chain}")
            out += table.chains[chain]
    return "\n".join(out) + "\n"


def applied(text: str) -> str:
    """The save of a host that had nothing and got the restore file `text`."""
    out: list[str] = []
    for name, table in read(text).items():
        out += [f"*{name}", *(f":{chain} {policy} [0:0]" for chain, policy in table.policies.items())]
        out += [f":{chain} - [0:0]" for chain in table.chains]
        out += _jumps(table, name)
        for rules in table.chains.values():
            out += rules
        out.append("COMMIT")
    return "\n".join(out) + "\n"


def splice(text: str, save: str) -> str:
    """The least that turns this host's rules (`save`) into the restore file `text`; "" where they are so already.

    For `iptables-restore --noflush`: only tables that differ, in them only chains that differ (declared, so
    emptied and filled anew in one commit), jumps put in front, chains that `text` no longer has thrown out.
    """
    file, live = read(text), read(save)
    order = [*file, *(table for table in TABLES if table not in file)]
    out: list[str] = []
    for name in order:
        table = file.get(name, _NOTHING)
        found = live.get(name, _NOTHING)
        if lines := list(_changes(name, table, found)):
            out += [f"*{name}", *lines, "COMMIT"]
    return "\n".join([*out, ""]) if out else ""


def _changes(name: str, table: Table, live: Table) -> Iterator[str]:
    stale = [chain for chain in live.chains if chain not in table.chains]
    changed = [chain for chain, rules in table.chains.items() if live.chains.get(chain) != rules]
    for chain, policy in table.policies.items():
        if live.policies.get(chain, ACCEPT) != policy:
            yield f":{chain} {policy} [0:0]"
    # Declared, so emptied first: nothing of ours refers to the stale ones when they are thrown out.
    yield from (f":{chain} - [0:0]" for chain in (*changed, *stale))
    for line in live.foreign:
        words = line.split()
        if words[-1] in stale and words[-2] in ("-j", "-g"):
            yield f"-D {line[3:]}"
    in_front = _in_front(live, name)
    for line in _jumps(table, name):
        if line not in in_front:
            yield from [f"-D {line[3:]}"] * live.foreign.count(line)
            yield f"-I {line[3:]}"
    for chain in changed:
        yield from table.chains[chain]
    yield from (f"-X {chain}" for chain in stale)


def _jumps(table: Table, name: str) -> list[str]:
    """The jumps into chains this table has: an IPv6 file knows fewer."""
    return [f"-A {chain} {rule}" for chain, rule in JUMPS.get(name, ()) if rule.split()[-1] in table.chains]


def _in_front(found: Table, name: str) -> list[str]:
    """Our jumps that are the first rule of their chain, and stand there once."""
    out = []
    for chain, rule in JUMPS.get(name, ()):
        line = f"-A {chain} {rule}"
        same_chain = [x for x in found.foreign if x.startswith(f"-A {chain} ")]
        if same_chain[:1] == [line] and same_chain.count(line) == 1:
            out.append(line)
    return out


_KEPT = " is kept as -A "


def rewritten(text: str, save: str) -> Mapping[str, str]:
    """Rules of the restore file `text` that the kernel gives back in other words, by their line: `--dport 80` comes
    back as `-m tcp --dport 80`. Only in its words does a rule equal what is loaded.

    `save` is what a host that had nothing says once `text` is loaded. Raises ValueError naming a chain that comes
    back with more or fewer rules.
    """
    found: dict[str, str] = {}
    saved = read(save)
    for name, table in read(text).items():
        live = saved.get(name, _NOTHING).chains
        for chain, rules in table.chains.items():
            kept = live.get(chain, ())
            if len(rules) != len(kept):
                raise ValueError(chain)
            found |= {old: new for old, new in zip(rules, kept, strict=True) if old != new}
    return found


def told(found: Mapping[str, str]) -> str:
    """`rewritten` as lines for a step's output, which `kept` reads again."""
    return "".join(f"\n{old}\n{_KEPT}{new.removeprefix('-A ')}" for old, new in found.items())


def kept(output: str) -> Mapping[str, str]:
    """The rules a step's output tells of: as written, and as the kernel keeps them."""
    lines = output.splitlines()
    return {old: f"-A {new.removeprefix(_KEPT)}" for old, new in pairwise(lines) if new.startswith(_KEPT)}
