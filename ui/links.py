"""Links to pages of rooms that may not be there."""

from __future__ import annotations

from django.urls import NoReverseMatch, reverse


def link(name: str, *args: object) -> str:
    """The page's path, or "" where no room offers a page of that name."""
    try:
        return reverse(name, args=args)
    except NoReverseMatch:
        return ""
