"""The stages of a machine's life, each as steps: from a spec and the state so far to what is still to do. Pure.

They have the seed's names: lvmcreate, fscreate, installroot, tuneroot, updateether, createvmconf, start. A stage that
finds all as wished says so and plans nothing.
"""

from __future__ import annotations

from dataclasses import replace

from dom0 import members
from dom0.members import Member
from dom0.plan import Draft
from dom0.state import Domain, Golden, Volume
from dom0.steps import Command, Drop, Hand, Put, RemoveFile, Step, WriteFile
from machines import definition, limits_stages, render, rules
from machines.specs import MIB, EntrySpec, MachineSpec, Tuned, VolumeSpec

ROOTED_S = 960.0  # beyond the time e2fsck may take
GRACE_S = 20  # for a machine to power off by itself


def image(spec: MachineSpec, draft: Draft) -> None:
    image = spec.image
    if spec.golden in draft.state.goldens:
        return
    made = Golden(digest=spec.golden, path="", size_bytes=0)
    devices = (("devices", "yes"),) if image.devices else ()
    kind = (("filesystem", spec.filesystem),) if spec.filesystem != "ext4" else ()
    args = (("archive", image.archive), ("digest", image.digest), ("root_mib", str(spec.root_mib)), *devices, *kind)
    draft.do(
        Step(
            stage="image",
            title=f"Check {image.archive} and make the golden filesystem of {image.name} from it, once for all",
            action=Hand(verb="golden-make", args=args),
            effect=(Put(room="goldens", key=spec.golden, value=made),),
            about_s=2.0,
        )
    )


def lvmcreate(spec: MachineSpec, draft: Draft, wanted: VolumeSpec, *, anew: str = "") -> None:
    """Plan the volume; with `anew` one that was not made for that wish is zeroed and made again."""
    there = draft.state.volumes.get(wanted.name)
    if there and anew and there.anew != anew:
        rules.refuse_running(spec, draft.state, f"making {wanted.name} anew")
        lvmremove(spec, draft, there)
        there = None
    if there and there.unfinished != "zeroing":
        draft.so("lvmcreate", f"The volume {wanted.name} is there")
        return
    group = draft.state.places.get(spec.volume_group)
    size = group.rounded(wanted.size_bytes) if group else wanted.size_bytes
    made = Volume(
        name=wanted.name, path=wanted.path, size_bytes=size, machine=spec.uuid, anew=anew, blank=bool(spec.volume_group)
    )
    args = (("name", wanted.name), ("size_mib", str(wanted.size_mib)), ("machine", spec.uuid), *_for(anew))
    draft.do(
        Step(
            stage="lvmcreate",
            title=f"{'Go on making' if there else 'Make'} the volume {wanted.name}, {wanted.size_mib} MB",
            action=Hand(verb="volume-create", args=args),
            effect=(Put(room="volumes", key=wanted.name, value=made),),
            relies_on=(("volumes", wanted.name),),
        )
    )


def fscreate(spec: MachineSpec, draft: Draft, wanted: VolumeSpec, *, anew: str = "") -> None:
    """Plan its filesystem; with `anew` one that was not made for that wish is made again. Raises Refused."""
    volume = draft.state.volumes[wanted.name]
    done = volume.content == wanted.content and not volume.unfinished
    if done and anew in ("", volume.anew):
        draft.so("fscreate", f"{wanted.name} holds {wanted.content}")
        return
    if not anew and (volume.content or volume.root) and volume.unfinished != "formatting":
        rules.refuse_formatted(volume)
    lost = anew not in ("", volume.anew)  # killed on the way or not: the step reads the same until it is done
    if lost:
        rules.refuse_running(spec, draft.state, f"formatting {wanted.name}")
    args = (("volume", wanted.name), ("machine", spec.uuid), ("type", wanted.content), ("fs_uuid", wanted.fs_uuid))
    made = replace(volume, content=wanted.content, unfinished="", root="", tuned="", blank=False)
    draft.do(
        Step(
            stage="fscreate",
            title=f"Format {wanted.name} as {wanted.content}{', again' if lost else ''}",
            action=Hand(verb="fs-create", args=(*args, *((("force", "yes"),) if lost else ()), *_for(anew))),
            effect=(Put(room="volumes", key=wanted.name, value=replace(made, anew=anew or volume.anew)),),
            relies_on=(("volumes", wanted.name),),
            destroys=_lost(volume) if lost else "",
        )
    )


