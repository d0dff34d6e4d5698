"""A machine's rescue in the browser."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_variables

from accounts.doors import UserRequest, actor_of, page
from dom0.errors import Refused
from hosts.models import Job
from machines import rescue_services as services
from machines.models import Machine
from machines.scenes import scenes
from machines.tabs import framed
from machines.views import machine_for


@page("machine.rescue", methods=("GET", "POST"))
def rescue(request: UserRequest, pk: int) -> HttpResponse:
    """Begin it with an image of choice, or end it; each leads to its plan."""
    machine = machine_for(request, pk, "machine.rescue")
    refused: Refused | None = None
    if request.method == "POST":
        try:
            if request.POST.get("do") == "end":
                return redirect("hosts:job", services.rescue_end(actor_of(request), machine).pk)
            return _begin(request, machine)
        except Refused as error:
            refused = error
    (scene,) = scenes(request.user, [machine])
    context = {
        **framed(request.user, scene, "rescue"),
        "images": services.images(machine.host),
        "usual": services.usual(machine.host),
        "lxc": str(machine.host.facts.get("libvirt", "")).startswith("lxc:"),
        "refused": refused,
    }
    return render(request, "machines/rescue.html", context, status=409 if refused else 200)


@sensitive_variables("password")
def _begin(request: UserRequest, machine: Machine) -> HttpResponse:
    """The one-time password: on this very page and nowhere else."""
    chosen = next((i for i in services.images(machine.host) if str(i.pk) == request.POST.get("image", "")), None)
    if request.POST.get("image") and chosen is None:
        raise Refused("There is no such image.", note="Nothing was changed. Choose one of the list.")
    password, job = services.machine_rescue(actor_of(request), machine, chosen)
    (scene,) = scenes(request.user, [machine])
    context = {"scene": scene, "password": password, "job": job, "planned": job.state in Job.OPEN}
    response = render(request, "machines/password.html", context)
    response["Cache-Control"] = "no-store, private"
    return response
