"""The plan of a creation, stage by stage as its wish says: done, left out, or done again. Pure.

What a stage needs and nobody makes is refused while planning, so before anything is changed. What force does again
is marked with the wish it was done for: a worker killed half-way never does it twice.
"""

from __future__ import annotations

from dom0.plan import Draft, Plan
from dom0.state import State
from dom0.steps import Hand, Put, Step, WriteFile
from machines import modes as modes_of
from machines import render, rules, stages
from machines.modes import ALL, Modes
from machines.specs import MachineSpec, Tuned


def plan_create(spec: MachineSpec, state: State, modes: Modes = ALL, asked: str = "") -> Plan:
    """Steps after which the machine is made and runs, as far as `modes` says. Raises Refused, before any change.

    `asked` names the wish: what was forced for it once is not forced again.
    """
    _refuse(spec, state, modes)
    draft = Draft(state)
    for stage, plan in _STAGES.items():
        if modes.does(stage):
            plan(spec, draft, modes, asked)
        else:
            draft.so(stage, f"Left out, as asked: {stage}=no")
    return draft.plan()


def _refuse(spec: MachineSpec, state: State, modes: Modes) -> None:
    rules.refuse_strangers(spec, state, begun=("wiping",) if modes.forced("lvmcreate") else ())
    if modes.does("lvmcreate"):
        rules.refuse_without_room(spec, state, anew=modes.forced("lvmcreate"))
    if modes.does("installroot"):
        rules.refuse_unfit_image(spec, state)
    if modes.does("updateether") or modes.does("start"):
        rules.refuse_without_bridge(spec, state)
    if modes.does("start"):
        rules.refuse_without_memory(spec, state)
        rules.refuse_without_kernel(spec, state)


def _lvmcreate(spec: MachineSpec, draft: Draft, modes: Modes, asked: str) -> None:
    if modes.does("installroot"):  # an image that turns out not to fit is said before there is a volume
        stages.image(spec, draft)
    for volume in spec.volumes:
        stages.lvmcreate(spec, draft, volume, anew=_anew(spec, modes, "lvmcreate"))


def _fscreate(spec: MachineSpec, draft: Draft, modes: Modes, asked: str) -> None:
    # The image's golden filesystem brings the root's along.
    for volume in spec.others if modes.does("installroot") else spec.volumes:
        rules.need(volume.name in draft.state.volumes, "fscreate", f"the volume {volume.name}", "lvmcreate")
        stages.fscreate(spec, draft, volume, anew=_anew(spec, modes, "fscreate"))


def _installroot(spec: MachineSpec, draft: Draft, modes: Modes, asked: str) -> None:
    rules.need(spec.volume in draft.state.volumes, "installroot", f"the volume {spec.volume}", "lvmcreate")
    stages.image(spec, draft)
    stages.installroot(spec, draft)


def _tuneroot(spec: MachineSpec, draft: Draft, modes: Modes, asked: str) -> None:
    volume = draft.state.volumes.get(spec.volume)
    installed = volume is not None and volume.root == spec.root_mark
    rules.need(installed, "tuneroot", f"{spec.image.name} on {spec.volume}", "installroot")
    mark = Tuned.read(volume.tuned) if volume else None
    wanted = render.tuned(spec, asked if modes.forced("tuneroot") else "")
    if not modes.forced("tuneroot") or mark is None:
        stages.tuneroot(spec, draft, wanted)
    elif mark.base == wanted.base:
        draft.so("tuneroot", f"{spec.volume} was tuned again")
    else:
        rules.refuse_unreachable(spec)
        says = "Tune it again: name, network, SSH keys and root password as at its creation, new host keys"
        stages.tune_again(spec, draft, says, render.tuning(spec, wanted), wanted)


def _updateether(spec: MachineSpec, draft: Draft, modes: Modes, asked: str) -> None:
    again = _again(spec, draft, modes, "updateether", asked)
    stages.updateether(spec, draft, again=again)
    if again:
        action = Hand(verb="leases-reload", args=(("zone", spec.zone.name),))
        says = f"Have DHCP and DNS of {spec.zone.name} read it again"
        draft.do(Step(stage="updateether", title=says, action=action))
        _note(spec, draft, "updateether", asked)


def _createvmconf(spec: MachineSpec, draft: Draft, modes: Modes, asked: str) -> None:
    again = _again(spec, draft, modes, "createvmconf", asked)
    stages.createvmconf(spec, draft, again=again)
    if again:
        _note(spec, draft, "createvmconf", asked)


def _start(spec: MachineSpec, draft: Draft, modes: Modes, asked: str) -> None:
    state = draft.state
    for volume in spec.volumes:
        there = state.volumes.get(volume.name)
        rules.need(there is not None, "start", f"the volume {volume.name}", "lvmcreate")
        if spec.place.lxc and volume.kind == "log":
            rules.need(bool(there and there.content), "start", f"a filesystem on {volume.name}", "fscreate")
    root = state.volumes[spec.volume]
    rules.need(root.root == spec.root_mark, "start", f"{spec.image.name} on {spec.volume}", "installroot")
    rules.need(bool(root.tuned), "start", "a tuned root", "tuneroot")
    rules.need(all(m.key in state.members for m in spec.members), "start", "the firewall's leave", "updateether")
    rules.need(spec.name in state.domains, "start", "a definition", "createvmconf")
    token = asked if modes.forced("start") else ""
    if token and state.files.get(spec.restart_file) != token:
        stages.stop(spec, draft)
        stages.start(spec, draft, restart=token)
    else:
        stages.start(spec, draft)


def _anew(spec: MachineSpec, modes: Modes, stage: str) -> str:
    """The mark of what is forced: the root generation, which each such wish raises; "" where nothing is."""
    return str(spec.root_generation) if modes.forced(stage) else ""


def _again(spec: MachineSpec, draft: Draft, modes: Modes, stage: str, asked: str) -> bool:
    return modes.forced(stage) and stage not in _noted(spec, draft, asked)


def _noted(spec: MachineSpec, draft: Draft, asked: str) -> list[str]:
    """What was done again for this wish, of the stages that leave no mark of their own."""
    words = draft.state.files.get(spec.forced_file, "").split()
    return words[1:] if words[:1] == [asked] else []


def _note(spec: MachineSpec, draft: Draft, stage: str, asked: str) -> None:
    text = " ".join((asked, *_noted(spec, draft, asked), stage)) + "\n"
    effect = (Put(room="files", key=spec.forced_file, value=text),)
    says = f"Note that {stage} was done again"
    draft.do(Step(stage=stage, title=says, action=WriteFile(path=spec.forced_file, content=text), effect=effect))


_STAGES = dict(
    zip(
        modes_of.STAGES,
        (_lvmcreate, _fscreate, _installroot, _tuneroot, _updateether, _createvmconf, _start),
        strict=True,
    )
)
