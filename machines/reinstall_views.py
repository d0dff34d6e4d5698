"""Reinstalling in the browser: what is lost, what stays, the name once more; then the plan."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_variables

from accounts.doors import UserRequest, actor_of, page
from dom0.errors import Refused
from machines import passwords, reinstall_services
from machines.models import Machine
from machines.scenes import scenes, volumes_of
from machines.snapshot_forms import ReinstallForm
from machines.tabs import framed
from machines.views import machine_for


@page("machine.reinstall", methods=("GET", "POST"))
def reinstall(request: UserRequest, pk: int) -> HttpResponse:
    """What is lost and what stays; the machine's name leads to the plan."""
    machine = machine_for(request, pk, "machine.reinstall")
    posted = request.method == "POST"
    form = ReinstallForm(request.POST if posted else None, machine=machine)
    refused: Refused | None = None
    if posted and form.is_valid():
        try:
            return _ask(request, machine, form)
        except Refused as error:
            refused = error
    (scene,) = scenes(request.user, [machine])
    volumes = volumes_of(machine)
    context = {
        **framed(request.user, scene, "reinstall"),
        "form": form,
        "refused": refused,
        "root": volumes[0],
        "others": volumes[1:],
        "kept": machine.snapshots.exclude(taken_at=None),
        "keys": machine.ssh_keys.select_related("user"),
        "free": scene.working is None and not machine.deleting and machine.built_at is not None,
    }
    status = 409 if refused else 422 if form.errors else 200
    return render(request, "machines/reinstall.html", context, status=status)


@sensitive_variables("password", "root_hash")
def _ask(request: UserRequest, machine: Machine, form: ReinstallForm) -> HttpResponse:
    """The plan's page; before it, once, the password that was wished."""
    given = form.cleaned_data
    password, root_hash = passwords.one_time() if given["password"] else ("", "")
    job = reinstall_services.machine_reinstall(
        actor_of(request), machine, image=given["image"], root_hash=root_hash, reason=given["reason"]
    )
    if not password:
        return redirect("hosts:job", job.pk)
    (scene,) = scenes(request.user, [machine])
    context = {"scene": scene, "password": password, "job": job, "planned": True}
    response = render(request, "machines/password.html", context)
    response["Cache-Control"] = "no-store, private"
    return response
