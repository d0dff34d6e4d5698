"""The registry of job kinds: apps put their planners here at start-up (CONTRIBUTING: how to add one)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from dom0.plan import Plan
from dom0.probe import Scope
from dom0.state import State

if TYPE_CHECKING:
    from audit.log import Actor
    from dom0.host import HostConfig
    from hosts.models import Job

Approval = Literal["none", "own", "operator"]
Queue = Literal["power", "work", "net"]


def _nothing(job: Job) -> None:
    """Most kinds have nothing to book."""


def _always(job: Job) -> bool:
    """Where a kind has a way back, most of its jobs have."""
    return True


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How one kind of job is planned and carried out.

    `name` is also the access action. `scope` says what to look at on the host, `plan` is called with what was
    found (it reads rows into specs and hands them to a pure planner; raises Refused). `locks` are taken in the
    order given: machine, net, volume group (DESIGN §3.2). `done` books the outcome in the transaction that ends
    the job; `undo` asks for the job that goes back, where there is a way back: it is called with who asks and the
    job that stopped or ended, checks the access of what it does, and raises Refused where nothing can be undone;
    `undoable` says of which jobs of the kind there is one.
    """

    name: str
    queue: Queue
    approval: Approval
    scope: Callable[[Job, HostConfig], Scope]
    plan: Callable[[Job, State, HostConfig], Plan]
    locks: Callable[[Job], tuple[str, ...]]
    done: Callable[[Job], None] = _nothing
    failed: Callable[[Job], None] = _nothing
    undo: Callable[[Actor, Job], Job] | None = None
    undoable: Callable[[Job], bool] = _always


_kinds: dict[str, Kind] = {}


def register(kind: Kind) -> None:
    """Make a kind known; a second one of the same name is a programming error (ValueError)."""
    if kind.name in _kinds:
        raise ValueError(f"two job kinds are called {kind.name}")
    _kinds[kind.name] = kind


def kind_of(name: str) -> Kind:
    """The kind of that name; KeyError for a name nobody registered."""
    return _kinds[name]
