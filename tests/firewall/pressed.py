"""A button of a page as a browser presses it: with all its form holds."""

from __future__ import annotations

import re
from html import unescape

from django.test import Client

_HIDDEN = re.compile(r'<input type="hidden" name="([a-z_]+)" value="([^"]*)">')


def forms(page: str, action: str) -> list[dict[str, str]]:
    """What each form with that action holds, the CSRF token left out."""
    found = re.findall(r'<form method="post"[^>]* action="([^"]*)"[^>]*>(.*?)</form>', page, re.DOTALL)
    return [
        {name: unescape(value) for name, value in _HIDDEN.findall(inner) if name != "csrfmiddlewaretoken"}
        for where, inner in found
        if unescape(where).partition("?")[0] == action.partition("?")[0]
    ]


def held(client: Client, url: str, action: str, **among: str) -> dict[str, str]:
    """What the one form with that action on the page at `url` holds, of several that with these values."""
    page = client.get(url).content.decode()
    [found] = [form for form in forms(page, action) if among.items() <= form.items()]
    return found