def _for(anew: str) -> tuple[tuple[str, str], ...]:
    return (("anew", anew),) if anew else ()


def installroot(spec: MachineSpec, draft: Draft) -> None:
    volume = draft.state.volumes[spec.volume]
    draft.so("fscreate", f"The golden filesystem of {spec.image.name} is {spec.filesystem} and brings it along")
    if volume.root == spec.root_mark:
        draft.so("installroot", f"{spec.image.name} is installed on {spec.volume}")
        return
    rules.refuse_installed(spec, volume)
    if volume.root:
        rules.refuse_running(spec, draft.state, f"installing {spec.image.name} on {spec.volume}")
    args = (
        ("image", spec.golden),
        ("volume", spec.volume),
        ("machine", spec.uuid),
        ("fs_uuid", spec.fs_uuid),
        ("generation", str(spec.root_generation)),
    )
    installed = replace(volume, root=spec.root_mark, tuned="", content=spec.filesystem, unfinished="", blank=False)
    draft.do(
        Step(
            stage="installroot",
            title=f"Copy {spec.image.name} onto {spec.volume}, grow it to {spec.root_mib} MB",
            action=Hand(verb="root-install", args=args),
            effect=(Put(room="volumes", key=spec.volume, value=installed),),
            relies_on=(("volumes", spec.volume),),
            destroys=_lost(volume) if volume.root else "",
            about_s=0.3,
        )
    )


def tuneroot(spec: MachineSpec, draft: Draft, wanted: Tuned | None = None) -> None:
    """Plan the tuning of a fresh root, marked as `wanted`, which else is the spec's own mark."""
    wanted = wanted or render.tuned(spec)
    if draft.state.volumes[spec.volume].tuned:
        draft.so("tuneroot", f"{spec.volume} is tuned")
        return
    who = counted(len(spec.keys), "SSH key") if spec.keys else "no SSH key"
    says = f"Tune it: name {spec.name}, address by DHCP, {who}, new host keys"
    action = Hand(verb="root-tune", args=(("volume", spec.volume),), stdin=render.tuning(spec, wanted))
    _tuned(spec, draft, says, action, wanted)


def tune_again(spec: MachineSpec, draft: Draft, title: str, wishes: str, mark: Tuned) -> None:
    """A root that has had an owner is opened by a process of its own."""
    _tuned(spec, draft, title, Command(argv=_program(spec, "dom0.tune"), stdin=wishes), mark)


def let_in(spec: MachineSpec, draft: Draft, title: str, wishes: str, mark: Tuned) -> None:
    """Who gets in as root: on lxc at once, otherwise by confined programs while it is off. Raises Refused."""
    if spec.place.lxc:
        tune_again(spec, draft, title, wishes, mark)
        return
    rules.refuse_held(spec, draft.state)
    action = Command(argv=_program(spec, "dom0.rooted"), stdin=wishes, timeout_s=ROOTED_S)
    _tuned(spec, draft, title, action, mark, ("domains", spec.name))


def _program(spec: MachineSpec, module: str) -> tuple[str, ...]:
    place = spec.place
    return ("env", f"--chdir={place.project}", place.python, "-sSE", "-m", module, spec.volume_path)


def _tuned(
    spec: MachineSpec, draft: Draft, title: str, action: Command | Hand, mark: Tuned, *relies_on: tuple[str, str]
) -> None:
    volume = replace(draft.state.volumes[spec.volume], tuned=str(mark))
    draft.do(
        Step(
            stage="tuneroot",
            title=title,
            action=action,
            effect=(Put(room="volumes", key=spec.volume, value=volume),),
            relies_on=(("volumes", spec.volume), *relies_on),
        )
    )


