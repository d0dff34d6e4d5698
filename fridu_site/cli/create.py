"""`fridu create`: a machine in the seed's words, and stages of its creation done again."""

from __future__ import annotations

from typing import Any

from netaddr import AddrFormatError, IPAddress

from accounts.models import Owner, SSHKey
from dom0.errors import Refused
from fridu_site.cli import call as typed
from fridu_site.cli.call import Call, Misunderstood
from fridu_site.cli.follow import follow
from hosts.models import Host
from machines import create_services, services
from machines.create_sizes import Sizes
from machines.models import Boot, Filesystem, Image, Machine
from machines.modes import STAGES
from zones.models import Zone

SIZES = {"vmram": "memory_mib", "vmroot": "root_mib", "vmswap": "swap_mib", "vmlog": "log_mib"}
NUMBERS = {"vcpus": "vcpus", "order": "start_order"}
CHOICES = {"fs": ("filesystem", Filesystem.values), "boot": ("boot", Boot.values)}
OTHERS = ("lvmvg", "kernel", "autostart", "zone", "owner", "image", "keys")
KEYS = ("vmname", "vmip", *SIZES, *NUMBERS, *CHOICES, *OTHERS, *STAGES)
EXAMPLE = "fridu create vmname=xen-test vmip=10.10.1.4"


def create(call: Call) -> int:
    """Make a machine; of one that exists, do the stages that are named again."""
    call.demand("machine.create")
    given = _in_our_words(dict(call.typed.pairs))
    unknown = sorted(set(given) - set(KEYS))
    if unknown:
        raise Misunderstood(f"create knows no {unknown[0]}. It takes {', '.join(KEYS)}.")
    if not given.get("vmname"):
        raise Misunderstood(f"create needs vmname, for example: {EXAMPLE}")
    stages = {stage: given[stage] for stage in STAGES if stage in given}
    there = _there(call, given, stages)
    if there is not None:
        return _again(call, there, given, stages)
    if not given.get("vmip"):
        raise Misunderstood(f"create needs vmip, for example: {EXAMPLE}")
    zone = _zone(call, given["vmip"], given.get("zone", ""))
    owner = _owner(call, given.get("owner", ""))
    job = services.machine_create(
        call.actor,
        host=zone.host,
        zone=zone,
        owner=owner,
        name=given["vmname"],
        address=given["vmip"],
        image=_image(zone.host, given["image"]) if given.get("image") else None,
        ssh_keys=_keys(owner, given.get("keys")),
        stages=stages,
        reason=call.typed.reason,
        approved=call.typed.yes,
        **_sizes(given),
    )
    return follow(call, job)


def _in_our_words(given: dict[str, str]) -> dict[str, str]:
    """The older tools' bootfrom=dom0-dir is boot=host; where kernels lie, the host file says. Raises Misunderstood."""
    if "xenkerneldir" in given:
        raise Misunderstood("Kernels lie in the host's kernels folder. Put it there, then name it: kernel=FILE.")
    if (source := given.pop("bootfrom", None)) is None:
        return given
    return {**given, "boot": Boot.HOST if source == "dom0-dir" else source}


def _there(call: Call, given: dict[str, str], stages: dict[str, str]) -> Machine | None:
    """The machine that is meant: one of that name, where its address fits and there is something left to do."""
    found = Machine.objects.visible_to(call.user, "machine.stages").filter(name=given["vmname"])
    found = found.filter(host__name=call.typed.host) if call.typed.host else found
    machines = [m for m in found.select_related("host") if given.get("vmip", m.address) == m.address]
    meant = [m for m in machines if stages or m.built_at is None]
    if len(meant) > 1:
        raise Refused(f"Several hosts have a machine called {given['vmname']}.", note="Say which with --host NAME.")
    return meant[0] if meant else None


def _again(call: Call, machine: Machine, given: dict[str, str], stages: dict[str, str]) -> int:
    more = sorted(set(given) - {"vmname", "vmip", *STAGES})
    if more:
        raise Refused(
            f"{machine.name} exists; create does its stages again and changes nothing else of it.",
            note=f"Leave out {', '.join(more)}; to change that: fridu change {machine.name} {more[0]}=….",
        )
    call.demand("machine.stages")
    job = create_services.machine_stages(call.actor, machine, stages, reason=call.typed.reason, approved=call.typed.yes)
    return follow(call, job)


def _sizes(given: dict[str, str]) -> Sizes:
    """What was typed of it, by the service's names. Raises Misunderstood."""
    found: dict[str, Any] = {field: typed.mib(given[key], key) for key, field in SIZES.items() if key in given}
    found |= {field: typed.count(given[key], key) for key, field in NUMBERS.items() if key in given}
    for key, (field, values) in CHOICES.items():
        if key in given and given[key] not in values:
            raise Misunderstood(f"{key}={given[key]} is none of {', '.join(values)}.")
        found |= {field: given[key]} if key in given else {}
    if "lvmvg" in given:
        found["volume_group"] = "" if given["lvmvg"] == "none" else given["lvmvg"]
    if "kernel" in given:
        found["kernel"] = given["kernel"]
    if "autostart" in given:
        if given["autostart"] not in ("yes", "no"):
            raise Misunderstood(f"autostart={given['autostart']} is neither yes nor no.")
        found["autostart"] = given["autostart"] == "yes"
    sizes: Sizes = found  # type: ignore[assignment]
    return sizes


def _zone(call: Call, address: str, name: str) -> Zone:
    zones = Zone.objects.select_related("host")
    zones = zones.filter(host__name=call.typed.host) if call.typed.host else zones
    try:
        wanted = IPAddress(address)
    except (AddrFormatError, ValueError) as error:
        raise Misunderstood(f"vmip={address} is no address. Say for example vmip=10.10.1.4") from error
    found = [z for z in zones if (z.name == name if name else wanted in z.network)]
    if len(found) == 1:
        return found[0]
    if found:
        raise Refused("Several hosts have such a zone.", note="Say which with --host NAME.")
    there = ", ".join(f"{zone.name} ({zone.cidr})" for zone in zones)
    missing = f"There is no zone called {name}." if name else f"No zone holds {address}."
    raise Refused(missing, note=f"The zones are {there}." if there else "Create a zone first, or import a rule file.")


def _owner(call: Call, name: str) -> Owner:
    owner = Owner.objects.filter(name=name).first() if name else Owner.objects.filter(person=call.user).first()
    if owner is None:
        missing = f"There is no owner called {name}." if name else f"{call.user} owns nothing of their own."
        raise Refused(missing, note="Say whose the machine is with owner=NAME; the People page lists them.")
    return owner


def _image(host: Host, name: str) -> Image:
    found = Image.objects.filter(host=host, name=name).first()
    if found is None:
        there = ", ".join(Image.objects.filter(host=host).values_list("name", flat=True))
        raise Refused(f"{host} has no image called {name}.", note=f"It has {there}." if there else "Add one first.")
    return found


def _keys(owner: Owner, names: str | None) -> list[SSHKey]:
    """The keys that open the new machine: all of its owner's person unless named; keys=none for none."""
    mine = list(SSHKey.objects.filter(user=owner.person_id)) if owner.person_id else []
    if names is None or names == "none":
        return mine if names is None else []
    wanted = [name for name in names.split(",") if name]
    found = [key for key in mine if key.name in wanted]
    if len(found) != len(set(wanted)):
        there = ", ".join(key.name for key in mine) or "none"
        raise Refused(f"{owner} has no such key.", note=f"The keys are: {there}.")
    return found
