"""The panel's pages as somebody without script uses them: links followed, forms filled in and sent, cookies kept.

Standard library alone: it runs inside a host of the lab with Debian's own Python.
"""

from __future__ import annotations

import re
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.cookiejar import CookieJar

#: An emulated processor takes twenty times as long for a page.
PATIENCE_S = 90
VOID = {"area", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"}


@dataclass(kw_only=True)
class Form:
    """A form as it stands in the page: what would be sent if nothing were typed, and its buttons' words."""

    action: str
    values: list[tuple[str, str]] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    options: dict[str, dict[str, str]] = field(default_factory=dict)  # of a choice: value by its words
    buttons: list[str] = field(default_factory=list)


class Page(HTMLParser):
    """A page that was read: its words, its forms."""

    def __init__(self, url: str, status: int, html: str) -> None:
        super().__init__()
        self.url, self.status, self.html = url, status, html
        self.forms: list[Form] = []
        self._words: list[str] = []
        self._inside: list[str] = []
        self._open: Form | None = None
        self._heard: list[str] = []
        self._choice = ""
        self._option: tuple[str, bool] | None = None
        self._area = ""
        self.feed(html)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self._words).split())

    def form(self, *, button: str) -> Form:
        """The one with that button. Raises LookupError."""
        for each in self.forms:
            if any(button in words for words in each.buttons):
                return each
        raise LookupError(f"{self.url} ({self.status}) has no button “{button}”: {self.text[:600]}")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        have = {name: value or "" for name, value in attrs}
        if tag not in VOID:
            self._inside.append(tag)
        if tag == "form":
            self._open = Form(action=have.get("action", ""))
            self.forms.append(self._open)
        form, name = self._open, have.get("name", "")
        if form is None:
            return
        if name:
            form.names.add(name)
        if tag == "input":
            self._input(form, name, have)
        elif tag == "button":
            self._heard = [have.get("aria-label", "")]
        elif tag == "select":
            self._choice = name
        elif tag == "textarea":
            self._area, self._heard = name, []
        elif tag == "option" and self._choice:
            self._option, self._heard = (have.get("value", ""), "selected" in have), []

    def _input(self, form: Form, name: str, have: dict[str, str]) -> None:
        kind = have.get("type", "text")
        if kind in ("checkbox", "radio"):
            form.options.setdefault(name, {})[have.get("id", "")] = have.get("value", "on")
            if "checked" not in have:
                return
        if name:
            form.values.append((name, have.get("value", "on" if kind == "checkbox" else "")))

    def handle_endtag(self, tag: str) -> None:
        while tag in self._inside and self._inside.pop() != tag:
            pass
        form, heard = self._open, " ".join(" ".join(self._heard).split())
        if form is None:
            return
        if tag == "form":
            self._open = None
        elif tag == "button":
            form.buttons.append(heard)
        elif tag == "textarea":
            form.values.append((self._area, heard))
        elif tag == "option" and self._option:
            value, chosen = self._option
            form.options.setdefault(self._choice, {})[heard] = value
            if chosen or not any(name == self._choice for name, _ in form.values):
                form.values = [each for each in form.values if each[0] != self._choice]
                form.values.append((self._choice, value))
            self._option = None
        elif tag == "select":
            self._choice = ""

    def handle_data(self, data: str) -> None:
        self._heard.append(data)
        if not {"script", "style", "svg"} & set(self._inside):
            self._words.append(data)


class Visitor:
    """Somebody with a browser: one's own cookies."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.jar = CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.jar))

    def get(self, path: str) -> Page:
        return self._ask(urllib.parse.urljoin(self.base, path), None)

    def post(self, path: str) -> Page:
        """A POST of nothing but what every form has."""
        token = next((cookie.value for cookie in self.jar if cookie.name == "csrftoken"), "")
        return self._ask(urllib.parse.urljoin(self.base, path), [("csrfmiddlewaretoken", token or "")])

    def send(self, page: Page, button: str, **typed: str) -> Page:
        """Fill in the form with that button, and press it. Raises LookupError for a field that is not there."""
        form = page.form(button=button)
        if missing := set(typed) - form.names:
            raise LookupError(f"{page.url} has no field {sorted(missing)} beside “{button}”")
        values = [each for each in form.values if each[0] not in typed] + list(typed.items())
        return self._ask(urllib.parse.urljoin(page.url, form.action), values)

    def sign_in(self, user: str, password: str) -> Page:
        page = self.send(self.get("/"), "Sign in", login=user, password=password)
        assert user in page.text, f"{user} was not let in: {page.text[:300]}"
        return page

    def _ask(self, url: str, values: list[tuple[str, str]] | None) -> Page:
        data = None if values is None else urllib.parse.urlencode(values).encode()
        wish = urllib.request.Request(url, data=data, headers={"Referer": self.base})
        try:
            with self._opener.open(wish, timeout=PATIENCE_S) as answer:
                return Page(answer.url, answer.status, answer.read().decode())
        except urllib.error.HTTPError as error:
            return Page(url, error.code, error.read().decode())


def number_in(url: str) -> int:
    """The key in an address such as /jobs/12/. Raises LookupError."""
    found = re.search(r"/(\d+)/", url)
    if not found:
        raise LookupError(f"{url} names nothing by number")
    return int(found[1])
