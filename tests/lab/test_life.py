"""A machine's whole life on a real Xen dom0 with real volumes: the same story as on lxc."""

from __future__ import annotations

import pytest

from tests.lab.dom0 import Dom0
from tests.life.story import live

pytestmark = pytest.mark.lab


def test_a_machines_whole_life_under_xen(dom0: Dom0) -> None:
    live(dom0)
