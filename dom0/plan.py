"""A plan: the steps in order, their digest, and what was found to be so already. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from dom0.state import State
from dom0.steps import Step


@dataclass(frozen=True, kw_only=True)
class Already:
    """A stage that needs nothing, said as a good outcome."""

    stage: str
    title: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What would be done, in order, with what is already so in its place."""

    items: tuple[Step | Already, ...] = ()

    @property
    def steps(self) -> tuple[Step, ...]:
        return tuple(item for item in self.items if isinstance(item, Step))

    @property
    def digest(self) -> str:
        """Digest of what a person approves: stage, title and exact action of each step."""
        text = "\0".join(f"{s.stage}\0{s.title}\0{s.shown}\0{s.destroys}" for s in self.steps)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass
class Draft:
    """Collects steps while the predicted state goes along.

    >>> draft = Draft(state); draft.do(step); draft.plan()
    """

    state: State
    items: list[Step | Already] = field(default_factory=list)

    def do(self, step: Step) -> None:
        self.items.append(step)
        self.state = step.after(self.state)

    def so(self, stage: str, title: str) -> None:
        """Record that `stage` needs nothing."""
        self.items.append(Already(stage=stage, title=title))

    def plan(self) -> Plan:
        return Plan(items=tuple(self.items))
