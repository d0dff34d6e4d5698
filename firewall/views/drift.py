"""What the host has instead of what is in force: wished and found side by side, and the two ways out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import redirect, render

from accounts.doors import UserRequest, actor_of, page
from dom0.errors import Refused
from firewall import render as rendered
from firewall import rows, trials
from firewall.drift import Line, adoption
from firewall.models import Watched
from firewall.specs import Site
from firewall.trials import Drift
from firewall.views.about import host_of, known_host
from hosts.models import Host, Job


@dataclass(frozen=True, kw_only=True)
class Spot:
    """One chain, or one kind of settings: what is wished there and gone, and what was found instead."""

    where: str
    wished: tuple[Line, ...]
    found: tuple[Line, ...]


@page("firewall.view")
def drift(request: UserRequest) -> HttpResponse:
    """The differences the watcher found, by family."""
    host = host_of(request)
    if host is None:
        return render(request, "firewall/drift.html", {"host": None})
    return _drift(request, host, None)


def _drift(request: UserRequest, host: Host, refused: Refused | None) -> HttpResponse:
    found = trials.drift(host)
    live = found.live if found else rows.live_revision(host)
    taken = adoption(rows.site_in(live), found.lines) if found else None
    context = {
        "host": host,
        "watched": Watched.objects.filter(host=host).first(),
        "live": live,
        "drift": found,
        "families": list(_families(found, rows.site_in(live))) if found else [],
        "adopted": taken.rules if taken and not taken.refused else (),
        "unadopted": taken.refused if taken else (),
        "refused": refused,
        "trial": trials.on_trial(host),
        "job": Job.objects.filter(kind__in=(trials.APPLY, trials.STOP), host=host, state__in=Job.OPEN).first(),
    }
    return render(request, "firewall/drift.html", context, status=409 if refused else 200)


def _families(found: Drift, site: Site) -> Iterator[tuple[str, list[Spot]]]:
    settings = dict(rendered.sysctls(site))
    for name, lines in found.families:
        places = dict.fromkeys(line.where for line in lines)
        yield (
            name,
            [
                Spot(
                    where=where,
                    wished=tuple(_wished(lines, where, settings)),
                    found=tuple(line for line in lines if line.where == where and not line.gone),
                )
                for where in places
            ],
        )


def _wished(lines: tuple[Line, ...], where: str, settings: dict[str, str]) -> Iterator[Line]:
    """What is gone; of a setting that has another value the one it should have."""
    for line in lines:
        key = line.text.partition(" = ")[0]
        if line.where == where and line.gone:
            yield line
        elif line.family == "kernel" and key in settings:
            yield replace(line, gone=True, text=f"{key} = {settings[key]}", words="")


@page("firewall.apply", methods=("POST",))
def restore(request: UserRequest) -> HttpResponse:
    """Load the revision in force again where the host differs from it."""
    host = known_host(request)
    try:
        job = trials.drift_restore(actor_of(request), host)
    except Refused as error:
        return _drift(request, host, error)
    return redirect("hosts:job", job.pk)


@page("firewall.adopt", methods=("POST",))
def adopt(request: UserRequest) -> HttpResponse:
    """Make own rules of what somebody added by hand, so that the next apply keeps it."""
    host = known_host(request)
    try:
        made = trials.drift_adopt(actor_of(request), host)
    except Refused as error:
        return _drift(request, host, error)
    except ValidationError as error:
        return _drift(request, host, Refused(" ".join(error.messages), note="Nothing was adopted."))
    count = len(made)
    messages.success(request, f"{count} own rule{'' if count == 1 else 's'} saved. The next apply makes them yours.")
    return redirect("firewall:changes")
