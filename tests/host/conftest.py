"""Fixtures several of the tests here use."""

from tests.host.zone_world import dom0, host_file  # noqa: F401
