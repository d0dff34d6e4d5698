"""`fridu import`: the files of an older box read, shown, asked about, and only then saved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dom0.errors import Refused
from firewall import bundles
from firewall.bundles import BundleReport
from fridu_site.cli.call import Call
from fridu_site.cli.follow import follow
from hosts.models import Host, Job
from ui import words

MAX_RULES = 1_000_000


def import_rules(call: Call, host: Host, paths: Sequence[Path]) -> int:
    """Read the files of a box into wishes; zones come with their jobs. Saves nothing before somebody has said so."""
    files = [(str(path), _text(path)) for path in paths]
    answers = dict(call.typed.pairs)
    exact = answers.pop("exact", "no") not in ("no", "0", "")
    report = bundles.preview(host, files, answers=answers, exact=exact)
    for said in report.lines:
        for finding in said.findings:
            call.say(f"{said.file}: {finding}" if len(files) > 1 else str(finding))
    for closes in report.rules.closes:
        call.say(f"A way closes. {closes}")
    errors = bool(report.rules.errors)
    if not report.rules.clashes and not _wished(call, report):
        return 1 if errors or report.does_something else 0
    report = bundles.take_over(call.actor, host, files, answers=answers, exact=exact, approved=call.typed.yes)
    return max(_told(call, report), 1 if errors else 0)


def _wished(call: Call, report: BundleReport) -> bool:
    """Whether to save, after what it would make is on the screen."""
    _compared(call, report)
    if call.typed.yes:
        return True
    if not report.does_something:
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


def _compared(call: Call, report: BundleReport) -> None:
    """What the panel has otherwise, and what only it has."""
    rules = report.rules
    for each in rules.changed:
        call.say(f"Differs: {each}")
    for each in rules.gone:
        call.say(f"{'Would go' if rules.exact else 'Only in the panel, stays'}: {each}")


def _told(call: Call, report: BundleReport) -> int:
    """Say what was made and follow its jobs; one that waits for its approval is no fault."""
    if call.typed.yes:
        for made in report.made:
            call.say(f".. {made}")
    code = 0
    for job in report.jobs:
        ended = follow(call, job)
        code = max(code, 0 if job.state == Job.State.PLANNED else ended)
    made = words.count(len(report.made), "object") + " made" if report.made else "All of it was there already"
    call.say(f"{made}. Put on the host what is not there yet with: fridu firewall apply")
    if report.rules.review:
        count = words.count(len(report.rules.review), "line")
        call.say(f"{count} left for review; fridu firewall export ends with them.")
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
