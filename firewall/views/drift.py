"""What the host has instead of what is in force: wished and found side by side, and the two ways out."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render

from accounts.doors import UserRequest, page
from firewall import rows
from firewall.models import Watched
from firewall.views.about import host_of


@page("firewall.view")
def drift(request: UserRequest) -> HttpResponse:
    """The differences the watcher found, by family."""
    host = host_of(request)
    if host is None:
        return render(request, "firewall/drift.html", {"host": None})
    watched = Watched.objects.filter(host=host).first()
    return render(request, "firewall/drift.html", {"host": host, "watched": watched, "live": rows.live_revision(host)})
