"""From a machine that is on the host to one the panel looks after; and from what differs back to the wish. Pure.

Neither starts, stops or deletes anything, nor writes to a volume.
"""

from __future__ import annotations

from dataclasses import replace

from dom0.errors import Refused
from dom0.found import Found
from dom0.plan import Draft, Plan
from dom0.state import State
from dom0.steps import Hand, Put, Step
from machines import differences, limits_stages, plan, rules, stages
from machines.specs import MachineSpec


def looked_at(spec: MachineSpec) -> dict[str, object]:
    """What these plans need to see of the host."""
    return {**plan.looked_at(spec), "found": (spec.name,)}


def plan_adopt(spec: MachineSpec, state: State) -> Plan:
    """Steps after which zone, firewall and boot know a machine that is there. Raises Refused."""
    there = _there(spec, state)
    rules.refuse_strangers(spec, state)
    rules.refuse_unfinished(spec, state)
    rules.refuse_without_bridge(spec, state)
    if spec.mac not in {card.mac for card in there.cards}:
        raise Refused(
            f"{spec.name} on {spec.place.host} has no interface with {spec.mac} any more.",
            note="Nothing was changed. Look at it again on the machines' page, then adopt it as it is now.",
        )
    draft = Draft(state)
    _settle(spec, there, draft)
    return draft.plan()


def plan_settle(spec: MachineSpec, state: State) -> Plan:
    """Steps after which the host has of the machine what is wished, as far as a definition and files go.

    Raises Refused where a volume is not there or not this machine's.
    """
    there = _there(spec, state)
    rules.refuse_strangers(spec, state)
    rules.refuse_unfinished(spec, state)
    rules.refuse_without_bridge(spec, state)
    rules.refuse_without_kernel(spec, state)
    draft = Draft(state)
    _settle(spec, there, draft)
    _memory_now(spec, draft)
    limits_stages.keep(spec, draft)
    limits_stages.hold(spec, draft)
    return draft.plan()


def _there(spec: MachineSpec, state: State) -> Found:
    there = state.found.get(spec.name)
    if there is None or there.uuid != spec.uuid:
        raise Refused(
            f"{spec.name} is not on {spec.place.host}.",
            note="Nothing was changed. Starting it defines it anew, if its volume is there.",
        )
    return there


def _settle(spec: MachineSpec, there: Found, draft: Draft) -> None:
    stages.updateether(spec, draft)
    before = len(draft.items)
    stages.createvmconf(spec, draft, again=not spec.foreign and not differences.same_definition(spec, there))
    if any(isinstance(item, Step) and item.stage == "createvmconf" for item in draft.items[before:]):
        _defined(spec, there, draft)


def _defined(spec: MachineSpec, there: Found, draft: Draft) -> None:
    """The last definition step leaves the definition as wished; what the machine has right now stays."""
    if spec.foreign:
        return
    after = replace(differences.wished(spec), running=there.running, live_mib=there.live_mib)
    at = next(n for n, item in enumerate(draft.items) if isinstance(item, Step) and item.stage == "createvmconf")
    step = draft.items[at]
    if isinstance(step, Step):
        draft.items[at] = replace(step, effect=(*step.effect, Put(room="found", key=spec.name, value=after)))
        draft.state = draft.state.having("found", spec.name, after)


def _memory_now(spec: MachineSpec, draft: Draft) -> None:
    there = draft.state.found[spec.name]
    if spec.foreign or not there.live_mib or there.live_mib == spec.memory_mib:
        return
    draft.do(
        Step(
            stage="memory",
            title=f"Have {spec.name} run with {spec.memory_mib} MB from now on, instead of {there.live_mib} MB",
            action=Hand(verb="domain-memory", args=(("uuid", spec.uuid), ("mib", str(spec.memory_mib)))),
            effect=(Put(room="found", key=spec.name, value=replace(there, live_mib=spec.memory_mib)),),
        )
    )
