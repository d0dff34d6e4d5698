"""`fridu import`: a rule file read, shown, asked about, and only then saved."""

from __future__ import annotations

from pathlib import Path

from dom0.errors import Refused
from firewall import imports
from firewall.imports import ImportReport
from fridu_site.cli.call import Call
from fridu_site.cli.follow import follow
from hosts.models import Host, Job
from ui import words

MAX_RULES = 1_000_000


def import_rules(call: Call, host: Host, path: Path) -> int:
    """Read a rule file into wishes; zones come with their jobs. Saves nothing before somebody has said so."""
    text, answers = _text(path), dict(call.typed.pairs)
    report = imports.preview(host, text, answers=answers)
    for finding in report.findings:
        call.say(str(finding))
    if not report.clashes and not _wished(call, report):
        return 1 if report.errors or report.made else 0
    report = imports.import_rules(call.actor, host, text, answers=answers, approved=call.typed.yes)
    return max(_told(call, report), 1 if report.errors else 0)


def _wished(call: Call, report: ImportReport) -> bool:
    """Whether to save, after what it would make is on the screen."""
    if call.typed.yes:
        return True
    if not report.made:
        call.say("Nothing in it is new; nothing was saved.")
        return False
    call.say(f"It would make {words.count(len(report.made), 'object')}:")
    for made in report.made:
        call.say(f".. {made}")
    if call.ask is None:
        call.say("Nothing was saved. The same command with --yes saves it, and lets its zones be made.")
        return False
    if call.ask("Save it? [y/N] ").strip().lower() in ("y", "yes"):
        return True
    call.say("Nothing was saved.")
    return False


def _told(call: Call, report: ImportReport) -> int:
    """Say what was made and follow its zones' jobs; a zone that waits for its approval is no fault."""
    if call.typed.yes:
        for made in report.made:
            call.say(f".. {made}")
    code = 0
    for job in report.jobs:
        ended = follow(call, job)
        code = max(code, 0 if job.state == Job.State.PLANNED else ended)
    made = words.count(len(report.made), "object") + " made" if report.made else "All of it was there already"
    call.say(f"{made}. Put on the host what is not there yet with: fridu firewall apply")
    return code


def _text(path: Path) -> str:
    """What the file says. Raises Refused."""
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MAX_RULES + 1)
    except UnicodeDecodeError as error:
        raise Refused(f"{path} is no plain text.", note="Name a rule file, such as production.rules.") from error
    except OSError as error:
        raise Refused(_why(path, error), note="Name a rule file in plain text.") from error
    if len(text) > MAX_RULES:
        raise Refused(f"{path} is larger than a rule file ever is.", note=f"At most {MAX_RULES} characters.")
    return text


def _why(path: Path, error: OSError) -> str:
    match error:
        case FileNotFoundError() | NotADirectoryError():
            return f"There is no file {path}."
        case IsADirectoryError():
            return f"{path} is a folder."
        case PermissionError():
            return f"You may not read {path}."
    return f"{path} can't be read: {(error.strerror or 'no reason was given').lower()}."
