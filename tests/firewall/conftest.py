"""What the firewall's tests share: the three samples, with the host facts no rule file states; one service and who
wished for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from audit.log import Actor
from firewall import importer
from firewall.models import PublishedService, Revision
from firewall.specs import Site, Vpn
from tests.firewall import says

HERE = Path(__file__).parent
FIXTURES = HERE.parent / "fixtures"
GOLDEN = HERE.parent / "golden" / "firewall"

#: What the host file says and a rule file does not.
HOST = Site(vpn=Vpn(interface="tun0", network="10.10.95.0/24"), panel_port=8000)


def sample(name: str) -> str:
    return (FIXTURES / f"{name}.rules").read_text()


def site_of(name: str) -> Site:
    return importer.read(sample(name), answers={"MyExternalIP": "203.0.113.9"}, host=HOST).site


@pytest.fixture
def production() -> Site:
    return site_of("production")


@pytest.fixture
def guru() -> Site:
    return site_of("guru")


@pytest.fixture
def me(fulup) -> Actor:
    return Actor(id=fulup.pk, name="fulup")


@pytest.fixture
def web(me, host, zones, web_dom) -> PublishedService:
    return says.publish(me, host, zones, web_dom)


@pytest.fixture
def live(me, host, web) -> Revision:
    return says.in_force(me, host, why="begin")


def check_golden(name: str, text: str) -> None:
    """Compare with tests/golden/firewall/NAME; FRIDU_GOLDEN=write writes it anew for a reviewed change."""
    path = GOLDEN / name
    if os.environ.get("FRIDU_GOLDEN") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert path.read_text() == text
