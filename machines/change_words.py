"""A machine's change in words: what each value is called, how it reads before and after, what it means for who runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from machines.models import Machine

OFF = "It is powered off for that and started again."
NEXT = "From its next start."


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One value, before and after, with what it means."""

    field: str
    label: str
    before: str
    after: str
    note: str = ""


def difference(before: Machine, after: Machine, field: str) -> Difference:
    label, says = WORDS[field]
    return Difference(
        field=field, label=label, before=says(before), after=says(after), note=_note(before, after, field)
    )


def title(before: Machine, after: Machine, fields: Sequence[str]) -> str:
    """What the job is called."""
    name, changed = before.name, set(fields)
    if changed == {"name"}:
        return f"Rename {name} to {after.name}"
    if "zone" in changed and changed <= {"zone", "address"}:
        return f"Move {name} to {after.zone.name}, {after.address}"
    if changed == {"address"}:
        return f"Move {name} to {after.address}"
    if changed == {"owner"}:
        return f"Give {name} to {after.owner.name}"
    if changed == {"root_mib"}:
        return f"Grow the root of {name} to {_mib(after.root_mib)}"
    if changed == {"memory_mib"}:
        return f"Give {name} {_mib(after.memory_mib)} of memory"
    said = ", ".join(WORDS[field][0].lower() if field != "vcpus" else "vCPUs" for field in fields)
    return f"Change {name}: {said}" if said else f"Bring {name} in line with its settings"


def _mib(size: int) -> str:
    return f"{size} MB"


def _none(size: int) -> str:
    return _mib(size) if size else "none"


WORDS: dict[str, tuple[str, Callable[[Machine], str]]] = {
    "name": ("Name", lambda machine: machine.name),
    "zone": ("Zone", lambda machine: machine.zone.name),
    "address": ("Address", lambda machine: machine.address),
    "owner": ("Owner", lambda machine: machine.owner.name),
    "memory_mib": ("Memory", lambda machine: _mib(machine.memory_mib)),
    "vcpus": ("vCPUs", lambda machine: str(machine.vcpus)),
    "root_mib": ("Root volume", lambda machine: _mib(machine.root_mib)),
    "swap_mib": ("Swap", lambda machine: _none(machine.swap_mib)),
    "log_mib": ("Log volume", lambda machine: _none(machine.log_mib)),
    "autostart": ("Host start", lambda machine: "starts by itself" if machine.autostart else "stays off"),
    "start_order": ("Start order", lambda machine: str(machine.start_order)),
    "on_crash": ("After a crash", lambda machine: str(Machine.OnCrash(machine.on_crash).label)),
    "boot": ("Kernel from", lambda machine: str(machine.get_boot_display())),
    "kernel": ("Kernel", lambda machine: machine.kernel or "the host's default"),
}


def _note(before: Machine, after: Machine, field: str) -> str:
    """What it means for the machine itself."""
    lxc = str(before.host.facts.get("libvirt", "")).startswith("lxc:")
    runs = before.observed in (Machine.Observed.RUNNING, Machine.Observed.PAUSED)
    match field:
        case "name":
            return f"{OFF} Its volumes, DHCP, DNS and host name follow." if runs else "Volumes, DHCP and DNS follow."
        case "address" if before.zone_id != after.zone_id:
            return ""
        case "zone" | "address":
            return f"{OFF} It gets the address by DHCP." if runs else "It gets the address by DHCP when it starts."
        case "swap_mib":
            return f"{OFF} The swap space is made anew." if runs else "The swap space is made anew."
        case "memory_mib" if runs:
            return "At once, while it runs." if lxc or after.memory_mib < before.memory_mib else NEXT
        case "vcpus" | "boot" | "kernel" | "on_crash" if runs:
            return NEXT
        case "root_mib" | "log_mib" if runs:
            return _grows(before, field, lxc)
    return ""


def _grows(before: Machine, field: str, lxc: bool) -> str:
    if lxc:
        return "While it runs, where the host’s root may do that; else when it stops."
    disk = "a" if field == "root_mib" else "c"
    return f"It grows when it stops; or at once, its owner runs inside: resize2fs /dev/xvd{disk}"
