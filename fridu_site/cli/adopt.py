"""fridu adopt [NAME]: machines on the hosts that are not in the panel. fridu drift NAME: what differs."""

from __future__ import annotations

from accounts.models import Owner
from dom0.errors import Refused
from fridu_site.cli.call import Call, Misunderstood
from fridu_site.cli.follow import follow
from hosts.models import Host, Job
from machines import adopt_services as services
from machines.adopt_services import Stranger
from machines.models import Machine
from zones.models import Zone

TAKES = ("zone", "owner", "vmip")
WAYS = ("restore", "adopt", "ignore")


def adopt(call: Call, host: Host) -> int:
    """Without a name: who is there. With one: make it a machine of the panel, where it is."""
    call.demand("machine.adopt")
    found = services.strangers(host)
    if not call.typed.words:
        for one in found:
            whose = "made by Fridu, its entry was lost" if one.ours else "made by something else"
            state = "running" if one.running else "off"
            call.say(f"{one.name:<20} {state:<8} {one.mac or 'no MAC':<18} {one.bridge or 'no bridge':<12} {whose}")
        if not found:
            call.say(f"Every machine on {host} is in the panel.")
        return 0
    return follow(call, _asked(call, host, found))


def _asked(call: Call, host: Host, found: list[Stranger]) -> Job:
    name, given = call.typed.words[0], dict(call.typed.pairs)
    if unknown := sorted(set(given) - set(TAKES)):
        raise Misunderstood(f"adopt knows no {unknown[0]}. It takes {', '.join(TAKES)}.")
    stranger = next((one for one in found if one.name == name), None)
    if stranger is None:
        there = ", ".join(one.name for one in found) or "none"
        raise Refused(f"No machine called {name} on {host} is unknown to the panel.", note=f"Unknown are: {there}.")
    zone, address = services.likely(stranger)
    if given.get("zone"):
        zone = Zone.objects.filter(host=host, name=given["zone"]).first()
    if zone is None:
        raise Refused(f"Which zone {name} is in can't be told by its bridge or lease.", note="Say it with zone=NAME.")
    address = given.get("vmip", address)
    if not address:
        raise Refused(f"{name} has no lease, so its address is not known.", note="Say it with vmip=ADDRESS.")
    return services.machine_adopt(
        call.actor,
        stranger,
        zone=zone,
        owner=_owner(call, given.get("owner", "")),
        address=address,
        reason=call.typed.reason,
        approved=call.typed.yes,
    )


def _owner(call: Call, name: str) -> Owner:
    owner = Owner.objects.filter(name=name).first() if name else Owner.objects.filter(person=call.user).first()
    if owner is None:
        raise Refused("Nobody says whose the machine is.", note="Say it with owner=NAME; the People page lists them.")
    return owner


def drift(call: Call, machine: Machine) -> int:
    """What differs of the machine; with restore, adopt or ignore, that of it."""
    way = call.typed.words[1] if len(call.typed.words) > 1 else ""
    if way and way not in WAYS:
        raise Misunderstood(f"drift knows no {way}. Say {', '.join(WAYS)}, or nothing to look.")
    items, seen = machine.drift.get("items", ()), machine.drift.get("digest", "")
    for item in items:
        call.say(f"{item['what']}: {item['wished']} wished, {item['found']} found")
    if way == "ignore":
        services.drift_ignore(call.actor, machine, digest=seen, reason=call.typed.reason)
        call.say(f"What differs of {machine.name} is left alone until something else does.")
        return 0
    if way:
        ask = services.drift_restore if way == "restore" else services.drift_adopt
        return follow(call, ask(call.actor, machine, digest=seen, reason=call.typed.reason, approved=call.typed.yes))
    if not items:
        call.say(f"Nothing differs of {machine.name}.")
        return 0
    ignored = machine.drift["digest"] == machine.ignored_drift
    call.say("--")
    call.say(
        "Left alone, as was said." if ignored else f"fridu drift {machine.name} restore, adopt or ignore settles it."
    )
    return 0 if ignored else 1
