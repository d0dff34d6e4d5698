"""The stage `limits`: what a machine may take of its host, kept in dom0's own file and in force while it runs. Pure."""

from __future__ import annotations

from dom0 import limits_file
from dom0.limits_file import Kept
from dom0.plan import Draft
from dom0.steps import Drop, Hand, Put, RemoveFile, Step, WriteFile
from machines.specs import LimitsSpec, MachineSpec

STAGE = "limits"
NONE = LimitsSpec()


def path(spec: MachineSpec) -> str:
    return limits_file.path(spec.place.state, spec.uuid)


def keep(spec: MachineSpec, draft: Draft) -> None:
    """Plan dom0's file, from which every start sets the limits again; none for a machine without."""
    wanted, there = kept(spec), draft.state.files.get(path(spec))
    if spec.limits == NONE or there == wanted.text:
        return
    draft.do(
        Step(
            stage=STAGE,
            title=f"Keep what {spec.name} may take, for every start",
            action=WriteFile(path=path(spec), content=wanted.text),
            effect=(Put(room="files", key=path(spec), value=wanted.text),),
        )
    )


def hold(spec: MachineSpec, draft: Draft) -> None:
    """Plan that the limits are in force where the machine runs; where it has none any more, that nothing is left."""
    if path(spec) not in draft.state.files:
        return
    domain, wanted = draft.state.domains.get(spec.name), kept(spec)
    runs = domain is not None and domain.running
    if runs and draft.state.limits.get(spec.uuid, "") != wanted.said:
        effect = (Put(room="limits", key=spec.uuid, value=wanted.said),)
        says = f"Have {spec.name} take at most {words(spec)}" if wanted.said else f"Take the limits off {spec.name}"
        draft.do(Step(stage=STAGE, title=says, action=_applied(spec, wanted), effect=effect))
    elif wanted.said:
        draft.so(STAGE, f"{spec.name} takes at most {words(spec)}")
    if spec.limits == NONE:
        _forget(spec, draft)


def clear(spec: MachineSpec, draft: Draft) -> None:
    """Plan that nothing of its limits is left, for a machine that goes."""
    if path(spec) in draft.state.files:
        nothing = kept(spec, NONE)
        draft.do(Step(stage=STAGE, title=f"Give back what {spec.name} was sure of", action=_applied(spec, nothing)))
        _forget(spec, draft)


def _forget(spec: MachineSpec, draft: Draft) -> None:
    gone = (Drop(room="files", key=path(spec)), Drop(room="limits", key=spec.uuid))
    draft.do(Step(stage=STAGE, title="Forget its limits", action=RemoveFile(path=path(spec)), effect=gone))


def _applied(spec: MachineSpec, wanted: Kept) -> Hand:
    return Hand(verb="limits-apply", args=(("uuid", spec.uuid),), stdin=wanted.text)


def kept(spec: MachineSpec, limits: LimitsSpec | None = None) -> Kept:
    """The spec's limits as dom0 keeps them."""
    return Kept(
        uuid=spec.uuid,
        name=spec.name,
        libvirt=spec.place.libvirt,
        project=spec.place.project,
        bridge=spec.zone.bridge,
        vif=spec.vif,
        mac=spec.mac,
        volumes=tuple(volume.path for volume in spec.volumes),
        **vars(spec.limits if limits is None else limits),
    )


def words(spec: MachineSpec) -> str:
    """The limits as a sentence's end: "10 Mbit/s in, half a processor"."""
    limits = spec.limits
    said = [
        f"{limits.net_in_kbit} kbit/s in" if limits.net_in_kbit else "",
        f"{limits.net_out_kbit} kbit/s out" if limits.net_out_kbit else "",
        f"{limits.cpu_cap} % of a processor" if limits.cpu_cap else "",
        f"{limits.disk_kib_s} KiB/s of its disks" if limits.disk_kib_s else "",
        f"{limits.disk_iops} disk operations a second" if limits.disk_iops else "",
    ]
    most = ", ".join(part for part in said if part) or "what it can"
    sure = f"; of its zone at least {limits.net_share_kbit} kbit/s" if limits.net_share_kbit else ""
    weight = f"; weight {limits.cpu_weight}" if limits.cpu_weight else ""
    return f"{most}{sure}{weight}"
