"""A machine's diagnosis in the browser."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect

from accounts.doors import UserRequest, actor_of, page
from dom0.errors import Refused
from hosts import diagnosis
from machines import doctor_services as services
from machines.plan_doctor import LOOKS
from machines.scenes import scenes
from machines.tabs import framed
from machines.views import machine_for
from ui.htmx import answer, wants


@page("machine.doctor", methods=("GET", "POST"))
def doctor(request: UserRequest, pk: int) -> HttpResponse:
    """What the last diagnosis found; a POST asks for another. The page asks again by itself while it works."""
    machine = machine_for(request, pk, "machine.doctor")
    if request.method == "POST":
        try:
            services.machine_doctor(actor_of(request), machine)
        except Refused as error:
            messages.error(request, f"{error.message} {error.note}".strip())
        return redirect("machines:doctor", pk)
    found = diagnosis.scene(services.latest(machine))
    if wants(request) == "diagnosis" and request.GET.get("seen") == found["seen"]:
        return HttpResponse(status=204)
    (scene,) = scenes(request.user, [machine])
    context = {**framed(request.user, scene, "doctor"), **found, "asks": [look.asks for look in LOOKS]}
    return answer(request, "machines/doctor.html", {"diagnosis": "hosts/_diagnosis.html"}, context)
