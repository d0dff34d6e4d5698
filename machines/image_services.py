"""What one can do with images: each is a job of its host, and a row that learns from it what the archive is."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q

from accounts.doors import check
from audit.log import Actor, Thing
from dom0.errors import Refused
from hosts.models import Host, Job
from hosts.services import job_create
from machines import checks, image_plan
from machines.models import Image, Machine, SiteDefaults

SUITES = ("bookworm", "trixie")
SUFFIXES = ("tar.gz", "tar.xz", "tar.zst", "tar.bz2", "tgz", "txz", "tar")


def image_import(actor: Actor, *, host: Host, name: str, file: str, devices: bool = False, reason: str = "") -> Job:
    """Ask for the job that makes an image of a file in the host's imports folder.

    Raises ValidationError by field, PermissionDenied.
    """
    check(actor, "image.make")
    if file not in {item["name"] for item in host.figures.get("imports", ())}:
        says = (
            f"There is no {file} in the imports folder of {host.name}. Put it there; the list is a minute old at most."
        )
        raise ValidationError({"file": [says]})
    suffix = next((s for s in SUFFIXES if file.endswith(f".{s}")), "tar")
    return _make(actor, host, name, suffix, f"Make the image {name} of {file}", {"file": file}, devices, reason)


def image_upload(actor: Actor, *, host: Host, name: str, upload: str, size: int, suffix: str, reason: str = "") -> Job:
    """Ask for the job that makes an image of `upload`, a file of `size` bytes in the panel's spool.

    Raises ValidationError by field, PermissionDenied.
    """
    check(actor, "image.make")
    args = {"upload": upload, "size": str(size)}
    return _make(actor, host, name, suffix, f"Make the image {name} of an upload", args, False, reason)


def image_build(actor: Actor, *, host: Host, name: str, suite: str, reason: str = "") -> Job:
    """Ask for the job that has mmdebstrap build an image. Raises ValidationError by field, PermissionDenied."""
    check(actor, "image.make")
    if suite not in SUITES:
        raise ValidationError({"suite": [f"Fridu builds {' and '.join(SUITES)}."]})
    return _make(actor, host, name, "tar.zst", f"Build the image {name}: {suite}", {"suite": suite}, False, reason)


def _make(
    actor: Actor, host: Host, name: str, suffix: str, title: str, args: dict[str, str], devices: bool, reason: str
) -> Job:
    with transaction.atomic():
        image = Image(host=host, name=name, archive="new", family=Image.Family.OTHER, devices=devices)
        checks.check_image(image)
        image.save()
        # With its number no file of that name can be there already.
        image.archive = f"{name}-{image.pk}.{suffix}"
        image.save(update_fields=["archive"])
        return job_create(actor, "image.make", host=host, title=title, target=thing_of(image), args=args, reason=reason)


def image_delete(actor: Actor, image: Image, *, reason: str = "", approved: bool = False) -> Job:
    """Ask for the job that removes the image and at last its row. Raises Refused, PermissionDenied."""
    check(actor, "image.delete")
    refuse_needed(image)
    title = f"Delete the image {image.name}"
    with transaction.atomic():
        return job_create(
            actor,
            "image.delete",
            host=image.host,
            title=title,
            target=thing_of(image),
            reason=reason,
            approved=approved,
        )


def image_kernel(actor: Actor, image: Image, kernel: str, *, reason: str = "") -> Job:
    """Ask for the job that takes a kernel out of the image. Raises Refused, PermissionDenied."""
    check(actor, "image.kernel")
    known = image.facts.get("kernels") or ()
    if kernel not in known:
        has = f"It has {', '.join(known)}." if known else "It has none."
        raise Refused(f"{image.name} has no kernel {kernel}.", note=f"Nothing was changed. {has}")
    title = f"Take the kernel {kernel} out of {image.name}"
    with transaction.atomic():
        args = {"kernel": kernel}
        target = thing_of(image)
        return job_create(actor, "image.kernel", host=image.host, title=title, target=target, args=args, reason=reason)


def refuse_needed(image: Image) -> None:
    """Raises Refused while machines or the defaults depend on the image, naming them."""
    machines = set(Machine.objects.filter(Q(image=image) | Q(snapshots__image=image)).values_list("name", flat=True))
    image_plan.refuse_needed(image.name, list(machines), default=SiteDefaults.objects.filter(image=image).exists())


def thing_of(image: Image) -> Thing:
    """The image as the log names it."""
    return Thing(kind="image", id=str(image.pk), text=image.name)
