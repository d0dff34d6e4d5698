"""Ending a domain that ends by itself meanwhile."""

from __future__ import annotations

import libvirt
import pytest

from dom0 import domains


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


@pytest.mark.parametrize("code", [libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_ERR_SYSTEM_ERROR])
def test_a_machine_that_goes_while_it_is_asked_has_powered_off_by_itself(code: int) -> None:
    assert domains._powers_off(Ending(code), "usr2", 5.0)


def test_another_failure_is_told() -> None:
    with pytest.raises(libvirt.libvirtError):
        domains._powers_off(Ending(libvirt.VIR_ERR_NO_SUPPORT), "usr2", 5.0)
