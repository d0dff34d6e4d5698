"""Carries out one step. The only caller is the worker's job loop."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace

from dom0 import files, hands, probe, runner, trial
from dom0.errors import Refused
from dom0.host import HostConfig
from dom0.state import State
from dom0.steps import SECRET, Command, Hand, RemoveFile, Step, WriteFile


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What an action said; `code` is a process' exit code, 0 for the rest."""

    output: str
    code: int = 0


def perform(step: Step, config: HostConfig, predicted: State, secrets: Mapping[str, str]) -> Outcome:
    """Look again at what the step relies on, then do it.

    `predicted` is the state the plan expects right before it. Raises Refused where the host differs from it or
    a secret is gone, or the step's trial is over, CommandFailed or OSError where the action fails.
    """
    with trial.writing(config, step.trial) if step.trial else nullcontext():
        _recheck(step, config, predicted)
        return _do(step, config, secrets)


def _do(step: Step, config: HostConfig, secrets: Mapping[str, str]) -> Outcome:
    action = step.action
    if isinstance(action, Command):
        done = runner.run(
            action.argv,
            stdin=_with(secrets, action.stdin),
            timeout_s=action.timeout_s,
            ok_codes=action.ok_codes,
            aloud=True,
        )
        return Outcome(output=done.stdout + done.stderr, code=done.code)
    if isinstance(action, WriteFile):
        files.write_atomic(action.path, _with(secrets, action.content), action.mode)
        return Outcome(output="")
    if isinstance(action, RemoveFile):
        files.remove(action.path)
        return Outcome(output="")
    filled: Hand = replace(action, stdin=_with(secrets, action.stdin))
    return Outcome(output=hands.do(filled, config))


def _recheck(step: Step, config: HostConfig, predicted: State) -> None:
    for room, key in step.relies_on:
        found = getattr(probe.probe(config, probe.scope_of(room, key)), room).get(key)
        wanted = getattr(predicted, room).get(key)
        if found != wanted:
            raise Refused(
                f"{key} is not as planned any more: expected {_said(wanted)}, found {_said(found)}.",
                note="Nothing was done at this step. Go on plans again from what is there now.",
            )


def _said(fact: object) -> str:
    return "nothing" if fact is None else str(fact)[:200]


def _with(secrets: Mapping[str, str], text: str) -> str:
    def fill(match: object) -> str:
        name = match.group(1)  # type: ignore[attr-defined]
        if name not in secrets:
            raise Refused("A secret of this job is gone; it ended or is too old.", note="Ask for the change anew.")
        return secrets[name]

    return SECRET.sub(fill, text)
