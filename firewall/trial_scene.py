"""What the page of a trial shows: where the apply is, how long there is to decide, or how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from firewall import rows, trials
from firewall.models import Revision
from firewall.trials import Trial
from hosts.models import Host, Job, JobStep

KINDS = (trials.APPLY, trials.CONFIRM, trials.RETURN, trials.STOP)
Stage = Literal["applying", "restoring", "deciding", "keeping", "returning", "closing", "over", "ended", "none"]
BUSY: dict[str, Stage] = {
    trials.APPLY: "applying",
    trials.CONFIRM: "keeping",
    trials.RETURN: "returning",
    trials.STOP: "closing",
}


@dataclass(frozen=True, kw_only=True)
class Scene:
    """`trial` while one is on, `job` what is on its way, `last` the job that applied last with its `revision`."""

    host: Host
    trial: Trial | None
    job: Job | None
    last: Job | None
    revision: Revision | None
    live: Revision | None
    closed: bool
    done: int = 0
    steps: int = 0
    decider: str = ""

    @property
    def stage(self) -> Stage:
        """Where it is. A trial whose time is up is over, even if the host has not been heard since."""
        if self.job and self.job.kind != trials.APPLY:
            return BUSY[self.job.kind]
        if self.trial:
            return "deciding" if self.trial.ready else "over"
        if self.job:
            in_force = self.revision is not None and self.revision.state == Revision.State.LIVE
            return "restoring" if in_force else "applying"
        return "ended" if self.last else "none"

    @property
    def moves(self) -> bool:
        """Whether the page has to look again soon."""
        return self.stage not in ("ended", "none")

    @property
    def every(self) -> int:
        """Seconds between two looks."""
        return 5 if self.stage == "deciding" else 1

    @property
    def wanted(self) -> bool:
        """Whether it ended otherwise than whoever applied it wished."""
        states = Revision.State
        return self.revision is not None and self.revision.state in (states.RETURNED, states.FAILED, states.DRAFT)

    @property
    def failed(self) -> bool:
        return self.last is not None and self.last.state in (Job.State.FAILED, Job.State.REFUSED, Job.State.DRIFTED)

    @property
    def back(self) -> str:
        """What the host has, or returns to, without the revision on trial."""
        return f"revision {self.live.number}" if self.live else "closed but SSH"


def scene(host: Host) -> Scene:
    """Read it (5 queries, more while a job runs)."""
    trial = trials.on_trial(host)
    job = Job.objects.filter(kind__in=KINDS, host=host, state__in=Job.OPEN).order_by("-pk").first()
    last = Job.objects.filter(kind=trials.APPLY, host=host).order_by("-pk").first()
    revision = trial.revision if trial else _revision(last)
    live = rows.live_revision(host)
    steps = list(JobStep.objects.filter(job=job).values_list("state", flat=True)) if job else []
    return Scene(
        host=host,
        trial=trial,
        job=job,
        last=last,
        revision=revision,
        live=live,
        closed=live is None and trials.closed(host),
        done=sum(state in (JobStep.State.DONE, JobStep.State.ALREADY) for state in steps),
        steps=len(steps),
        decider=_decider(last, revision),
    )


def _revision(job: Job | None) -> Revision | None:
    found = Revision.objects.filter(pk=job.args.get("revision")) if job else None
    return found.select_related("author").defer("files").first() if found else None


def _decider(last: Job | None, revision: Revision | None) -> str:
    """Who kept the revision or took it back; "" when it was nobody: its time ran out."""
    if last is None or revision is None:
        return ""
    kind = {Revision.State.LIVE: trials.CONFIRM, Revision.State.RETURNED: trials.RETURN}.get(
        Revision.State(revision.state)
    )
    said = Job.objects.filter(kind=kind, host=revision.host_id, pk__gt=last.pk, args__revision=revision.pk)
    job = said.select_related("actor").order_by("-pk").first() if kind else None
    return job.actor.get_username() if job else ""
