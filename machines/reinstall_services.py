"""A reinstall: the machine stays who it is, its root is made anew."""

from __future__ import annotations

from django.db import transaction

from accounts.doors import check
from audit.log import Actor
from dom0.errors import Refused
from hosts.models import Job
from machines import generations, passwords, services
from machines.models import Image, Machine, verbs_on
from machines.specs import LOCKED, ROOT_HASH


def machine_reinstall(
    actor: Actor,
    machine: Machine,
    *,
    image: Image | None = None,
    root_hash: str = "",
    reason: str = "",
    approved: bool = False,
) -> Job:
    """Ask for the job that installs the machine's root anew, from `image` or its own; all that is on it is lost.

    `root_hash` is the crypt(3) hash of a one-time password; without one root is locked. Raises Refused,
    PermissionDenied.
    """
    check(actor, "machine.reinstall", verbs=lambda user: verbs_on(user, machine))
    with transaction.atomic():
        machine = services.present(machine)
        image = image or machine.image
        _refuse_unfit(machine, image)
        args = generations.wish(machine, image, Machine.Wanted.RUNNING)
        args["password"] = passwords.named() if root_hash else LOCKED
        title = f"Reinstall {machine.name} with {image.name}"
        hidden = {ROOT_HASH: root_hash} if root_hash else {}
        return services.ask(
            actor, "machine.reinstall", machine, title, reason=reason, args=args, hidden=hidden, approved=approved
        )


def _refuse_unfit(machine: Machine, image: Image) -> None:
    if image.host_id != machine.host_id:
        raise Refused(
            f"{image.name} is on {image.host}, not on {machine.host}.",
            note="Nothing was changed. Choose another image.",
        )
    if not image.digest:
        raise Refused(
            f"{image.name} is not made yet.", note="Nothing was changed. Wait for its job, or choose another image."
        )
    if image.min_root_mib > machine.root_mib:
        raise Refused(
            f"{image.name} needs a root of {image.min_root_mib} MB; {machine.name} has {machine.root_mib} MB.",
            note=f"Nothing was changed. Choose a smaller image, or grow the root to {image.min_root_mib} MB first.",
        )
