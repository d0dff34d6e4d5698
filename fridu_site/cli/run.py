"""Pausing a machine, letting it go on, and what it uses."""

from __future__ import annotations

from fridu_site.cli.call import Call
from fridu_site.cli.follow import follow
from machines import run_services
from machines.models import Machine


def pause(call: Call, machine: Machine) -> int:
    return follow(call, run_services.machine_pause(call.actor, machine, reason=call.typed.reason))


def resume(call: Call, machine: Machine) -> int:
    return follow(call, run_services.machine_resume(call.actor, machine, reason=call.typed.reason))
