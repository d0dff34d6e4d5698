"""What every page must hold: no serious axe finding, no sideways overflow."""

from __future__ import annotations

import threading
import time

from axe_playwright_python.sync_playwright import Axe
from django.core.signals import request_finished, request_started
from playwright.sync_api import Page

SERIOUS = ("serious", "critical")
_axe = Axe()


def findings(page: Page) -> list[str]:
    """Serious and critical axe findings, with every <details> open."""
    page.evaluate("for (const d of document.querySelectorAll('details')) d.open = true")
    found = _axe.run(page).response["violations"]
    return [f"{v['id']}: {n['html'][:160]}" for v in found if v["impact"] in SERIOUS for n in v["nodes"]]


def overflow(page: Page) -> list[str]:
    """The elements that make the page wider than the window."""
    return page.evaluate(
        """() => {
          const room = document.documentElement.clientWidth;
          if (document.documentElement.scrollWidth <= room) return [];
          return [...document.querySelectorAll("body *")]
            .filter((e) => e.getBoundingClientRect().right > room + 1)
            .slice(0, 5).map((e) => e.outerHTML.slice(0, 120));
        }"""
    )


_under_way: set[int] = set()


def _begins(**_: object) -> None:
    _under_way.add(threading.get_ident())


def _ends(**_: object) -> None:
    _under_way.discard(threading.get_ident())


request_started.connect(_begins, dispatch_uid="faces")
request_finished.connect(_ends, dispatch_uid="faces")


def until_answered() -> None:
    """Wait for requests a page left behind: the tables they read could not be emptied, or not changed, meanwhile."""
    deadline = time.monotonic() + 10
    while _under_way and time.monotonic() < deadline:
        time.sleep(0.01)
    _under_way.clear()
