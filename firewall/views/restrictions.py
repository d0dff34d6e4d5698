"""What a zone may not send or receive, whatever the policy allows: the list, adding, changing, removing."""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from accounts.doors import UserRequest, actor_of, page
from firewall import services
from firewall.forms import RestrictionForm
from firewall.held import restrictions as held
from firewall.models import ZoneRestriction
from firewall.views.about import host_of, known_host
from hosts.models import Host


@page("firewall.view")
def list_(request: UserRequest) -> HttpResponse:
    """Every restriction by zone, and whether it holds already."""
    host = host_of(request)
    context = {"host": host, "zones": held(host) if host else ()}
    return render(request, "firewall/restrictions.html", context)


@page("restriction.change", methods=("GET", "POST"))
def add(request: UserRequest) -> HttpResponse:
    """A new zone restriction."""
    host: Host = known_host(request)
    form = RestrictionForm(request.POST or None, host=host, initial={"zone": request.GET.get("zone", "")})
    if form.is_valid():
        try:
            made = services.restriction_add(actor_of(request), **form.wish)
            messages.success(request, f"{made.name} is saved. It takes effect when you apply.")
            return redirect("firewall:restrictions")
        except ValidationError as error:
            form.take(error)
    return _form(request, form, None)


@page("restriction.change", methods=("GET", "POST"))
def change(request: UserRequest, pk: int) -> HttpResponse:
    """Another wording of one."""
    row = _get(pk)
    form = RestrictionForm(request.POST or None, host=row.zone.host, initial=RestrictionForm.of(row))
    if form.is_valid():
        try:
            services.restriction_change(actor_of(request), row, **form.wish)
            messages.success(request, f"{row.name} is saved. It takes effect when you apply.")
            return redirect("firewall:restrictions")
        except ValidationError as error:
            form.take(error)
            row = _get(pk)
    return _form(request, form, row)


def _form(request: UserRequest, form: RestrictionForm, row: ZoneRestriction | None) -> HttpResponse:
    form.focus()
    context = {"form": form, "restriction": row}
    return render(request, "firewall/restriction.html", context, status=422 if form.errors else 200)


@page("restriction.change", methods=("POST",))
def remove(request: UserRequest, pk: int) -> HttpResponse:
    """Take a zone restriction out of the wishes."""
    row = _get(pk)
    services.restriction_remove(actor_of(request), row)
    messages.success(request, f"{row.name} is taken out. What it stopped opens when you apply.")
    return redirect("firewall:restrictions")


def _get(pk: int) -> ZoneRestriction:
    return get_object_or_404(ZoneRestriction.objects.select_related("zone__host"), pk=pk)
