"""What every page must hold, at either width and in either colours: no serious axe finding, no sideways overflow."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from django.core.signals import request_finished, request_started
from playwright.sync_api import Page

SERIOUS = ("serious", "critical")
#: Width of the window in CSS pixels, and the colours the reader's system asks for.
FACES = ((1360, "light"), (1360, "dark"), (390, "dark"), (390, "light"))
#: axe's rules that look at colours: what the others find at one width, they find in either colours.
OF_COLOURS = ("color-contrast", "link-in-text-block")
_axe = Axe()


def every_face(page: Page, name: str) -> list[str]:
    """What is wrong with the page that is open, at either width in either colours; then it has its old width again.

    It is loaded once: width and colours are the style sheets' own affair (no script asks for them, which
    test_every_page.py proves). FRIDU_SHOTS=folder keeps a picture of each face.
    """
    before, wrong, widths = page.viewport_size, [], set()
    for width, scheme in FACES:
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        if folder := os.environ.get("FRIDU_SHOTS"):
            page.screenshot(path=Path(folder) / f"{name}-{width}-{scheme}.png", full_page=True)
        rules = OF_COLOURS if width in widths else ()
        found = findings(page, *rules) + [f"overflow: {e}" for e in overflow(page)]
        wrong += [f"{width} {scheme}: {each}" for each in found]
        widths.add(width)
    page.set_viewport_size(before)
    return wrong


def findings(page: Page, *rules: str) -> list[str]:
    """Serious and critical axe findings, with every <details> open; of some of axe's rules only, where named."""
    page.evaluate("for (const d of document.querySelectorAll('details')) d.open = true")
    if not page.evaluate("'axe' in window"):
        page.evaluate(_axe.axe_script)
    only = {"runOnly": list(rules)} if rules else {}
    found = page.evaluate("how => axe.run(document, how)", {"resultTypes": ["violations"], **only})["violations"]
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
