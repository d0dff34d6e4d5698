"""What every page must hold: no serious axe finding, no sideways overflow."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
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
