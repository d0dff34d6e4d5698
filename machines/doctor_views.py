"""A machine's diagnosis in the browser."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect

from accounts.doors import UserRequest, actor_of, page
from dom0.errors import Refused
from hosts import diagnosis
from machines import doctor_services as services
from machines.models import Machine
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
    checked = services.latest_check(machine)
    context = {
        **framed(request.user, scene, "doctor"),
        **found,
        "asks": [look.asks for look in LOOKS],
        "checked": checked,
        "check_lines": diagnosis.lines(checked) if checked else [],
        "may_check": machine.observed == Machine.Observed.STOPPED and scene.working is None,
    }
    return answer(request, "machines/doctor.html", {"diagnosis": "hosts/_diagnosis.html"}, context)


@page("machine.check", methods=("POST",))
def check(request: UserRequest, pk: int) -> HttpResponse:
    """Have the filesystem of a machine that is off looked at, or repaired."""
    machine = machine_for(request, pk, "machine.check")
    try:
        services.machine_check(actor_of(request), machine, repair=request.POST.get("do") == "repair")
    except Refused as error:
        messages.error(request, f"{error.message} {error.note}".strip())
    return redirect("machines:doctor", pk)
