"""From what a machine was and is to be, and the host's state, to the steps in between. Pure.

Both specs come from the job, so however far a former try got, and whichever way it went, the plan finds every part of
the machine under either name, in either zone, and brings it to the one that is wished.
"""

from __future__ import annotations

from dom0 import members
from dom0.errors import Refused
from dom0.plan import Draft, Plan
from dom0.state import State, Volume
from machines import change_stages, definition, limits_stages, plan, rules, settle, stages
from machines.change_stages import SLACK
from machines.specs import MIB, MachineSpec, VolumeSpec


def looked_at(was: MachineSpec, spec: MachineSpec) -> dict[str, object]:
    """What changing a machine needs to see of the host, by room of the state."""
    found: dict[str, object] = {}
    for room, names in (*plan.looked_at(was).items(), *plan.looked_at(spec).items()):
        seen = found.get(room, ())
        found[room] = (
            tuple(dict.fromkeys((*seen, *names))) if isinstance(names, tuple) and isinstance(seen, tuple) else names
        )
    found["members"] = (members.EVERY_VIF,)
    return found


def plan_change(was: MachineSpec, spec: MachineSpec, state: State, *, on: bool, back: bool = False) -> Plan:
    """Steps after which the machine is as `spec` says; one that has to be off meanwhile runs afterwards where `on`.

    `back`: this undoes a change, so a volume that has grown by then stays as large. Raises Refused, before anything is
    changed.
    """
    rules.refuse_strangers(was, state)
    rules.refuse_strangers(spec, state)
    _refuse_unfinished(was, spec, state)
    if not back:
        _refuse_smaller(was, spec, state)
    _refuse_without_room(was, spec, state)
    _refuse_without_memory(spec, state)
    if _elsewhere(was, spec):
        rules.refuse_without_bridge(spec, state)
    if _apart(was, spec, state):
        _refuse_paused(was, spec, state)
        if on:
            rules.refuse_without_kernel(spec, state)
            _refuse_to_start(was, spec, state)
    draft = Draft(state)
    if _apart(was, spec, state):
        _off(was, spec, draft)
        _moved(was, spec, draft)
    if not spec.foreign:
        _volumes(was, spec, draft)
    if _elsewhere(was, spec) or was.name != spec.name:
        settle.settle(spec, draft)
    stages.createvmconf(spec, draft)
    if was.memory_mib != spec.memory_mib:
        change_stages.memory(spec, draft)
    _says_later(was, spec, draft)
    limits_stages.keep(spec, draft)
    if on and _restarts(was, spec):
        stages.start(spec, draft)
    return draft.plan()


def _restarts(was: MachineSpec, spec: MachineSpec) -> bool:
    """Whether the machine is off for a while: it can't get another name, address or swap space while it runs."""
    return was.name != spec.name or _elsewhere(was, spec) or _swaps(was, spec)


def _elsewhere(was: MachineSpec, spec: MachineSpec) -> bool:
    return (was.zone.name, was.address) != (spec.zone.name, spec.address)


def _swaps(was: MachineSpec, spec: MachineSpec) -> bool:
    """Whether its swap, or a log volume that comes or goes, differs; lxc gives its machines neither."""
    return was.swap_mib != spec.swap_mib or bool(was.log_mib) != bool(spec.log_mib)


def _apart(was: MachineSpec, spec: MachineSpec, state: State) -> bool:
    """Whether something is left of what the machine was, or not there yet of what it is to be."""
    if not _restarts(was, spec):
        return False
    domain = state.domains.get(spec.name)
    if was.name != spec.name:
        old = state.domains.get(was.name)
        mine = [state.volumes[name] for name in change_stages.all_names(was) if name in state.volumes]
        if (old and old.uuid == spec.uuid) or any(volume.machine == spec.uuid for volume in mine):
            return True
    missing = any(volume.name not in state.volumes for volume in spec.volumes)
    defined = domain is not None and domain.definition == definition.definition_digest(spec)
    return _left_behind(was, spec, state) or not defined or missing or _swap_differs(spec, state)


def _swap_differs(spec: MachineSpec, state: State) -> bool:
    there = {kind: state.volumes.get(name) for kind, name in zip(("swap", "log"), spec.volume_names[1:], strict=True)}
    wished = {volume.kind: volume for volume in spec.others}
    if any(there[kind] and kind not in wished for kind in there):
        return True
    swap, wanted = there["swap"], wished.get("swap")
    draft = Draft(state)
    return bool(swap and wanted and swap.size_bytes != change_stages.rounded(spec, draft, wanted))


def _left_behind(was: MachineSpec, spec: MachineSpec, state: State) -> bool:
    """Whether the network still knows what the machine was. The boot file goes last, so it tells of all."""
    if not _elsewhere(was, spec) and was.name == spec.name:
        return False
    _, boot = members.boot_files(was.members)
    former = {file.path: file.content for file in stages.dhcp(was)} | {was.members_file: boot}
    wished = {file.path: file.content for file in stages.dhcp(spec)}
    return any(state.files.get(path) == text for path, text in former.items() if wished.get(path) != text)


def _off(was: MachineSpec, spec: MachineSpec, draft: Draft) -> None:
    for each in dict.fromkeys((was.name, spec.name)):
        domain = draft.state.domains.get(each)
        if domain and domain.running:
            stages.stop(was if each == was.name else spec, draft)


