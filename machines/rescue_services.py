"""Starting a machine from a rescue image, with its own volumes beside it, and ending that."""

from __future__ import annotations

from django.db import transaction

from accounts.doors import check
from audit.log import Actor
from dom0.errors import Refused
from hosts.models import Host, Job
from machines import passwords, services
from machines.models import Image, Machine, SiteDefaults, verbs_on
from machines.specs import ROOT_HASH


def images(host: Host) -> list[Image]:
    """What a machine of the host can be rescued with: every image that is made."""
    return list(Image.objects.filter(host=host).exclude(digest=""))


def usual(host: Host) -> Image | None:
    """The host's default image, where it is made."""
    defaults = SiteDefaults.objects.select_related("image").filter(host=host).first()
    return defaults.image if defaults and defaults.image and defaults.image.digest else next(iter(images(host)), None)


def machine_rescue(
    actor: Actor, machine: Machine, image: Image | None = None, *, reason: str = "", approved: bool = False
) -> tuple[str, Job]:
    """A one-time root password for the rescue system, and the job that starts it. Raises Refused, PermissionDenied."""
    check(actor, "machine.rescue", verbs=lambda user: verbs_on(user, machine))
    password, root_hash = passwords.one_time()
    with transaction.atomic():
        machine = services.present(machine)
        chosen = image or usual(machine.host)
        if chosen is None or chosen.host_id != machine.host_id or not chosen.digest:
            raise Refused(f"{machine.host} has no such image.", note="Nothing was changed. Choose one that is made.")
        if machine.rescue_id is not None:
            raise Refused(f"{machine.name} is being rescued already.", note="End that first, then begin anew.")
        Machine.objects.filter(pk=machine.pk).update(rescue=chosen, wanted=Machine.Wanted.RUNNING)
        args = {"image": chosen.name, "password": services.password_name(), "wanted": machine.wanted}
        title = f"Start {machine.name} from {chosen.name}, its own volumes beside it"
        hidden = {ROOT_HASH: root_hash}
        job = services.ask(
            actor, "machine.rescue", machine, title, reason=reason, args=args, hidden=hidden, approved=approved
        )
    return password, job


def rescue_end(actor: Actor, machine: Machine, *, reason: str = "", approved: bool = False) -> Job:
    """Ask for the job that starts it as before and removes the rescue system. Raises Refused, PermissionDenied."""
    check(actor, "machine.rescue", verbs=lambda user: verbs_on(user, machine))
    with transaction.atomic():
        machine = services.present(machine)
        image = machine.rescue
        if image is None:
            raise Refused(f"{machine.name} is not being rescued.", note="Nothing was changed.")
        Machine.objects.filter(pk=machine.pk).update(rescue=None)
        run = machine.wanted == Machine.Wanted.RUNNING
        args = {"end": True, "image_id": image.pk, "image": image.name, "family": image.family, "run": run}
        title = f"End the rescue of {machine.name}"
        return services.ask(actor, "machine.rescue", machine, title, reason=reason, args=args, approved=approved)
