"""Published services: the list, publishing, changing, taking out, restoring; free and taken ports."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse

from accounts.doors import UserRequest, actor_of, page
from dom0.errors import Refused
from firewall import asking, listing, rows, services, undo
from firewall.forms import PortsForm, PublishForm
from firewall.models import Proto, PublishedService
from firewall.views.about import host_of, known_host
from hosts.models import Host
from machines.models import Machine
from ui.htmx import answer, go_to

LIST = {"rows": "firewall/_services.html"}


@page("firewall.view")
def list_(request: UserRequest) -> HttpResponse:
    """What the Internet may enter, by address or by machine, with what the next apply changes."""
    host = host_of(request)
    if host is None:
        return render(request, "firewall/services.html", {"host": None})
    sifted = listing.Filter.of(request.GET)
    found = listing.listing(host, sifted, request.GET.get("page"))
    context = {
        "host": host,
        "list": found,
        "page_obj": found.page,
        "protos": [choice for choice in Proto.choices if choice[0] != Proto.BOTH],
        "states": listing.STATES,
    }
    return answer(request, "firewall/services.html", LIST, context)


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
    return _form(request, host, form, refused, None)


@page("service.change", methods=("GET", "POST"))
def change(request: UserRequest, pk: int) -> HttpResponse:
    """Another name, port or target for a service: the wish, not yet what is in force."""
    service = _get(pk)
    form = PublishForm(request.POST or None, host=service.host, initial=PublishForm.of(service))
    if form.is_valid():
        try:
            changed = services.service_change(actor_of(request), service, **form.wish)
            messages.success(request, f"{changed.name} is saved. It changes when you apply.")
            return redirect("firewall:changes")
        except ValidationError as error:
            form.take(error)
            service = _get(pk)
    return _form(request, service.host, form, None, service)


def _form(
    request: UserRequest, host: Host, form: PublishForm, refused: Refused | None, service: PublishedService | None
) -> HttpResponse:
    form.focus()
    context = {
        "form": form,
        "refused": refused,
        "service": service,
        "was": _leads(service) if service else "",
        "machines": Machine.objects.filter(host=host).values_list("name", "address"),
    }
    status = 409 if refused else 422 if form.errors else 200
    return render(request, "firewall/publish.html", context, status=status)


def _leads(service: PublishedService) -> str:
    """What is wished of a service: "tcp 80 of 87.98.130.56 to WEB-Dom, port 8080"."""
    spec = rows.service_of(service)
    return f"{spec.where} to {listing.to_words(spec, _named(service))}"


def _named(service: PublishedService) -> dict[str, str]:
    """The machine a service leads to, by its address."""
    found = Machine.objects.filter(host=service.host, address=service.target).values_list("address", "name")
    return {str(address): name for address, name in found}


@page("service.unpublish", methods=("GET", "POST"))
def unpublish(request: UserRequest, pk: int) -> HttpResponse:
    """Say what closes, then take the service out of the wishes; it closes with the next apply."""
    service = _get(pk)
    if request.method == "POST":
        services.service_unpublish(actor_of(request), service, reason=request.POST.get("reason", "").strip()[:200])
        said = "It closes when you apply." if service.live else "It was never open."
        messages.success(request, f"{service.name} is taken out. {said}")
        return go_to(request, reverse("firewall:changes" if service.live else "firewall:services"))
    spec = rows.service_of(service)
    context = {"service": service, "spec": spec, "to": listing.to_words(spec, _named(service))}
    return render(request, "firewall/unpublish.html", context)


@page("service.publish", methods=("POST",))
def restore(request: UserRequest) -> HttpResponse:
    """Wish a service again as it is in force, whether it was taken out or changed."""
    host, name = known_host(request), request.POST.get("name", "")[:31]
    try:
        if shown := listing.one(host, name):
            undo.refuse_unseen(shown.seen, request.POST.get("seen", ""))
        row = services.service_restore(actor_of(request), host, name)
        messages.success(request, f"{row.name} stays as it is in force.")
    except Refused as error:
        messages.error(request, f"{error.message} {error.note}".strip())
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    return go_to(request, reverse("firewall:services"))


@page("firewall.view")
def ports(request: UserRequest) -> HttpResponse:
    """Which ports of an address are taken, by whom, and the next free ones near one that is wanted."""
    host = host_of(request)
    if host is None:
        return render(request, "firewall/ports.html", {"host": None})
    form = PortsForm(request.GET or None, host=host)
    context: dict[str, Any] = {"host": host, "form": form}
    if form.is_valid():
        context["asked"] = asking.ports(host, **form.cleaned_data, but=request.GET.get("but", "")[:31])
    return answer(request, "firewall/ports.html", {"ports-say": "firewall/_ports_say.html"}, context)


def _get(pk: int) -> PublishedService:
    return get_object_or_404(PublishedService.objects.select_related("host", "external", "zone"), pk=pk)
