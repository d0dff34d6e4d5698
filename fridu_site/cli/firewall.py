"""`fridu firewall`: what would change, an apply that is tried and kept or taken back, and what is live."""

from __future__ import annotations

import time
from collections.abc import Callable

from django.utils import timezone

from dom0.errors import Refused
from firewall import imports, render, rows, services, trials
from firewall.models import Revision
from firewall.trials import Trial
from fridu_site.cli import call as typed
from fridu_site.cli.call import Call, Misunderstood
from fridu_site.cli.follow import follow
from hosts.models import Host
from ui import words

HEARD_S = 6.0  # three rounds of the watcher
#: What can be typed, and the access action it is.
VERBS = {
    "apply": "firewall.apply",
    "confirm": "firewall.confirm",
    "rollback": "firewall.return",
    "stop": "firewall.stop",
    "show": "firewall.view",
    "check": "firewall.apply",
    "dump": "firewall.view",
    "export": "firewall.view",
}


def firewall_(call: Call, find_host: Callable[[Call], Host]) -> int:
    """Do what the first word says."""
    what = call.word(0, f"{', '.join([*VERBS][:-1])} or export")
    if what not in VERBS:
        raise Misunderstood(f"firewall does not know {what}. It takes {', '.join(VERBS)}.")
    if call.typed.confirm_within and what != "apply":
        raise Misunderstood(f"firewall {what} takes no --confirm-within; apply does.")
    call.demand(VERBS[what])
    host = find_host(call)
    doing: dict[str, Callable[[Call, Host], int]] = {
        "apply": _apply,
        "confirm": _confirm,
        "rollback": _rollback,
        "stop": _stop,
        "show": _show,
        "check": _check,
        "dump": lambda call, host: _print(call, "\n".join(render.commands(services.site_of(host)))),
        "export": lambda call, host: _print(call, imports.export(host).rstrip()),
    }
    return doing[what](call, host)


def _print(call: Call, text: str) -> int:
    call.say(text)
    return 0


def _apply(call: Call, host: Host) -> int:
    """The words, the plan, the trial, and the question whether to keep it."""
    seconds = trials.CONFIRM_WITHIN_S
    if call.typed.confirm_within:
        seconds = typed.count(call.typed.confirm_within, "--confirm-within")
    now = services.pending(host)
    for change in now.changes:
        call.say(f"  {change.sentence}")
    job = trials.revision_apply(
        call.actor, host, why=call.typed.reason, approved=call.typed.yes, seen=now.digest, confirm_within=seconds
    )
    code = follow(call, job)
    trial = trials.on_trial(host) if code == 0 else None
    return _decide(call, trial) if trial else code


def _decide(call: Call, trial: Trial) -> int:
    """Keep it or not; where nobody can be asked, say how."""
    number, seconds = trial.revision.number, trial.seconds_left
    if call.wait is None:
        call.say(f"Revision {number} is on trial for {seconds} s more. Does everything still work?")
        call.say("  fridu firewall confirm    keeps it; it came in by the new rules, so the way to here is open")
        call.say("  fridu firewall rollback   returns at once; so does the host by itself when the time is up")
        return 0
    answer = call.wait(lambda left: f"Keep revision {number}? It is taken back in {left} s. [y/N] ", trial.until)
    if answer is None:
        call.say(f"\nThe time is up: {trial.revision.host} takes revision {number} back. The wishes are kept.")
        return 1
    if answer.strip().lower() not in ("y", "yes"):
        return max(1, follow(call, trials.revision_return(call.actor, trial.revision, reason="not kept")))
    _demand_heard(trial)
    return follow(call, trials.revision_confirm(call.actor, trial.revision, trial.nonce, reason=call.typed.reason))


def _demand_heard(trial: Trial) -> None:
    """The host's watcher has to have reached the panel since the question was answered. Raises Refused."""
    since, end = timezone.now(), time.monotonic() + min(HEARD_S, trial.seconds_left)
    host = trial.revision.host
    while time.monotonic() < end:
        host.refresh_from_db()
        if host.seen_at and host.seen_at > since:
            return
        time.sleep(0.2)
    raise Refused(
        f"{host.name} has not been heard of since revision {trial.revision.number} was loaded, so it is not kept.",
        note=f"It returns by itself in {trial.seconds_left} s. Was the worker's way to the panel closed?",
    )