def dhcp(spec: EntrySpec) -> tuple[WriteFile, WriteFile]:
    """One file of the machine in each of the zone's two folders; its dnsmasq takes new ones by itself."""
    return (
        WriteFile(path=f"{spec.dnsmasq.ethers}/{spec.name}", content=render.ethers(spec)),
        WriteFile(path=f"{spec.dnsmasq.hosts}/{spec.name}", content=render.hosts(spec)),
    )


def updateether(spec: EntrySpec, draft: Draft, *, again: bool = False) -> None:
    """Plan that the firewall, DHCP and the next boot know the machine; `again`: are told though they know."""
    missing = [m for m in spec.members if again or m.key not in draft.state.members]
    if missing:
        says = f"Tell the firewall: {spec.vif} has {spec.mac} and {spec.address}"
        effect = tuple(Put(room="members", key=m.key, value="present") for m in missing)
        draft.do(Step(stage="updateether", title=says, action=elements("add", missing), effect=effect))
    _, boot = members.boot_files(spec.members)
    keep = WriteFile(path=spec.members_file, content=boot)
    wrong = [file for file in (keep, *dhcp(spec)) if again or draft.state.files.get(file.path) != file.content]
    for file in wrong:
        says = "Keep that for the next boot" if file is keep else _dhcp_title(spec, file)
        put = Put(room="files", key=file.path, value=file.content)
        draft.do(Step(stage="updateether", title=says, action=file, effect=(put,)))
    if not missing and not wrong:
        draft.so("updateether", f"{spec.zone.name} knows {spec.name} at {spec.address}")


def _dhcp_title(spec: EntrySpec, file: WriteFile) -> str:
    ethers = file.path.startswith(f"{spec.dnsmasq.ethers}/")
    return f"Give {spec.mac} the address {spec.address}" if ethers else f"Call {spec.address} {spec.name}"


def elements(verb: str, those: list[Member]) -> Command:
    """One nft command for all of them: it adds or deletes all or none."""
    inner = ", ".join(member.element for member in those)
    return Command(argv=("nft", verb, "element", "bridge", members.TABLE, members.VIFS, f"{{ {inner} }}"))


def createvmconf(spec: MachineSpec, draft: Draft, *, again: bool = False) -> None:
    """Plan that libvirt knows it as wished; `again`: is told though it does."""
    domain = draft.state.domains.get(spec.name)
    if spec.foreign:
        rules.refuse_without_its_definition(spec, draft.state)
        draft.so("createvmconf", f"The definition of {spec.name} stays as it was found")
        autostart(spec, draft, on=spec.autostart)
        return
    digest = definition.definition_digest(spec)
    if domain and domain.definition == digest and not again:
        draft.so("createvmconf", f"libvirt knows {spec.name}")
        autostart(spec, draft, on=spec.autostart)
        return
    base = domain or Domain(name=spec.name, uuid=spec.uuid)
    defined = replace(base, definition=digest, autostart=False)
    args = (("autostart", "no"),)  # libvirt's own knows no order
    draft.do(
        Step(
            stage="createvmconf",
            title=f"Define {spec.name}: {spec.memory_mib} MB of memory, {counted(spec.vcpus, 'virtual CPU')}",
            action=Hand(verb="domain-define", args=args, stdin=definition.domain_xml(spec)),
            effect=(Put(room="domains", key=spec.name, value=defined),),
            relies_on=(("domains", spec.name), *kernel(spec)),
        )
    )
    autostart(spec, draft, on=spec.autostart)


