"""What is loaded for IPv4 or IPv6 as iptables-save prints it, whatever else stands beside or in our chains.

One rule that somebody added with nft and that iptables has no words for (`meta skuid 0 accept`) makes iptables-save
end with an error and say nothing at all. Loading the confirmed rules must not depend on that: such chains are told in
nft's own words, so that they differ from whatever is wanted, and a load throws the rule out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from dom0 import chains, nft_marks, runner
from dom0.errors import CommandFailed
from dom0.members import TABLE

PROGRAMS = {"v4": "iptables", "v6": "ip6tables"}
_NFT = {"v4": "ip", "v6": "ip6", "bridge": "bridge"}
#: A table with more chains than that is told in nft's words as a whole: asking for each takes 3 ms.
ONE_BY_ONE = 200
_COUNTS = re.compile(r"\bpackets \d+ bytes \d+ ?")


def save(family: str) -> str:
    """The rules of "v4" or "v6". Raises CommandFailed where neither iptables nor nft can tell."""
    found = _printed(family)
    for table in nft_marks.asleep(family):
        # Nothing of it holds, whatever it prints: our jumps do not stand in front there.
        head, begin, rest = found.partition(f"*{table}\n")
        heads = re.match(r"(?::.*\n)*", rest)
        at = heads.end() if heads else 0
        off = "".join(
            f'-A {chain} -m comment --comment "table switched off"\n' for chain, _ in chains.JUMPS.get(table, ())
        )
        found = f"{head}{begin}{rest[:at]}{off if begin else ''}{rest[at:]}"
    return found


def wake() -> None:
    """Switch on again what somebody switched off of the tables our chains stand in. Raises CommandFailed."""
    for family, called in _NFT.items():
        for table in nft_marks.asleep(family):
            if table in (*chains.TABLES, TABLE):
                runner.run(("nft", f"add table {called} {table}"))


def _printed(family: str) -> str:
    program = PROGRAMS[family]
    try:
        return runner.run((f"{program}-save",), keep=runner.ALL).stdout
    except CommandFailed as error:
        if error.code is None or error.code < 0:
            raise
    return "".join(_table(program, _NFT[family], table) for table in _tables(_NFT[family]))


def _tables(family: str) -> list[str]:
    """The tables there are of those we have chains in."""
    said = json.loads(runner.run(("nft", "-j", "list", "tables", family)).stdout)
    there = {entry["table"]["name"] for entry in said["nftables"] if "table" in entry}
    return [table for table in chains.TABLES if table in there]


def _table(program: str, family: str, table: str) -> str:
    try:
        return runner.run((f"{program}-save", "-t", table), keep=runner.ALL).stdout
    except CommandFailed as error:
        if error.code is None or error.code < 0:
            raise
    listed = runner.run(("nft", "-a", "list", "table", family, table), keep=runner.ALL).stdout
    found = dict(_chains(listed, table))
    if len(found) <= ONE_BY_ONE:
        found |= {chain: said for chain in found if (said := _said(program, table, chain)) is not None}
    heads = [f":{chain} {policy} [0:0]" for chain, (policy, _) in found.items()]
    return "\n".join([f"*{table}", *heads, *(rule for _, rules in found.values() for rule in rules), "COMMIT", ""])


def _said(program: str, table: str, chain: str) -> tuple[str, list[str]] | None:
    """Policy and rules of one chain in iptables' words; None where it has none for them."""
    try:
        first, *rules = runner.run((program, "-t", table, "-S", chain), keep=runner.ALL).stdout.splitlines()
    except (CommandFailed, ValueError):
        return None
    what, _, *policy = first.split()
    return (policy[0] if what == "-P" else "-"), rules


def _chains(listed: str, table: str) -> Iterator[tuple[str, tuple[str, list[str]]]]:
    """Policy and rules, in nft's words, of the chains in the output of `nft -a list table`."""
    for chain, content in re.findall(r"^\tchain (\S+) \{[^\n]*\n(.*?)^\t\}$", listed, re.MULTILINE | re.DOTALL):
        policy, rules, words = "-", list[str](), ""
        for line in (each.strip() for each in content.splitlines()):
            if not words and line.startswith("type "):
                policy = "DROP" if "policy drop" in line else "ACCEPT"
                continue
            words = f"{words} {line}".strip()  # a long set goes over several lines; the number ends a rule
            if ended := re.fullmatch(r"(.*?) ?# handle \d+", words):
                said = _COUNTS.sub("", ended[1])
                rules.append(f"-A {chain} {said if rules else _first(table, chain, said)}")
                words = ""
        yield chain, (policy, rules)


def _first(table: str, chain: str, words: str) -> str:
    """The rule in front, our own jump in its usual words. Anywhere else it is not: iptables-restore can't find it
    behind a rule it can't read, so one more is put in front of all, and the one behind does no harm.
    """
    jumps = (jump for where, jump in chains.JUMPS[table] if where == chain)
    return next((jump for jump in jumps if words.split()[-2:] == ["jump", jump.split()[-1]]), words)
