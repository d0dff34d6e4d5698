"""Loading a whole revision from its folder, as boot, the guard, `firewall-return` and `firewall-stop` do it.

Nothing here depends on what was loaded before: jumps are put in front again, chains of ours the files don't have
are thrown out, foreign chains stay. A plan's steps load the same texts, one by one and shown.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from dom0 import chains, closed, files, runner, saving
from dom0.errors import CommandFailed, Refused
from dom0.host import HostConfig
from dom0.members import TABLE
from dom0.policy_files import LOADERS, SETTINGS

Say = Callable[[str], None]
Revision = Mapping[str, str]  # text by file name
TRIES = 3
LOAD_S = 20.0


def folder(config: HostConfig, name: str) -> Path:
    """Where revision `name` lies. Raises Refused for a name that is none."""
    if not re.fullmatch(r"0|[1-9]\d*-[0-9a-f]{4,64}", name):
        raise Refused(f"{name!r} is not the name of a revision.", note="It looks like 12-0f3a77c1d2e4, or 0.")
    return Path(config.state, "firewall", "revisions", name)


def revision(config: HostConfig, name: str, digest: str = "") -> Revision:
    """The files of a revision; "0" needs no disk.

    Raises Refused where one is missing or they are not those of `digest`, OSError where the disk fails.
    """
    if name == closed.NAME:
        return closed.files(config)
    where = folder(config, name)
    found = {file: files.read_text(str(where / file)) for file in (*(name for name, _ in LOADERS), SETTINGS)}
    missing = sorted(file for file, text in found.items() if text is None)
    if missing:
        raise Refused(f"Revision {name} is not whole: {where} has no {', '.join(missing)}.")
    texts = {file: text for file, text in found.items() if text is not None}
    if digest and digest_of(texts) != digest:
        raise Refused(f"The files in {where} are not those that were confirmed.")
    return texts


def digest_of(texts: Revision) -> str:
    """What tells the files from any others: one that was cut short loads without complaint."""
    whole = json.dumps([texts[name] for name in (*(name for name, _ in LOADERS), SETTINGS)])
    return hashlib.sha256(whole.encode()).hexdigest()


def write_closed(config: HostConfig) -> None:
    """Lay down revision 0 as files too, for people to read and for plans to compare with."""
    where = folder(config, closed.NAME)
    for name, text in closed.files(config).items():
        if files.read_text(str(where / name)) != text:
            files.write_atomic(str(where / name), text, 0o640)


def load(texts: Revision) -> None:
    """Load it all, in the order in which a failure can only close. Raises CommandFailed."""
    saving.wake()
    for name, loader in LOADERS:
        if name.endswith(".rules"):
            if change := chains.splice(texts[name], saving.save(name.removesuffix(".rules"))):
                runner.run(loader, stdin=change, timeout_s=LOAD_S)
        else:
            text = bridge_instead(texts[name]) if name.endswith(".nft") else texts[name]
            runner.run((*loader, "/dev/stdin"), stdin=text, timeout_s=LOAD_S)
    # -e: what belongs to a module or a bridge that is not there is off.
    runner.run(("sysctl", "-e", "-q", "-p", "/dev/stdin"), stdin=texts[SETTINGS])


def bridge_instead(text: str) -> str:
    """The bridge file, after the removal of every chain of ours there is; the set of members stays.

    nft takes it as one transaction: no frame meets anything between the two.
    """
    live = runner.run(("nft", "-t", "list", "table", "bridge", TABLE), ok_codes=(0, 1)).stdout
    old = re.findall(r"^\s*chain (\S+) \{", live, re.MULTILINE)
    away = [f"flush table bridge {TABLE}", *(f"delete chain bridge {TABLE} {chain}" for chain in old)]
    return "\n".join([*away, text]) if old else text


def restore(config: HostConfig, name: str, digest: str, say: Say) -> bool:
    """Load revision `name`; where its files can't be loaded, revision 0. Whether it was the one wanted.

    Raises CommandFailed where a loading process was killed or hung, or closing failed too: try again.
    """
    for left in reversed(range(TRIES)):
        try:
            load(revision(config, name, digest))
            return True
        except CommandFailed as error:
            if error.code is None or error.code < 0:
                raise
            say(f"Revision {name} does not load: {error}")
        except (Refused, OSError) as error:
            say(f"Revision {name} can't be read: {error}")
        if not left:
            break
    say("The host is closed but for SSH: revision 0 is loaded instead.")
    load(closed.files(config))
    return False
