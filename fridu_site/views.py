"""The pages that speak of everything at once: overview, search, help."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import redirect, render

from accounts.doors import UserRequest, page
from ui import registry
from ui.htmx import answer


@page("help.view")
def overview(request: UserRequest) -> HttpResponse:
    """The operator's home page; whoever has another home is led there."""
    if request.user.is_auditor:
        return redirect("audit:log")
    if not request.user.is_operator:
        return redirect("machines:list")
    context = {"needs": registry.needs(request)}
    return answer(request, "overview.html", {"network": "_network.html"}, context)


@page("machine.view")
def search(request: UserRequest) -> HttpResponse:
    """What the search box finds, within what the viewer may see."""
    words = request.GET.get("q", "").strip()[:100]
    found = registry.found(request, words) if words else []
    if len(found) == 1:
        return redirect(found[0].url)
    return render(request, "search.html", {"sought": words, "found": found})


@page("help.view")
def help(request: UserRequest) -> HttpResponse:
    """What one can do here, by role."""
    return render(request, "help.html")
