"""What must be so before a machine's plan may change anything: all of it is checked first. Pure."""

from __future__ import annotations

from dom0.errors import Refused
from dom0.kernel_image import refuse_unfit
from dom0.state import State, Volume
from machines.specs import MIB, MachineSpec, Tuned

_KERNEL_NOTE = (
    "Nothing was changed. Put a kernel and its initrd into the host's kernels folder, such as vmlinuz-6.1.0-amd64 and "
    "initrd.img-6.1.0-amd64, and choose it for the machine or as the host's default."
)
_NO_KERNEL = {
    "host": "{name} has no kernel to start: none is chosen for it, and {host} has no default.",
    "image": "{name} has no kernel to start: none was taken out of {image} yet (fridu image kernel {image} KERNEL).",
}

#: dom0's own LVM would look into the loop device below an image file, and find what the guest wrote for it.
FILES_UNDER_XEN = "Under Xen a machine's volumes lie in a volume group, not in image files"
CHOOSE_GROUP = "Choose one (lvmvg=), or name one in the host file first: volume_groups."


def refuse_strangers(spec: MachineSpec, state: State, *, begun: tuple[str, ...] = ()) -> None:
    """Raises Refused where a volume or domain of the machine's name is not this machine's, or is being changed.

    `begun` names what the very job that asks may have left half-done.
    """
    for wanted in () if spec.foreign else spec.volumes:
        volume = state.volumes.get(wanted.name)
        if volume and volume.machine != spec.uuid:
            whose = "belongs to another machine" if volume.machine else "was not made by Fridu"
            raise Refused(
                f"There is a volume {wanted.name} ({volume.path}) on {spec.place.host} that {whose}.",
                note="Nothing was changed. Choose another name, or move that volume away.",
            )
        if volume and volume.unfinished not in ("", "zeroing", "formatting", *begun):
            raise Refused(
                f"{volume.path}: {volume.unfinished} it was begun and never finished.",
                note="Nothing was changed. Go on with the job that began it.",
            )
    domain = state.domains.get(spec.name)
    if domain and domain.uuid != spec.uuid:
        raise Refused(
            f"libvirt on {spec.place.host} knows another machine called {spec.name} already.",
            note=f"Nothing was changed. Choose another name, or remove that one: virsh undefine {spec.name}.",
        )


def need(there: bool, stage: str, what: str, made_by: str) -> None:
    """Raises Refused where a stage lacks what a stage before it makes, which was left out."""
    if not there:
        raise Refused(
            f"{stage} needs {what}, which is not there, and {made_by} is left out.",
            note=f"Nothing was changed. Use {made_by}=yes, or leave out {stage} as well: {stage}=no.",
        )


def refuse_running(spec: MachineSpec, state: State, doing: str) -> None:
    """Raises Refused while the machine runs: nothing is taken away under it."""
    domain = state.domains.get(spec.name)
    if domain and domain.running:
        raise Refused(
            f"{spec.name} runs; {doing} would take it away under it.",
            note=f"Nothing was changed. Stop it first: fridu stop {spec.name}.",
        )


def refuse_formatted(volume: Volume) -> None:
    """Raises Refused: something lies on the volume and nobody said that it may go."""
    if volume.root:
        raise Refused(
            f"{volume.path} already holds a distribution.",
            note="Nothing was changed. Leave this stage out (fscreate=no), or have all that is on it lost: "
            "fscreate=force.",
        )
    what = {"other": "something that is no ext3, ext4 or swap", "swap": "swap space"}.get(
        volume.content, volume.content
    )
    raise Refused(
        f"{volume.path} is already formatted: it holds {what}.",
        note="Nothing was changed. Leave this stage out (fscreate=no), or have all that is on it lost: fscreate=force.",
    )


