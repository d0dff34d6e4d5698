"""What a phone's width must not take away."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.faces import overflow

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
WIDTHS = (390, 1360)


@pytest.mark.parametrize("width", WIDTHS)
def test_one_searches_from_any_page(page_as, fulup, isp, width):
    page = page_as(fulup, width=width)
    page.goto("/jobs/")
    field = page.get_by_label("Find a machine, address or port")
    expect(field).to_be_visible()
    assert overflow(page) == []
    field.fill("10.10.2.2")
    field.press("Enter")
    expect(page.locator("h1")).to_have_text("WEB-Dom")


@pytest.mark.parametrize("width", WIDTHS)
def test_a_cell_of_the_policy_brings_its_editor_into_view(page_as, fulup, isp, width):
    page = page_as(fulup, width=width)
    page.goto("/firewall/policy/")
    if width < 640:  # one row of the grid
        page.get_by_label("From").select_option("zFulup")
        page.get_by_role("button", name="Show").click()
    page.get_by_role("link", name="zFulup to zDominig: ").click()
    editor = page.get_by_role("region", name="zFulup → zDominig")
    expect(editor.get_by_role("heading")).to_be_in_viewport()
    if width > 860:
        assert page.evaluate("scrollY") == 0  # it stands beside the grid


def test_a_time_of_the_log_keeps_off_the_name(page_as, fulup, isp, client):
    client.force_login(fulup)
    page = page_as(fulup, width=390)
    page.goto("/audit/")
    time, name = page.locator(".log time").first, page.locator(".log b").first
    assert time.evaluate("e => { const r = document.createRange(); r.selectNodeContents(e);"
                         " return r.getBoundingClientRect().right; }") + 6 < name.bounding_box()["x"]  # fmt: skip
