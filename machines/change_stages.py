"""What changing a machine adds to the stages of its life: growing, other names, memory at once. Pure."""

from __future__ import annotations

from dataclasses import replace

from dom0.plan import Draft
from dom0.state import Volume
from dom0.steps import Drop, Hand, Put, Step
from machines import definition, render, stages
from machines.specs import MIB, UID_BLOCK, MachineSpec, Tuned, VolumeSpec, short_digest

#: As dom0.growing: less than this at the end of a volume is left over, and nothing grows by less.
SLACK = 16 * MIB
ROUGHLY_MIB = 4  # as dom0.domain_memory: a hypervisor counts some of its own memory as the guest's
NOBODY = UID_BLOCK - 2  # of the machine's own uids: whom its filesystem's programs run as


def grow(spec: MachineSpec, draft: Draft, wanted: VolumeSpec) -> None:
    """The volume is as large as wished, in use or not; what lies on it stays."""
    there = draft.state.volumes[wanted.name]
    size = rounded(spec, draft, wanted)
    if there.size_bytes >= size:
        draft.so("lvmcreate", f"The volume {wanted.name} has {there.size_bytes // MIB} MB")
        return
    has = there.size_bytes // MIB
    args = (("name", wanted.name), ("size_mib", str(wanted.size_mib)), ("machine", spec.uuid))
    draft.do(
        Step(
            stage="lvmcreate",
            title=f"Grow the volume {wanted.name} from {has} to {size // MIB} MB; what is new reads as zeros",
            action=Hand(verb="volume-grow", args=args),
            effect=(Put(room="volumes", key=wanted.name, value=replace(there, size_bytes=size)),),
            relies_on=(("volumes", wanted.name),),
            about_s=0.2,
        )
    )


def rounded(spec: MachineSpec, draft: Draft, wanted: VolumeSpec) -> int:
    """Bytes a volume of that size takes where it lies."""
    group = draft.state.places.get(spec.volume_group)
    return group.rounded(wanted.size_bytes) if group else wanted.size_bytes


def fill(spec: MachineSpec, draft: Draft, wanted: VolumeSpec) -> None:
    """What lies on the volume takes all of it, grown by whoever has it mounted; says nothing where it does already."""
    there = draft.state.volumes.get(wanted.name)
    if there is None or not left_over(there):
        return
    domain = draft.state.domains.get(spec.name)
    running = bool(domain and domain.running)
    if running and not (spec.place.lxc and spec.place.grows_mounted):
        draft.so("fscreate", _later(spec, there, wanted))
        return
    online = (("online", "yes"),) if running else ()
    args = (("volume", there.name), ("machine", spec.uuid), ("uid", str(spec.uid_base + NOBODY)), *online)
    how = "in use as it is" if running else "checked before, by programs without privileges"
    draft.do(
        Step(
            stage="fscreate",
            title=f"Grow the {there.content} on {there.name} to {there.size_bytes // MIB} MB, {how}",
            action=Hand(verb="fs-grow", args=args),
            effect=(Put(room="volumes", key=there.name, value=replace(there, filled_bytes=there.size_bytes)),),
            relies_on=(("volumes", there.name),),
            about_s=0.5,
        )
    )


def fill_all(spec: MachineSpec, draft: Draft) -> None:
    """The same for every volume of a machine that is off; of one that runs nothing is said."""
    domain = draft.state.domains.get(spec.name)
    if domain is None or not domain.running:
        for volume in spec.volumes:
            fill(spec, draft, volume)


def left_over(volume: Volume) -> bool:
    """Whether a filesystem lies there that is smaller than its volume."""
    return volume.content in ("ext4", "ext3") and 0 < volume.filled_bytes <= volume.size_bytes - SLACK


def _later(spec: MachineSpec, there: Volume, wanted: VolumeSpec) -> str:
    """Who grows what a running machine has mounted, in one sentence with the command."""
    takes = f"The {there.content} on {there.name} keeps its {there.filled_bytes // MIB} MB"
    if spec.place.lxc:
        return f"{takes} until {spec.name} stops: root on {spec.place.host} may not grow a mounted filesystem"
    if spec.place.xen and spec.volume_group:
        command = f"resize2fs /dev/{definition.disk(spec, wanted.kind)}"
        return f"{takes} until its owner runs this inside: {command}; or until {spec.name} stops, then it is grown"
    return f"{takes} until {spec.name} stops: only then does it see the new size"


