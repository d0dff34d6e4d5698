"""A machine's settings in the browser: an operator's form, then what follows from it, then the job's plan."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string

from accounts.doors import UserRequest, actor_of, page
from dom0.errors import Refused
from hosts.models import Job
from machines import change_services
from machines.addresses import free_addresses
from machines.change_forms import SettingsForm
from machines.change_services import Preview
from machines.changing import KIND, half_way
from machines.models import Machine
from machines.scenes import scenes
from machines.tabs import framed
from machines.views import machine_for
from zones.models import Zone

OFFERED = 3  # free addresses of each zone


@page("machine.change", methods=("GET", "POST"))
def settings(request: UserRequest, pk: int) -> HttpResponse:
    """Size, name, place, owner and start of a machine; what moves along is looked at before anything is asked for."""
    machine = machine_for(request, pk, "machine.change")
    form = SettingsForm(request.POST if request.method == "POST" else None, machine=machine)
    refused: Refused | None = None
    if form.is_valid():
        try:
            found = change_services.preview(machine, **form.wish)
            if _to_be_seen(found) and request.POST.get("seen") != found.digest:
                return _look(request, machine, form, found)
            return redirect("hosts:job", _ask(request, machine, form).pk)
        except ValidationError as error:
            form.take(error)
        except Refused as error:
            refused = error
    if form.errors:
        form.focus()
    return _show(request, machine, form, refused)


def _to_be_seen(found: Preview) -> bool:
    """Whether more follows than the job's plan will say."""
    return bool(found.moved or found.keys or found.grants)


def _ask(request: UserRequest, machine: Machine, form: SettingsForm) -> Job:
    seen = request.POST.get("seen", "")
    reason = form.cleaned_data["reason"]
    return change_services.machine_change(actor_of(request), machine, seen=seen, reason=reason, **form.wish)


def _look(request: UserRequest, machine: Machine, form: SettingsForm, found: Preview) -> HttpResponse:
    (scene,) = scenes(request.user, [machine])
    context = {
        **framed(request.user, scene, "settings"),
        "form": form,
        "preview": found,
        "was_seen": "seen" in request.POST,
        "data": [(name, request.POST.get(name, "")) for name in form.fields if name in request.POST],
    }
    return render(request, "machines/settings_look.html", context)


def _show(request: UserRequest, machine: Machine, form: SettingsForm, refused: Refused | None) -> HttpResponse:
    (scene,) = scenes(request.user, [machine])
    zones = Zone.objects.filter(host=machine.host_id)
    context = {
        **framed(request.user, scene, "settings"),
        "form": form,
        "refused": refused,
        "half_way": half_way(machine),
        "free": [(zone, free_addresses(zone, OFFERED)) for zone in zones],
        "lxc": "boot" not in form.fields,
    }
    return render(request, "machines/settings.html", context, status=409 if refused else 422 if form.errors else 200)


def before_and_after(request: HttpRequest, job: Job) -> str:
    """What a change's plan leads to, beside its steps."""
    before, after = job.args.get("before"), job.args.get("after")
    if job.kind != KIND or not before or not after:
        return ""
    rows = [(label, before[label], after[label]) for label in before if label in after]
    return render_to_string("machines/_change.html", {"rows": rows}, request=request)
