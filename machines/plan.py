"""From a machine's spec and the host's state to the steps of its life. Pure.

Whatever has our name but not our mark is left alone and refused.
"""

from __future__ import annotations

from dataclasses import replace

from dom0.plan import Draft, Plan
from dom0.state import State
from machines import change_stages, limits_stages, render, rules, stages
from machines.plan_create import plan_create
from machines.specs import MachineSpec

__all__ = [
    "looked_at",
    "plan_create",
    "plan_delete",
    "plan_key",
    "plan_password",
    "plan_reboot",
    "plan_start",
    "plan_stop",
]


def looked_at(spec: MachineSpec) -> dict[str, object]:
    """What every plan of a machine needs to see of the host, by room of the state."""
    ethers, hosts = stages.dhcp(spec)
    return {
        "volumes": (*spec.volume_names, spec.rescue_root.name),
        "domains": (spec.name,),
        "goldens": (spec.golden,) if spec.image.digest else (),
        "archives": (spec.image.archive,),
        "kernels": spec.boot.files,
        "files": (
            *(ethers.path, hosts.path, spec.members_file, spec.restart_file, spec.autostart_file, spec.forced_file),
            limits_stages.path(spec),
        ),
        "links": (spec.zone.bridge,),
        "limits": (spec.uuid,),
        "members": tuple(member.key for member in spec.members),
        "room": True,
    }


def plan_start(spec: MachineSpec, state: State) -> Plan:
    """Steps after which the machine runs, its network and definition being mended on the way. Raises Refused."""
    rules.refuse_strangers(spec, state)
    rules.refuse_unfinished(spec, state)
    rules.refuse_without_bridge(spec, state)
    rules.refuse_without_kernel(spec, state)
    rules.refuse_without_memory(spec, state)
    draft = Draft(state)
    stages.updateether(spec, draft)
    stages.createvmconf(spec, draft)
    stages.resume(spec, draft)
    change_stages.fill_all(spec, draft)
    stages.start(spec, draft)
    return draft.plan()


def plan_stop(spec: MachineSpec, state: State, *, force: bool = False) -> Plan:
    """Steps after which the machine is off and stays off when the host boots. Raises Refused.

    It is asked to power off and may take its grace; only with `force` it is ended, and then at once.
    """
    rules.refuse_strangers(spec, state)
    draft = Draft(state)
    stages.autostart(spec, draft, on=False)
    if force:
        stages.force_off(spec, draft)
    else:
        stages.stop(spec, draft, force=False)
    change_stages.fill_all(spec, draft)
    return draft.plan()


def plan_reboot(spec: MachineSpec, state: State, restart: str) -> Plan:
    """Steps of the restart called `restart`, which is done once, however often it is planned. Raises Refused."""
    rules.refuse_strangers(spec, state)
    rules.refuse_unfinished(spec, state)
    rules.refuse_without_bridge(spec, state)
    rules.refuse_without_kernel(spec, state)
    draft = Draft(state)
    noted = state.files.get(spec.restart_file) == restart
    domain = state.domains.get(spec.name)
    if noted and domain and domain.running:
        draft.so("start", f"{spec.name} has been restarted")
        return draft.plan()
    stages.stop(spec, draft)
    change_stages.fill_all(spec, draft)
    stages.updateether(spec, draft)
    stages.createvmconf(spec, draft)
    stages.start(spec, draft, restart=restart)
    return draft.plan()


def plan_key(spec: MachineSpec, state: State, asked: str) -> Plan:
    """Steps after which root may log in with exactly the spec's SSH keys. Raises Refused.

    `asked` names the wish in the mark: asked for again they are written again, for root may have changed them.
    """
    mark = rules.mark_to_change(spec, state)
    wanted = replace(mark, keys=f"{render.keys_digest(spec)}-{asked}")
    draft = Draft(state)
    if wanted == mark:
        draft.so("tuneroot", f"{spec.name} has these SSH keys")
        return draft.plan()
    says = f"Let {stages.counted(len(spec.keys), 'SSH key')} in as root, and no other"
    stages.let_in(spec, draft, says, render.keys_tuning(spec, wanted), wanted)
    return draft.plan()


def plan_password(spec: MachineSpec, state: State) -> Plan:
    """Steps after which root has the one-time password called `spec.password`. Raises Refused."""
    mark = rules.mark_to_change(spec, state)
    wanted = replace(mark, password=spec.password)
    draft = Draft(state)
    if wanted == mark:
        draft.so("tuneroot", f"{spec.name} has this root password")
        return draft.plan()
    stages.let_in(spec, draft, "Set the one-time root password", render.password_tuning(spec, wanted), wanted)
    return draft.plan()


def plan_delete(spec: MachineSpec, state: State) -> Plan:
    """Steps after which nothing of the machine is left on the host; strangers of its name stay."""
    draft = Draft(state)
    stages.autostart(spec, draft, on=False)
    domain = state.domains.get(spec.name)
    if domain and domain.uuid != spec.uuid:
        draft.so("createvmconf", f"The domain {spec.name} on the host is another one and stays")
    elif domain:
        stages.stop(spec, draft)
        stages.undefine(spec, draft)
    limits_stages.clear(spec, draft)
    stages.leave_network(spec, draft, also=(spec.restart_file, spec.forced_file))
    for kept in sorted(state.volumes.values(), key=lambda volume: volume.name):
        if kept.machine == spec.uuid and kept.origin in spec.volume_names:
            stages.lvmremove(spec, draft, kept)
    for name in (*spec.volume_names, spec.rescue_root.name):
        volume = state.volumes.get(name)
        if volume and volume.machine != spec.uuid:
            draft.so("lvmcreate", f"{volume.path} was not made for this machine and stays")
        elif volume:
            stages.lvmremove(spec, draft, volume)
    return draft.plan()
