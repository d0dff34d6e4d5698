"""The job kind `firewall.apply`: puts one revision on the host, and the former back when that fails."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from dom0.errors import Refused
from dom0.host import HostConfig
from dom0.plan import Plan
from dom0.probe import Scope
from dom0.state import State
from firewall import plan as planner
from firewall import rows
from firewall.models import PublishedService, Revision
from firewall.plan import Wish
from firewall.specs import from_dict
from hosts.kinds import Kind, register
from hosts.models import Job, JobStep
from hosts.services import actor_of_job, job_create, thing_of

KIND = "firewall.apply"


def register_kinds() -> None:
    """Make firewall.apply known; called once at start-up."""
    register(
        Kind(
            name=KIND,
            queue="net",
            approval="operator",
            scope=_scope,
            plan=_plan,
            locks=_locks,
            done=_live,
            failed=_failed,
        )
    )


def _revision(job: Job) -> Revision:
    revision = Revision.objects.filter(pk=job.args.get("revision"), host_id=job.host_id).first()
    if revision is None:
        raise Refused("The revision of this job is no more.", note="Apply the firewall anew.")
    return revision


def _wish(job: Job, config: HostConfig) -> Wish:
    return Wish(site=from_dict(_revision(job).site), folder=f"{config.state}/firewall")


def _scope(job: Job, config: HostConfig) -> Scope:
    wish = _wish(job, config)
    return Scope(
        files=planner.paths(wish),
        rules=planner.FAMILIES,
        sysctls=planner.sysctls(wish),
        links=wish.site.nics,
    )


def _plan(job: Job, state: State, config: HostConfig) -> Plan:
    wish = _wish(job, config)
    if wish.site.bridge_prefix != config.bridge_prefix or wish.site.vif_prefix != config.vif_prefix:
        raise Refused(
            f"This revision was made for bridges {wish.site.bridge_prefix} and vifs {wish.site.vif_prefix}; "
            f"{config.name} now has {config.bridge_prefix} and {config.vif_prefix}, so its rules would hold nobody.",
            note="Apply the firewall anew: that makes a revision for the prefixes the host has now.",
        )
    return planner.plan(wish, state)


def _locks(job: Job) -> tuple[str, ...]:
    return ("net",)


def _live(job: Job) -> None:
    revision = _revision(job)
    states = Revision.State
    Revision.objects.filter(host=revision.host, state=states.LIVE).exclude(pk=revision.pk).update(state=states.FORMER)
    Revision.objects.filter(pk=revision.pk).update(state=states.LIVE, live_at=timezone.now())
    in_force = set(from_dict(revision.site).services)
    wished = PublishedService.objects.filter(host=revision.host).select_related("external", "zone")
    live = [row.pk for row in wished if rows.service_of(row) in in_force]
    PublishedService.objects.filter(host=revision.host).update(
        live=models.Case(models.When(pk__in=live, then=True), default=False)
    )


def _failed(job: Job) -> None:
    """The wishes stay, marked not applied. If rules were touched already, ask for the former ones again."""
    states = Revision.State
    Revision.objects.filter(pk=job.args.get("revision"), state=states.DRAFT).update(state=states.FAILED)
    former = Revision.objects.filter(host=job.host, state=states.LIVE).first()
    touched = job.steps.filter(stage__in=("apply", "sysctl"), state__in=(JobStep.State.DONE, JobStep.State.FAILED))
    if former is None or job.args.get("back") or not touched.exists():
        return
    job_create(
        actor_of_job(job),
        KIND,
        host=job.host,
        title=f"Return to firewall revision {former.number}",
        target=thing_of(job),
        reason=f"job {job.pk} stopped half-way",
        args={"revision": former.pk, "number": former.number, "back": True},
        approved=True,
    )
