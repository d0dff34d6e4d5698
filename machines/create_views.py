"""Stages of a machine's creation done again, in the browser."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import redirect, render

from accounts.doors import UserRequest, actor_of, page
from dom0.errors import Refused
from machines import create_services
from machines.models import Machine
from machines.scenes import scenes
from machines.size_checks import shares_kernel
from machines.sizes_forms import AgainForm
from machines.tabs import framed
from machines.views import machine_for


@page("machine.stages", methods=("GET", "POST"))
def stages(request: UserRequest, pk: int) -> HttpResponse:
    """Choose what becomes of each stage; the plan is shown on the job's page before anything happens."""
    machine = machine_for(request, pk, "machine.stages")
    off = machine.built_at is not None and machine.wanted != Machine.Wanted.RUNNING
    form = AgainForm(request.POST or None, chosen={"start": "no"} if off else None)
    refused: Refused | None = None
    if request.method == "POST" and form.is_valid():
        try:
            job = create_services.machine_stages(
                actor_of(request), machine, form.chosen(), reason=form.cleaned_data["reason"]
            )
            return redirect("hosts:job", job.pk)
        except Refused as error:
            refused = error
    (scene,) = scenes(request.user, [machine])
    context = {
        **framed(request.user, scene, "stages"),
        "form": form,
        "lxc": shares_kernel(machine.host),
        "refused": refused,
    }
    status = 409 if refused else 422 if form.errors else 200
    return render(request, "machines/stages.html", context, status=status)
