"""Machines the panel does not know, and what differs of those it knows, in the browser."""

from __future__ import annotations

import uuid

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from accounts.doors import UserRequest, actor_of, page
from dom0.errors import Refused
from hosts.models import Host
from machines import adopt_services as services
from machines.adopt_forms import AdoptForm
from machines.models import Machine
from machines.scenes import scenes
from machines.tabs import framed
from machines.views import machine_for


@page("machine.adopt")
def unknown(request: UserRequest) -> HttpResponse:
    """Every domain of every host that no machine of the panel is."""
    hosts = [(host, services.strangers(host)) for host in Host.objects.all()]
    context = {"hosts": hosts, "count": sum(len(found) for _, found in hosts)}
    return render(request, "machines/unknown.html", context)


@page("machine.adopt", methods=("GET", "POST"))
def adopt(request: UserRequest, pk: int, uuid: uuid.UUID) -> HttpResponse:
    """One of them: what was found, and a form that makes it a machine of the panel."""
    host = get_object_or_404(Host, pk=pk)
    stranger = services.stranger_of(host, uuid)
    if stranger is None:
        raise Http404
    zone, address = services.likely(stranger)
    posted = request.method == "POST"
    form = AdoptForm(request.POST if posted else None, host=host, zone=zone, address=address)
    refused: Refused | None = None
    if posted and form.is_valid():
        try:
            job = services.machine_adopt(actor_of(request), stranger, **form.cleaned_data)
            return redirect("hosts:job", job.pk)
        except Refused as error:
            refused = error
        except ValidationError as error:
            for field, texts in error.message_dict.items():
                form.add_error(field if field in form.fields else None, texts)
    status = 409 if refused else 422 if form.errors else 200
    context = {"stranger": stranger, "host": host, "form": form, "refused": refused, "zone": zone}
    return render(request, "machines/adopt.html", context, status=status)


@page("machine.drift", methods=("GET", "POST"))
def drift(request: UserRequest, pk: int) -> HttpResponse:
    """What is wished beside what was found; restore, adopt or ignore it."""
    machine = machine_for(request, pk, "machine.drift")
    refused: Refused | None = None
    if request.method == "POST":
        try:
            return _settle(request, machine)
        except Refused as error:
            refused = error
        except ValidationError as error:
            refused = Refused(" ".join(error.messages), note="Nothing was changed.")
    (scene,) = scenes(request.user, [machine])
    items = machine.drift.get("items", ())
    context = {
        **framed(request.user, scene, "drift"),
        "items": items,
        "digest": machine.drift.get("digest", ""),
        "ignored": bool(items) and machine.drift["digest"] == machine.ignored_drift,
        "adoptable": any(item["adopt"] for item in items),
        "refused": refused,
    }
    return render(request, "machines/drift.html", context, status=409 if refused else 200)


def _settle(request: UserRequest, machine: Machine) -> HttpResponse:
    actor, does, digest = actor_of(request), request.POST.get("do", ""), request.POST.get("digest", "")
    reason = request.POST.get("reason", "").strip()[:200]
    if does == "ignore":
        services.drift_ignore(actor, machine, digest=digest, reason=reason)
        messages.success(request, "Left alone until something else differs.")
        return redirect("machines:drift", machine.pk)
    ways = {"restore": services.drift_restore, "adopt": services.drift_adopt}
    if does not in ways:
        raise Refused("Nothing was chosen.", note="Restore, adopt or ignore what differs.")
    return redirect("hosts:job", ways[does](actor, machine, digest=digest, reason=reason).pk)
