"""Pausing a machine and letting it go on."""

from __future__ import annotations

from audit.log import Actor
from hosts.models import Job
from machines.models import Machine
from machines.services import power


def machine_pause(actor: Actor, machine: Machine, *, reason: str = "") -> Job:
    """Wish the machine standing still, its memory kept. Raises Refused, PermissionDenied."""
    return power(actor, "machine.pause", machine, "Pause", Machine.Wanted.PAUSED, reason)


def machine_resume(actor: Actor, machine: Machine, *, reason: str = "") -> Job:
    """Wish a paused machine going on. Raises Refused, PermissionDenied."""
    return power(actor, "machine.resume", machine, "Resume", Machine.Wanted.RUNNING, reason)
