"""Asking for a machine's diagnosis, and finding the last one."""

from __future__ import annotations

from django.db import transaction

from accounts.doors import check
from audit.log import Actor, Thing
from hosts import diagnosis
from hosts.models import Job
from hosts.services import job_create
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


def latest(machine: Machine) -> Job | None:
    """The last diagnosis of the machine, ended or not."""
    return diagnosis.latest(KIND, TARGET, machine.pk)
