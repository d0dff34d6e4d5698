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
from zones import rates, seen, services
from zones.dependents import dependents_of, goes_along
from zones.forms import ChangeForm, CreateForm, DeleteForm, ZoneForm
from zones.models import Zone


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
    leases = seen.leases_of(zone)
    machines = [(row, leases.pop(row.mac, None)) for row in zone.machines.select_related("owner")]
    kept = [(row, leases.pop(row.mac, None)) for row in zone.expected.all()]
    context = {
        "zone": zone,
        "machines": [(row, lease, seen.ends(lease) if lease else None) for row, lease in machines],
        "kept": [(row, lease, seen.ends(lease) if lease else None) for row, lease in kept],
        "running": sum(row.observed == "running" for row, _ in machines),
        "strangers": [(lease, seen.ends(lease)) for lease in sorted(leases.values(), key=lambda each: each.address)],
        "rates": (rates.say(zone.in_kbit), rates.say(zone.out_kbit)),
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
    """Another way out, domain, bandwidth or lease range for a zone; another subnet after a look at all that moves."""
    zone = _zone(request, pk, "zone.change")
    form = ChangeForm(_posted(request), zone=zone)
    if form.is_valid() and (moves := _moves(request, zone, form)):
        return moves

    def ask(form: ZoneForm) -> Job:
        return services.zone_change(actor_of(request), zone, seen=request.POST.get("seen", ""), **form.wish)

    return _asked(request, form, ask, "zones/change.html", zone)


def _moves(request: UserRequest, zone: Zone, form: ChangeForm) -> HttpResponse | None:
    """The page that shows what a change of subnet takes along; None once it was looked at, or where nothing moves."""
    wish = {name: value for name, value in form.wish.items() if name != "reason"}
    try:
        preview = services.zone_preview(zone, **wish)
    except ValidationError as error:
        form.take(error)
        return None
    if preview is None or (request.POST.get("seen") == preview.digest and not preview.conflicts):
        return None
    context = {"zone": zone, "form": form, "preview": preview, "was_seen": "seen" in request.POST}
    return render(request, "zones/move.html", context, status=409 if preview.conflicts else 200)


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
    if form.errors:
        form.focus()
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
    standing, along = dependents_of(zone), goes_along(zone)
    context = {"zone": zone, "form": form, "refused": refused, "standing": standing, "along": along}
    return render(request, "zones/delete.html", context, status=409 if refused else 200)
