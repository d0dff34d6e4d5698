"""Zones and external addresses in the browser. Every change is a POST to one service."""

from __future__ import annotations

from collections.abc import Callable

from django.core.exceptions import ValidationError
from django.db.models import Count
from django.http import HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render

from accounts.doors import UserRequest, actor_of, page
from dom0.errors import Refused
from hosts.models import Host, Job
from ui.htmx import answer
from zones import services
from zones.forms import ChangeForm, CreateForm, DeleteForm, ZoneForm
from zones.models import ExternalAddress, Zone


def _zone(request: UserRequest, pk: int, action: str) -> Zone:
    zones = Zone.objects.visible_to(request.user, action).select_related("host", "external")
    return get_object_or_404(zones, pk=pk)


def _open_jobs(zones: list[Zone]) -> dict[int, Job]:
    """The open job of each zone that has one, by the zone's id."""
    jobs = Job.objects.filter(target_kind="zone", target_id__in=[zone.pk for zone in zones], state__in=Job.OPEN)
    return {job.target_id: job for job in jobs}


def _posted(request: UserRequest) -> QueryDict | None:
    return request.POST if request.method == "POST" else None


@page("zone.view")
def list_(request: UserRequest) -> HttpResponse:
    """All zones, by number, with how each stands on the host."""
    zones = Zone.objects.visible_to(request.user).select_related("host", "external")
    found = list(zones.annotate(machine_count=Count("machines")))
    jobs = _open_jobs(found)
    context = {
        "zones": [(zone, jobs.get(zone.pk)) for zone in found],
        "several": len({zone.host_id for zone in found}) > 1,
        "has_host": Host.objects.exists(),
    }
    return answer(request, "zones/list.html", {"rows": "zones/_rows.html"}, context)


@page("zone.view")
def detail(request: UserRequest, pk: int) -> HttpResponse:
    """One zone: its subnet, its way out, who lives there."""
    zone = _zone(request, pk, "zone.view")
    return _detail(request, zone)


def _detail(request: UserRequest, zone: Zone, refused: Refused | None = None) -> HttpResponse:
    context = {
        "zone": zone,
        "machines": zone.machines.select_related("owner"),
        "job": _open_jobs([zone]).get(zone.pk),
        "refused": refused,
    }
    return render(request, "zones/detail.html", context, status=409 if refused else 200)


@page("zone.create", methods=("GET", "POST"))
def create(request: UserRequest) -> HttpResponse:
    """A new zone; its plan is shown on the job's page before anything happens."""
    form = CreateForm(_posted(request))

    def ask(form: ZoneForm) -> Job:
        return services.zone_create(actor_of(request), **form.wish)

    return _asked(request, form, ask, "zones/create.html", None)


@page("zone.change", methods=("GET", "POST"))
def change(request: UserRequest, pk: int) -> HttpResponse:
    """Another way out or domain for a zone; until it was first applied also another subnet or bridge."""
    zone = _zone(request, pk, "zone.change")
    form = ChangeForm(_posted(request), zone=zone)

    def ask(form: ZoneForm) -> Job:
        return services.zone_change(actor_of(request), zone, **form.wish)

    return _asked(request, form, ask, "zones/change.html", zone)


def _asked(
    request: UserRequest, form: ZoneForm, ask: Callable[[ZoneForm], Job], template: str, zone: Zone | None
) -> HttpResponse:
    refused: Refused | None = None
    if form.is_valid():
        try:
            return redirect("hosts:job", ask(form).pk)
        except ValidationError as error:
            form.take(error)
        except Refused as error:
            refused = error
    status = 409 if refused else 422 if form.errors else 200
    return render(request, template, {"form": form, "refused": refused, "zone": zone}, status=status)


@page("zone.change", methods=("POST",))
def apply(request: UserRequest, pk: int) -> HttpResponse:
    """Bring the host to the zone as it is wished."""
    zone = _zone(request, pk, "zone.change")
    try:
        return redirect("hosts:job", services.zone_apply(actor_of(request), zone).pk)
    except Refused as error:
        return _detail(request, zone, error)


@page("zone.delete", methods=("GET", "POST"))
def delete(request: UserRequest, pk: int) -> HttpResponse:
    """What stands on a zone; with nothing left there, its removal."""
    zone = _zone(request, pk, "zone.delete")
    form = DeleteForm(_posted(request))
    refused: Refused | None = None
    if form.is_valid():
        try:
            return redirect("hosts:job", services.zone_delete(actor_of(request), zone, **form.cleaned_data).pk)
        except Refused as error:
            refused = error
    context = {"zone": zone, "form": form, "refused": refused, "standing": services.dependents_of(zone)}
    return render(request, "zones/delete.html", context, status=409 if refused else 200)


@page("zone.view")
def addresses(request: UserRequest) -> HttpResponse:
    """The public addresses the hosts reported, and the zones that go out by them."""
    found = ExternalAddress.objects.select_related("host").prefetch_related("zones")
    return render(request, "zones/addresses.html", {"addresses": found})
