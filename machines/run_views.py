"""Pausing in the browser, and what a machine uses."""

from __future__ import annotations

from django.http import HttpResponse

from accounts.doors import UserRequest, page
from machines import run_services
from machines.views import ask


@page("machine.pause", methods=("POST",))
def pause(request: UserRequest, pk: int) -> HttpResponse:
    return ask(request, pk, "machine.pause", run_services.machine_pause)


@page("machine.resume", methods=("POST",))
def resume(request: UserRequest, pk: int) -> HttpResponse:
    return ask(request, pk, "machine.resume", run_services.machine_resume)
