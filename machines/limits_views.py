"""A machine's limits in the browser: seen by whoever sees the machine, changed by operators."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import redirect, render

from accounts.access import may
from accounts.doors import UserRequest, actor_of, page
from dom0.errors import Refused
from machines import limit_words, limits_services
from machines.limits_forms import LimitsForm
from machines.limits_services import left_to_share, limits_of, offers_disk
from machines.models import Machine
from machines.scenes import scenes
from machines.tabs import framed
from machines.views import machine_for
from zones import rates


@page("machine.view")
def limits(request: UserRequest, pk: int) -> HttpResponse:
    """What the machine may take, and for an operator the form that changes it."""
    machine = machine_for(request, pk, "machine.view")
    form = LimitsForm(machine=machine, left=left_to_share(machine.zone, machine))
    return _show(request, machine, form)


@page("machine.limits", methods=("POST",))
def limits_change(request: UserRequest, pk: int) -> HttpResponse:
    """Ask for other limits; the plan is shown on the job's page before anything happens."""
    machine = machine_for(request, pk, "machine.limits")
    form = LimitsForm(request.POST, machine=machine, left=left_to_share(machine.zone, machine))
    refused: Refused | None = None
    if form.is_valid():
        try:
            return redirect("hosts:job", limits_services.machine_limits(actor_of(request), machine, **form.wish).pk)
        except ValidationError as error:
            form.take(error)
        except Refused as error:
            refused = error
    form.focus()
    return _show(request, machine, form, refused)


def _show(request: UserRequest, machine: Machine, form: LimitsForm, refused: Refused | None = None) -> HttpResponse:
    (scene,) = scenes(request.user, [machine])
    said = limit_words.said(limits_of(machine))
    context = {
        **framed(request.user, scene, "limits"),
        "form": form if may(request.user, "machine.limits") else None,
        "refused": refused,
        "said": [(limit_words.LABELS[name], text) for name, text in said.items()],
        "zone_rates": (rates.say(machine.zone.in_kbit), rates.say(machine.zone.out_kbit)),
        "offers_disk": offers_disk(machine.host),
    }
    return render(request, "machines/limits.html", context, status=409 if refused else 422 if form.errors else 200)