def _moved(was: MachineSpec, spec: MachineSpec, draft: Draft) -> None:
    """Nothing has its former name or place any more; off, so nobody misses the one before the other is there."""
    if was.name != spec.name:
        old = draft.state.domains.get(was.name)
        if old and old.uuid == spec.uuid:
            stages.undefine(was, draft)
        change_stages.rename(was, spec, draft)
    if (was.name, was.zone.name) != (spec.name, spec.zone.name) and _left_behind(was, spec, draft.state):
        stages.leave_network(was, draft)
    change_stages.names_inside(was, spec, draft)


def _volumes(was: MachineSpec, spec: MachineSpec, draft: Draft) -> None:
    change_stages.grow(spec, draft, spec.root)
    change_stages.fill(spec, draft, spec.root)
    if was.swap_mib != spec.swap_mib:
        change_stages.swap(spec, draft)
    log, there = _log(spec), draft.state.volumes.get(spec.volume_names[2])
    if log and there and there.content and not there.unfinished:
        change_stages.grow(spec, draft, log)
        change_stages.fill(spec, draft, log)
    elif log:
        change_stages.make(spec, draft, log)
    elif there and was.log_mib != spec.log_mib:
        stages.lvmremove(spec, draft, there)


def _log(spec: MachineSpec) -> VolumeSpec | None:
    return next((volume for volume in spec.others if volume.kind == "log"), None)


def _says_later(was: MachineSpec, spec: MachineSpec, draft: Draft) -> None:
    """What a running machine has from its next start only."""
    domain = draft.state.domains.get(spec.name)
    if domain is None or not domain.running:
        return
    if was.vcpus != spec.vcpus:
        draft.so("createvmconf", f"{spec.name} has {stages.counted(spec.vcpus, 'virtual CPU')} from its next start")
    if was.boot != spec.boot:
        draft.so("createvmconf", f"{spec.name} boots so from its next start")


def _refuse_unfinished(was: MachineSpec, spec: MachineSpec, state: State) -> None:
    """The root lies under either name, the former for as long as it is not called otherwise."""
    rules.refuse_unfinished(spec if spec.volume in state.volumes else was, state)


def _refuse_paused(was: MachineSpec, spec: MachineSpec, state: State) -> None:
    domains = (state.domains.get(name) for name in (was.name, spec.name))
    if any(domain and domain.paused for domain in domains):
        raise Refused(
            f"{was.name} is paused, and this has to power it off: what it holds in memory would be lost.",
            note=f"Nothing was changed. Let it go on, or stop it first: fridu resume {was.name}.",
        )


def _refuse_to_start(was: MachineSpec, spec: MachineSpec, state: State) -> None:
    """One that runs gives its own memory back before it starts again."""
    former = state.domains.get(was.name)
    if not (former and former.running):
        rules.refuse_without_memory(spec, state)


def _refuse_smaller(was: MachineSpec, spec: MachineSpec, state: State) -> None:
    draft = Draft(state)
    for volume in (spec.root, _log(spec)):
        if volume is None:
            continue
        there = _there(was, spec, state, volume)
        wanted = change_stages.rounded(spec, draft, volume)
        has = there.size_bytes if there else 0
        if has > wanted:
            raise Refused(
                f"{spec.name}'s {volume.kind} volume has {has // MIB} MB; {volume.size_mib} MB would be less.",
                note="Nothing was changed. Volumes only grow: shrinking one risks what is on it. Take what matters "
                f"elsewhere and create a smaller machine, or leave it at {has // MIB} MB.",
            )
        if has and 0 < wanted - has < SLACK:
            raise Refused(
                f"{spec.name}'s {volume.kind} volume has {has // MIB} MB; {volume.size_mib} MB are hardly more.",
                note=f"Nothing was changed. Grow it by {SLACK // MIB} MB or more: {has // MIB + SLACK // MIB}.",
            )


def _there(was: MachineSpec, spec: MachineSpec, state: State, volume: VolumeSpec) -> Volume | None:
    """The volume as it is now, under either name."""
    former = dict(zip(spec.volume_names, was.volume_names, strict=True))[volume.name]
    return state.volumes.get(volume.name) or state.volumes.get(former)


def _refuse_without_room(was: MachineSpec, spec: MachineSpec, state: State) -> None:
    draft = Draft(state)
    more = 0
    for volume in spec.volumes:
        there = _there(was, spec, state, volume)
        wanted = change_stages.rounded(spec, draft, volume)
        if there is None or (volume.kind == "swap" and there.size_bytes != wanted):
            more += wanted
        else:
            more += max(0, wanted - there.size_bytes)
    place = state.places.get(spec.volume_group)
    free = place.free_bytes if place else state.free_bytes
    if spec.volume_group and place is None:
        raise Refused(
            f"The volume group {spec.volume_group} is missing on {spec.place.host}.",
            note="Nothing was changed. Switch its disk on, then ask again.",
        )
    if more > free:
        where = f"in the volume group {spec.volume_group}" if place else "for volumes"
        raise Refused(
            f"{spec.name} would take {more // MIB} MB more; {free // MIB} MB are free {where} on {spec.place.host}.",
            note="Nothing was changed. Grow it by less, or free some room there.",
        )


def _refuse_without_memory(spec: MachineSpec, state: State) -> None:
    domain = state.domains.get(spec.name)
    if domain is None or not domain.running or not domain.memory_mib:
        return
    more = spec.memory_mib - domain.memory_mib
    if more > state.free_memory_mib:
        raise Refused(
            f"{spec.name} would take {more} MB of memory more; {state.free_memory_mib} MB are free "
            f"on {spec.place.host}.",
            note="Nothing was changed. Stop another machine, or give this one less.",
        )
