"""A model of what iptables-restore --noflush does to a host's tables, strict about what a kernel refuses."""

from __future__ import annotations

BUILT_IN = {
    "raw": ("PREROUTING", "OUTPUT"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
}


class Kernel:
    """Tables as they would be live; `save` prints them as iptables-save does."""

    def __init__(self) -> None:
        self.policies = {(t, c): "ACCEPT" for t, chains in BUILT_IN.items() for c in chains}
        self.rules: dict[str, dict[str, list[str]]] = {t: {c: [] for c in cs} for t, cs in BUILT_IN.items()}
        self._declared: set[tuple[str, str]] = set()

    def restore(self, batch: str) -> None:
        """Raises AssertionError for what would not load."""
        table, chains = "", dict[str, list[str]]()
        self._declared.clear()
        for line in batch.splitlines():
            word, _, rest = line.partition(" ")
            if line.startswith("*"):
                table, chains = line[1:], self.rules[line[1:]]
            elif line.startswith(":"):
                self._declare(table, line)
            elif word == "-X":
                assert chains[rest] == [], f"{rest} is not empty"
                assert not any(r.endswith(f" {rest}") for rules in chains.values() for r in rules), f"{rest} is in use"
                del chains[rest]
            elif line == "COMMIT":
                self._check(chains)
            else:
                self._edit(chains, word, *rest.split(" ", 1))

    def _declare(self, table: str, line: str) -> None:
        name, policy = line[1:].split()[:2]
        if policy == "-":
            assert name not in BUILT_IN[table]
            assert (table, name) not in self._declared, f"{name} is declared twice"
            self.rules[table][name] = []
            self._declared.add((table, name))
        else:
            self.policies[table, name] = policy

    def _edit(self, chains: dict[str, list[str]], word: str, chain: str, rule: str) -> None:
        assert chain in chains, f"no chain {chain}"
        if word == "-A":
            chains[chain].append(rule)
        elif word == "-I":
            chains[chain].insert(0, rule)
        else:
            assert word == "-D", word
            chains[chain].remove(rule)

    def _check(self, chains: dict[str, list[str]]) -> None:
        for rules in chains.values():
            for rule in rules:
                target = rule.split()[-1]
                assert not target.startswith("fr-") or target in chains, f"no chain {target}"

    def save(self) -> str:
        out = []
        for table, chains in self.rules.items():
            out.append(f"*{table}")
            out += [f":{c} {self.policies.get((table, c), '-')} [7:700]" for c in chains]
            out += [f"-A {chain} {rule}" for chain, rules in chains.items() for rule in rules]
            out.append("COMMIT")
        return "\n".join(out) + "\n"
