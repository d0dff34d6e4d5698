"""Plans of what is kept of a machine's root: taken, brought back, given more room, removed. Pure."""

from __future__ import annotations

from dataclasses import replace

from dom0.errors import Refused
from dom0.plan import Draft, Plan
from dom0.state import State, Volume
from dom0.steps import Hand, Put, Step
from machines import change_stages, rules, stages
from machines.specs import MIB, MachineSpec

FULL = 100.0  # percent: what changed since can't be brought back


def kept_as(spec: MachineSpec, label: str) -> str:
    """The name of the volume that holds the snapshot."""
    return f"{spec.volume}.{label}"


def plan_take(spec: MachineSpec, state: State, label: str, room_mib: int = 0) -> Plan:
    """Steps after which the root is kept as it is; `room_mib` for what changes later, 0: for all. Raises Refused."""
    rules.refuse_strangers(spec, state)
    rules.refuse_unfinished(spec, state)
    draft = Draft(state)
    name, root = kept_as(spec, label), state.volumes[spec.volume]
    there = state.volumes.get(name)
    if there and (there.machine, there.origin) == (spec.uuid, spec.volume):
        draft.so("snapshot", f"{spec.volume} is kept as {name}")
        return draft.plan()
    if there:
        raise Refused(
            f"There is a volume {name} ({there.path}) on {spec.place.host} that is no snapshot of {spec.name}.",
            note="Nothing was changed. Choose another name for the snapshot, or move that volume away.",
        )
    running = _running(spec, state)
    _refuse_in_use(spec, running=running)
    size = (("size_mib", str(room_mib)),) if room_mib else ()
    still = (("running", "yes"),) if running and not spec.volume_group else ()
    args = (("name", spec.volume), ("label", label), ("machine", spec.uuid), *size, *still)
    path = f"{root.path.removesuffix('.img')}.{label}{'' if spec.volume_group else '.img'}"
    made = replace(root, name=name, path=path, origin=spec.volume)
    draft.do(
        Step(
            stage="snapshot",
            title=f"Keep {spec.volume} as it is now, as {label}",
            action=Hand(verb="volume-snapshot", args=args),
            effect=(Put(room="volumes", key=name, value=made),),
            relies_on=(("volumes", spec.volume),),
            about_s=0.5,
        )
    )
    return draft.plan()


def _running(spec: MachineSpec, state: State) -> bool:
    domain = state.domains.get(spec.name)
    return domain is not None and domain.running


def _refuse_in_use(spec: MachineSpec, *, running: bool) -> None:
    """Raises Refused where nobody could tell what a copy would hold: a guest that writes its image file itself."""
    if running and not spec.volume_group and not spec.place.lxc:
        raise Refused(
            f"{spec.name} runs and writes {spec.volume_path} itself: a copy of it now would be worthless.",
            note="Nothing was changed. Stop it, then take the snapshot.",
        )


def plan_restore(spec: MachineSpec, state: State, label: str, *, run: bool, was: MachineSpec | None = None) -> Plan:
    """Steps after which the root is what it was when the snapshot was taken, in the spec's generation. Raises Refused.

    `run`: the machine is started again. `was`: how it was called when the snapshot was taken, and so is in there.
    """
    rules.refuse_strangers(spec, state, begun=("restoring",))
    draft = Draft(state)
    root = state.volumes.get(spec.volume)
    if root and root.root == spec.root_mark and not root.unfinished:
        draft.so("restore", f"{spec.volume} is what it was when {label} was taken")
    else:
        kept = _fit(spec, state, label)
        if run:
            rules.refuse_without_bridge(spec, state)
            rules.refuse_without_memory(spec, state)
        stages.stop(spec, draft)
        whole(spec, draft, but=label)
        _restore(spec, draft, label, kept)
    change_stages.names_inside(was or spec, spec, draft)
    change_stages.fill_all(spec, draft)
    if run:
        stages.updateether(spec, draft)
        stages.createvmconf(spec, draft)
        stages.start(spec, draft)
    return draft.plan()


def _fit(spec: MachineSpec, state: State, label: str) -> Volume:
    """The snapshot, where it can be brought back: all of that is known before anything is changed. Raises Refused."""
    kept, root = state.volumes.get(kept_as(spec, label)), state.volumes.get(spec.volume)
    if root is None or kept is None or (kept.machine, kept.origin) != (spec.uuid, spec.volume):
        gone = kept_as(spec, label) if root else spec.volume
        raise Refused(
            f"The volume {gone} is missing on {spec.place.host}.",
            note="Nothing was changed. Choose another snapshot, or look for that volume on the host.",
        )
    if kept.percent >= FULL:
        raise Refused(
            f"The snapshot {label} ran full: what changed since can't be brought back.",
            note="Nothing was changed. Delete it, and give the next one more room; without a size it holds everything.",
        )
    if not kept.root or kept.unfinished:
        raise Refused(
            f"The snapshot {label} holds no finished root.",
            note="Nothing was changed. Delete it; it can't be brought back.",
        )
    if kept.size_bytes > root.size_bytes:
        raise Refused(
            f"{spec.volume} has {root.size_bytes // MIB} MB; {label} was taken of {kept.size_bytes // MIB} MB.",
            note="Nothing was changed. Grow the root first.",
        )
    return kept