def refuse_installed(spec: MachineSpec, volume: Volume) -> None:
    """Raises Refused where another distribution lies on the root than this wish, or a former one, put there."""
    generation = volume.root.rpartition(":")[2]
    if volume.root and (not generation.isdecimal() or int(generation) >= spec.root_generation):
        raise Refused(
            f"{volume.path} already holds a distribution.",
            note="Nothing was changed. Leave this stage out (installroot=no), or have all that is on it lost: "
            "installroot=force.",
        )


def refuse_unreachable(spec: MachineSpec) -> None:
    """Raises Refused where dom0 may not open a filesystem that the machine's owner had root on."""
    if not spec.place.lxc:
        raise Refused(
            f"{spec.place.host} never mounts a filesystem that {spec.name}'s owner had root on.",
            note="Nothing was changed. Stop it and set its SSH keys or a one-time password on its page, which confined "
            "programs write, or log in on its console.",
        )


def refuse_held(spec: MachineSpec, state: State) -> None:
    """Raises Refused while the machine runs and has its filesystem to itself."""
    domain = state.domains.get(spec.name)
    if domain and domain.running:
        raise Refused(
            f"{spec.name} runs: nobody else can write to its filesystem meanwhile.",
            note="Nothing was changed. Log in on its console, or stop it first, then set it.",
        )


def refuse_too_large(spec: MachineSpec, state: State) -> None:
    """Raises Refused where the machine does not fit: image on root, root on disk, memory on the host."""
    refuse_without_room(spec, state)
    refuse_unfit_image(spec, state)
    refuse_without_memory(spec, state)


