"""`fridu change NAME …`: what would change is told first, then the job's plan is shown and asked about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from accounts.models import Owner
from dom0.errors import Refused
from fridu_site.cli import call as typed
from fridu_site.cli.call import Call, Misunderstood
from fridu_site.cli.follow import follow
from machines import change_services
from machines.change_services import Preview
from machines.models import Machine
from zones.models import Zone

#: By what is typed: the service's name, and how it is read.
SIZES = {"vmram": "memory_mib", "vmroot": "root_mib", "vmswap": "swap_mib", "vmlog": "log_mib"}
WORDS = {"vmname": "name", "vmip": "address", "boot": "boot", "kernel": "kernel", "on_crash": "on_crash"}
NUMBERS = {"vcpus": "vcpus", "order": "start_order"}
KEYS = (*SIZES, *WORDS, *NUMBERS, "zone", "owner", "autostart")


def change(call: Call, machine: Machine) -> int:
    """Change what is named of a machine."""
    pairs = call.typed.pairs
    unknown = sorted(set(pairs) - set(KEYS))
    if unknown:
        raise Misunderstood(f"change knows no {unknown[0]}. It takes {', '.join(KEYS)}.")
    if not pairs:
        raise Misunderstood(f"change needs what to change, for example: fridu change {machine.name} vmram=256")
    wish = _wish(call, machine)
    machine = Machine.objects.select_related("host", "zone", "owner", "image").get(pk=machine.pk)
    found = change_services.preview(machine, **wish)
    _tell(call, found)
    job = change_services.machine_change(
        call.actor, machine, **wish, seen=found.digest, reason=call.typed.reason, approved=call.typed.yes
    )
    return follow(call, job)


def _wish(call: Call, machine: Machine) -> dict[str, Any]:
    """What was typed, by the services' names. Raises Misunderstood, Refused."""
    pairs = call.typed.pairs
    wish: dict[str, Any] = {field: typed.mib(pairs[key], key) for key, field in SIZES.items() if key in pairs}
    wish |= {field: typed.count(pairs[key], key) for key, field in NUMBERS.items() if key in pairs}
    wish |= {field: pairs[key] for key, field in WORDS.items() if key in pairs}
    rows: dict[str, Callable[[str], Any]] = {
        "zone": lambda name: _named(Zone.objects.filter(host=machine.host_id), name, "zone"),
        "owner": lambda name: _named(Owner.objects.all(), name, "owner"),
        "autostart": _yes,
    }
    return wish | {key: read(pairs[key]) for key, read in rows.items() if key in pairs}


def _named(rows: Any, name: str, what: str) -> Any:
    found = rows.filter(name=name).first()
    if found is None:
        known = ", ".join(rows.order_by("name").values_list("name", flat=True)[:8]) or "none"
        raise Refused(f"There is no {what} called {name}.", note=f"There is: {known}.")
    return found


def _yes(text: str) -> bool:
    if text.lower() not in ("yes", "no", "1", "0"):
        raise Misunderstood(f"autostart={text} is neither yes nor no.")
    return text.lower() in ("yes", "1")


def _tell(call: Call, found: Preview) -> None:
    """Before and after, and what moves along."""
    for row in found.rows:
        note = f"  ({row.note})" if row.note else ""
        call.say(f"  {row.label:<13}  {row.before} -> {row.after}{note}")
    for moved in found.moved:
        call.say(f"  {moved.kind} {moved.name}: {moved.before} -> {moved.after}  ({moved.note})")
    for key in found.keys:
        call.say(f"  stays on it: the SSH key {key.name} of {key.user.get_username()}")
    for grant in found.grants:
        call.say(f"  ends: what {grant.user.get_username()} may do with it")