def autostart(spec: MachineSpec, draft: Draft, *, on: bool) -> None:
    """Whether it starts with the host: by a file of dom0's own (dom0.autostart), never by libvirt's flag."""
    domain = draft.state.domains.get(spec.name)
    path, wanted = spec.autostart_file, f"{spec.start_order} {spec.name}\n"
    if on and draft.state.files.get(path) != wanted:
        says = f"Start {spec.name} with the host, {spec.start_order} in the order"
        put = (Put(room="files", key=path, value=wanted),)
        draft.do(Step(stage="createvmconf", title=says, action=WriteFile(path=path, content=wanted), effect=put))
    elif not on and path in draft.state.files:
        says, gone = f"Do not start {spec.name} with the host", (Drop(room="files", key=path),)
        draft.do(Step(stage="createvmconf", title=says, action=RemoveFile(path=path), effect=gone))
    if domain is not None and domain.uuid == spec.uuid and domain.autostart:
        draft.do(
            Step(
                stage="createvmconf",
                title=f"Leave the start of {spec.name} to dom0, which keeps the order",
                action=Hand(verb="domain-autostart", args=(("uuid", spec.uuid), ("autostart", "no"))),
                effect=(Put(room="domains", key=spec.name, value=replace(domain, autostart=False)),),
            )
        )


def start(spec: MachineSpec, draft: Draft, *, restart: str = "") -> None:
    domain = draft.state.domains[spec.name]
    for wanted in spec.volumes:
        _hand_over(spec, draft, wanted)
    limits_stages.keep(spec, draft)
    if domain.running:
        draft.so("start", f"{spec.name} runs")
        limits_stages.hold(spec, draft)
        return
    effect = [Put(room="domains", key=spec.name, value=replace(domain, running=True))]
    args = [("name", spec.name), ("uuid", spec.uuid)]
    if restart:
        effect.append(Put(room="files", key=spec.restart_file, value=restart))
        args.append(("restart", restart))
    action = Hand(verb="domain-start", args=tuple(args))
    says = f"Start {spec.name}{_with_kernel(spec)}"
    about_s = 0.3 if spec.place.lxc else 3.0
    draft.do(
        Step(stage="start", title=says, action=action, effect=tuple(effect), relies_on=kernel(spec), about_s=about_s)
    )
    limits_stages.hold(spec, draft)


def kernel(spec: MachineSpec) -> tuple[tuple[str, str], ...]:
    """What is started is what was looked at: nobody put another kernel there meanwhile."""
    return tuple(("kernels", path) for path in spec.boot.files)


def _with_kernel(spec: MachineSpec) -> str:
    if spec.boot.how == "grub":
        return " with the kernel that its own grub chooses"
    return f" with {spec.boot.kernel.rpartition('/')[2]}" if spec.boot.kernel else ""


def _hand_over(spec: MachineSpec, draft: Draft, wanted: VolumeSpec) -> None:
    """A volume nobody formatted is noted as zeroed; once the machine has it, it may not count as that."""
    volume = draft.state.volumes.get(wanted.name)
    if volume is None or not volume.blank:
        return
    draft.do(
        Step(
            stage="start",
            title=f"Note that {wanted.name}, which is empty, is the machine's to write to",
            action=Hand(verb="volume-hand-over", args=(("name", wanted.name), ("machine", spec.uuid))),
            effect=(Put(room="volumes", key=wanted.name, value=replace(volume, blank=False)),),
            relies_on=(("volumes", wanted.name),),
        )
    )


def pause(spec: MachineSpec, draft: Draft) -> None:
    """Freeze what runs, memory and all."""
    domain = draft.state.domains[spec.name]
    if domain.paused:
        draft.so("pause", f"{spec.name} is paused")
        return
    _frozen(spec, draft, "pause", f"Pause {spec.name}: it stands still, its memory stays", paused=True)


def resume(spec: MachineSpec, draft: Draft) -> None:
    """Let a frozen one go on; nothing is planned for any other."""
    domain = draft.state.domains.get(spec.name)
    if domain and domain.paused:
        _frozen(spec, draft, "resume", f"Let {spec.name} go on where it was paused", paused=False)


def _frozen(spec: MachineSpec, draft: Draft, verb: str, says: str, *, paused: bool) -> None:
    domain = replace(draft.state.domains[spec.name], paused=paused)
    action = Hand(verb=f"domain-{verb}", args=(("name", spec.name), ("uuid", spec.uuid)))
    draft.do(Step(stage=verb, title=says, action=action, effect=(Put(room="domains", key=spec.name, value=domain),)))


