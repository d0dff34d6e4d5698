"""The owner uses his machine's console in Chromium: types a command, reads its output, over a broken line too."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, TimeoutError, expect

from tests.demo.conftest import Demo, until
from tests.demo.test_3_owner import number

pytestmark = pytest.mark.demo


def text(page: Page) -> str:
    """What the terminal shows, as a screen reader is given it."""
    return str(page.locator(".xterm-rows").inner_text())


def shows(page: Page, what: str, seconds: float = 30) -> bool:
    return bool(until(lambda: re.search(what, text(page)), seconds))


def test_he_types_a_command_and_reads_its_output(demo: Demo, signed_in: Callable[..., Page]):
    page = signed_in("owner")
    troubles: list[str] = []
    page.on("console", lambda said: troubles.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    pk = number(demo, "WEB-Dom")
    page.goto(f"/machines/{pk}/")
    page.locator("button#password").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("One-time root password")
    password = page.locator("#password").inner_text().strip()
    still = "select 1 from hosts_job where kind = 'machine.password' and state in ('planning', 'approved', 'running')"
    assert until(lambda: not demo.sql(still))
    page.goto(f"/machines/{pk}/")
    page.get_by_role("link", name="Open its console").click()
    expect(page.locator("#console-says")).to_have_text("You type here.")
    page.keyboard.press("Enter")
    assert shows(page, "WEB-Dom login:")
    page.keyboard.type("root\n")
    assert shows(page, "Password:")
    page.keyboard.type(password + "\n")
    assert shows(page, r"# ")
    page.keyboard.type("echo $((6 * 7))-is-it\n")
    assert shows(page, "42-is-it")
    page.get_by_role("button", name="Set size").click()
    assert shows(page, r"stty rows \d+ cols \d+")
    os.kill(demo.pid("panel"), signal.SIGKILL)
    expect(page.locator("#console-says")).not_to_have_text("You type here.")
    expect(page.locator("#console-says")).to_have_text("You type here.", timeout=60_000)
    page.keyboard.type("echo $((5 * 5))-again\n")
    assert shows(page, "25-again")
    assert "42-is-it" in text(page)
    page.keyboard.type("printf '\\033]8;;http://evil.example\\033\\\\link\\033]8;;\\033\\\\\\033]0;<img src=x>\\007'\n")
    page.keyboard.type("exit\n")
    assert shows(page, "login:")
    assert [said for said in troubles if "WebSocket" not in said and "Failed to load" not in said] == []


def test_on_a_phone_the_keys_are_buttons_and_nothing_goes_sideways(demo: Demo, signed_in: Callable[..., Page]):
    page = signed_in("owner")
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(f"/machines/{number(demo, 'WEB-Dom')}/console/")
    expect(page.locator("#console-says")).to_have_text(re.compile("You type here|You watch"))
    with contextlib.suppress(TimeoutError):  # whoever typed before may just go, and it is one's own by itself
        page.get_by_role("button", name="Type here").click(timeout=1000)
    expect(page.locator("#console-says")).to_have_text("You type here.")
    page.keyboard.type("xyz")
    assert shows(page, "xyz")
    page.get_by_role("button", name="Ctrl").click()
    page.keyboard.type("u")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
