"""The way out of a refusal that an open or stopped job is behind, as commands one can type."""

from __future__ import annotations

from fridu_site.cli.call import Call
from hosts.models import Host, Job
from hosts.visibility import jobs_visible_to
from machines.models import Machine
from zones.models import Zone


def way_out(call: Call) -> str:
    """What goes on from the job that stands in the command's way; "" where none does."""
    job = _in_the_way(call)
    if job is None:
        return ""
    stopped = job.state in Job.RESUMABLE and job.kind == "machine.create"
    return way_on(job) + (f" Or delete the machine: fridu delete {job.target_text}" if stopped else "")


def way_on(job: Job) -> str:
    """What can be typed about a job, by its state; "" where nothing is left to do."""
    see = f"fridu job {job.pk}"
    match job.state:
        case Job.State.PLANNED:
            return f"Job {job.pk} waits for approval: {see} --yes, or {see} --cancel."
        case Job.State.PLANNING:
            return f"Job {job.pk} is being planned: {see} follows it, {see} --cancel calls it off."
        case Job.State.APPROVED | Job.State.RUNNING:
            return f"Job {job.pk} is at work: {see} follows it to its end."
        case Job.State.REFUSED | Job.State.FAILED | Job.State.DRIFTED:
            return f"Job {job.pk} has stopped: {see} tells why, {see} --go-on does what is left."
    return ""


def forced(job: Job) -> str:
    """What ends a machine that did not power off in time; "" for every other job."""
    asked = job.kind == "machine.stop" and job.state in Job.RESUMABLE and not job.args.get("force")
    return f"To force it off: fridu stop {job.target_text} --force" if asked else ""


def _in_the_way(call: Call) -> Job | None:
    seen = jobs_visible_to(call.user)
    line = call.typed
    word = (*line.words, "", "")[1 if line.verb == "snapshot" else 0]
    on_host = {"host__name": line.host} if line.host else {}
    if line.verb == "job":
        return seen.filter(pk=int(word)).first() if word.isdecimal() else None
    if line.verb == "firewall":
        hosts = Host.objects.filter(**({"name": line.host} if line.host else {}))
        return seen.filter(target_kind="firewall", target_id__in=hosts.values("pk"), state__in=Job.OPEN).first()
    if line.verb in ("zone", "address"):
        zone = Zone.objects.visible_to(call.user).filter(name=(*line.words, "", "")[1], **on_host).first()
        target = {"target_kind": "zone", "target_id": zone.pk} if zone else {"target_kind": "address"}
        return seen.filter(**target, state__in=Job.OPEN).first() if zone or line.verb == "address" else None
    machine = Machine.objects.visible_to(call.user).filter(name=word, **on_host).first()
    if machine is None:
        return None
    latest = seen.filter(target_kind="machine", target_id=machine.pk).order_by("-pk").first()
    unfinished = machine.built_at is None or machine.deleting
    return latest if latest and (latest.is_open or unfinished) else None
