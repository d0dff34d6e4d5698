"""A step is data: what is run, what it makes true, what it relies on. Pure.

What `shown` says is what runs, byte for byte; a secret stands in it as `****`.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import Any

from dom0.state import State

SECRET = re.compile(r"«secret:([a-z0-9.-]+)»")


def secret(name: str) -> str:
    """The place a secret of the job takes in a step's stdin or file content; never in argv."""
    return f"«secret:{name}»"


def hidden(text: str) -> str:
    """`text` with every secret shown as ****."""
    return SECRET.sub("****", text)


def _fed(line: str, text: str) -> str:
    return f"{line} <<'END'\n{hidden(text).rstrip()}\nEND"


@dataclass(frozen=True, kw_only=True)
class Command:
    """A process: argv, what it reads on stdin, seconds it may take, exit codes that are fine."""

    argv: tuple[str, ...]
    stdin: str = ""
    timeout_s: float = 60.0
    ok_codes: tuple[int, ...] = (0,)

    @property
    def shown(self) -> str:
        line = shlex.join(self.argv)
        return _fed(line, self.stdin) if self.stdin else line


@dataclass(frozen=True, kw_only=True)
class WriteFile:
    """A file of dom0's own, written atomically (temporary file beside it, fsync, rename)."""

    path: str
    content: str
    mode: int = 0o644

    @property
    def shown(self) -> str:
        line = f"install -m {self.mode:04o} /dev/stdin {shlex.quote(self.path)}"
        return _fed(line, self.content)


@dataclass(frozen=True, kw_only=True)
class RemoveFile:
    """A file of dom0's own, gone afterwards."""

    path: str

    @property
    def shown(self) -> str:
        return f"rm -f {shlex.quote(self.path)}"


@dataclass(frozen=True, kw_only=True)
class Hand:
    """One of dom0's own verbs (`dom0.hands`), by hand: `fridu-hand VERB key=value … < stdin`."""

    verb: str
    args: tuple[tuple[str, str], ...] = ()
    stdin: str = ""

    @property
    def shown(self) -> str:
        line = shlex.join(("fridu-hand", self.verb, *(f"{k}={v}" for k, v in self.args)))
        return _fed(line, self.stdin) if self.stdin else line


Action = Command | WriteFile | RemoveFile | Hand


@dataclass(frozen=True, kw_only=True)
class Put:
    """Afterwards `room[key]` is `value`."""

    room: str
    key: str
    value: Any

    def on(self, state: State) -> State:
        return state.having(self.room, self.key, self.value)


@dataclass(frozen=True, kw_only=True)
class Drop:
    """Afterwards `room` has no `key`."""

    room: str
    key: str

    def on(self, state: State) -> State:
        return state.without(self.room, self.key)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One action of a plan.

    `relies_on` names facts (room, key) that are looked at again right before the action; where the host
    differs from what the plan predicted, the job is refused at this step. Every destructive step has one.
    `trial` is a token: the action runs only while that trial stands (`dom0.trial`), as the one writer of rules.
    """

    stage: str
    title: str
    action: Action
    effect: tuple[Put | Drop, ...] = ()
    relies_on: tuple[tuple[str, str], ...] = ()
    destroys: str = ""  # what is lost, as a sentence
    trial: str = ""
    about_s: float = 0.1

    @property
    def shown(self) -> str:
        return self.action.shown

    def after(self, state: State) -> State:
        """The state this step leaves."""
        for change in self.effect:
            state = change.on(state)
        return state
