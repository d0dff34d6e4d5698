"""The firewall policy on the host: what is loaded, and trying files out where nothing is hurt."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import lru_cache, partial
from pathlib import Path

from dom0 import chains, files, generation, nft_marks, runner, saving
from dom0.errors import CommandFailed, Refused
from dom0.host import HostConfig
from dom0.members import TABLE
from dom0.policy_files import LOADERS

#: What the kernel says in one word that hardly anybody understands.
SIGNS = {
    "Too many links": "chains lead into each other in a circle",
    "RULE_APPEND failed (Invalid argument)": "a rule can't stand in the place its chain is reached from",
}


#: With more chains changed than that, all is printed at once.
ONE_BY_ONE = 3

_LIST_BRIDGE = ("nft", "-t", "list", "table", "bridge", TABLE)

_seen = generation.Seen()


def live(config: HostConfig, families: Iterable[str]) -> dict[str, str]:
    """What is loaded of "v4", "v6" and "bridge" (without the sets' elements), in a form that stands still.

    A family of which nothing is loaded is absent. Raises CommandFailed where the host can't be asked, Refused where
    its iptables is the old one.
    """
    for program in ("iptables", "ip6tables"):  # each may lead elsewhere
        refuse_legacy(_version(program, Path(shutil.which(program, path=runner.PATH) or program).resolve()))
    found = {
        family: _seen.text(family, partial(_live, family), partial(nft_marks.of, family), partial(_mended, family))
        for family in families
    }
    if found.get("bridge"):
        found["bridge"] = _disowned(config, found["bridge"])
    return {family: text for family, text in found.items() if text}


#: The comment by which bridge rules say whose file they were loaded from (`firewall.render.bridge`).
_SIGNED = re.compile(r'comment "(fridu [^"]+)"')
CHANGED = "fridu changed by hand"


def _disowned(config: HostConfig, listing: str) -> str:
    """The listing; where it is not what nft makes of the file it is signed with, signed as changed by hand.

    nft prints rules in other words than it reads, so the file is loaded once where nothing is hurt and printed.
    """
    texts = (_bridge_file(config, signed) for signed in _SIGNED.findall(listing))
    with contextlib.suppress(CommandFailed):  # a file that is not whole: the next load tells
        if any(text is not None and _parts(_printed(text)) != _parts(listing) for text in texts):
            return _SIGNED.sub(f'comment "{CHANGED}"', listing)
    return listing


def _bridge_file(config: HostConfig, signed: str) -> str | None:
    """The bridge rules of the revision on this host that are signed so."""
    texts = (files.read_text(str(path)) for path in Path(config.state, "firewall", "revisions").glob("*/bridge.nft"))
    return next((text for text in texts if text and f'"{signed}"' in text), None)


@lru_cache(maxsize=8)
def _printed(text: str) -> str:
    with runner.own_network() as network:
        enter = ("nsenter", f"--net={network}", "--")
        runner.run((*enter, "nft", "-f", "/dev/stdin"), stdin=text)
        return runner.run((*enter, *_LIST_BRIDGE)).stdout


def _parts(listing: str) -> tuple[str, ...]:
    """Its chains and sets; their order says nothing."""
    head, *body, _ = listing.strip().splitlines()
    return (head, *sorted("\n".join(body).split("\n\n")))


@lru_cache(maxsize=4)  # by what the name leads to: update-alternatives may lead it elsewhere at any time
def _version(program: str, leads_to: Path) -> str:
    return runner.run((program, "--version")).stdout


def refuse_legacy(version: str) -> None:
    """Raises Refused where `iptables --version` names the backend that has rules of its own, apart from nft's."""
    if "legacy" in version:
        raise Refused(
            f"{version.strip()}: Fridu's rules need the nft backend; the legacy one keeps a second set of rules "
            "beside it, and which of them decides would depend on chance.",
            note="On Debian: update-alternatives --set iptables /usr/sbin/iptables-nft, the same for ip6tables "
            "with /usr/sbin/ip6tables-nft, then apply again.",
        )


def counted() -> str:
    """What is loaded for IPv4, with the packets each rule met. Raises CommandFailed."""
    return runner.run(("iptables-save", "-c"), keep=runner.ALL).stdout


def _live(family: str) -> str:
    if family == "bridge":
        found = runner.run(_LIST_BRIDGE, ok_codes=(0, 1))
        return found.stdout if found.code == 0 else ""
    return chains.normal(saving.save(family))


def _mended(family: str, save: str, changed: Collection[tuple[str, str]]) -> str | None:
    """Chains printed one by one, in 3 ms each: iptables-save reads all there is, whatever of it it is asked for."""
    if family == "bridge" or len(changed) > ONE_BY_ONE:
        return None
    program = saving.PROGRAMS[family]
    try:
        for table, chain in changed:
            save = chains.mended(save, table, runner.run((program, "-t", table, "-S", chain), keep=runner.ALL).stdout)
    except (CommandFailed, ValueError, LookupError):  # a table that is not iptables', a chain that is gone again
        return None
    return save


def try_files(texts: Mapping[str, str]) -> Mapping[str, str]:
    """Load the policy files (text by file name) in a network namespace of their own, which goes with this call;
    back come the IPv4 rules the kernel keeps in other words (`chains.rewritten`).

    With the jumps that attach our chains to the kernel's, so that the kernel judges them where they will stand:
    `iptables-restore --test` lets an undefined chain, a loop, or SNAT in PREROUTING through. Raises Refused with
    the program's own words, and the line they are about.
    """
    with runner.own_network() as network:
        for name, loader in LOADERS:
            if name in texts:
                rules = name.endswith(".rules")
                argv = loader if rules else (*loader, "/dev/stdin")
                text = chains.splice(texts[name], "") if rules else texts[name]
                _try(network, name, argv, text)
        return _rewritten(network, texts["v4.rules"]) if "v4.rules" in texts else {}


def _rewritten(network: str, text: str) -> Mapping[str, str]:
    save = runner.run(("nsenter", f"--net={network}", "--", "iptables-save"), keep=runner.ALL).stdout
    try:
        return chains.rewritten(text, save)
    except ValueError as error:
        raise Refused(
            f"{error} comes back from the kernel with another number of rules than were written.",
            note="Nothing was changed. A line that stands for several rules is written as several lines.",
        ) from error


def _try(network: str, name: str, argv: tuple[str, ...], text: str) -> None:
    try:
        runner.run(("nsenter", f"--net={network}", "--", *argv), stdin=text, timeout_s=120)
    except CommandFailed as error:
        said = " ".join((error.stderr or error.stdout).split())
        why = next((words for sign, words in SIGNS.items() if sign in said), said.partition("Try `")[0][:300])
        raise Refused(
            f"{name} does not load: {why or error}{_line(said, text)}.",
            note="Nothing was changed. Mend the rule it names, then apply again.",
        ) from error


def _line(said: str, text: str) -> str:
    """The line of the file that a program complains about by its number."""
    number = re.search(r"line:? (\d+)", said)
    lines = text.splitlines()
    if number is None or not 0 < int(number[1]) <= len(lines):
        return ""
    return f" ({lines[int(number[1]) - 1][:200]})"


def try_out(config: HostConfig, args: Mapping[str, str], stdin: str = "") -> str:
    """`try_files` with the files in `folder`, or those on stdin as JSON."""
    began = time.monotonic()
    found = json.loads(stdin) if stdin else _read(Path(args["folder"]))
    if not found:
        raise Refused("There are no policy files to try.")
    rewritten = try_files(found)
    return f"loads in a scratch namespace, {(time.monotonic() - began) * 1000:.0f} ms{chains.told(rewritten)}"


def _read(folder: Path) -> dict[str, str]:
    found = {name: files.read_text(str(folder / name)) for name, _ in LOADERS}
    return {name: text for name, text in found.items() if text is not None}


VERBS: Mapping[str, Callable[[HostConfig, Mapping[str, str], str], str]] = {"firewall-try": try_out}
