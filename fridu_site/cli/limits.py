"""`fridu limits NAME …`: what a machine may take of its host."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError

from dom0.errors import Refused
from fridu_site.cli import call as typed
from fridu_site.cli.call import Call, Misunderstood
from fridu_site.cli.follow import follow
from machines import limit_words, limits_services
from machines.models import Machine
from zones import rates

NUMBERS = {"cpuweight": "cpu_weight", "cpucap": "cpu_cap", "iops": "disk_iops"}
RATES = {"netin": "net_in_kbit", "netout": "net_out_kbit", "share": "net_share_kbit"}
KEYS = (*RATES, "cpuweight", "cpucap", "diskbw", "iops")
CALLED = {field: key for key, field in {**NUMBERS, **RATES, "diskbw": "disk_kib_s"}.items()}


def action(call: Call) -> str:
    """Whoever sees a machine may look at its limits."""
    return "machine.limits" if call.typed.pairs else "machine.view"


def limits(call: Call, machine: Machine) -> int:
    """Change those that are named; none named: say what they are."""
    given = call.typed.pairs
    if unknown := sorted(set(given) - set(KEYS)):
        raise Misunderstood(f"limits knows no {unknown[0]}. It takes {', '.join(KEYS)}.")
    if not given:
        return _show(call, machine)
    wish: dict[str, Any] = {_field(key): _value(key, text) for key, text in given.items()}
    try:
        job = limits_services.machine_limits(
            call.actor, machine, reason=call.typed.reason, approved=call.typed.yes, **wish
        )
    except ValidationError as error:
        said = [f"{CALLED[field]}: {' '.join(texts)}" for field, texts in error.message_dict.items()]
        raise Refused("\n      ".join(said), note="Nothing was changed.") from error
    return follow(call, job)


def _show(call: Call, machine: Machine) -> int:
    said = limit_words.said(limits_services.limits_of(machine))
    for field, text in said.items():
        call.say(f"  {CALLED[field]:<10} {text}")
    if not said:
        call.say(f"{machine.name} has no limits.")
    return 0


def _field(key: str) -> str:
    return {**NUMBERS, **RATES, "diskbw": "disk_kib_s"}[key]


def _value(key: str, text: str) -> int | None:
    """Raises Misunderstood."""
    if text.lower() in ("", "none"):
        return None
    if key in NUMBERS:
        return typed.count(text.removesuffix("%") if key == "cpucap" else text, key)
    try:
        return rates.kbit(text) if key in RATES else limit_words.kib_s(text)
    except ValueError as error:
        raise Misunderstood(f"{key}={text}: {error}") from error
