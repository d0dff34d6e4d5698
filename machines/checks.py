"""All that can be said of a wish before the host is asked: sentences by field, each with a value that works."""

from __future__ import annotations

from django.core.exceptions import ValidationError

from accounts.models import name_grammar
from hosts.models import Job
from machines import addresses, changing, size_checks
from machines.models import Expected, Image, Machine, SiteDefaults

RESERVED = ("localhost", "dom0")


def image_or_default(image: Image | None, defaults: SiteDefaults) -> Image:
    """The image to use. Raises ValidationError where none was named and the site has no default."""
    found = image or defaults.image
    if found is None:
        raise ValidationError({"image": "Choose an image; this host has no default one."})
    return found


def check_new(machine: Machine) -> None:
    """Everything about a machine not yet saved. Raises ValidationError, a sentence a field."""
    complaints = {
        "name": name_complaint(machine),
        "zone": zone_complaint(machine),
        "address": addresses.complaint(machine.zone, machine.address, name=machine.name),
        **size_checks.of_machine(machine),
    }
    errors = {field: [says] for field, says in complaints.items() if says}
    if errors:
        raise ValidationError(errors)


def check_image(image: Image) -> None:
    """Everything about an image not yet saved. Raises ValidationError, a sentence a field."""
    other = Image.objects.filter(host=image.host, name__iexact=image.name).first()
    if other is not None:
        says = f"There is an image {other.name} already. Choose another name, for example {image.name}-2."
        raise ValidationError({"name": [says]})
    image.full_clean()


def check_defaults(defaults: SiteDefaults) -> None:
    """Raises ValidationError, a sentence a field."""
    errors = {field: [says] for field, says in size_checks.of_defaults(defaults).items() if says}
    if errors:
        raise ValidationError(errors)
    defaults.full_clean(validate_unique=False, validate_constraints=False)


def name_complaint(machine: Machine) -> str:
    """Why the machine, perhaps not saved yet, can't have its name; "" where it can."""
    name = machine.name
    if len(name) > 31:
        return f"A name has at most 31 letters, digits and hyphens; this one has {len(name)}. Use one such as WEB-Dom."
    try:
        name_grammar(name)
    except ValidationError as error:
        return str(error.message)
    if name.lower() in RESERVED or name.lower() == machine.host.name.lower():
        return f"{name} already means something else on this network. Choose another name, for example {name}-1."
    other = Machine.objects.filter(host=machine.host, name__iexact=name).exclude(pk=machine.pk).first()
    if other is None:
        return _kept(machine) or _promised(machine)
    taken = {n.lower() for n in Machine.objects.filter(host=machine.host).values_list("name", flat=True)}
    free = next(f"{name[:28]}{n}" for n in range(2, len(taken) + 3) if f"{name[:28]}{n}".lower() not in taken)
    return f"{other.name} exists already, at {other.address}. Choose another name, for example {free}."


def _kept(machine: Machine) -> str:
    """Whether the name is kept for a machine of a former box, at another address."""
    kept = Expected.objects.filter(host=machine.host, name__iexact=machine.name).first()
    if kept is None or kept.address == machine.address:
        return ""
    return f"{kept.name} is kept for a machine of the former box, at {kept.address}. Use that address, or another name."


def _promised(machine: Machine) -> str:
    """Whether a job gives the name to another machine, or takes it from one and has not ended well."""
    promised = changing.kept(machine.host, "name", but=machine.pk)
    whose = {name.lower(): who for name, who in promised.items()}.get(machine.name.lower())
    return (
        f"A job of {whose} still needs the name {machine.name}. Wait for its end, or choose another." if whose else ""
    )


def zone_complaint(machine: Machine) -> str:
    """Why the machine can't live in its zone; "" where it can."""
    zone = machine.zone
    if zone.host_id != machine.host_id:
        return f"{zone.name} is on {zone.host}, not on {machine.host}."
    leaving = Job.objects.filter(kind="zone.delete", target_kind="zone", target_id=zone.pk, state__in=Job.OPEN).first()
    return f"Job {leaving.pk} deletes {zone.name}. Choose another zone, or cancel that job." if leaving else ""