def refuse_unfit_image(spec: MachineSpec, state: State) -> None:
    """Raises Refused where the image does not fit on the root, or its archive is missing and has to be read."""
    golden = state.goldens.get(spec.golden)
    needs = max(spec.image.min_root_mib, -(-golden.size_bytes // MIB) if golden else 0)
    if spec.root_mib < needs:
        raise Refused(
            f"{spec.image.name} needs a root of {needs} MB; {spec.name} has {spec.root_mib} MB.",
            note=f"Nothing was changed. Delete the machine and create it with {needs} MB or more.",
        )
    if golden is None and spec.image.archive not in state.archives:
        raise Refused(
            f"The archive {spec.image.archive} of {spec.image.name} is missing on {spec.place.host}.",
            note="Nothing was changed. Put it into the images folder, or choose another image.",
        )


def refuse_without_room(spec: MachineSpec, state: State, *, anew: bool = False) -> None:
    """Raises Refused where the volumes to make, with `anew` all of them, find no room."""
    if spec.place.xen and not spec.volume_group:
        raise Refused(f"{FILES_UNDER_XEN}.", note=f"Nothing was changed. {CHOOSE_GROUP}")
    group = state.places.get(spec.volume_group)
    if spec.volume_group and group is None:
        raise Refused(
            f"The volume group {spec.volume_group} is missing on {spec.place.host}.",
            note="Nothing was changed. Switch its disk on, or choose another place for the volumes: lvmvg=.",
        )
    free = group.free_bytes if group else state.free_bytes
    missing = [volume for volume in spec.volumes if anew or volume.name not in state.volumes]
    given_back = sum(state.volumes[v.name].size_bytes for v in missing if v.name in state.volumes)
    wanted = sum(group.rounded(volume.size_bytes) if group else volume.size_bytes for volume in missing)
    if wanted <= free + given_back:
        return
    kinds = " and ".join(f"{volume.kind} of {volume.size_mib} MB" for volume in missing)
    where = f"in the volume group {spec.volume_group}" if group else "for volumes"
    verb = "do" if len(missing) > 1 else "does"
    raise Refused(
        f"{spec.name}'s {kinds} {verb} not fit: {free // MIB} MB are free {where} on {spec.place.host}.",
        note="Nothing was changed. Choose a smaller root, or free some room there.",
    )


def refuse_without_memory(spec: MachineSpec, state: State) -> None:
    """Raises Refused where a machine that is off wants more memory than is free."""
    domain, free = state.domains.get(spec.name), max(0, state.free_memory_mib - spec.promised_mib)
    if not (domain and domain.running) and spec.memory_mib > free:
        besides = f" besides {spec.promised_mib} MB for machines about to start" if spec.promised_mib else ""
        raise Refused(
            f"{spec.name} wants {spec.memory_mib} MB of memory; {free} MB are free on {spec.place.host}{besides}.",
            note="Nothing was changed. Stop another machine, or give this one less memory.",
        )


def refuse_without_kernel(spec: MachineSpec, state: State) -> None:
    """Raises Refused where the machine needs a kernel of its own and there is none it could start."""
    if spec.place.lxc or spec.foreign:
        return
    boot, host = spec.boot, spec.place.host
    if boot.how == "grub" and not spec.place.xen:
        raise Refused(
            f"{spec.name} can't start with grub: that starts inside Xen's guests only, and {host} has another "
            "hypervisor.",
            note="Nothing was changed. Choose a kernel of the host, or the image's.",
        )
    if not boot.kernel:
        raise Refused(_NO_KERNEL[boot.how].format(name=spec.name, host=host, image=spec.image.name), note=_KERNEL_NOTE)
    gone = next((path for path in boot.files if path not in state.kernels), "")
    if gone:
        way = "Install Debian's grub-xen-host there." if boot.how == "grub" else _KERNEL_NOTE
        raise Refused(f"{spec.name}'s kernel {gone} is missing on {host}.", note=way)
    found = state.kernels[boot.kernel]
    if found.kernel is None:
        raise Refused(f"{spec.name} can't start: {found.wrong}", note=_KERNEL_NOTE)
    initrd = state.kernels[boot.initrd].size_bytes if boot.initrd else 0
    name = boot.kernel.rpartition("/")[2]
    refuse_unfit(found.kernel, name, initrd_bytes=initrd, memory_mib=spec.memory_mib, pv=spec.place.xen)


def refuse_without_bridge(spec: MachineSpec, state: State) -> None:
    """Raises Refused where the zone is not on the host."""
    if spec.zone.bridge not in state.links:
        raise Refused(
            f"The bridge {spec.zone.bridge} of zone {spec.zone.name} is not on {spec.place.host}.",
            note=f"Nothing was changed. Apply zone {spec.zone.name} first, then go on.",
        )


def refuse_without_its_definition(spec: MachineSpec, state: State) -> None:
    """Raises Refused where a machine that something else made is not on the host: nobody here can define it."""
    domain = state.domains.get(spec.name)
    if domain is None or domain.uuid != spec.uuid:
        raise Refused(
            f"{spec.name} is not on {spec.place.host}, and Fridu did not make its definition.",
            note="Nothing was changed. Define it again as it was (virsh define FILE), then go on.",
        )


def refuse_unfinished(spec: MachineSpec, state: State) -> None:
    """Raises Refused where the root filesystem is missing or was never finished."""
    if spec.foreign:
        return  # nobody here made it
    volume = state.volumes.get(spec.volume)
    if volume is None:
        raise Refused(
            f"The volume {spec.volume} is missing on {spec.place.host}.",
            note="Nothing was changed. Delete the machine and create it anew, or bring the volume back.",
        )
    if volume.root != spec.root_mark or not volume.tuned:
        raise Refused(
            f"{spec.name}'s root filesystem was never finished.",
            note="Nothing was changed. Go on with the job that was making it.",
        )


def mark_to_change(spec: MachineSpec, state: State) -> Tuned:
    """What the root filesystem has now, where it may be changed. Raises Refused."""
    refuse_strangers(spec, state)
    refuse_unfinished(spec, state)
    mark = Tuned.read(state.volumes[spec.volume].tuned)
    if mark is None:
        raise Refused(f"The mark of {spec.volume} can't be read.", note="Nothing was changed. Tell the operators.")
    return mark
