"""Starts machines with the host, in their order, from dom0's own files: `python -m dom0.autostart`, as root.

It asks no panel, broker or database, runs once libvirt answers, and may be run again at any time. One file a machine
under STATE/autostart, called by its uuid, "ORDER NAME". libvirt's own flag is off: it knows neither an order nor the
memory dom0 keeps for itself.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dom0 import domains, host, probe
from dom0.errors import CommandFailed, FriduError, Refused
from dom0.host import HostConfig

ROOM = "autostart"
ANSWERS_S = 120.0  # what libvirt may take to come up with the host
ASK_S = 0.5

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, order=True)
class Wished:
    """A machine to start with the host; sorts in the order of starting."""

    order: int
    name: str
    uuid: str


def wished(config: HostConfig, say: Say) -> list[Wished]:
    """Those that start with the host, first to last; what can't be read is said and left out."""
    found = []
    for path in Path(config.state, ROOM).glob("[!.]*"):
        try:
            order, _, name = path.read_text().strip().partition(" ")
        except (OSError, ValueError) as error:
            say(f"{path} can't be read: {error}.")
            continue
        if order.isdecimal():
            found.append(Wished(order=int(order), name=name, uuid=path.name))
        else:
            say(f"{path} is no line “ORDER NAME”, so that machine is not started.")
    return sorted(found)


def start_all(config: HostConfig, say: Say) -> bool:
    """Start one after the other; one that can't be is said, and the next has its turn. Whether all of them run."""
    machines = wished(config, say)
    if machines:
        _await_libvirt(config)
    went_well = [_start(config, machine, say) for machine in machines]  # each, whatever came of those before
    return all(went_well)


def _start(config: HostConfig, machine: Wished, say: Say) -> bool:
    try:
        wants = domains.memory_to_start(config, machine.uuid)
        free = probe.free_memory_mib(config)
        if wants > free:
            raise Refused(f"it wants {wants} MB of memory, {free} MB are free beside what the host keeps for itself.")
        say(domains.start(config, machine.uuid) if wants else f"{machine.name} runs already.")
    except (FriduError, OSError) as error:
        say(f"{machine.name} is not started: {error}")
        return False
    return True


def _await_libvirt(config: HostConfig) -> None:
    """Raises CommandFailed where it gives no answer in time."""
    deadline = time.monotonic() + ANSWERS_S
    while True:
        try:
            domains.look(config, ())
            return
        except CommandFailed:
            if time.monotonic() > deadline:
                raise
            time.sleep(ASK_S)


def _say(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")
    sys.stderr.flush()


def main() -> int:
    """Exit code 0 where all of them run, 1 where one does not: it stands on stderr."""
    try:
        return 0 if start_all(host.load(), _say) else 1
    except FriduError as error:
        _say(str(error))
        return 1


if __name__ == "__main__":
    sys.exit(main())
