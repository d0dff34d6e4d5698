"""The overview keeps itself up to date, and leaves the reader alone while it does."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from machines.models import Machine

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_a_state_that_changes_on_the_host_changes_on_the_page(page_as, fulup, web_dom):
    page = page_as(fulup)
    page.goto("/")
    machine = page.locator("svg.net-cards a", has_text="WEB-Dom")
    expect(machine).to_have_attribute("aria-label", "WEB-Dom, 10.10.2.2, running, owner dominig, nothing published")
    Machine.objects.update(observed="missing")
    expect(machine).to_have_attribute("aria-label", "WEB-Dom, 10.10.2.2, missing, owner dominig, nothing published")
    expect(page.locator("#needs")).to_contain_text("WEB-Dom is missing on the host")
    expect(page.locator("#lead")).to_contain_text("1 in trouble")


def test_focus_and_what_is_open_survive_the_refresh(page_as, fulup, web_dom):
    page = page_as(fulup)
    page.goto("/")
    page.locator("#as-list summary").click()
    page.locator("svg.net-cards a", has_text="WEB-Dom").focus()
    Machine.objects.update(observed="missing")
    expect(page.locator("#needs")).to_contain_text("is missing")
    assert page.evaluate("document.activeElement.id") == f"w-m{web_dom.pk}"
    expect(page.locator("#network-list")).to_be_visible()
    expect(page.locator("#network-list")).to_contain_text("missing")


def test_a_machine_in_the_drawing_is_a_way_to_its_page(page_as, fulup, web_dom):
    page = page_as(fulup)
    page.goto("/")
    page.locator("svg.net-cards a", has_text="WEB-Dom").click()
    expect(page.locator("h1")).to_have_text("WEB-Dom")


def test_every_width_has_one_drawing(page_as, fulup, web_dom):
    for width, kind in ((1360, ".net-cards"), (900, ".net-cards"), (860, ".net-stack"), (390, ".net-stack")):
        page = page_as(fulup, width=width)
        page.goto("/")
        shown = [e for e in page.locator("svg.net").all() if e.is_visible()]
        assert len(shown) == 1, width
        expect(page.locator(f"svg{kind}")).to_be_visible()


def test_it_is_complete_without_script(page_as, fulup, web_dom):
    page = page_as(fulup, script=False)
    page.goto("/")
    expect(page.locator("svg.net-cards")).to_contain_text("WEB-Dom")
    page.locator("#as-list summary").click()
    expect(page.locator("#network-list")).to_contain_text("WEB-Dom")
    page.locator("#q").fill("10.10.2.2")
    page.locator("#q").press("Enter")
    expect(page.locator("h1")).to_have_text("WEB-Dom")


def test_the_skip_link_and_the_menu_work_by_keyboard(page_as, fulup, web_dom):
    page = page_as(fulup)
    page.goto("/")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    menu = page.locator("details.menu summary")
    menu.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Sign out")).to_be_hidden()
    expect(menu).to_be_focused()


def test_a_chosen_theme_wins_over_the_system(page_as, fulup, web_dom):
    fulup.theme = "dark"
    fulup.save()
    page = page_as(fulup, scheme="light")
    page.goto("/")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(14, 20, 23)"
