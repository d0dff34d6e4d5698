"""What of a host is promised to machines that are on their way to run: it is free no more, though nobody has it yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from django.db.models import QuerySet

from hosts.models import Host, Job
from machines.models import Machine
from machines.specs import MachineSpec

_RUN = (Machine.Observed.RUNNING, Machine.Observed.PAUSED)
_ENDS = ("machine.stop", "machine.delete", "machine.pause")


def memory_mib(host: Host | int, *, before: Job | None = None, but: int | None = None) -> int:
    """MiB of machines that are off and that an open job will start; with `before` those asked for earlier alone.

    `but`: not the machine with that number. Whoever was asked for first has it: two never wait for each other.
    """
    jobs = _open(host, before).exclude(kind__in=_ENDS)
    machines = Machine.objects.filter(pk__in=jobs.values("target_id"), wanted=Machine.Wanted.RUNNING)
    if but is not None:
        machines = machines.exclude(pk=but)
    return sum(machines.exclude(observed__in=_RUN).values_list("memory_mib", flat=True))


def room_mib(host: Host) -> Mapping[str, int]:
    """MiB of volumes that open jobs are to create, by volume group ("": image files)."""
    jobs = _open(host, None).filter(kind="machine.create")
    found: dict[str, int] = {}
    for machine in Machine.objects.filter(pk__in=jobs.values("target_id"), built_at=None):
        size = machine.root_mib + machine.swap_mib + machine.log_mib
        found[machine.volume_group] = found.get(machine.volume_group, 0) + size
    return found


def kept_of(spec: MachineSpec, job: Job) -> MachineSpec:
    """The spec, knowing what was promised before that job was asked for."""
    promised = memory_mib(job.host_id, before=job, but=job.target_id)
    return replace(spec, promised_mib=promised) if promised else spec


def _open(host: Host | int, before: Job | None) -> QuerySet[Job]:
    jobs = Job.objects.filter(host=host, target_kind="machine", state__in=Job.OPEN)
    return jobs if before is None else jobs.filter(pk__lt=before.pk)
