"""Importing in a browser: shown, answered, taken over; accessible, and inside a phone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from django.urls import reverse

from firewall.models import PublishedService
from machines.models import Expected
from tests.browser.faces import findings, overflow
from tests.firewall.conftest import FIXTURES
from zones.services import address_sync

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
BOX = [FIXTURES / "production.rules", *sorted((FIXTURES / "box").iterdir())]


def shot(page, name: str) -> None:
    if folder := os.environ.get("FRIDU_SHOTS"):
        page.screenshot(path=Path(folder) / f"import-{name}.png", full_page=True)


def settled(page, name: str) -> None:
    shot(page, name)
    assert findings(page) + [f"overflow: {e}" for e in overflow(page)] == []


@pytest.mark.parametrize(("width", "scheme"), [(1360, "light"), (390, "dark")])
def test_a_whole_box_is_chosen_shown_and_imported(page_as, fulup, fresh, image, width, scheme):
    address_sync(fresh)
    page = page_as(fulup, width=width, scheme=scheme)
    page.goto(reverse("firewall:import"))
    settled(page, f"empty-{width}")
    page.set_input_files("input[type=file]", [str(path) for path in BOX])
    page.get_by_role("button", name="Read it").click()
    page.get_by_role("heading", name="What is new").wait_for()
    assert "machine VM-03 kept at 10.10.1.3 in zFulup" in page.inner_text("main")
    settled(page, f"box-{width}")
    page.get_by_role("button", name="Import", exact=True).click()
    page.wait_for_url("**/firewall/")
    assert Expected.objects.filter(name="VM-03").exists()
    page.goto(reverse("firewall:import"))
    assert "vifname=fr0a0a0103" in page.inner_text("main")
    settled(page, f"kept-{width}")


@pytest.mark.parametrize("script", [True, False])
def test_a_placeholder_is_answered_and_lines_for_review_are_dealt_with(page_as, fulup, fresh, script):
    address_sync(fresh)
    page = page_as(fulup, script=script)
    page.goto(reverse("firewall:import"))
    page.fill("textarea", f"{(FIXTURES / 'simple.rules').read_text()}\nrm -rf /\n")
    page.get_by_role("button", name="Read it").click()
    shot(page, "asked")
    page.get_by_label("MyExternalIP is which address?").fill("91.121.65.140")
    page.get_by_role("button", name="Read it again").click()
    shot(page, "answered")
    page.get_by_role("button", name="Import", exact=True).click()
    page.wait_for_url("**/firewall/")
    assert {s.name for s in PublishedService.objects.all()} == {"DOM_SSH", "VM1_SSH", "VM2_SSH"}
    page.goto(reverse("firewall:import"))
    assert "rm -rf /" in page.inner_text("main")
    if script:  # axe is one
        settled(page, "review")
    page.get_by_role("button", name="They are dealt with").click()
    assert "rm -rf /" not in page.inner_text("main")


def test_what_differs_and_what_would_close_stands_before_anything_is_saved(page_as, fulup, isp):
    page = page_as(fulup, width=390)
    page.goto(reverse("firewall:import"))
    text = (FIXTURES / "production.rules").read_text().replace("EXT=tcp:80 INT=10.10.2.2", "EXT=tcp:80 INT=10.10.2.9")
    page.fill("textarea", text)
    page.get_by_role("button", name="Read it").click()
    assert "What differs" in page.inner_text("main")
    page.get_by_label("Exactly so").check()
    page.get_by_role("button", name="Read it again").click()
    assert "What would go" in page.inner_text("main")
    settled(page, "exact")
