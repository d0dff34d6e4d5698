"""Asking for a machine's diagnosis, and finding the last one."""

from __future__ import annotations

from django.db import transaction

from accounts.doors import check
from audit.log import Actor, Thing
from hosts import diagnosis
from hosts.models import Job
from hosts.services import job_create
from machines import services
from machines.models import Machine, verbs_on

KIND = "machine.doctor"
TARGET = "diagnosis"  # not the machine: a diagnosis holds up no job of it, and speaks for none


def machine_doctor(actor: Actor, machine: Machine) -> Job:
    """Have the host look at everything between the machine and who wants to reach it.

    Raises PermissionDenied; Refused while another diagnosis of it is on its way.
    """
    check(actor, KIND, verbs=lambda user: verbs_on(user, machine))
    with transaction.atomic():
        thing = Thing(kind=TARGET, id=str(machine.pk), text=machine.name)
        return job_create(actor, KIND, host=machine.host, title=f"Diagnose {machine.name}", target=thing)


def machine_check(actor: Actor, machine: Machine, *, repair: bool, reason: str = "") -> Job:
    """Have its filesystem checked while it is off; with `repair` what needs no question is mended.

    Raises Refused, PermissionDenied.
    """
    check(actor, "machine.check", verbs=lambda user: verbs_on(user, machine))
    with transaction.atomic():
        machine = services.present(machine)
        title = f"{'Repair' if repair else 'Check'} the filesystem of {machine.name}"
        return services.ask(actor, "machine.check", machine, title, reason=reason, args={"repair": repair})


def latest_check(machine: Machine) -> Job | None:
    return diagnosis.latest("machine.check", "machine", machine.pk)


def latest(machine: Machine) -> Job | None:
    """The last diagnosis of the machine, ended or not."""
    return diagnosis.latest(KIND, TARGET, machine.pk)
