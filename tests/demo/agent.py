"""An operator at work inside the demo's dom0: one process that answers JSON lines, so that a test needn't start one
for every deed. Everything goes through the services that the pages use.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fridu_site.settings")
django.setup()

from django.db import OperationalError  # noqa: E402

from accounts.models import User  # noqa: E402
from audit.log import Actor  # noqa: E402
from dom0.errors import Refused  # noqa: E402
from firewall import render, rows, services, trials  # noqa: E402
from firewall.models import PublishedService, Revision  # noqa: E402
from firewall.specs import DOM0, VPN, as_dict  # noqa: E402
from hosts.models import Host, Job  # noqa: E402
from hosts.services import job_cancel  # noqa: E402
from machines.models import Machine  # noqa: E402
from zones.models import ExternalAddress  # noqa: E402

Answer = dict[str, Any]


def _me() -> Actor:
    user = User.objects.filter(role="operator").first()
    assert user is not None
    return Actor(id=user.pk, name=user.username)


def _host() -> Host:
    return Host.objects.get()


def publish(name: str, address: str, port: int, machine: str, target_port: int) -> Answer:
    """Wish for a service; one of that name is replaced."""
    unpublish(name)
    services.service_publish(
        _me(),
        host=_host(),
        name=name,
        proto="tcp",
        port=port,
        external=ExternalAddress.objects.get(address=address),
        target=Machine.objects.get(name=machine),
        target_port=target_port,
    )
    return {}


def unpublish(name: str) -> Answer:
    for row in PublishedService.objects.filter(name=name):
        services.service_unpublish(_me(), row)
    return {}


def restore(name: str) -> Answer:
    """Wish again for a service that is in force."""
    if not PublishedService.objects.filter(name=name).exists():
        services.service_restore(_me(), _host(), name)
    return {}


def apply(seconds: int, again: int = 0) -> Answer:
    """Ask for a trial; `again` is a revision's key."""
    former = Revision.objects.get(pk=again) if again else None
    job = trials.revision_apply(_me(), _host(), confirm_within=seconds, approved=True, again=former, why="a test")
    revision = Revision.objects.get(pk=job.args["revision"])
    return {"job": job.pk, "name": revision.name, "number": revision.number, "key": revision.pk}


def confirm(seconds: float) -> Answer:
    """Keep what is on trial as soon as it may be; how that went."""
    return _decide(seconds, lambda trial: trials.revision_confirm(_me(), trial.revision, trial.nonce))


def take_back(seconds: float) -> Answer:
    return _decide(seconds, lambda trial: trials.revision_return(_me(), trial.revision))


def _decide(seconds: float, how: Callable[[trials.Trial], Job]) -> Answer:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        trial = trials.on_trial(_host())
        if trial and trial.ready:
            return {"job": how(trial).pk}
        time.sleep(0.05)
    return {"refused": "nothing is on trial"}


def settle(seconds: float) -> Answer:
    """Wait until no job of the firewall is open and nothing on trial; what nobody began is called off."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        jobs = list(Job.objects.filter(kind__startswith="firewall.", state__in=Job.OPEN))
        for job in jobs:
            if job.state in (Job.State.PLANNING, Job.State.PLANNED):
                try:
                    job_cancel(_me(), job)
                except Refused:
                    continue
        watched = getattr(_host(), "firewall", None)
        if not jobs and trials.on_trial(_host()) is None and not (watched and watched.pending):
            live = rows.live_revision(_host())
            return {"live": live.name if live else "0"}
        time.sleep(0.1)
    return {"open": [str(job) for job in Job.objects.filter(kind__startswith="firewall.", state__in=Job.OPEN)]}


def without_panel() -> Answer:
    """A revision that no page would make: the panel's own way over the VPN is not in it."""
    host = _host()
    site = rows.site_of(host)
    site = replace(site, panel_port=None, policy=tuple(c for c in site.policy if (c.source, c.target) != (VPN, DOM0)))
    files = render.files(site).by_name
    last = Revision.objects.filter(host=host).order_by("-number").first()
    made = Revision.objects.create(
        host=host,
        number=(last.number if last else 0) + 1,
        site=as_dict(site),
        files=files,
        digest=f"{last.number if last else 0:02x}" * 32,
        words=["closes the panel"],
        author_id=_me().id,
        why="a mistake",
    )
    return {"key": made.pk, "name": made.name, "number": made.number}


DEEDS: dict[str, Callable[..., Answer]] = {
    f.__name__: f for f in (publish, unpublish, restore, apply, confirm, take_back, settle, without_panel)
}


def _done(words: dict[str, Any]) -> Answer:
    """A database somebody else locks for long is asked again, as a person would."""
    deed = DEEDS[words.pop("do")]
    for _ in range(3):
        try:
            return deed(**words)
        except Refused as error:
            return {"refused": str(error)}
        except OperationalError as error:
            last = str(error)
    return {"refused": last}


for line in sys.stdin:
    sys.stdout.write(json.dumps(_done(json.loads(line))) + "\n")
    sys.stdout.flush()
