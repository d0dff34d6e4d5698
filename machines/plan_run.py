"""Pausing a machine and letting it go on: from its spec and the host's state to the steps. Pure."""

from __future__ import annotations

from dom0.errors import Refused
from dom0.plan import Draft, Plan
from dom0.state import Domain, State
from machines import rules, stages
from machines.specs import MachineSpec


def plan_pause(spec: MachineSpec, state: State) -> Plan:
    """Steps after which the machine stands still, its memory kept; it does not start with the host. Raises Refused."""
    rules.refuse_strangers(spec, state)
    if not _running(spec, state):
        raise Refused(
            f"{spec.name} is off: there is nothing to pause.",
            note="Nothing was changed. A machine that is off keeps its volumes and takes no memory.",
        )
    draft = Draft(state)
    stages.autostart(spec, draft, on=False)
    stages.pause(spec, draft)
    return draft.plan()


def plan_resume(spec: MachineSpec, state: State) -> Plan:
    """Steps after which a paused machine goes on where it was. Raises Refused."""
    rules.refuse_strangers(spec, state)
    domain = _running(spec, state)
    if not domain:
        raise Refused(
            f"{spec.name} is off: what it was doing when it was paused is gone.",
            note=f"Nothing was changed. Start it instead: fridu start {spec.name}.",
        )
    draft = Draft(state)
    stages.autostart(spec, draft, on=spec.autostart)
    if not domain.paused:
        draft.so("resume", f"{spec.name} is not paused")
    stages.resume(spec, draft)
    return draft.plan()


def _running(spec: MachineSpec, state: State) -> Domain | None:
    domain = state.domains.get(spec.name)
    return domain if domain and domain.running else None