def memory(spec: MachineSpec, draft: Draft) -> None:
    """A running machine has the memory wished at once, where its hypervisor can; else from its next start."""
    domain = draft.state.domains.get(spec.name)
    if domain is None or not domain.running or not domain.memory_mib:
        return
    if abs(domain.memory_mib - spec.memory_mib) <= (1 if spec.place.lxc else ROUGHLY_MIB):
        return
    if domain.paused or spec.memory_mib > domain.ceiling_mib:
        why = "it is paused" if domain.paused else f"while it runs it can't have more than {domain.ceiling_mib} MB"
        draft.so("createvmconf", f"{spec.name} has {spec.memory_mib} MB of memory from its next start: {why}")
        return
    draft.do(
        Step(
            stage="createvmconf",
            title=f"Give {spec.name} {spec.memory_mib} MB of memory now, while it runs; it has {domain.memory_mib} MB",
            action=Hand(verb="domain-memory", args=(("uuid", spec.uuid), ("mib", str(spec.memory_mib)))),
            effect=(Put(room="domains", key=spec.name, value=replace(domain, memory_mib=spec.memory_mib)),),
            relies_on=(("domains", spec.name),),
        )
    )


def rename(was: MachineSpec, spec: MachineSpec, draft: Draft) -> None:
    """Volumes that have the former name get the new one, snapshots along."""
    for old, new in zip(all_names(was), all_names(spec), strict=True):
        there = draft.state.volumes.get(old)
        if old == new or there is None or there.machine != spec.uuid:
            continue
        draft.do(
            Step(
                stage="lvmcreate",
                title=f"Call the volume {old} {new.rpartition('/')[2]}",
                action=Hand(verb="volume-rename", args=(("name", old), ("to", new), ("machine", spec.uuid))),
                effect=tuple(_renamed(draft, old, new)),
                relies_on=(("volumes", old), ("volumes", new)),
            )
        )


def all_names(spec: MachineSpec) -> tuple[str, ...]:
    """Of its volumes, and of what a rescue may have left."""
    return (*spec.volume_names, spec.rescue_root.name)


def _renamed(draft: Draft, old: str, new: str) -> list[Put | Drop]:
    changes: list[Put | Drop] = []
    for name, volume in draft.state.volumes.items():
        if name == old or volume.origin == old:
            to = f"{new}{name.removeprefix(old)}"
            path = volume.path.replace(old.rpartition("/")[2], new.rpartition("/")[2])
            origin = new if volume.origin == old else volume.origin
            changes += [
                Drop(room="volumes", key=name),
                Put(room="volumes", key=to, value=replace(volume, name=to, path=path, origin=origin)),
            ]
    return changes


def names_inside(was: MachineSpec, spec: MachineSpec, draft: Draft) -> None:
    """Its own files call it as dom0 does, where they did so before; on lxc, where dom0 may write there."""
    if (was.name, was.zone.domain) == (spec.name, spec.zone.domain):
        return
    if not spec.place.lxc:
        draft.so(
            "tuneroot", f"Inside, it calls itself {was.name} until its owner runs: hostnamectl hostname {spec.name}"
        )
        return
    mark = Tuned.read(draft.state.volumes[spec.volume].tuned)
    known = _names_mark(spec)
    if mark is None or mark.base == known:
        draft.so("tuneroot", f"Inside, it is called {spec.name}")
        return
    lines = [
        {"path": "/etc/hostname", "old": was.name, "new": spec.name},
        {"path": "/etc/hosts", "old": render.own_line(was), "new": render.own_line(spec)},
    ]
    says = f"Call it {spec.name} inside too, where its owner left the name as it was"
    wanted = replace(mark, base=known)
    stages.tune_again(spec, draft, says, render.lines_tuning(spec, wanted, lines), wanted)


def _names_mark(spec: MachineSpec) -> str:
    return short_digest(f"names {spec.name}.{spec.zone.domain}")


def swap(spec: MachineSpec, draft: Draft) -> None:
    """A swap space of another size is made anew: nothing is lost with the one that goes."""
    wanted = next((volume for volume in spec.others if volume.kind == "swap"), None)
    there = draft.state.volumes.get(spec.volume_names[1])
    if there and not (wanted and there.size_bytes == rounded(spec, draft, wanted) and not there.unfinished):
        draft.do(
            Step(
                stage="lvmcreate",
                title=f"Zero the volume {there.name} and remove it: it only holds swap space",
                action=Hand(verb="volume-remove", args=(("name", there.name), ("machine", spec.uuid))),
                effect=(Drop(room="volumes", key=there.name),),
                relies_on=(("volumes", there.name),),
            )
        )
    if wanted:
        make(spec, draft, wanted)


def make(spec: MachineSpec, draft: Draft, wanted: VolumeSpec) -> None:
    """A volume beside the root, formatted."""
    stages.lvmcreate(spec, draft, wanted)
    stages.fscreate(spec, draft, wanted)
