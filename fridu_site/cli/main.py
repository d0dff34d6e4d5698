"""From the command line to a verb, and from whatever came of it to words and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TextIO

from django.core.exceptions import PermissionDenied, ValidationError
from django.core.management import CommandError, call_command
from django.db import OperationalError, ProgrammingError

from accounts.access import RULES
from audit import log
from audit.log import Actor, Thing
from dom0.errors import FriduError, Refused
from fridu_site.cli import call as typed
from fridu_site.cli.call import Call, Misunderstood, Typed
from fridu_site.cli.countdown import wait_for_answer
from fridu_site.cli.database import demand_database, explained
from fridu_site.cli.firewall import VERBS as FIREWALL
from fridu_site.cli.follow import JobStopped
from fridu_site.cli.verbs import VERBS
from fridu_site.cli.ways import way_out
from fridu_site.cli.who import acting, login

# Verbs that are Django commands of their own rooms: nobody has to be named, the log is not changed by verify.
PLAIN = {"audit": ("audit",), "createoperator": ("createoperator",)}


def main(argv: Sequence[str], *, out: TextIO | None = None, err: TextIO | None = None) -> int:
    """Do what the command line says; returns the exit code."""
    out, err = out or sys.stdout, err or sys.stderr
    try:
        line = typed.parse(argv)
        if line.verb == "help":
            print(typed.USAGE, file=out, flush=True)
            return 0
        if line.verb not in (*VERBS, *PLAIN):
            raise Misunderstood(f"fridu does not know {line.verb}. It knows {', '.join([*VERBS, *PLAIN])}.")
        demand_database()
        if line.verb in PLAIN:
            call_command(*PLAIN[line.verb], *line.words, stdout=out, stderr=err)
            return 0
        _demand_fitting(line)
        return _act(line, out)
    except BrokenPipeError:  # whoever read along has seen enough, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Misunderstood as error:
        return _fatal(err, str(error), "fridu help shows what it takes.", 2)
    except Refused as error:
        return _fatal(err, error.message, error.note)
    except ValidationError as error:
        return _fatal(err, *_sentences(error))
    except (OperationalError, ProgrammingError) as error:
        said = explained(error)
        return _fatal(err, said.message, said.note)
    except (PermissionDenied, FriduError, CommandError) as error:
        return _fatal(err, str(error), "")


def _demand_fitting(line: Typed) -> None:
    """Whether the verb takes the pairs and options given. Raises Misunderstood."""
    if line.pairs and line.verb not in (
        "adopt",
        "create",
        "rescue",
        "change",
        "limits",
        "import",
        "image",
        "vpn",
        "zone",
        "CreateZone",
        "address",
        "explain",
        "rules",
        "reinstall",
        "snapshot",
    ):
        raise Misunderstood(f"{line.verb} takes no {next(iter(line.pairs))}=…")
    for given, name in ((line.go_on, "--go-on"), (line.cancel, "--cancel")):
        if given and line.verb != "job":
            raise Misunderstood(f"{line.verb} takes no {name}; a job does: fridu job NUMBER {name}")
    if line.force and line.verb != "stop":
        raise Misunderstood(f"{line.verb} takes no --force; stop does: fridu stop NAME --force")
    if line.end and line.verb != "rescue":
        raise Misunderstood(f"{line.verb} takes no --end; rescue does: fridu rescue NAME --end")
    if line.confirm_within and line.verb != "firewall":
        raise Misunderstood(f"{line.verb} takes no --confirm-within; firewall apply does.")
    if line.cancel and (line.go_on or line.yes):
        raise Misunderstood("--cancel calls a job off; it goes with neither --yes nor --go-on.")


def _act(line: Typed, out: TextIO) -> int:
    user, actor = acting(line.as_user, login())
    there = sys.stdin.isatty()
    call = Call(
        typed=line,
        user=user,
        actor=actor,
        out=out,
        ask=input if there else None,
        wait=wait_for_answer if there else None,
    )
    try:
        return VERBS[line.verb](call)
    except JobStopped:
        raise
    except Refused as error:
        _record_refusal(line, actor, str(error))
        raise Refused(error.message, note=way_out(call) or error.note) from error
    except PermissionDenied as error:
        _record_refusal(line, actor, str(error))
        raise


def _record_refusal(line: Typed, actor: Actor, message: str) -> None:
    """What a person was refused stands in the log, like on the web."""
    action = {"import": "firewall.import", "jobs": "job.view", "job": "job.view"}.get(line.verb, f"machine.{line.verb}")
    if line.verb == "firewall":
        action = FIREWALL.get(line.words[0] if line.words else "", "firewall.view")
    if line.verb in ("explain", "reach"):
        action = "firewall.view"
    if line.verb == "rules":
        action = "policy.change" if line.words else "firewall.view"
    if line.verb == "snapshot":
        deed = line.words[0] if line.words else ""
        action = f"snapshot.{deed if deed in ('take', 'restore', 'delete') else 'view'}"
    if line.verb == "vpn":
        action = "vpn.change" if line.words else "vpn.view"
    if line.verb == "image":
        does = {"add": "make", "delete": "delete", "kernel": "kernel"}
        action = f"image.{does.get(line.words[0] if line.words else '', 'view')}"
    if line.verb == "doctor" and not line.words:
        action = "host.doctor"
    if line.verb in ("zones", "zone", "CreateZone", "address"):
        action = _zone_action(line)
    text = line.pairs.get("vmname") or line.pairs.get("name") or line.pairs.get("NAME") or " ".join(line.words)
    thing = Thing(kind=action.partition(".")[0], id="", text=text)
    if action in RULES:
        log.record(actor, action, thing, outcome="refused", why=line.reason, data={"message": message})


def _zone_action(line: Typed) -> str:
    """What a verb about zones or external addresses wants, as the policy table calls it."""
    what = line.words[0] if line.words else ""
    if line.verb == "CreateZone":
        return "zone.create"
    if line.verb == "address":
        return f"address.{what}" if what else "zone.view"
    return f"zone.{'change' if what == 'apply' else 'view' if what in ('', 'show') else what}"


def _fatal(err: TextIO, message: str, note: str = "", code: int = 1) -> int:
    """In the seed's manner: what is wrong, then the way out."""
    print(f"FATAL {typed.plain(message)}", file=err)
    if note:
        print(f"Note: {typed.plain(note)}", file=err)
    return code


def _sentences(error: ValidationError) -> tuple[str, str]:
    """All that is wrong with what was typed; the fields by the names they have here."""
    if not hasattr(error, "error_dict"):
        return " ".join(error.messages), ""
    names = {"name": "vmname", "address": "vmip", "memory_mib": "vmram", "root_mib": "vmroot", "__all__": ""}
    names |= {"swap_mib": "vmswap", "log_mib": "vmlog", "start_order": "order"}
    names |= {"volume_group": "lvmvg", "filesystem": "fs"}
    said = [
        f"{names.get(field, field)}: {' '.join(texts)}".removeprefix(": ")
        for field, texts in error.message_dict.items()
    ]
    return "\n      ".join(said), "Nothing was created or changed."
