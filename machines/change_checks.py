"""All that can be said of a machine's change before the host is asked: sentences by field, with a value that works."""

from __future__ import annotations

from collections.abc import Callable

from django.core.exceptions import ValidationError

from machines import addresses, checks, limits_services
from machines.models import Boot, Machine
from zones import rates

STEP_MIB = 16  # what a filesystem grows by at least
ADOPTED = frozenset({"owner", "autostart", "start_order"})  # what the panel keeps of a machine something else made


def check(before: Machine, after: Machine, changed: frozenset[str], *, back: bool = False) -> None:
    """Raises ValidationError, a sentence a field. `back`: it goes back to where it was."""
    rules: dict[str, Callable[[], str]] = {
        "name": lambda: checks.name_complaint(after),
        "zone": lambda: checks.zone_complaint(after) or _share(after),
        "address": lambda: addresses.complaint(after.zone, after.address, name=after.name, mine=before, back=back),
        "memory_mib": lambda: _memory(before, after),
        "root_mib": lambda: _grown(before.root_mib, after.root_mib, "root"),
        "log_mib": lambda: _grown(before.log_mib, after.log_mib, "log") if after.log_mib else "",
        "swap_mib": lambda: _swap(after.swap_mib),
        "vcpus": lambda: "" if 1 <= after.vcpus <= 64 else "A machine has 1 to 64 virtual CPUs. Use 1.",
        "on_crash": lambda: _one_of(after.on_crash, Machine.OnCrash.values),
        "start_order": lambda: (
            "" if 0 <= after.start_order <= 999 else "Use 0 to 999; 100 is usual, lower starts first."
        ),
        "boot": lambda: _boot(after),
        "kernel": lambda: _kernel(after),
    }
    if before.adopted and not before.image.digest and (fixed := changed - ADOPTED):
        raise ValidationError({field: [_adopted(before)] for field in sorted(fixed)})
    wrong = {field: rules[field]() for field in changed if field in rules}
    if "zone" in changed and "address" not in changed:
        wrong["address"] = rules["address"]()
    errors = {field: [says] for field, says in wrong.items() if says}
    if errors:
        raise ValidationError(errors)


def _adopted(machine: Machine) -> str:
    return (
        f"{machine.name} was on {machine.host} before the panel knew it: its definition stays as it was found. "
        f"Change it there (virsh edit {machine.name})."
    )


def _share(after: Machine) -> str:
    """What it is sure of moves along: the zone it goes to has to have it."""
    says = limits_services.share_complaint(after, after.net_share_kbit)
    if not says:
        return ""
    name, sure = after.name, rates.say(after.net_share_kbit)
    return f"{name} is sure of {sure}. {says} Or lift it before the move: fridu limits {name} share=none"


def _memory(before: Machine, after: Machine) -> str:
    if after.memory_mib < 16:
        return "A machine needs at least 16 MB of memory. Use 64 or more."
    free, more = after.host.figures.get("free_memory_mib"), after.memory_mib - before.memory_mib
    if free is not None and more > free:
        most = before.memory_mib + free
        return f"That is {more} MB more than it has, and {free} MB are free on {after.host}. Use {most} or less."
    return ""


def _grown(has: int, wanted: int, what: str) -> str:
    least = has + STEP_MIB
    if wanted < has:
        return (
            f"Its {what} volume has {has} MB and only grows: shrinking one risks what is on it. Use {least} or more, "
            "or create a smaller machine and move what matters there."
        )
    if has and wanted - has < STEP_MIB:
        return f"A volume grows by {STEP_MIB} MB or more. Use {least} or more."
    return "" if wanted >= STEP_MIB else f"A volume has at least {STEP_MIB} MB. Use {STEP_MIB} or more."


def _swap(wanted: int) -> str:
    return "" if wanted == 0 or wanted >= 4 else "Swap space has at least 4 MB; 0 is none."


def _one_of(value: str, known: list[str]) -> str:
    return "" if value in known else f"Use {', '.join(known[:-1])} or {known[-1]}."


def _boot(after: Machine) -> str:
    if _lxc(after):
        return f"Machines on {after.host} run on the host's own kernel; there is nothing to choose."
    return _one_of(after.boot, Boot.values)


def _kernel(after: Machine) -> str:
    if not after.kernel:
        return ""
    if _lxc(after):
        return f"Machines on {after.host} run on the host's own kernel; there is nothing to choose."
    known = [kernel["name"] for kernel in after.host.figures.get("kernels") or ()]
    if known and after.kernel not in known:
        return f"{after.host} has no kernel {after.kernel}. It has {', '.join(known[:4])}."
    return ""


def _lxc(machine: Machine) -> bool:
    return str(machine.host.facts.get("libvirt", "")).startswith("lxc:")
