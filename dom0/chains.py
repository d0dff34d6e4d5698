"""Our chains among foreign ones: what of an `iptables-save` is ours, and how our file is put in. Pure.

The files of a revision hold only our own `fr-*` chains and never a jump: iptables-restore --noflush
would add a jump again each time, and flushing a built-in chain would throw out Docker's and Xen's rules.
So the jumps that are missing, and the chains that are ours but no longer wanted, are spliced in at apply.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

PREFIX = "fr-"

#: By table: built-in chain and the rule that leads into ours. It stands in front: nothing foreign runs before.
JUMPS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "raw": (("PREROUTING", "-j fr-antispoof"),),
    "filter": (("INPUT", "-j fr-in"), ("FORWARD", "-j fr-fwd"), ("OUTPUT", "-j fr-out")),
    "nat": (
        ("PREROUTING", "-m addrtype --dst-type LOCAL -j fr-dnat"),
        ("OUTPUT", "! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j fr-dnat"),
        ("POSTROUTING", "-j fr-snat"),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Tables:
    """A save or restore text, by table: our chains, our rules in order, foreign chains' rules, policies."""

    chains: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    rules: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    foreign: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    policies: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def read(text: str) -> Tables:
    """Parse the output of iptables-save (either family), or a file for iptables-restore."""
    chains: dict[str, tuple[str, ...]] = {}
    rules: dict[str, tuple[str, ...]] = {}
    foreign: dict[str, tuple[str, ...]] = {}
    policies: dict[str, dict[str, str]] = {}
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
            chains[table], rules[table], foreign[table], policies[table] = (), (), (), {}
        elif line.startswith(":"):
            name, policy = line[1:].split()[:2]
            if name.startswith(PREFIX):
                chains[table] += (name,)
            elif policy != "-":
                policies[table][name] = policy
        elif line.startswith(f"-A {PREFIX}"):
            rules[table] += (line,)
        elif line.startswith("-A "):
            foreign[table] += (line,)
    return Tables(chains=chains, rules=rules, foreign=foreign, policies=policies)


def normal(save: str) -> str:
    """A save without dates and counters: it changes only when the rules do."""
    lines = (line for line in save.splitlines() if line and not line.startswith("#"))
    return "".join(re.sub(r"^(:\S+ \S+) \[\d+:\d+\]$", r"\1 [0:0]", line) + "\n" for line in lines)


def ours(save: str) -> str:
    """The part of a save that is ours, in a form that is equal exactly when the rules are.

    Chains sorted (iptables prints them in the order of their making), rules grouped by chain in their
    order, our jumps with whether they stand in front, policies of the built-in chains we set.
    """
    found = read(save)
    out: list[str] = []
    for table in ("raw", "filter", "nat"):
        out.append(f"*{table}")
        if table == "filter":
            policies = found.policies.get(table, {})
            out += [f":{chain} {policies.get(chain, 'ACCEPT')}" for chain in ("INPUT", "FORWARD")]
        out += [line for line, in_front in _jumps(found, table) if in_front]
        for chain in sorted(found.chains.get(table, ())):
            out.append(f":{chain}")
            out += [line for line in found.rules.get(table, ()) if line.split()[1] == chain]
    return "\n".join(out) + "\n"


def wanted(text: str) -> str:
    """What `ours` will say once the restore file `text` is applied."""
    return ours(applied(text))


def applied(text: str) -> str:
    """The save of a host that had nothing and got the restore file `text`."""
    file = read(text)
    out: list[str] = []
    for table, chains in file.chains.items():
        out += [f"*{table}", *(f":{chain} {policy} [0:0]" for chain, policy in file.policies[table].items())]
        out += [f":{chain} - [0:0]" for chain in chains]
        out += [f"-A {chain} {rule}" for chain, rule in _possible(file, table)]
        out += [*file.rules[table], "COMMIT"]
    return "\n".join(out) + "\n"


def splice(text: str, save: str) -> str:
    """The restore file `text` with what this host's rules (`save`) need besides: jumps put in front,
    chains of ours that `text` no longer has thrown out. Feed it to `iptables-restore --noflush`.
    """
    file, live = read(text), read(save)
    out: list[str] = []
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        stale = [c for c in live.chains.get(table, ()) if c not in file.chains.get(table, ())]
        if line == "COMMIT":
            out += [f"-X {chain}" for chain in stale]
        if line.startswith("-A ") and not any(x.startswith("-") for x in out[_start(out) :]):
            out += _put_in_front(file, live, table)
        out.append(line)
        if line.startswith("*"):
            # Declared, so emptied first: nothing of ours refers to them when they are thrown out.
            out += [f":{chain} - [0:0]" for chain in stale]
    return "\n".join(out) + "\n"


def _start(lines: list[str]) -> int:
    """Where the table being written begins."""
    return max(i for i, line in enumerate(lines) if line.startswith("*"))


def _possible(file: Tables, table: str) -> tuple[tuple[str, str], ...]:
    """The jumps into chains this file has: an IPv6 file knows fewer."""
    return tuple((c, r) for c, r in JUMPS.get(table, ()) if r.split()[-1] in file.chains.get(table, ()))


def _jumps(found: Tables, table: str) -> list[tuple[str, bool]]:
    """Our jumps that are there, each with whether it is the first rule of its chain and the only one."""
    out = []
    for chain, rule in JUMPS.get(table, ()):
        line = f"-A {chain} {rule}"
        same_chain = [x for x in found.foreign.get(table, ()) if x.split()[1] == chain]
        if line in same_chain:
            out.append((line, same_chain[0] == line and same_chain.count(line) == 1))
    return out


def _put_in_front(file: Tables, live: Tables, table: str) -> list[str]:
    in_front = {line for line, first in _jumps(live, table) if first}
    out: list[str] = []
    for chain, rule in _possible(file, table):
        line = f"-A {chain} {rule}"
        if line not in in_front:
            out += [f"-D {chain} {rule}"] * list(live.foreign.get(table, ())).count(line)
            out.append(f"-I {chain} {rule}")
    return out
