"""What an operator wishes and what a host says of its firewall, for tests that have none: booked as the worker or the
watcher would."""

from __future__ import annotations

from dom0 import trial
from dom0.trial import Outcome, Pending, Standing
from firewall import booking, services, trials
from firewall.models import PublishedService, Revision
from hosts.models import Host, Job

NONCE = "f00d" * 8


def pending(revision: Revision, *, job: int = 1, seconds: int = 60, left: float | None = None) -> Pending:
    """`revision` on trial, with so many seconds left."""
    return Pending(
        revision=revision.name,
        token=f"{revision.name}-j{job}",
        deadline=trial.boot_time() + (seconds if left is None else left),
        boot=trial.boot_id(),
        seconds=seconds,
    )


def tried(revision: Revision, *, confirmed: str = "", nonce: str = NONCE, left: float | None = None) -> Standing:
    """The host says that `revision` is loaded, on trial; in force is what the rows say unless told otherwise."""
    live = Revision.objects.filter(host=revision.host, state="live").first()
    now = pending(revision, left=left)
    says = Standing(
        confirmed=confirmed or (live.name if live else "0"), pending=now, applied=now.token, applied_nonce=nonce
    )
    booking.book(revision.host, says)
    return says


def kept(revision: Revision) -> Standing:
    """The host says that `revision` is the one in force."""
    says = Standing(confirmed=revision.name, confirmed_token=f"{revision.name}-j1")
    booking.book(revision.host, says)
    return says


def taken_back(revision: Revision, *, by: str = "guard", confirmed: str = "0") -> Standing:
    """The host says that the trial of `revision` is over."""
    token = f"{revision.name}-j1"
    ended = Outcome(token=token, revision=revision.name, outcome="returned", by=by, at=1.0)
    says = Standing(confirmed=confirmed, outcomes={token: ended})
    booking.book(revision.host, says)
    return says


def in_force(actor, host: Host, **words) -> Revision:
    """Everything that is wished, applied and kept."""
    job = trials.revision_apply(actor, host, **words)
    revision = Revision.objects.get(pk=job.args["revision"])
    Job.objects.filter(pk=job.pk).update(state="done")
    kept(revision)
    revision.refresh_from_db()
    return revision


def publish(me, host, zones, machine, **changes) -> PublishedService:
    """An operator's wish: port 80 of zDominig's address leads to the machine, or what `changes` say instead."""
    wish = {
        "name": "DomiWEB",
        "proto": "tcp",
        "port": 80,
        "external": zones["zDominig"].external,
        "target": machine,
        "target_port": 8080,
    }
    return services.service_publish(me, host=host, **{**wish, **changes})
