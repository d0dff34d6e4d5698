"""Snapshots in the browser: what is kept of a machine, taking one, bringing one back, deleting one."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from accounts.access import may
from accounts.doors import UserRequest, actor_of, page
from dom0.errors import Refused
from hosts.models import Job
from machines import snapshot_services
from machines.models import Machine, Snapshot
from machines.scenes import scenes
from machines.snapshot_forms import SnapshotForm
from machines.snapshot_services import expiry
from machines.tabs import framed
from machines.views import machine_for


@page("snapshot.view")
def snapshots(request: UserRequest, pk: int) -> HttpResponse:
    """The snapshots of a machine, and the form for the next one."""
    return _show(request, machine_for(request, pk, "snapshot.view"))


def _show(
    request: UserRequest, machine: Machine, form: SnapshotForm | None = None, refused: Refused | None = None
) -> HttpResponse:
    (scene,) = scenes(request.user, [machine])
    kept = list(machine.snapshots.select_related("image", "taken_by"))
    free = scene.working is None and not machine.deleting and machine.built_at is not None
    context = {
        **framed(request.user, scene, "snapshots"),
        "kept": kept,
        "most": settings.FRIDU_SNAPSHOTS,
        "form": form or SnapshotForm(machine=machine),
        "refused": refused,
        "can_take": free and len(kept) < settings.FRIDU_SNAPSHOTS and _may(request, "take", scene.verbs),
        "can_restore": free and _may(request, "restore", scene.verbs),
        "can_delete": free and _may(request, "delete", scene.verbs),
        "lxc": str(machine.host.facts.get("libvirt", "")).startswith("lxc:"),
    }
    status = 409 if refused else 422 if form is not None and form.errors else 200
    return render(request, "machines/snapshots.html", context, status=status)


def _may(request: UserRequest, what: str, verbs: frozenset[str]) -> bool:
    return may(request.user, f"snapshot.{what}", verbs=verbs)


@page("snapshot.take", methods=("POST",))
def snapshot_take(request: UserRequest, pk: int) -> HttpResponse:
    """Take one; its job's page shows how far it is."""
    machine = machine_for(request, pk, "snapshot.take")
    form = SnapshotForm(request.POST, machine=machine)
    if not form.is_valid():
        return _show(request, machine, form)
    given = form.cleaned_data
    try:
        job = snapshot_services.snapshot_take(
            actor_of(request),
            machine,
            given["label"],
            expires=expiry(given["expires"]),
            note=given["note"],
            room_mib=given.get("room_mib") or 0,
        )
    except Refused as error:
        return _show(request, machine, form, error)
    return redirect("hosts:job", job.pk)


@page("snapshot.restore", methods=("POST",))
def snapshot_restore(request: UserRequest, pk: int, kept: int) -> HttpResponse:
    """Ask for the plan that brings it back; nothing happens before that is approved."""
    return _ask(request, pk, kept, "snapshot.restore", snapshot_services.snapshot_restore)


@page("snapshot.delete", methods=("POST",))
def snapshot_delete(request: UserRequest, pk: int, kept: int) -> HttpResponse:
    """Ask for the plan that removes it; nothing happens before that is approved."""
    return _ask(request, pk, kept, "snapshot.delete", snapshot_services.snapshot_delete)


def _ask(request: UserRequest, pk: int, kept: int, action: str, service: Callable[..., Job]) -> HttpResponse:
    machine = machine_for(request, pk, action)
    snapshot = get_object_or_404(Snapshot.objects.select_related("machine", "image"), machine=machine, pk=kept)
    try:
        return redirect("hosts:job", service(actor_of(request), snapshot).pk)
    except Refused as error:
        messages.error(request, f"{error.message} {error.note}".strip())
        return redirect("machines:snapshots", pk)
