"""The job kind `host.doctor`: a host looks at itself, one step a look; nothing is changed."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.conf import settings
from django.db import transaction

from accounts.doors import check
from audit.log import Actor, Thing
from dom0.host import HostConfig
from dom0.plan import Draft, Plan
from dom0.probe import Scope
from dom0.state import State
from dom0.steps import Hand, Step
from hosts.kinds import Kind, register
from hosts.models import Host, Job, JobStep
from hosts.services import job_create

KIND = "host.doctor"
#: Stage, and what it asks.
LOOKS = (
    ("libvirt", "Does libvirt answer?"),
    ("zones", "Does each zone have its bridge, DHCP and DNS?"),
    ("cards", "Are the cards up, with their external addresses?"),
    ("forwarding", "Are the kernel's settings as they must be?"),
    ("policy", "Is the firewall loaded?"),
    ("guards", "Do the guards beat?"),
    ("redis", "Does the broker answer?"),
    ("kernel", "Has the kernel what machines need?"),
    ("disk", "Is there room on the disks?"),
    ("memory", "Is there memory left?"),
    ("clock", "Is the clock right?"),
)


def register_kinds() -> None:
    """Make host.doctor known; called once at start-up."""
    register(
        Kind(
            name=KIND,
            queue="net",
            approval="none",
            scope=lambda job, config: Scope(),
            plan=_plan,
            locks=lambda job: (),
        )
    )


def host_doctor(actor: Actor, host: Host) -> Job:
    """Have the host look at itself. Raises PermissionDenied; Refused while another look is on its way."""
    check(actor, KIND)
    with transaction.atomic():
        thing = Thing(kind="host", id=str(host.pk), text=host.name)
        return job_create(actor, KIND, host=host, title=f"Diagnose {host.name}", target=thing)


def _plan(job: Job, state: State, config: HostConfig) -> Plan:
    done = set(job.steps.filter(state=JobStep.State.DONE).values_list("stage", flat=True))
    more = {"redis": (("broker", _broker()),), "clock": (("panel", str(int(job.created.timestamp()))),)}
    draft = Draft(state)
    for stage, asks in LOOKS:
        if stage in done:
            draft.so(stage, asks)
            continue
        action = Hand(verb="doctor-host", args=(("look", stage), *more.get(stage, ())))
        draft.do(Step(stage=stage, title=asks, action=action))
    return draft.plan()


def _broker() -> str:
    """Where Redis listens, without the password: a socket's path, or HOST:PORT; "" where the broker is another."""
    url = urlsplit(str(settings.CELERY_BROKER_URL))
    if url.scheme == "redis+socket":
        return url.path
    return f"{url.hostname}:{url.port or 6379}" if url.scheme in ("redis", "rediss") else ""
