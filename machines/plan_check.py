"""A look at, or a repair of, the filesystem of a machine that is off. Pure."""

from __future__ import annotations

from dom0.errors import Refused
from dom0.plan import Draft, Plan
from dom0.state import State
from dom0.steps import Command, Step
from machines import rules
from machines.specs import MachineSpec

STAGE = "check"
LONGEST_S = 960.0


def looked_at(spec: MachineSpec) -> dict[str, object]:
    return {"domains": (spec.name,), "volumes": (spec.volume,)}


def plan_check(spec: MachineSpec, state: State, *, repair: bool, done: bool) -> Plan:
    """One step, done once. Raises Refused for a machine that runs, or whose volume is not its own."""
    draft = Draft(state)
    if done:
        draft.so(STAGE, "It was checked.")
        return draft.plan()
    rules.refuse_strangers(spec, state)
    rules.refuse_unfinished(spec, state)
    if spec.foreign:
        raise Refused(f"{spec.name}'s volumes are not Fridu's.", note="Check them with what made them.")
    domain = state.domains.get(spec.name)
    if domain and domain.running:
        raise Refused(
            f"{spec.name} runs: a filesystem in use can't be checked.", note="Nothing was done. Stop it first."
        )
    python = ("env", f"--chdir={spec.place.project}", spec.place.python, "-sSE", "-m", "dom0.checking")
    what = (spec.volume_path, spec.uuid, "repair" if repair else "look", spec.place.libvirt)
    title = (
        "Check its filesystem and mend what needs no question" if repair else "Check its filesystem, changing nothing"
    )
    draft.do(
        Step(
            stage=STAGE,
            title=title,
            action=Command(argv=(*python, *what), timeout_s=LONGEST_S),
            relies_on=(("domains", spec.name),),
            about_s=1.0,
        )
    )
    return draft.plan()
