"""What a machine may take of its host: an operator's wish, held by its job until it is in force."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Sum

from accounts.doors import check
from audit.log import Actor
from hosts.models import Host, Job
from machines import limit_words
from machines.models import Machine
from machines.services import ask, present
from machines.specs import LimitsSpec
from zones import rates
from zones.models import Zone

FIELDS = tuple(field.name for field in fields(LimitsSpec))
DISK = ("disk_kib_s", "disk_iops")
NO_DISK = "{host} can't limit disks by machine: under Xen dom0 reads and writes for all of them. Leave it empty."


def machine_limits(
    actor: Actor, machine: Machine, *, reason: str = "", approved: bool = False, **wish: int | None
) -> Job:
    """Change those limits that are named (None or 0: no limit) and ask for the job that makes them hold.

    Raises ValidationError per field, Refused, PermissionDenied, TypeError for a limit nobody knows.
    """
    check(actor, "machine.limits")
    if unknown := sorted(set(wish) - set(FIELDS)):
        raise TypeError(f"a machine has no limit {unknown[0]}")
    with transaction.atomic():
        machine = present(machine)
        before = limits_of(machine)
        after = LimitsSpec(**{**vars(before), **{name: value or 0 for name, value in wish.items()}})
        _check(machine, after)
        change = {name: getattr(after, name) for name in FIELDS if getattr(after, name) != getattr(before, name)}
        args = {"change": change, "former": {name: getattr(before, name) for name in change}}
        title = (
            f"Set the limits of {machine.name}" if any(vars(after).values()) else f"Lift the limits of {machine.name}"
        )
        return ask(actor, "machine.limits", machine, title, reason=reason, args=args, approved=approved)


def limits_of(machine: Machine, change: dict[str, Any] | None = None) -> LimitsSpec:
    """The machine's limits, with a job's change on them."""
    return LimitsSpec(**{**{name: getattr(machine, name) for name in FIELDS}, **(change or {})})


def offers_disk(host: Host) -> bool:
    """Whether a limit of a disk holds there."""
    return str(host.facts.get("libvirt", "")).startswith("lxc:")


def left_to_share(zone: Zone, machine: Machine) -> int | None:
    """The most that `machine` can be sure of, in kbit/s; None where its zone has no ceiling."""
    ceilings = [rate for rate in (zone.in_kbit, zone.out_kbit) if rate]
    if not ceilings:
        return None
    others = Machine.objects.filter(zone=zone).exclude(pk=machine.pk).aggregate(sum=Sum("net_share_kbit"))["sum"] or 0
    most = min(ceilings)
    return max(0, most - max(1, most // 100) - others)


def share_complaint(machine: Machine, kbit: int) -> str:
    """Why the machine can't be sure of so much of its zone's bandwidth; "" where it can."""
    zone = machine.zone
    left = left_to_share(zone, machine)
    if not kbit or (left is not None and kbit <= left):
        return ""
    if left is None:
        return (
            f"{zone.name} has no ceiling of its own, so there is nothing to be sure of. "
            f"Give it one first: fridu zone change {zone.name} in=100M out=100M"
        )
    return (
        f"Of {zone.name}'s bandwidth {rates.say(left) or 'nothing'} is left to promise: its machines' "
        f"shares can't be more than it has. Use {rates.typed(left)} or less."
    )


def _check(machine: Machine, wanted: LimitsSpec) -> None:
    """Raises ValidationError by field."""
    found = limit_words.complaints(wanted, vcpus=machine.vcpus)
    if "net_share_kbit" not in found and (says := share_complaint(machine, wanted.net_share_kbit)):
        found["net_share_kbit"] = says
    if not offers_disk(machine.host):
        found |= {name: NO_DISK.format(host=machine.host) for name in DISK if getattr(wanted, name)}
    if found:
        raise ValidationError(found)
