"""One world for all of these tests; each finds the production sample in force."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from firewall import importer
from tests.host import bare
from tests.host.bare import DOM0, HOST, World
from tests.host.packets.sample import LAYOUT, RULES, SERVERS
from tests.host.wire import command


@pytest.fixture(scope="package")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with bare.built(LAYOUT, tmp_path_factory.mktemp("state")) as world:
        world.site = importer.read(RULES.read_text(), host=HOST).site
        # A foreign chain, as Docker leaves one: it must be there at the end.
        for words in ("-N DOCKER", "-A FORWARD -j DOCKER", "-A DOCKER -s 172.17.0.0/16 -j ACCEPT"):
            command(DOM0, "iptables", *words.split())
        world.serve(SERVERS)
        yield world


@pytest.fixture
def world(built: World) -> World:
    """The production sample in force."""
    built.apply(built.site)
    return built
