"""The firewall policy on the host: what is loaded, and trying files out where nothing is hurt."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from dom0 import chains, runner
from dom0.errors import CommandFailed, Refused
from dom0.host import HostConfig
from dom0.members import TABLE
from dom0.policy_files import LOADERS

SCRATCH = "fr-try"


def live(config: HostConfig, families: Iterable[str]) -> dict[str, str]:
    """What is loaded of "v4", "v6" and "bridge" (without the sets' elements), in a form that stands still.

    A family of which nothing is loaded is absent. Raises CommandFailed where the host can't be asked.
    """
    found = {family: _live(family) for family in families}
    return {family: text for family, text in found.items() if text}


def _live(family: str) -> str:
    if family == "bridge":
        found = runner.run(("nft", "-t", "list", "table", "bridge", TABLE), ok_codes=(0, 1))
        return found.stdout if found.code == 0 else ""
    program = {"v4": "iptables-save", "v6": "ip6tables-save"}[family]
    return chains.normal(runner.run((program,)).stdout)


def try_out(config: HostConfig, args: Mapping[str, str], stdin: str = "") -> str:
    """Load the policy files of `folder` in a network namespace of their own, then throw it away.

    `iptables-restore --test` lets an undefined chain or a loop through; loading does not. Raises Refused
    with the program's own words where a file can't be loaded.
    """
    began = time.monotonic()
    runner.run(("ip", "netns", "del", SCRATCH), ok_codes=(0, 1))  # one that a killed worker left
    runner.run(("ip", "netns", "add", SCRATCH))
    try:
        for name, loader in LOADERS:
            path = Path(args["folder"]) / name
            if path.exists():
                _load(name, (*loader, str(path)))
    finally:
        runner.run(("ip", "netns", "del", SCRATCH), ok_codes=(0, 1))
    return f"loads in a scratch namespace, {(time.monotonic() - began) * 1000:.0f} ms"


def _load(name: str, argv: tuple[str, ...]) -> None:
    try:
        runner.run(("ip", "netns", "exec", SCRATCH, *argv), timeout_s=120)
    except CommandFailed as error:
        said = (error.stderr or error.stdout).strip().splitlines()
        raise Refused(
            f"{name} does not load: {said[0][:300] if said else error}.",
            note="Nothing was changed. Mend the rule it names, then apply again.",
        ) from error


VERBS: Mapping[str, Callable[[HostConfig, Mapping[str, str], str], str]] = {"firewall-try": try_out}
