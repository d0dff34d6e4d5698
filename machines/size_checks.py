"""What can be said of a new machine's sizes before the host is asked: memory, volumes, kernel. A sentence a field."""

from __future__ import annotations

from typing import Any

from dom0.errors import Refused
from hosts.models import Host
from machines import modes, promises, rules
from machines.models import Boot, Image, Machine, SiteDefaults

MIB = 1 << 20
IMAGE_FILES = ""
#: Why a machine of an lxc host gets no swap of its own; also beside the field.
NO_SWAP = "An lxc machine shares the host's memory and swap: a swap volume of its own would never be used"


def shares_kernel(host: Host) -> bool:
    """Whether the host's machines are lxc's: one kernel, one swap for all."""
    return str(host.facts.get("libvirt", "")).startswith("lxc:")


def places(host: Host) -> dict[str, dict[str, int]]:
    """The host's places for volumes as it last reported them, image files under ""; sizes in bytes."""
    files = {"free_bytes": host.figures["free_bytes"]} if "free_bytes" in host.figures else {}
    found: dict[str, dict[str, int]] = dict(host.figures.get("places", {}))
    return {IMAGE_FILES: files, **found}


def free_mib(host: Host, group: str) -> int | None:
    """MiB free there besides what is promised to creations under way; None where the host has not said."""
    free = places(host).get(group, {}).get("free_bytes")
    return None if free is None else max(0, free // MIB - promises.room_mib(host).get(group, 0))


def of_xen(host: Host) -> bool:
    """Whether the host's machines are Xen's."""
    return str(host.facts.get("libvirt", "")).startswith("xen:")


def free_memory_mib(host: Host) -> int | None:
    """MiB free besides what is promised to machines about to start; None where the host has not said."""
    free = host.figures.get("free_memory_mib")
    return None if free is None else max(0, free - promises.memory_mib(host))


def of_machine(machine: Machine) -> dict[str, str]:
    """By field what is wrong with a machine not yet saved; "" where nothing is."""
    return {
        "image": image(machine),
        "memory_mib": memory(machine),
        "root_mib": _root(machine),
        "vcpus": "" if 1 <= machine.vcpus <= 64 else "A machine has 1 to 64 virtual CPUs. Use 1.",
        "volume_group": group(machine.host, machine.volume_group),
        "swap_mib": swap(machine.host, machine.swap_mib),
        "kernel": kernel(machine.host, machine.boot, machine.kernel),
    }


def of_defaults(defaults: SiteDefaults) -> dict[str, str]:
    """By field what is wrong with a host's defaults; "" where nothing is."""
    host, chosen = defaults.host, defaults.image
    return {
        "image": f"{chosen.name} is on {chosen.host}, not on {host}." if chosen and chosen.host_id != host.pk else "",
        "root_mib": needs(chosen) if chosen and defaults.root_mib < chosen.min_root_mib else "",
        "volume_group": group(host, defaults.volume_group),
        "swap_mib": swap(host, defaults.swap_mib),
        "kernel": kernel(host, defaults.boot, defaults.kernel),
        "stages": stages(defaults.stages),
    }


def image(machine: Machine) -> str:
    found = machine.image
    if found.host_id != machine.host_id:
        return f"{found.name} is on {found.host}, not on {machine.host}."
    return "" if found.digest else f"{found.name} is not made yet. Wait for its job, or choose another image."


def memory(machine: Machine) -> str:
    if machine.memory_mib < 16:
        return "A machine needs at least 16 MB of memory. Use 64 or more."
    free = free_memory_mib(machine.host)
    if free is None or machine.memory_mib <= free:
        return ""
    promised = promises.memory_mib(machine.host)
    besides = f", {promised} MB being promised to machines about to start" if promised else ""
    return f"{machine.memory_mib} MB are more than the {free} MB free on {machine.host}{besides}. Use {free} or less."


def _root(machine: Machine) -> str:
    if machine.root_mib < machine.image.min_root_mib:
        return needs(machine.image)
    free = free_mib(machine.host, machine.volume_group)
    wanted = machine.root_mib + machine.swap_mib + machine.log_mib
    if free is None or wanted <= free:
        return ""
    where = f"in {machine.volume_group}" if machine.volume_group else "for volumes"
    if wanted == machine.root_mib:
        return f"{wanted} MB are more than the {free} MB free {where}. Use {free} or less."
    parts = (("root", machine.root_mib), ("swap", machine.swap_mib), ("log", machine.log_mib))
    named = " and ".join(kind for kind, size in parts if size)
    return f"{named} take {wanted} MB together, more than the {free} MB free {where}. Make one of them smaller."


def needs(image: Image) -> str:
    return f"{image.name} needs a root of at least {image.min_root_mib} MB. Use {image.min_root_mib} or more."


def group(host: Host, name: str) -> str:
    known = list(host.facts.get("volume_groups", ()))
    if not name:
        return f"{rules.FILES_UNDER_XEN}. {rules.CHOOSE_GROUP}" if of_xen(host) else ""
    if name not in known:
        none = f"It names none: {'add it there' if of_xen(host) else 'leave it empty for image files'}."
        there = f"It names {', '.join(known)}." if known else none
        return f"{host}'s host file names no volume group {name}. {there}"
    if "places" in host.figures and name not in host.figures["places"]:
        return f"The volume group {name} is missing on {host}. Switch its disk on, or choose another place."
    return ""


def swap(host: Host, size_mib: int) -> str:
    return f"{NO_SWAP}. Use 0." if size_mib and shares_kernel(host) else ""


def kernel(host: Host, boot: str, name: str) -> str:
    if shares_kernel(host):
        return f"An lxc machine runs on {host}'s own kernel. Leave this empty." if name else ""
    if boot == Boot.GRUB:
        return "grub finds the kernel inside the machine. Leave this empty." if name else ""
    known = [found["name"] for found in host.figures.get("kernels", ())]
    if name and name not in known:
        there = f"It has {', '.join(known)}." if known else "Put one there, with its initrd beside it."
        return f"There is no kernel {name} in {host}'s kernels folder. {there}"
    return ""


def stages(chosen: dict[str, Any]) -> str:
    try:
        modes.read(chosen)
    except Refused as error:
        return f"{error.message} {error.note}"
    return ""
