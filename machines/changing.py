"""Machines that are between two names or places: a job is about to rename or move them, or stopped half-way."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from django.db.models import Exists, OuterRef, QuerySet

from dom0.errors import Refused
from hosts.models import Host, Job
from machines.models import Machine
from zones.dependents import Dependent
from zones.models import Zone

KIND = "machine.change"
IDENTITY = ("name", "zone", "address")


def half_way(machine: Machine) -> Job | None:
    """The job that stopped while it renamed or moved the machine, whose parts may have either name now."""
    job = Job.objects.filter(kind=KIND, target_id=machine.pk).exclude(state=Job.State.CANCELLED).order_by("pk").last()
    stopped = job is not None and job.state in Job.RESUMABLE and job.attempt > 0
    return job if stopped and job and set(IDENTITY) & set(job.args.get("change", {})) else None


def refuse_half_way(machine: Machine) -> None:
    """Raises Refused where something else can't be done with the machine before that job was gone on with or undone."""
    job = half_way(machine)
    if job is not None:
        raise Refused(
            f"{machine.name} is half-way: job {job.pk} ({job.title}) stopped, and parts of it may have either name.",
            note=f"Nothing was changed. Go on with job {job.pk}, or undo it, on its page.",
        )


def called_at(machine: Machine, when: datetime) -> tuple[str, str]:
    """The machine's name then, and its zone's domain, by the changes of both that ended well since."""
    name, zone = machine.name, machine.zone
    ended = Job.objects.filter(kind=KIND, target_id=machine.pk, state__in=(Job.State.DONE, Job.State.NOTHING))
    for job in ended.filter(ended__gt=when).order_by("-pk"):
        former = job.args.get("former", {})
        name = former.get("name", name)
        zone = Zone.objects.filter(pk=former["zone"]).first() or zone if "zone" in former else zone
    return name, zone.domain


def unsettled(host: Host) -> QuerySet[Job]:
    """Jobs that are to give a machine of the host another name or place, or stopped while they did."""
    later = Job.objects.filter(kind=KIND, target_id=OuterRef("target_id"), pk__gt=OuterRef("pk"))
    later = later.exclude(state=Job.State.CANCELLED)
    jobs = Job.objects.filter(kind=KIND, host=host, state__in=(*Job.OPEN, *Job.RESUMABLE))
    jobs = jobs.filter(args__change__has_any_keys=list(IDENTITY))
    return jobs.filter(~Exists(later)).exclude(state__in=Job.RESUMABLE, attempt=0)


def kept(host: Host, field: str, *, but: int | None = None) -> dict[str, str]:
    """Names or addresses that such jobs keep for their machines, with whose: both what was and what is to be.

    `but`: not those of the machine with that number.
    """
    found = {}
    for job in unsettled(host):
        if job.target_id != but:
            for side in ("change", "former"):
                if field in job.args.get(side, {}):
                    found[str(job.args[side][field])] = job.target_text
    return found


def dependents(zone: Zone) -> Iterator[Dependent]:
    """Machines on their way into the zone keep it from going."""
    for job in unsettled(zone.host):
        if zone.pk in (job.args.get("change", {}).get("zone"), job.args.get("former", {}).get("zone")):
            yield Dependent(kind="machine on its way", name=job.target_text)
