"""Chromium against the live panel: `page_as(user)` opens a page signed in; what its console says must be nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from django.test import Client
from playwright.sync_api import Browser, Page

OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
)
# Chromium says so itself of every answer that is not 2xx; the tests look at the page instead.
OF_THE_ANSWER = "Failed to load resource: the server responded with a status of 4"


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict) -> dict:
    return {**browser_type_launch_args, "executable_path": "/usr/bin/chromium", "args": list(OPTIONS)}


@pytest.fixture
def troubles() -> list[str]:
    """What the console of any page of this test said, and every script error."""
    return []


@pytest.fixture
def page_as(browser: Browser, live_server, troubles: list[str]) -> Iterator[Callable[..., Page]]:
    """`page_as(user, width=1360, scheme="light")`: a new page of the live panel, signed in as `user` (None: nobody)."""
    contexts = []

    def open_page(user, *, width: int = 1360, height: int = 900, scheme: str = "light", script: bool = True) -> Page:
        context = browser.new_context(
            base_url=live_server.url,
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            java_script_enabled=script,
            reduced_motion="reduce",
        )
        contexts.append(context)
        if user is not None:
            client = Client()  # of its own: one client has one session, and a second sign-in would end the first
            client.force_login(user)
            cookie = client.cookies["sessionid"].value
            context.add_cookies([{"name": "sessionid", "value": cookie, "url": live_server.url}])
        page = context.new_page()
        page.on("console", lambda said: troubles.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [t for t in troubles if not t.startswith(OF_THE_ANSWER)] == []
