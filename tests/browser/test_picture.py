"""The README's picture is the overview of the real sample, as the panel draws it.

`FRIDU_PICTURE=docs/overview.png bin/test tests/browser/test_picture.py` takes it anew.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from audit.log import Actor
from firewall.imports import import_rules
from hosts.kinds import kind_of
from hosts.models import Job
from machines.models import Machine
from tests.firewall.says import in_force
from zones.models import Zone
from zones.services import address_sync

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs" / "overview.png"
MACHINES = (("Common", "10.10.1.2"), ("WEB-Ful", "10.10.1.3"), ("WEB-Dom", "10.10.2.2"))


@pytest.fixture
def sample(fresh, image, fulup, dominig):
    """The production sample imported, applied and inhabited, as the demo does it through jobs."""
    actor = Actor(id=fulup.pk, name="fulup")
    address_sync(fresh)
    import_rules(actor, fresh, (ROOT / "tests" / "fixtures" / "production.rules").read_text())
    for number, (name, address) in enumerate(MACHINES, start=1):
        zone = next(z for z in Zone.objects.all() if address in z.network)
        Machine.objects.create(
            host=fresh, zone=zone, owner=(dominig if name == "WEB-Dom" else fulup).own, name=name, address=address,
            mac=f"aa:bb:0a:0a:00:0{number}", vif=f"fr{number}", uid_base=65536 * number, memory_mib=64, root_mib=128,
            image=image, observed="running", observed_at=timezone.now(), since=timezone.now(), built_at=timezone.now(),
        )  # fmt: skip
    for job in Job.objects.all():
        kind_of(job.kind).done(job)
    in_force(actor, fresh)
    Job.objects.update(state=Job.State.DONE, ended=timezone.now())


def test_the_overview_of_the_sample_is_worth_a_picture(page_as, fulup, sample, tmp_path):
    page = page_as(fulup)
    page.goto("/")
    drawing = page.locator("svg.net-cards")
    for name, _ in MACHINES:
        expect(drawing).to_contain_text(name)
    for address in ("91.121.65.140", "87.98.130.56"):
        expect(drawing).to_contain_text(address)
    expect(page.locator("main")).not_to_contain_text("not applied")
    path = Path(os.environ.get("FRIDU_PICTURE") or tmp_path / "overview.png")
    page.screenshot(path=path, full_page=True)
    assert width(path) == 1360


def test_the_readme_shows_a_picture_of_that_width():
    assert "(docs/overview.png)" in (ROOT / "README.md").read_text()
    assert width(PICTURE) == 1360
    assert PICTURE.stat().st_size < 400_000


def width(path: Path) -> int:
    """Of a PNG file, in pixels."""
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    return int(struct.unpack(">I", head[16:20])[0])
