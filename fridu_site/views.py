"""The pages that speak of everything at once: overview, search, help."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import redirect, render

from accounts.access import may_somewhere
from accounts.doors import UserRequest, page
from audit import show
from audit.models import Entry
from fridu_site.network import Network, network_of, stale
from hosts.models import Host, Job
from ui import registry
from ui.drawing import PHONE, WIDE, Site, draw
from ui.htmx import answer, wants


@page("help.view")
def overview(request: UserRequest) -> HttpResponse:
    """The operator's home page; whoever has another home is led there."""
    if not may_somewhere(request.user, "overview.view"):
        return redirect("audit:log" if request.user.is_auditor else "machines:mine")
    hosts = list(Host.objects.all())
    host = next((h for h in hosts if h.name == request.GET.get("host")), hosts[0] if hosts else None)
    context: dict[str, Any] = {"hosts": hosts, "host": host}
    if host:
        context |= _drawn(host)
        if wants(request) == "network" and request.GET.get("seen") == context["seen"]:
            return _only_the_time(request, context)
    context["needs"] = registry.needs(request)
    if not wants(request):
        context["lately"] = show.lines(_lately()[:6])
    return answer(request, "overview.html", {"network": "_network.html"}, context)


def _lately() -> QuerySet[Entry]:
    """Newest first; of a job that has ended its end, not also that it was asked for."""
    ended = Job.objects.exclude(state__in=Job.OPEN).values("pk")
    return Entry.objects.exclude(data__has_key="asked", job__in=ended).order_by("-seq")


def _drawn(host: Host) -> dict[str, Any]:
    network = network_of(host)
    if not host.fresh:
        network = stale(network)
    wide, phone = _drawings(network.site)
    # The words of a state age ("running for 3 minutes"); only what is drawn decides whether to draw anew.
    seen = hashlib.sha256(f"{wide}{network.lead}{host.fresh}".encode()).hexdigest()[:12]
    return {"network": network, "wide": wide, "phone": phone, "seen": seen, "room": _room(host, network)}


@lru_cache(maxsize=4)
def _drawings(site: Site) -> tuple[str, str]:
    """For a wide page and for a phone, drawn once for the same site: every open page asks every 3 seconds."""
    return draw(site, WIDE), draw(site, PHONE)


def _room(host: Host, network: Network) -> dict[str, float]:
    """Memory promised and what there is for machines; root volumes and free disk."""
    memory = host.figures.get("free_memory_mib", 0) + network.running_mib
    return {"memory_mib": memory, "free_bytes": host.figures.get("free_bytes", 0)}


def _only_the_time(request: UserRequest, context: dict[str, Any]) -> HttpResponse:
    """Nothing new to draw: leave the drawing, and the focus in it, alone."""
    response = render(request, "_network_seen.html", {**context, "oob": True})
    response["HX-Reswap"] = "none"
    response["Cache-Control"] = "no-store"
    return response


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
