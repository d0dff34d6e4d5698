"""The plan of a reinstall: the same machine with a fresh root, from its image or another. Pure."""

from __future__ import annotations

from dom0.errors import Refused
from dom0.plan import Draft, Plan
from dom0.state import State
from machines import plan_snapshot, rules, stages
from machines.specs import MIB, MachineSpec


def plan_reinstall(spec: MachineSpec, state: State) -> Plan:
    """Steps after which the machine runs with the spec's image in the spec's generation. Raises Refused.

    Name, address, MAC and snapshots stay; SSH keys and password are those of the spec. Swap and log are made anew as
    well: whoever may only reinstall it gets in as root afterwards, and is not to read what its former root wrote there.
    """
    root = state.volumes.get(spec.volume)
    half_wiped = root is not None and root.unfinished == "wiping"  # the others may be, by this very job
    rules.refuse_strangers(spec, state, begun=() if half_wiped else ("wiping",))
    _refuse_too_small(spec, state)
    rules.refuse_too_large(spec, state)
    rules.refuse_without_bridge(spec, state)
    draft = Draft(state)
    stages.image(spec, draft)
    if root is None or root.root != spec.root_mark or not root.tuned:
        stages.stop(spec, draft)
    stages.lvmcreate(spec, draft, spec.root)
    # Once the root is there they were made anew before it, and the machine may have written to them since.
    anew = "" if root and root.root == spec.root_mark else str(spec.root_generation)
    for volume in spec.others:
        stages.lvmcreate(spec, draft, volume, anew=anew)
    for volume in spec.others:
        stages.fscreate(spec, draft, volume)
    if root and root.root != spec.root_mark:
        plan_snapshot.whole(spec, draft)
    stages.installroot(spec, draft)
    stages.tuneroot(spec, draft)
    stages.updateether(spec, draft)
    stages.createvmconf(spec, draft)
    stages.start(spec, draft)
    return draft.plan()


def _refuse_too_small(spec: MachineSpec, state: State) -> None:
    """Raises Refused where the image does not fit on the root: nothing is lost for an image that can't be had."""
    golden, root = state.goldens.get(spec.golden), state.volumes.get(spec.volume)
    needs = max(spec.image.min_root_mib, -(-golden.size_bytes // MIB) if golden else 0)
    has = root.size_bytes // MIB if root else spec.root_mib
    if has < needs:
        raise Refused(
            f"{spec.image.name} needs a root of {needs} MB; {spec.name} has {has} MB.",
            note=f"Nothing was changed. Choose a smaller image, or grow the root to {needs} MB first.",
        )
