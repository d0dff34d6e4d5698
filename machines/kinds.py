"""The machine's job kinds: rows become a spec, the planner does the rest, the outcome is booked."""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path

from django.utils import timezone

import dom0
from dom0 import growing, kernels
from dom0.errors import Refused
from dom0.host import HostConfig
from dom0.plan import Plan
from dom0.probe import Scope
from dom0.state import State
from hosts.kinds import Kind, register
from hosts.models import Job
from machines import plan, promises, services
from machines.models import Boot, Image, Machine, SiteDefaults, Snapshot
from machines.specs import LOCKED, BootSpec, ImageSpec, LimitsSpec, MachineSpec, PlaceSpec, ZoneSpec

LIMITS = tuple(field.name for field in fields(LimitsSpec))
PROJECT = str(Path(dom0.__file__).resolve().parents[1])


def register_kinds() -> None:
    """Make the machine kinds known; called once at start-up."""
    register(
        Kind(
            name="machine.delete",
            queue="work",
            approval="own",
            scope=scope_of,
            plan=_delete,
            locks=locks_of,
            done=_deleted,
            failed=_not_deleted,
        )
    )
    _power("start", lambda job, state, config: plan.plan_start(spec_of_job(job, config), state))
    _power("stop", _stop)
    _power("reboot", lambda job, state, config: plan.plan_reboot(spec_of_job(job, config), state, f"job-{job.pk}"))
    _power("key", lambda job, state, config: plan.plan_key(spec_of_job(job, config), state, f"job-{job.pk}"))
    _power("password", lambda job, state, config: plan.plan_password(spec_of_job(job, config), state))


def _power(name: str, planner: object) -> None:
    """A kind that needs no approval."""
    register(
        Kind(
            name=f"machine.{name}",
            queue="power",
            approval="none",
            scope=scope_of,
            plan=planner,  # type: ignore[arg-type]
            locks=locks_of,
            done=_powered,
        )
    )


def spec_of(
    machine: Machine, config: HostConfig, *, password: str = LOCKED, keys: tuple[str, ...] | None = None
) -> MachineSpec:
    """The machine as the planner reads it, with everything it needs of its host, zone and image.

    `keys` spares asking for its SSH keys, where a plan does not depend on them.
    """
    zone, image = machine.zone, machine.image
    if keys is None:
        lines = machine.ssh_keys.filter(user__is_active=True).order_by("fingerprint", "pk")
        keys = tuple(lines.values_list("line", flat=True))
    return MachineSpec(
        place=place_of(config),
        zone=ZoneSpec(name=zone.name, bridge=zone.bridge, gateway=zone.gateway, domain=zone.domain),
        image=image_spec(image),
        name=machine.name,
        uuid=str(machine.uuid),
        address=machine.address,
        mac=machine.mac,
        vif=machine.vif,
        uid_base=machine.uid_base,
        vcpus=machine.vcpus,
        memory_mib=machine.memory_mib,
        root_mib=machine.root_mib,
        root_generation=machine.root_generation,
        volume_group=machine.volume_group,
        swap_mib=machine.swap_mib,
        log_mib=machine.log_mib,
        filesystem=machine.filesystem,
        boot=_boot(machine, config),
        limits=LimitsSpec(**{name: getattr(machine, name) for name in LIMITS}),
        start_order=machine.start_order,
        on_crash=machine.on_crash,
        keys=keys,
        password=password,
        autostart=machine.autostart and machine.wanted == Machine.Wanted.RUNNING,
        rescue=image_spec(machine.rescue) if machine.rescue else None,
        foreign=machine.adopted and not image.digest,
    )


def _boot(machine: Machine, config: HostConfig) -> BootSpec:
    """Files by their names in the host's kernels folder, the initrd beside its kernel; none on lxc.

    Where the machine names none: the newest taken out of its image, or the host's default.
    """
    if config.lxc:
        return BootSpec(how=machine.boot)
    if machine.boot == Boot.GRUB:
        return BootSpec(how=machine.boot, kernel=kernels.GRUB)
    name = machine.kernel
    if not name and machine.boot == Boot.IMAGE:
        name = kernels.taken_from(config, machine.image.name)
    elif not name:
        name = SiteDefaults.objects.filter(host=machine.host_id).values_list("kernel", flat=True).first() or ""
    if not name:
        return BootSpec(how=machine.boot)
    return BootSpec(how=machine.boot, kernel=kernels.path_of(config, name), initrd=kernels.initrd_of(config, name))


def image_spec(image: Image) -> ImageSpec:
    return ImageSpec(
        name=image.name,
        archive=image.archive,
        digest=image.digest,
        family=image.family,
        min_root_mib=image.min_root_mib,
        devices=image.devices,
    )


def place_of(config: HostConfig) -> PlaceSpec:
    return PlaceSpec(
        host=config.name,
        libvirt=config.libvirt,
        volumes=config.volumes,
        state=config.state,
        run=config.run,
        python=sys.executable,
        project=PROJECT,
        grows_mounted=growing.may_online(),
    )


def machine_of(job: Job) -> Machine:
    rows = Machine.objects.select_related("zone", "image", "host", "owner", "rescue")
    machine = rows.filter(pk=job.target_id).first()
    if machine is None:
        raise Refused(f"The machine {job.target_text} is no more.", note="Create it anew if you still want it.")
    return machine


def spec_of_job(job: Job, config: HostConfig) -> MachineSpec:
    spec = spec_of(machine_of(job), config, password=job.args.get("password", LOCKED))
    return promises.kept_of(spec, job)


def scope_of(job: Job, config: HostConfig) -> Scope:
    return Scope(**plan.looked_at(spec_of_job(job, config)))  # type: ignore[arg-type]


def locks_of(job: Job) -> tuple[str, ...]:
    return (f"machine-{job.target_id}",)


def _stop(job: Job, state: State, config: HostConfig) -> Plan:
    return plan.plan_stop(spec_of_job(job, config), state, force=bool(job.args.get("force")))


def _delete(job: Job, state: State, config: HostConfig) -> Plan:
    services.refuse_needed(machine_of(job))
    return plan.plan_delete(spec_of_job(job, config), state)


def _deleted(job: Job) -> None:
    Snapshot.objects.filter(machine=job.target_id).delete()
    Machine.objects.filter(pk=job.target_id).delete()


def _not_deleted(job: Job) -> None:
    """A machine of which nothing was removed yet is as it was."""
    job = Job.objects.get(pk=job.pk)
    if not job.attempt:
        Machine.objects.filter(pk=job.target_id).update(deleting=False)


def _powered(job: Job) -> None:
    """What the job has just looked at, for the page, before the watcher's next round."""
    now = timezone.now()
    found = {
        "machine.start": Machine.Observed.RUNNING,
        "machine.reboot": Machine.Observed.RUNNING,
        "machine.stop": Machine.Observed.STOPPED,
    }.get(job.kind)
    rows = Machine.objects.filter(pk=job.target_id)
    if found and job.kind == "machine.reboot":
        rows.update(observed=found, observed_at=now, since=now)
    elif found:
        rows.exclude(observed=found).update(observed=found, since=now)
        rows.update(observed_at=now)