def _confirm(call: Call, host: Host) -> int:
    trial = _on_trial(host)
    job = trials.revision_confirm(call.actor, trial.revision, trial.nonce, reason=call.typed.reason)
    return follow(call, job)


def _on_trial(host: Host) -> Trial:
    trial = trials.on_trial(host)
    if trial is None:
        live = rows.live_revision(host)
        now = f"revision {live.number} is live" if live else "no revision is live"
        raise Refused(f"Nothing is on trial on {host}; {now}.", note="fridu firewall show tells more.")
    return trial


def _rollback(call: Call, host: Host) -> int:
    """Return from what is on trial; with a number, apply that former revision again, as a trial of its own."""
    if len(call.typed.words) < 2:
        trial = trials.on_trial(host)
        if trial is None:
            raise Refused(
                f"Nothing is on trial on {host}.",
                note="A former revision is applied again by its number: fridu firewall rollback NUMBER",
            )
        return follow(call, trials.revision_return(call.actor, trial.revision, reason=call.typed.reason))
    call.demand("firewall.apply")
    number = typed.count(call.typed.words[1], "revision")
    former = Revision.objects.filter(host=host, number=number).first()
    if former is None:
        raise Refused(f"{host} never had a revision {number}.", note="fridu firewall show lists the latest.")
    why = call.typed.reason or f"again revision {number}"
    code = follow(call, trials.revision_apply(call.actor, host, why=why, approved=call.typed.yes, again=former))
    trial = trials.on_trial(host) if code == 0 else None
    return _decide(call, trial) if trial else code


def _stop(call: Call, host: Host) -> int:
    """Closed but for SSH, at once."""
    if not call.typed.reason:
        raise Misunderstood("firewall stop needs --reason, for example: fridu firewall stop --reason 'an attack'")
    if not call.typed.yes:
        call.say(f"This closes {host} but for SSH: nothing published answers, no machine reaches anything.")
        if call.ask is None:
            raise Refused("Nothing was closed.", note="The same command with --yes closes it.")
        if call.ask("Close it? [y/N] ").strip().lower() not in ("y", "yes"):
            call.say("Nothing was closed.")
            return 1
    return follow(call, trials.firewall_stop(call.actor, host, call.typed.reason))


def _show(call: Call, host: Host) -> int:
    """What is live, on trial, waiting, and what differs on the host."""
    live, trial, drift = rows.live_revision(host), trials.on_trial(host), trials.drift(host)
    if live:
        since = f", since {live.live_at:%Y-%m-%d %H:%M}" if live.live_at else ""
        call.say(f"Revision {live.number} is live{since}, by {live.author}" + (f": {live.why}" if live.why else ""))
    else:
        call.say(f"No revision is live{'; the host is closed but for SSH' if trials.closed(host) else ''}.")
    if trial:
        left = f"{trial.seconds_left} s left to keep it" if trial.ready else "its time is up"
        call.say(f"Revision {trial.revision.number} is on trial, {left}: fridu firewall confirm, or rollback")
        _list(call, trial.changes)
    now = services.pending(host)
    if now.changes:
        call.say(f"{words.count(len(now.changes), 'change')} not applied:")
        _list(call, [change.sentence for change in now.changes])
    if drift:
        call.say(f"The host differs from revision {drift.live.number if drift.live else 0}:")
        _list(call, list(drift.words))
        call.say("  fridu firewall apply restores it; the panel's drift page can adopt it too")
    for former in Revision.objects.filter(host=host).defer("site", "files")[:5]:
        call.say(
            f"  {former.number:>5}  {former.get_state_display():<15} {former.created:%Y-%m-%d %H:%M}  {former.why}"
        )
    return 0


def _list(call: Call, sentences: list[str]) -> None:
    for sentence in sentences:
        call.say(f"  {sentence}")


def _check(call: Call, host: Host) -> int:
    """What the linter says, then exactly the wish loaded on the host in a scratch namespace. Nothing is changed."""
    now = services.pending(host)
    for problem in now.problems:
        call.say(f"{'!!' if problem.blocks else '..'} {problem.about}: {problem.sentence}")
    if any(problem.blocks for problem in now.problems):
        raise Refused("The wishes can't be applied as they are.", note="Mend what !! marks.")
    code = follow(call, trials.wishes_try(call.actor, host, reason=call.typed.reason))
    if code == 0:
        changes = words.count(len(now.changes), "change")
        call.say(f"The wishes load on {host}; {changes} would be applied.")
    return code
