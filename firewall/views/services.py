"""Published services: the list, publishing, unpublishing."""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse

from accounts.doors import UserRequest, actor_of, page
from dom0.errors import Refused
from firewall import services
from firewall.forms import PublishForm
from firewall.models import PublishedService
from firewall.views.about import host_of, known_host
from hosts.models import Host
from machines.models import Machine
from ui.htmx import answer, go_to

A_PAGE = 100


@page("firewall.view")
def list_(request: UserRequest) -> HttpResponse:
    """What the Internet may enter, by address and port."""
    host = host_of(request)
    if host is None:
        return render(request, "firewall/services.html", {"host": None})
    sought = request.GET.get("q", "").strip()[:60]
    found = Paginator(_found(host, sought), A_PAGE).get_page(request.GET.get("page"))
    machines = {m.address: m for m in Machine.objects.filter(host=host, address__in=[s.target for s in found])}
    context = {
        "host": host,
        "page_obj": found,
        "rows": [(service, machines.get(service.target or "")) for service in found],
        "sought": sought,
        "any": bool(found.object_list) or PublishedService.objects.filter(host=host).exists(),
    }
    return answer(request, "firewall/services.html", {"rows": "firewall/_services.html"}, context)


def _found(host: Host, sought: str) -> QuerySet[PublishedService]:
    rows = PublishedService.objects.filter(host=host).select_related("external", "zone")
    if not sought:
        return rows
    named = Machine.objects.filter(host=host, name__icontains=sought).values("address")
    hit = Q(name__icontains=sought) | Q(external__address__contains=sought) | Q(target__contains=sought)
    hit |= Q(target__in=named) | Q(zone__name__icontains=sought)
    if sought.isdigit() and len(sought) < 6:
        hit |= Q(port__lte=int(sought), port_last__gte=int(sought)) | Q(target_port=int(sought))
    return rows.filter(hit)


@page("service.publish", methods=("GET", "POST"))
def publish(request: UserRequest) -> HttpResponse:
    """A new published service: saved as a wish, then the difference is shown."""
    host = known_host(request)
    wanted = {key: request.GET[key] for key in ("target", "external", "port", "proto") if key in request.GET}
    form = PublishForm(request.POST or None, host=host, initial=wanted)
    refused: Refused | None = None
    if form.is_valid():
        try:
            made = services.service_publish(actor_of(request), host=host, **form.wish)
            messages.success(request, f"{made.name} is saved. It opens when you apply.")
            return redirect("firewall:changes")
        except ValidationError as error:
            form.take(error)
        except Refused as error:
            refused = error
    form.focus()
    context = {
        "form": form,
        "refused": refused,
        "machines": Machine.objects.filter(host=host).values_list("name", "address"),
    }
    status = 409 if refused else 422 if form.errors else 200
    return render(request, "firewall/publish.html", context, status=status)


@page("service.unpublish", methods=("POST",))
def unpublish(request: UserRequest, pk: int) -> HttpResponse:
    """Take a service out of the wishes; it closes with the next apply."""
    service = get_object_or_404(PublishedService, pk=pk)
    services.service_unpublish(actor_of(request), service)
    messages.success(request, f"{service.name} is taken out. It closes when you apply.")
    return go_to(request, reverse("firewall:changes"))