def force_off(spec: MachineSpec, draft: Draft) -> None:
    """End it at once."""
    domain = draft.state.domains.get(spec.name)
    if domain is None or not domain.running:
        draft.so("stop", f"{spec.name} is off")
        return
    resume(spec, draft)  # what is frozen hears no signal, not even the last one
    draft.do(
        Step(
            stage="stop",
            title=f"End {spec.name} by force, as if its power was cut",
            action=Hand(verb="domain-force-off", args=(("name", spec.name), ("uuid", spec.uuid))),
            effect=(Put(room="domains", key=spec.name, value=replace(domain, running=False, paused=False)),),
            destroys=f"What {spec.name} has not written to its volumes yet is lost.",
        )
    )


def stop(spec: MachineSpec, draft: Draft, *, force: bool = True) -> None:
    """Ask it to power off; what still runs after the grace is ended with `force`, else the job is refused there."""
    domain = draft.state.domains.get(spec.name)
    if domain is None or not domain.running:
        draft.so("stop", f"{spec.name} is off")
        return
    resume(spec, draft)
    how = render.POWER_OFF.get(spec.image.family, "shutdown") if spec.place.lxc else "shutdown"
    named = (("name", spec.name), ("uuid", spec.uuid), ("how", how))
    args = (*named, ("grace_s", str(GRACE_S)), ("then", "force" if force else "refuse"))
    after = f"; by force after {GRACE_S} s" if force else f", and give it {GRACE_S} s"
    draft.do(
        Step(
            stage="stop",
            title=f"Power {spec.name} off{after}",
            action=Hand(verb="domain-stop", args=args),
            effect=(Put(room="domains", key=spec.name, value=replace(domain, running=False, paused=False)),),
            about_s=3.0,
        )
    )


def undefine(spec: MachineSpec, draft: Draft) -> None:
    draft.do(
        Step(
            stage="createvmconf",
            title=f"Have libvirt forget {spec.name}",
            action=Hand(verb="domain-undefine", args=(("name", spec.name), ("uuid", spec.uuid))),
            effect=(Drop(room="domains", key=spec.name),),
            relies_on=(("domains", spec.name),),
        )
    )


def leave_network(spec: EntrySpec, draft: Draft, *, also: tuple[str, ...] = ()) -> None:
    """Plan that the firewall, DHCP and the next boot know it no more; `also` names files that go with it."""
    known = [m for m in spec.members if m.key in draft.state.members]
    if known:
        says = f"Have the firewall forget {spec.vif}"
        effect = tuple(Drop(room="members", key=m.key) for m in known)
        draft.do(Step(stage="updateether", title=says, action=elements("delete", known), effect=effect))
    paths = [file.path for file in dhcp(spec)]
    there = [path for path in paths if path in draft.state.files]
    for path in there:
        _remove(draft, path)
    # The boot file goes last: as long as it is there, nobody knows whether dnsmasq was told.
    if there or spec.members_file in draft.state.files:
        says = f"Have DHCP and DNS of {spec.zone.name} forget {spec.name}"
        action = Hand(verb="leases-reload", args=(("zone", spec.zone.name),))
        draft.do(Step(stage="updateether", title=says, action=action))
    for path in (*also, spec.members_file):
        if path in draft.state.files:
            _remove(draft, path)


def _remove(draft: Draft, path: str) -> None:
    gone = (Drop(room="files", key=path),)
    draft.do(Step(stage="updateether", title=f"Remove {path}", action=RemoveFile(path=path), effect=gone))


def lvmremove(spec: MachineSpec, draft: Draft, volume: Volume) -> None:
    recorded = (("id", volume.id),) if volume.id else ()
    draft.do(
        Step(
            stage="lvmcreate",
            title=f"Zero the {'snapshot' if volume.origin else 'volume'} {volume.name} and remove it",
            action=Hand(verb="volume-remove", args=(("name", volume.name), ("machine", spec.uuid), *recorded)),
            effect=(Drop(room="volumes", key=volume.name),),
            relies_on=(("volumes", volume.name),),
            destroys=_lost(volume),
        )
    )


def _lost(volume: Volume) -> str:
    return f"All that is on {volume.name} ({volume.size_bytes // MIB} MB) is lost for good."


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
