"""fridu rescue NAME [image=|--end]: start a machine from a throw-away root, and back."""

from __future__ import annotations

from dom0.errors import Refused
from fridu_site.cli.call import Call, Misunderstood
from fridu_site.cli.follow import follow
from machines import rescue_services as services
from machines.models import Image, Machine


def rescue(call: Call, machine: Machine) -> int:
    given = dict(call.typed.pairs)
    if unknown := sorted(set(given) - {"image"}):
        raise Misunderstood(f"rescue knows no {unknown[0]}. It takes image=, or --end.")
    if call.typed.end:
        return follow(call, services.rescue_end(call.actor, machine, reason=call.typed.reason, approved=call.typed.yes))
    image = _image(machine, given["image"]) if given.get("image") else None
    password, job = services.machine_rescue(
        call.actor, machine, image, reason=call.typed.reason, approved=call.typed.yes
    )
    code = follow(call, job)
    if code == 0:
        call.say(f"root's one-time password in the rescue system: {password}")
        call.say(f"Its own volumes are beside it. Back to normal: fridu rescue {machine.name} --end")
    return code


def _image(machine: Machine, name: str) -> Image:
    there = services.images(machine.host)
    found = next((image for image in there if image.name == name), None)
    if found is None:
        names = ", ".join(image.name for image in there)
        raise Refused(f"{machine.host} has no image called {name}.", note=f"It has {names}." if names else "Add one.")
    return found
