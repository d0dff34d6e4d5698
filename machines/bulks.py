"""The same thing for several machines: which of the chosen it concerns, one job each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from audit.log import Actor
from dom0.errors import Refused
from machines import services
from machines.scenes import Scene

LIMIT = 200


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The chosen machines: with `do` it happens, `leave` says why not with the others."""

    do: list[Scene]
    leave: list[tuple[Scene, str]]


@dataclass(frozen=True, kw_only=True)
class Bulk:
    """One of the buttons under the list."""

    name: str
    action: str
    noun: str
    button: str
    means: str

    def sort(self, chosen: Iterable[Scene]) -> Parts:
        """Take those apart whose button would do nothing or be refused."""
        parts = Parts(do=[], leave=[])
        for scene in chosen:
            if getattr(scene.offers, self.name):
                parts.do.append(scene)
            else:
                parts.leave.append((scene, _why_not(scene)))
        return parts

    def ask(self, actor: Actor, chosen: Sequence[Scene], reason: str) -> tuple[list[str], list[str]]:
        """One job each, in a transaction of its own; names of those asked for, sentences of those refused."""
        asked, refused = [], []
        service: Any = getattr(services, f"machine_{self.name}")
        for scene in chosen:
            try:
                service(actor, scene.machine, reason=reason)
                asked.append(scene.machine.name)
            except Refused as error:
                refused.append(f"{scene.machine.name}: {error.message} {error.note}".strip())
        return asked, refused


def _why_not(scene: Scene) -> str:
    """In words, why a button is not offered."""
    if scene.working is not None:
        return f"job {scene.working.pk} is still open for it"
    if scene.machine.built_at is None:
        return "it is not created yet"
    return f"it is {scene.machine.get_observed_display()}"


BULKS = {
    "start": Bulk(
        name="start",
        action="machine.start",
        noun="Start",
        button="Start",
        means="Each comes up with what is on its volume now.",
    ),
    "stop": Bulk(
        name="stop",
        action="machine.stop",
        noun="Stop",
        button="Stop",
        means="Each is asked to shut down; whatever it serves is away until somebody starts it again.",
    ),
    "reboot": Bulk(
        name="reboot",
        action="machine.reboot",
        noun="Restart",
        button="Restart",
        means="Each shuts down and comes up again; whatever it serves is away meanwhile.",
    ),
}
