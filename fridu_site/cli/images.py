"""`fridu image`: what machines are made from."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied, ValidationError

from accounts.access import may
from dom0.errors import Refused
from fridu_site.cli.call import Call, Misunderstood
from fridu_site.cli.follow import follow
from hosts.models import Host, Job
from machines import image_services
from machines.models import Image
from ui import words

ADD = ("file", "suite", "devices")


def image_(call: Call, host: Host) -> int:
    """List the images and what could become one, or add or delete one, or take a kernel out of one."""
    what = call.typed.words[0] if call.typed.words else ""
    if call.typed.pairs and what != "add":
        raise Misunderstood(f"image {what}".rstrip() + f" takes no {next(iter(call.typed.pairs))}=…")
    if what == "":
        return _list(call, host)
    if what == "add":
        return follow(call, _add(call, host))
    if what == "delete":
        image = _image(call, host)
        return follow(
            call,
            image_services.image_delete(call.actor, image, reason=call.typed.reason, approved=call.typed.yes),
        )
    if what == "kernel":
        image, kernel = _image(call, host), call.word(2, "the kernel's file in its /boot")
        return follow(call, image_services.image_kernel(call.actor, image, kernel, reason=call.typed.reason))
    raise Misunderstood(f"image does not know {what}. It takes add, delete, kernel, or nothing more.")


def _list(call: Call, host: Host) -> int:
    if not may(call.user, "image.view"):
        raise PermissionDenied(f"{call.user} may not do that (image.view).")
    for image in Image.objects.filter(host=host):
        state = f"needs {image.min_root_mib} MB" if image.digest else "not made yet"
        call.say(f"  {image.name:<24} {image.get_family_display():<16} {state}, {image.archive}")
        for kernel in image.facts.get("kernels") or ():
            call.say(f"    {kernel}")
    for item in host.figures.get("imports", ()):
        call.say(f"  In the imports folder: {item['name']}, {words.size(item['size'])}")
    for kernel in host.figures.get("kernels", ()):
        call.say(f"  Kernel on {host}: {kernel['name']}, {kernel['initrd'] or 'without an initrd'}")
    return 0


def _add(call: Call, host: Host) -> Job:
    name = call.word(1, "the image's name, for example: fridu image add debian-13 suite=trixie")
    given = call.typed.pairs
    unknown = sorted(set(given) - set(ADD))
    if unknown:
        raise Misunderstood(f"image add knows no {unknown[0]}. It takes {', '.join(ADD)}.")
    if ("file" in given) == ("suite" in given):
        raise Misunderstood("image add takes file=… of the imports folder, or suite=…, for example suite=trixie.")
    reason, devices = call.typed.reason, given.get("devices", "no")
    if devices not in ("yes", "no"):
        raise Misunderstood(f"devices={devices} is neither yes nor no.")
    try:
        if "suite" in given:
            return image_services.image_build(call.actor, host=host, name=name, suite=given["suite"], reason=reason)
        return image_services.image_import(
            call.actor, host=host, name=name, file=given["file"], devices=devices == "yes", reason=reason
        )
    except ValidationError as error:
        raise Refused(" ".join(error.messages), note="Nothing was added.") from error


def _image(call: Call, host: Host) -> Image:
    name = call.word(1, "an image's name; `fridu image` lists them")
    image = Image.objects.filter(host=host, name=name).first() if may(call.user, "image.view") else None
    if image is None:
        raise PermissionDenied(f"There is no image called {name}.")
    return image
