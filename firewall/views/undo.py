"""Undoing a wish that is not applied yet: a restriction, a cell, an own rule stays as it is in force."""

from __future__ import annotations

from urllib.parse import urlencode

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse

from accounts.doors import UserRequest, actor_of, page
from dom0.errors import Refused
from firewall import rows, undo
from firewall.views.about import known_host
from firewall.views.policy import called, editable
from zones.models import Zone


@page("restriction.change", methods=("POST",))
def restriction(request: UserRequest, zone: int) -> HttpResponse:
    """Wish for a zone's restriction as it is in force, whether it was taken out or changed."""
    found = get_object_or_404(Zone.objects.select_related("host"), pk=zone)
    try:
        row = undo.restriction_restore(actor_of(request), found, request.POST.get("name", "")[:31])
        messages.success(request, f"{row.name} stays as it is in force.")
    except (Refused, ValidationError) as error:
        messages.error(request, undo.said(error))
    return redirect("firewall:restrictions")


@page("policy.change", methods=("POST",))
def cell(request: UserRequest) -> HttpResponse:
    """Wish for a cell of the grid as it is in force."""
    host = known_host(request)
    source, target = request.GET.get("source", ""), request.GET.get("target", "")
    if not editable(rows.site_of(host), source, target):
        raise Http404
    try:
        undo.cell_restore(actor_of(request), host, source, target)
        messages.success(request, f"{called(source)} to {called(target)} stays as it is in force.")
    except (Refused, ValidationError) as error:
        messages.error(request, undo.said(error))
    return redirect(f"{reverse('firewall:policy')}?{urlencode({'source': source, 'target': target})}#cell")


@page("policy.change", methods=("POST",))
def custom(request: UserRequest) -> HttpResponse:
    """Wish again for an own rule that holds and was taken out."""
    host = known_host(request)
    try:
        undo.custom_restore(
            actor_of(request), host, request.POST.get("place", "")[:17], request.POST.get("rule", "")[:300]
        )
        messages.success(request, "The rule stays as it is in force.")
    except (Refused, ValidationError) as error:
        messages.error(request, undo.said(error))
    return redirect("firewall:customs")
