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
from firewall import held, rows, undo
from firewall.views.about import known_host
from firewall.views.policy import called, cell_seen, editable, in_force
from zones.models import Zone


@page("restriction.change", methods=("POST",))
def restriction(request: UserRequest, zone: int) -> HttpResponse:
    """Wish for a zone's restriction as it is in force, whether it was taken out or changed."""
    found, name = get_object_or_404(Zone.objects.select_related("host"), pk=zone), request.POST.get("name", "")[:31]
    shown = [each for heap in held.restrictions(found.host) if heap.zone == zone for each in heap.held]
    try:
        _refuse_unseen(request, [each for each in shown if each.name == name])
        row = undo.restriction_restore(actor_of(request), found, name)
        messages.success(request, f"{row.name} stays as it is in force.")
    except (Refused, ValidationError) as error:
        messages.error(request, undo.said(error))
    return redirect("firewall:restrictions")


@page("policy.change", methods=("POST",))
def cell(request: UserRequest) -> HttpResponse:
    """Wish for a cell of the grid as it is in force."""
    host = known_host(request)
    source, target = request.GET.get("source", ""), request.GET.get("target", "")
    site = rows.site_of(host)
    if not editable(site, source, target):
        raise Http404
    try:
        was = in_force(host, site, source, target)
        undo.refuse_unseen(cell_seen(site, source, target, was), request.POST.get("seen", ""))
        undo.cell_restore(actor_of(request), host, source, target)
        messages.success(request, f"{called(source)} to {called(target)} stays as it is in force.")
    except (Refused, ValidationError) as error:
        messages.error(request, undo.said(error))
    return redirect(f"{reverse('firewall:policy')}?{urlencode({'source': source, 'target': target})}#cell")


@page("policy.change", methods=("POST",))
def custom(request: UserRequest) -> HttpResponse:
    """Wish again for an own rule that holds and was taken out."""
    host = known_host(request)
    place, rule = request.POST.get("place", "")[:17], request.POST.get("rule", "")[:300]
    shown = [each for heap in held.own_rules(host) if heap.title == place for each in heap.held]
    try:
        _refuse_unseen(request, [each for each in shown if each.what == rule])
        undo.custom_restore(actor_of(request), host, place, rule)
        messages.success(request, "The rule stays as it is in force.")
    except (Refused, ValidationError) as error:
        messages.error(request, undo.said(error))
    return redirect("firewall:customs")


def _refuse_unseen(request: UserRequest, found: list[held.Held]) -> None:
    """Raises Refused where what is there is not what was seen; what is not there at all is told by who restores."""
    if found:
        undo.refuse_unseen(found[0].seen, request.POST.get("seen", ""))
