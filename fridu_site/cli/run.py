"""Pausing a machine, letting it go on, and what it uses."""

from __future__ import annotations

from fridu_site.cli.call import Call
from fridu_site.cli.follow import follow
from machines import graphs, run_services
from machines.models import Figures, Machine


def pause(call: Call, machine: Machine) -> int:
    return follow(call, run_services.machine_pause(call.actor, machine, reason=call.typed.reason))


def resume(call: Call, machine: Machine) -> int:
    return follow(call, run_services.machine_resume(call.actor, machine, reason=call.typed.reason))


def figures(call: Call, machine: Machine) -> int:
    """What it uses now, on average and at most."""
    row = Figures.objects.filter(machine=machine).first()
    hour, day = graphs.use(machine, row), graphs.use(machine, row, "day")
    if not hour.graphs:
        call.say(f"No figures of {machine.name} yet: the host counts what runs, and knows more after a minute.")
        return 0
    head = ("", "now", "average, hour", "highest, hour", "average, day", "highest, day")
    lines = [
        head,
        *(
            (label, now, *(part or "-" for cell in cells for part in cell))
            for label, now, cells in graphs.numbers(hour, day)
        ),
    ]
    widths = [max(len(line[n]) for line in lines if n < len(line)) for n in range(len(head))]
    for line in lines:
        call.say("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=False)).rstrip())
    if not hour.fresh:
        call.say("Seen " + (f"{hour.at:%Y-%m-%d %H:%M} UTC." if hour.at else "while it ran; it is off now."))
    return 0
