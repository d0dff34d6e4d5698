"""Zones and external addresses in a browser: wide and light, narrow and dark, with and without script.

FRIDU_SHOTS=folder keeps a picture of each.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from django.urls import reverse
from django.utils import timezone

from hosts.models import Job
from tests.browser.faces import every_face, findings, overflow
from zones.models import NetworkSeen, Zone

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
FACES = pytest.mark.parametrize(("width", "scheme"), [(1360, "light"), (390, "dark")])


@pytest.fixture
def dominig_zone(isp, web_dom, zones):
    """zDominig on the host, shaped, with a machine that has its lease, a stranger, and an address off its card."""
    zone = zones["zDominig"]
    Zone.objects.update(applied_at=timezone.now())
    Zone.objects.filter(pk=zone.pk).update(
        in_kbit=20_000, out_kbit=10_000, lease_first="10.10.2.100", lease_last="10.10.2.150"
    )
    end = int(timezone.now().timestamp()) + 1800
    NetworkSeen.objects.create(
        host=isp,
        links={"eth0": {"kind": "", "mac": "", "addresses": ["91.121.65.140/24"]}},
        leases={"zDominig": [
            ["10.10.2.2", web_dom.mac, "web-dom", end], ["10.10.2.117", "02:00:00:00:00:17", "printer", end],
        ]},
        seen_at=timezone.now(),
    )  # fmt: skip
    return zone


def unfold(page) -> None:
    """Open every <details> of the page."""
    closed = page.locator("main details:not([open]) > summary")
    while closed.count():
        closed.first.click()


def fine(page, name: str, width: int) -> None:
    if folder := os.environ.get("FRIDU_SHOTS"):
        page.screenshot(path=Path(folder) / f"zones-{name}-{width}.png", full_page=True)
    assert findings(page) + [f"overflow: {e}" for e in overflow(page)] == [], name
    assert page.locator("h1").count() == 1


def test_every_page_of_zones_is_accessible_and_fits(page_as, fulup, dominig_zone) -> None:
    page = page_as(fulup)
    for name, pk in (
        ("list", None), ("detail", dominig_zone.pk), ("change", dominig_zone.pk), ("delete", dominig_zone.pk),
        ("create", None), ("addresses", None), ("address_add", None), ("address_remove", dominig_zone.external_id),
    ):  # fmt: skip
        page.goto(reverse(f"zones:{name}", args=[pk] if pk else []))
        unfold(page)
        assert every_face(page, f"zones-{name}") == [], name
        assert page.locator("h1").count() == 1


@FACES
def test_a_subnet_moves_by_a_look_at_all_that_moves(page_as, fulup, dominig_zone, width, scheme) -> None:
    page = page_as(fulup, width=width, scheme=scheme, script=width > 400)
    page.goto(reverse("zones:change", args=[dominig_zone.pk]))
    page.get_by_label("Gateway").fill("10.10.7.1")
    page.get_by_label("Lease range").fill("10.10.7.100-10.10.7.150")
    page.get_by_role("button", name="Change zone").click()
    assert "Move zDominig to 10.10.7.0/24?" in page.locator("h1").inner_text()
    assert "10.10.7.2" in page.locator("main").inner_text()
    if width > 400:
        fine(page, "move", width)
    elif folder := os.environ.get("FRIDU_SHOTS"):
        page.screenshot(path=Path(folder) / f"zones-move-{width}.png", full_page=True)
    page.get_by_role("button", name=re.compile("^Move zDominig")).click()
    assert Job.objects.get(kind="zone.change").args["change"]["gateway"] == "10.10.7.1"


@FACES
def test_what_is_wrong_is_said_beside_the_field_and_typed_values_stay(
    page_as, fulup, dominig_zone, width, scheme
) -> None:
    page = page_as(fulup, width=width, scheme=scheme)
    page.goto(reverse("zones:create"))
    unfold(page)
    for field, typed in (
        ("name", "zOther"), ("gateway", "10.10.1.77"), ("in_rate", "fast"), ("lease", "10.10.1.5"), ("bridge", "br7"),
    ):  # fmt: skip
        page.locator(f"#id_{field}").fill(typed)
    page.get_by_role("button", name="Create zone").click()
    said = page.locator("main").inner_text()
    for part in ("is no bandwidth", "two addresses with a hyphen"):
        assert part in said
    page.get_by_label("To its machines").fill("10M")
    page.get_by_label("Lease range").fill("")
    page.get_by_role("button", name="Create zone").click()
    said = page.locator("main").inner_text()
    assert "overlaps zFulup" in said
    assert "begins with xen-br" in said
    fine(page, "wrong", width)
    assert not Job.objects.filter(kind="zone.create").exists()
