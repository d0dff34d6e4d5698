"""Stages of a machine's creation done once more: the seed's way out of a creation that broke."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import transaction

from accounts.doors import check
from audit.log import Actor
from dom0.errors import Refused
from hosts.models import Job
from machines import changing, generations, modes, services
from machines.models import Machine
from machines.specs import LOCKED


def machine_stages(
    actor: Actor,
    machine: Machine,
    stages: Mapping[str, str],
    *,
    reason: str = "",
    approved: bool = False,
) -> Job:
    """Ask for the job that does the stages of a machine's creation again, as `stages` says by name.

    A stage nothing is said of is done unless it is done. What is forced on its volumes gets the root a new
    generation. Raises Refused, PermissionDenied.
    """
    check(actor, "machine.stages")
    chosen = modes.read(stages)
    with transaction.atomic():
        machine = Machine.objects.select_for_update(of=("self",)).select_related("host", "image").get(pk=machine.pk)
        _refuse_unfit(machine, chosen)
        wanted = str(Machine.Wanted.RUNNING) if chosen.does("start") else machine.wanted
        args: dict[str, object] = {"stages": dict(stages), "password": LOCKED}
        if chosen.loses:
            args |= generations.wish(machine, machine.image, wanted)
        Machine.objects.filter(pk=machine.pk).update(wanted=wanted)
        title = f"Do stages of {machine.name} again: {in_words(stages) or 'what is missing'}"
        return services.ask(actor, "machine.stages", machine, title[:200], reason=reason, args=args, approved=approved)


def in_words(stages: Mapping[str, str]) -> str:
    """The stages as they would be typed: "fscreate=force, start=no"."""
    return ", ".join(f"{stage}={stages[stage]}" for stage in modes.STAGES if stages.get(stage, "yes") != "yes")


def _refuse_unfit(machine: Machine, chosen: modes.Modes) -> None:
    changing.refuse_half_way(machine)
    if machine.deleting:
        raise Refused(f"{machine.name} is being deleted.", note="Wait for the end of that job, or cancel it.")
    busy = Job.objects.filter(target_kind="machine", target_id=machine.pk, state__in=Job.OPEN).first()
    if busy:
        raise Refused(f"Job {busy.pk} ({busy.title}) is not over.", note="Wait for its end, or cancel it.")
    kept = ", ".join(machine.snapshots.values_list("label", flat=True)[:5]) if chosen.forced("lvmcreate") else ""
    if kept:
        raise Refused(
            f"{machine.name} has snapshots ({kept}), which go with the volume they were taken of.",
            note="Nothing was changed. Delete them first, or leave lvmcreate as it is.",
        )
