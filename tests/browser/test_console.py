"""The console's page with a terminal that is open: typed, copied, resized, broken and back; nothing wrong with it.

The machine's side is played here; tests/demo/test_3_console.py has a real one.
"""

from __future__ import annotations

import json
import re
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, WebSocketRoute, expect

from tests.browser.faces import every_face

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
RUN = "0123456789abcdef"


class Line:
    """The panel's end of the line: what the browser typed, and from where it asked to go on."""

    def __init__(self, page: Page) -> None:
        self.typed = b""
        self.asked: list[dict[str, list[str]]] = []
        self.open: WebSocketRoute | None = None
        self.still_shows = False  # what was printed before, when a line is opened
        page.route_web_socket(re.compile(r"/console/line/"), self._opened)

    def _opened(self, route: WebSocketRoute) -> None:
        self.open = route
        self.asked.append(parse_qs(urlsplit(route.url).query))
        route.on_message(self._take)
        again = bool(self.asked[-1])
        self.tell(run=RUN, me="fedcba9876543210", again=again)
        self.tell(mine=True, who="dominig")
        if not again:
            self.print("Debian GNU/Linux 12 WEB-Dom hvc0\r\n\r\nWEB-Dom login: ")
        self.tell(at="1700000000000-1")
        if not self.still_shows:
            self.tell(live=True)

    def _take(self, said: str | bytes) -> None:
        self.typed += said if isinstance(said, bytes) else said.encode()

    def tell(self, **word: object) -> None:
        assert self.open is not None
        self.open.send(json.dumps(word))

    def print(self, text: str) -> None:
        assert self.open is not None
        self.open.send(text.encode())


@pytest.fixture
def opened(page_as, dominig, isp, web_dom, settings) -> tuple[Page, Line]:
    settings.CELERY_BROKER_URL = "redis+socket:///nonexistent/redis.sock"  # nobody asks it here
    page = page_as(dominig)
    line = Line(page)
    page.goto(f"/machines/{web_dom.pk}/console/")
    expect(page.locator("#console-says")).to_have_text("You type here.")
    expect(page.locator(".xterm-rows")).to_contain_text("WEB-Dom login:")
    return page, line


def typed(page: Page, line: Line, what: bytes) -> None:
    """Wait until the machine was given `what`."""
    for _ in range(100):
        if what in line.typed:
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"{what!r} was not typed: {line.typed!r}")


def test_an_open_terminal_is_accessible_and_fits(opened):
    page, _ = opened
    assert every_face(page, "console-live") == []


def test_what_is_typed_goes_to_the_machine_and_the_buttons_are_keys(opened):
    page, line = opened
    page.keyboard.type("root\n")
    typed(page, line, b"root\r")
    page.get_by_role("button", name="Ctrl").click()
    page.keyboard.type("c")
    typed(page, line, b"\x03")
    page.get_by_role("button", name="Up").click()
    typed(page, line, b"\x1b[A")


def test_copy_takes_what_is_marked_or_all_of_it(opened, live_server):
    page, line = opened
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=live_server.url)
    line.print("root\r\nThe key is 4711.\r\n")
    expect(page.locator(".xterm-rows")).to_contain_text("4711")
    page.get_by_role("group", name="Keys").get_by_role("button", name="Copy").click()
    expect(page.locator("#console-says")).to_have_text("Copied.")
    all_of_it = page.evaluate("navigator.clipboard.readText()")
    assert all_of_it.startswith("Debian GNU/Linux 12 WEB-Dom hvc0")
    assert all_of_it.endswith("The key is 4711.")
    marked = page.locator(".xterm-rows > div", has_text="4711").bounding_box()
    page.mouse.click(marked["x"] + 5, marked["y"] + 5, click_count=3)
    page.keyboard.press("Control+Shift+KeyC")
    page.wait_for_function("navigator.clipboard.readText().then((t) => t.trim() === 'The key is 4711.')")


def test_letters_have_the_colours_the_machine_gives_them(opened):
    page, line = opened
    line.print("\x1b[38;2;200;40;30mred\x1b[0m plain\r\n")
    red = page.locator(".xterm-rows span", has_text=re.compile("^red$"))
    expect(red).to_have_css("color", "rgb(200, 40, 30)")


def test_a_smaller_window_has_fewer_columns_and_set_size_tells_the_shell(opened):
    page, line = opened
    page.get_by_role("button", name="Set size").click()
    typed(page, line, b"\r")
    wide = int(re.search(rb"stty rows \d+ cols (\d+)\r", line.typed)[1])
    line.typed = b""
    page.set_viewport_size({"width": 390, "height": 800})
    page.get_by_role("button", name="Set size").click()
    typed(page, line, b"\r")
    narrow = int(re.search(rb"stty rows \d+ cols (\d+)\r", line.typed)[1])
    assert 20 <= narrow < wide <= 250


def test_a_broken_line_is_opened_again_where_it_broke_and_keeps_what_was_shown(opened):
    page, line = opened
    line.print("root\r\nbefore the break\r\n")
    line.tell(at="1700000000000-7")
    expect(page.locator(".xterm-rows")).to_contain_text("before the break")
    line.open.close()
    expect(page.locator("#console-says")).to_have_text("You type here.", timeout=15_000)
    page.wait_for_function("true")
    assert [sorted(query) for query in line.asked] == [[], ["after", "run", "was"]]
    assert (line.asked[1]["run"], line.asked[1]["after"]) == ([RUN], ["1700000000000-7"])
    line.print("and after\r\n")
    expect(page.locator(".xterm-rows")).to_contain_text("and after")
    expect(page.locator(".xterm-rows")).to_contain_text("before the break")


def test_nobody_is_told_to_type_before_keys_are_taken(opened):
    page, line = opened
    line.still_shows = True
    line.open.close()
    expect(page.locator("#console-says")).to_have_text("The line broke. Trying again.")
    for _ in range(200):
        if len(line.asked) == 2:
            break
        page.wait_for_timeout(50)
    line.print("shown anew\r\n")
    expect(page.locator(".xterm-rows")).to_contain_text("shown anew")
    assert page.locator("#console-says").inner_text() == "The line broke. Trying again."
    line.tell(live=True)
    expect(page.locator("#console-says")).to_have_text("You type here.")
    page.keyboard.type("ls")
    typed(page, line, b"ls")


def test_it_says_when_the_machine_stopped_and_can_be_opened_again(opened):
    page, line = opened
    line.tell(over="off")
    expect(page.locator("#console-says")).to_have_text("WEB-Dom stopped; its console ended.")
    page.get_by_role("button", name="Open again").click()
    expect(page.locator("#console-says")).to_have_text("You type here.")
    assert len(line.asked) == 2
