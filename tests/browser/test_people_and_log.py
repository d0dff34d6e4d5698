"""Signing in, being invited, keys and the log in Chromium."""

from __future__ import annotations

import re

import pytest
from django.utils import timezone

from audit.log import Actor, Thing, record

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
ED = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"


def test_a_wrong_password_then_the_right_one(page_as, fresh, dominig):
    page = page_as(None)
    page.goto("/account/")
    page.get_by_label("Name").fill("dominig")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    assert "don’t go together" in page.get_by_role("alert").inner_text()
    assert page.get_by_label("Name").input_value() == "dominig"
    page.get_by_label("Password").fill("correct horse battery")
    page.keyboard.press("Enter")
    page.wait_for_url("**/account/")
    page.get_by_text("dominig", exact=True).first.click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in/")


def test_the_invited_choose_a_password_and_come_in(page_as, fresh, fulup):
    page = page_as(fulup)
    page.goto("/people/")
    page.get_by_role("link", name="Invite somebody").click()
    page.get_by_label("Name", exact=True).fill("erwan")
    page.get_by_role("button", name="Invite").click()
    link = re.search(r"http://\S+/invitation/\S+/", page.locator("#once").inner_text())[0]
    guest = page_as(None)
    guest.goto(link)
    for label in ("Password", "Password again"):
        guest.get_by_label(label, exact=True).fill("staple battery horse")
    guest.get_by_role("button", name="Keep this password").click()
    guest.get_by_label("Name").fill("erwan")
    guest.get_by_label("Password").fill("staple battery horse")
    guest.get_by_role("button", name="Sign in").click()
    guest.goto("/account/")
    assert guest.get_by_role("heading", level=1).inner_text() == "erwan"


def test_a_key_is_added_and_colours_chosen_without_script(page_as, fresh, dominig):
    page = page_as(dominig, script=False)
    page.goto("/account/")
    page.get_by_label("Public key").fill(f"{ED} laptop")
    page.get_by_role("button", name="Add this key").click()
    assert page.get_by_role("button", name="Remove laptop").is_visible()
    page.get_by_label("Colours of the panel").select_option("dark")
    page.get_by_role("button", name="Use these colours").click()
    assert page.locator("html").get_attribute("data-theme") == "dark"


def test_the_log_narrows_while_one_chooses_and_its_address_can_be_passed_on(page_as, fresh, fulup):
    for number in range(60):
        record(Actor(id=1, name="dominig"), "machine.start", Thing(kind="machine", id="7", text=f"WEB-{number}"))
    record(Actor(id=1, name="fulup"), "machine.stop", Thing(kind="machine", id="8", text="Mail"), why="disk check")
    page = page_as(fulup)
    page.goto("/audit/")
    page.get_by_label("Person").select_option("fulup")
    page.get_by_text("stopped machine Mail").wait_for()
    page.get_by_text("started machine WEB-59").wait_for(state="detached")
    page.get_by_label("Action").select_option("machine")
    page.wait_for_url(re.compile(r"action=machine(&|$)"))
    page.reload()
    assert page.get_by_text("“disk check”").is_visible()
    page.goto("/audit/?who=dominig")
    page.get_by_role("link", name="Older").click()
    page.get_by_text("started machine WEB-3", exact=False).first.wait_for()
    page.get_by_role("button", name="Check the chain").click()
    page.get_by_role("status").filter(has_text="Chain unbroken").wait_for()


def test_the_auditor_looks_around_in_the_admin(page_as, fresh, agnes, fulup):
    record(Actor(id=1, name="fulup"), "machine.stop", Thing(kind="machine", id="8", text="Mail"))
    page = page_as(agnes)
    page.goto("/")
    page.get_by_role("link", name="Every record").click()
    page.locator("#content").get_by_role("link", name="Entries").first.click()
    page.get_by_role("link", name="machine.stop").first.click()
    page.locator("#result_list tbody").get_by_role("link").first.click()
    page.wait_for_url("**/change/**")
    assert page.get_by_text("Mail").first.is_visible()
    assert page.locator("input[type=submit]").count() == 0
    assert f"{timezone.now():%Y}" in page.content()