def _restore(spec: MachineSpec, draft: Draft, label: str, kept: Volume) -> None:
    root = draft.state.volumes[spec.volume]
    args = (("name", spec.volume), ("label", label), ("machine", spec.uuid))
    now = replace(
        root,
        root=spec.root_mark,
        tuned=kept.tuned,
        content=kept.content,
        filled_bytes=kept.filled_bytes,
        unfinished="",
    )
    draft.do(
        Step(
            stage="restore",
            title=f"Make {spec.volume} what it was when {label} was taken",
            action=Hand(verb="volume-snapshot-restore", args=(*args, ("generation", str(spec.root_generation)))),
            effect=(Put(room="volumes", key=spec.volume, value=now),),
            relies_on=(("volumes", spec.volume), ("volumes", kept.name)),
            destroys=f"All that was written to {spec.volume} since {label} was taken is lost for good.",
            about_s=1.0,
        )
    )


def whole(spec: MachineSpec, draft: Draft, but: str = "") -> None:
    """Plan room for everything in the snapshots that would run full while all of the root is overwritten.

    Raises Refused where the group has none. `but` names the one that is brought back: only what changed is written,
    and that it holds already.
    """
    for kept in snapshots_of(spec, draft.state):
        full = room_for_all(spec, draft.state)
        if kept.percent < FULL and 0 < kept.room_bytes < full and kept.name != kept_as(spec, but):
            widen(spec, draft, kept, full)


def room_for_all(spec: MachineSpec, state: State) -> int:
    """Bytes a thick snapshot takes that can never run full (as dom0.lvm.room_for_all has it)."""
    root, group = state.volumes[spec.volume], state.places.get(spec.volume_group)
    return group.rounded(root.size_bytes * 257 // 256 + 3 * 4096) if group else 0


def widen(spec: MachineSpec, draft: Draft, kept: Volume, room_bytes: int) -> None:
    """Plan that the thick snapshot has that much room. Raises Refused."""
    group = draft.state.places[spec.volume_group]
    more = room_bytes - kept.room_bytes
    if more > group.free_bytes:
        label = kept.name.removeprefix(f"{spec.volume}.")
        raise Refused(
            f"The snapshot {label} of {spec.name} would run full: it needs {more // MIB} MB more, "
            f"the volume group {group.name} has {group.free_bytes // MIB} MB free.",
            note="Nothing was changed. Delete that snapshot, or free some room there.",
        )
    size = str(room_bytes // MIB)
    draft.do(
        Step(
            stage="snapshot",
            title=f"Give {kept.name} room for {size} MB of changes",
            action=Hand(verb="volume-grow", args=(("name", kept.name), ("size_mib", size), ("machine", spec.uuid))),
            effect=(
                Put(room="volumes", key=kept.name, value=replace(kept, room_bytes=room_bytes)),
                Put(room="places", key=group.name, value=replace(group, free_bytes=group.free_bytes - more)),
            ),
            relies_on=(("volumes", kept.name),),
        )
    )


def plan_grow(spec: MachineSpec, state: State, label: str, room_mib: int) -> Plan:
    """Steps after which the snapshot has room for that many MiB of changes, or for all there can be. Raises Refused."""
    draft = Draft(state)
    kept = state.volumes.get(kept_as(spec, label))
    if kept is None or (kept.machine, kept.origin) != (spec.uuid, spec.volume) or spec.volume not in state.volumes:
        draft.so("snapshot", f"There is no {kept_as(spec, label)} any more")
        return draft.plan()
    wanted = min(room_mib * MIB, room_for_all(spec, state))
    if kept.percent >= FULL or kept.room_bytes >= wanted:
        draft.so("snapshot", f"{kept.name} has {kept.room_bytes // MIB} MB for changes")
        return draft.plan()
    widen(spec, draft, kept, wanted)
    return draft.plan()


def plan_remove(spec: MachineSpec, state: State, label: str) -> Plan:
    """Steps after which the snapshot is no more; a stranger's volume of its name stays."""
    draft = Draft(state)
    kept = state.volumes.get(kept_as(spec, label))
    if kept is None:
        draft.so("snapshot", f"There is no {kept_as(spec, label)} on {spec.place.host}")
    elif (kept.machine, kept.origin) != (spec.uuid, spec.volume):
        draft.so("snapshot", f"{kept.path} is no snapshot of {spec.name} and stays")
    else:
        stages.lvmremove(spec, draft, kept)
    return draft.plan()


def snapshots_of(spec: MachineSpec, state: State) -> list[Volume]:
    """What is on the host of the machine's snapshots, by name."""
    return sorted(
        (v for v in state.volumes.values() if (v.machine, v.origin) == (spec.uuid, spec.volume)),
        key=lambda volume: volume.name,
    )
