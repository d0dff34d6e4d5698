"""Start a machine from a throw-away root, its own volumes beside it; and back. Pure.

The throw-away root is made while the machine still runs; it is zeroed and removed at the end. Nothing here writes to
the machine's own volumes.
"""

from __future__ import annotations

from dataclasses import replace

from dom0.errors import Refused
from dom0.plan import Draft, Plan
from dom0.state import State
from machines import definition, plan, rules, stages
from machines.specs import MachineSpec, RescueSpec


def looked_at(spec: MachineSpec) -> dict[str, object]:
    """What both plans need to see of the host."""
    seen = plan.looked_at(spec)
    if spec.rescue is None:
        return seen
    made = RescueSpec.of(spec)
    return {
        **seen,
        "goldens": (*plan.looked_at(made)["goldens"], *seen["goldens"]),  # type: ignore[misc]
        "archives": (made.image.archive, spec.image.archive),
    }


def plan_rescue(spec: MachineSpec, state: State) -> Plan:
    """Steps after which it runs from the rescue image. Raises Refused, before anything is changed."""
    made = RescueSpec.of(spec)
    _refuse(spec, state)
    rules.refuse_strangers(made, state)
    rules.refuse_too_large(made, state)
    draft = Draft(state)
    stages.image(made, draft)
    stages.lvmcreate(made, draft, made.root)
    stages.installroot(made, draft)
    stages.tuneroot(made, draft)
    _start(spec, spec, draft)
    return draft.plan()


def plan_end(spec: MachineSpec, state: State, *, former: str, run: bool) -> Plan:
    """Steps after which it is as before, its throw-away root zeroed and gone; `former` is the rescue image's family.

    `run`: it is started again. Raises Refused.
    """
    _refuse(spec, state)
    draft = Draft(state)
    rescued = replace(spec, image=replace(spec.image, family=former))
    _stop(spec, rescued, draft)
    stages.updateether(spec, draft)
    stages.createvmconf(spec, draft)
    volume = state.volumes.get(spec.rescue_root.name)
    if volume and volume.machine == spec.uuid:
        stages.lvmremove(spec, draft, volume)
    if run:
        stages.start(spec, draft)
    return draft.plan()


def _refuse(spec: MachineSpec, state: State) -> None:
    if spec.foreign:
        raise Refused(f"{spec.name}'s definition is not Fridu's to change.", note="Nothing was changed.")
    rules.refuse_strangers(spec, state)
    rules.refuse_unfinished(spec, state)
    rules.refuse_without_bridge(spec, state)
    rules.refuse_without_kernel(spec, state)


def _start(spec: MachineSpec, stopped: MachineSpec, draft: Draft) -> None:
    _stop(spec, stopped, draft)
    stages.updateether(spec, draft)
    stages.createvmconf(spec, draft)
    stages.start(spec, draft)


def _stop(spec: MachineSpec, running: MachineSpec, draft: Draft) -> None:
    """Off, where it still runs from another root than wished; `running` says how that one is powered off."""
    domain = draft.state.domains.get(spec.name)
    if domain and domain.running and domain.definition != definition.definition_digest(spec):
        stages.stop(running, draft)
