"""Pausing in the browser, and what a machine uses."""

from __future__ import annotations

from django.http import HttpResponse

from accounts.doors import UserRequest, page
from machines import graphs, run_services
from machines.models import Figures
from machines.scenes import scenes
from machines.tabs import framed
from machines.views import ask, machine_for
from ui.htmx import answer, wants


@page("machine.pause", methods=("POST",))
def pause(request: UserRequest, pk: int) -> HttpResponse:
    return ask(request, pk, "machine.pause", run_services.machine_pause)


@page("machine.resume", methods=("POST",))
def resume(request: UserRequest, pk: int) -> HttpResponse:
    return ask(request, pk, "machine.resume", run_services.machine_resume)


@page("machine.view")
def figures(request: UserRequest, pk: int) -> HttpResponse:
    """What a machine uses, of the last hour and the last day; also the card on its first page, which asks again."""
    machine = machine_for(request, pk, "machine.view")
    row = Figures.objects.filter(machine=machine).first()
    hour, day = graphs.use(machine, row), graphs.use(machine, row, "day")
    if wants(request) == "use":
        card = {"machine": machine, "use": hour, "heading": "What it uses", "more": True}
        return answer(request, "machines/_figures.html", {}, card)
    context = {
        "machine": machine,
        "uses": [hour, day],
        "rows": graphs.numbers(hour, day),
        "shared": machine.host.shared,
    }
    if wants(request) == "figures":
        return answer(request, "machines/_figures_page.html", {}, context)
    (scene,) = scenes(request.user, [machine])
    return answer(request, "machines/figures.html", {}, framed(request.user, scene, "figures") | context)
