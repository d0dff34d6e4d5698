"""The lab's hosts as fixtures: each test gets one just woken, with disks of its own, and leaves nothing.

These tests run only where `-m` names them (`bin/lab test`): each wakes a virtual computer.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.lab import emulator, freezing, reach
from tests.lab.dom0 import Dom0, set_up
from tests.lab.emulator import Running
from tests.lab.reach import Said


def asked_for(expression: str) -> bool:
    """Whether what follows `-m` names the lab, and does not leave it out."""
    words = expression.replace("(", " ").replace(")", " ").split()
    return "lab" in words and words[words.index("lab") - 1] != "not"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if asked_for(config.option.markexpr):
        return
    ours = [item for item in items if item.get_closest_marker("lab")]
    config.hook.pytest_deselected(items=ours)
    items[:] = [item for item in items if item not in ours]


@dataclass(frozen=True, kw_only=True)
class Lab:
    """A host of the lab, awake."""

    host: Running

    def run(self, command: str, *, timeout_s: float = 120, check: bool = True, stdin: bytes = b"") -> Said:
        """A shell line as root; what it said."""
        return reach.run(self.host, command, timeout_s=timeout_s, check=check, stdin=stdin)

    def until(self, command: str, *, patience_s: float, said: str = "") -> Said:
        """Ask until it succeeds (and says that)."""
        return reach.until(self.host, command, patience_s=patience_s, said=said)

    def bring_tree(self) -> None:
        """This tree into /opt/fridu of the host."""
        reach.bring_tree(self.host)


def _awake(tier: str, further: str = "") -> Iterator[Lab]:
    host = freezing.restore(tier, further=further, called=f"test-{tier}-{os.getpid()}", bound=True)
    try:
        yield Lab(host=host)
    finally:
        emulator.stop(host.name)


@pytest.fixture
def xen() -> Iterator[Lab]:
    """A Xen dom0 with libvirt and the volume group vg0."""
    yield from _awake("xen")


@pytest.fixture
def dom0() -> Iterator[Dom0]:
    """That dom0 with Fridu installed as it is here, frozen when its workers waited: made anew for each tree."""
    freezing.advance("xen", "fridu", reach.tree_digest(), set_up)
    for lab in _awake("xen", "fridu"):
        stage = Dom0(lab.host)
        stage.awake()
        yield stage


@pytest.fixture
def lvm() -> Iterator[Lab]:
    """The same host without the hypervisor."""
    yield from _awake("lvm")


@pytest.fixture(params=["debian12", "debian13"])
def debian(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """The box a stranger has."""
    yield from _awake(request.param)
