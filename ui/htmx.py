"""Pages and their fragments: one view, one check, one context; htmx asks for a part by its element's id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.cache import patch_vary_headers


def wants(request: HttpRequest) -> str:
    """The id of the element htmx will put the answer into; "" for a whole page."""
    htmx = getattr(request, "htmx", None)
    return (htmx.target or "") if htmx and not htmx.boosted else ""


def page_of(request: HttpRequest) -> str:
    """Path and query of the page the browser shows: for a fragment that of the page it belongs to."""
    htmx = getattr(request, "htmx", None)
    return (htmx.current_url_abs_path or "/") if htmx else request.get_full_path()


def answer(
    request: HttpRequest,
    page: str,
    parts: Mapping[str, str],
    context: Mapping[str, Any],
    *,
    status: int = 200,
) -> HttpResponse:
    """The page, or the fragment template `parts` names for the element htmx asks for."""
    response = render(request, parts.get(wants(request), page), dict(context), status=status)
    patch_vary_headers(response, ("HX-Request", "HX-Target"))
    response["Cache-Control"] = "no-store"
    return response


def go_to(request: HttpRequest, url: str) -> HttpResponse:
    """Send the browser to `url`; htmx would otherwise put that page into a fragment's place."""
    if not getattr(request, "htmx", None):
        return redirect(url)
    response = HttpResponse(status=204)
    response["HX-Redirect"] = url
    return response
