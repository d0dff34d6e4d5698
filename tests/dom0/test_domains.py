"""Ending a domain that ends by itself meanwhile."""

from __future__ import annotations

from dataclasses import replace

import libvirt
import pytest

from dom0 import domains
from dom0.state import Domain


def failing(code: int) -> libvirt.libvirtError:
    error = libvirt.libvirtError("it failed")
    error.err = (code, 0, "it failed", 0, "", None, None, 0, 0)
    return error


class Ending:
    """A machine whose init goes the moment it is signalled; libvirt notices a little later."""

    def __init__(self, code: int) -> None:
        self.error, self.looks = failing(code), 0

    def sendProcessSignal(self, pid: int, number: int) -> None:
        raise self.error

    def isActive(self) -> bool:
        self.looks += 1
        return self.looks < 3


@pytest.mark.parametrize("code", domains.GOING)
def test_a_machine_that_goes_while_it_is_asked_has_powered_off_by_itself(code: int) -> None:
    assert domains._powers_off(Ending(code), "usr2", 5.0)


def test_another_failure_is_told() -> None:
    with pytest.raises(libvirt.libvirtError):
        domains._powers_off(Ending(libvirt.VIR_ERR_NO_SUPPORT), "usr2", 5.0)


class Seen:
    """A domain as the driver shows it; each answer costs one call."""

    def __init__(self, number: int, state: list[int], info: list[int] | None = None) -> None:
        self.number, self._state, self._info, self.calls = number, state, info, 0

    def ID(self) -> int:
        return self.number

    def state(self) -> list[int]:
        self.calls += 1
        return self._state

    def info(self) -> list[int]:
        self.calls += 1
        if self._info is None:
            raise failing(libvirt.VIR_ERR_NO_DOMAIN)
        return self._info


KNOWN = Domain(name="Mail", uuid="u")
RUNS = [libvirt.VIR_DOMAIN_RUNNING, 65536, 41000, 1, 5_000_000_000]


@pytest.mark.parametrize(
    ("seen", "found"),
    [
        (Seen(7, [], RUNS), replace(KNOWN, running=True)),
        (Seen(7, [], [libvirt.VIR_DOMAIN_BLOCKED, *RUNS[1:]]), replace(KNOWN, running=True)),
        (Seen(7, [], [libvirt.VIR_DOMAIN_PAUSED, *RUNS[1:]]), replace(KNOWN, running=True, paused=True)),
        (Seen(7, [], None), KNOWN),
        (Seen(-1, [libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED]), KNOWN),
    ],
)
def test_a_round_asks_once_a_domain_how_it_stands_and_what_it_used(seen: Seen, found: Domain) -> None:
    counted = domains._counted(seen, KNOWN)
    assert counted == found
    assert seen.calls == 1
    assert not counted.crashed
    if found.running:
        assert (counted.number, counted.cpu_ns, counted.memory_kib) == (7, 5_000_000_000, 41000)


@pytest.mark.parametrize(
    "seen",
    [
        Seen(7, [], [libvirt.VIR_DOMAIN_CRASHED, *RUNS[1:]]),
        Seen(-1, [libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED]),
    ],
)
def test_a_crash_is_seen_kept_or_not(seen: Seen) -> None:
    counted = domains._counted(seen, KNOWN)
    assert counted.crashed
    assert not counted.running
