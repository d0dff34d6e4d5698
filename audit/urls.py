"""The log's routes, behind the door the composition hands down (accounts.doors.page: a higher room)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.urls import URLPattern, path

from audit import views


def routes(page: Callable[..., Any]) -> tuple[list[URLPattern], str]:
    """The patterns and their namespace, for `include`."""
    see = page("audit.view")
    patterns = [
        path("", see(views.log), name="log"),
        path("<int:seq>/", see(views.entry), name="entry"),
        path("check/", page("audit.view", methods=("POST",))(views.check), name="check"),
    ]
    return patterns, "audit"
