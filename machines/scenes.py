"""What one machine's page shows and offers, decided here and nowhere in a template."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q
from django.utils import timezone

from accounts.access import Role, Verb, may
from accounts.models import Owner, SSHKey, User
from hosts.models import Job, JobStep
from machines.models import Grant, Machine
from machines.published import Login, Published, login, published
from machines.states import Shown, left_trouble, notable_jobs, shown

TOLD_FOR = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Offers:
    """Which buttons stand there: what the viewer may do, and what would not be refused as things are."""

    start: bool
    stop: bool
    reboot: bool
    pause: bool
    resume: bool
    force: bool
    console: bool
    key: bool
    password: bool
    delete: bool
    rescue: bool = False
    root_off: bool = False  # keys and password can be set, once it is off


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A machine as its viewer sees it."""

    machine: Machine
    shown: Shown
    job: Job | None
    offers: Offers
    services: list[Published]
    login: Login
    verbs: frozenset[str]

    @property
    def working(self) -> Job | None:
        """The job that is on its way, if one is."""
        return self.job if self.job is not None and self.job.is_open else None

    @property
    def waits(self) -> bool:
        return self.job is not None and self.job.state == Job.State.PLANNED

    @property
    def stopped_job(self) -> Job | None:
        """A job that ended badly and is worth telling: trouble until mended, a refusal for a day."""
        job = self.job
        if job is None or job.is_open:
            return None
        recent = job.ended is not None and timezone.now() - job.ended < TOLD_FOR
        return job if left_trouble(job) or recent else None

    @property
    def missing(self) -> bool:
        return (
            self.working is None
            and self.machine.built_at is not None
            and self.machine.observed == Machine.Observed.MISSING
        )

    @property
    def by_itself(self) -> bool:
        """Stopped though it is meant to run, with no job to blame."""
        machine = self.machine
        return (
            self.job is None
            and machine.built_at is not None
            and machine.observed == Machine.Observed.STOPPED
            and machine.wanted == Machine.Wanted.RUNNING
        )

    @property
    def copy_id(self) -> str:
        """The id of its log in line on a page that shows several machines."""
        return f"ssh-{self.machine.pk}"

    @property
    def granted(self) -> str:
        """For a machine lent to the viewer: whose it is and what they may do; "" for one's own."""
        if not self.verbs or self.verbs == frozenset(Verb):
            return ""
        deeds = [str(verb.label) for verb in Verb if verb in self.verbs and verb != Verb.VIEW]
        return f"Belongs to {self.machine.owner.name}, who lets you {', '.join(deeds) or 'see it'}."

    @property
    def drifted(self) -> bool:
        """Whether something on the host differs from the wish, and nobody said to leave that alone."""
        drift = self.machine.drift
        return bool(drift) and drift["digest"] != self.machine.ignored_drift and not self.missing and not self.working

    @property
    def drift_words(self) -> str:
        """What differs, in short: "memory, disks"."""
        return ", ".join(item["what"] for item in self.machine.drift.get("items", ()))

    @property
    def stale(self) -> bool:
        return not self.machine.host.fresh

    @property
    def digest(self) -> str:
        """Changes when the live part of the page would read differently."""
        job = f"{self.job.pk}{self.job.state}" if self.job else ""
        known = f"{self.machine.observed}-{self.drifted}-{self.machine.rescue_id}"
        return f"{self.shown.digest}-{job}-{'stale' if self.stale else 'fresh'}-{known}"

    def standing(self, keys: Iterable[SSHKey]) -> str:
        """Changes when what stands below the live part would read differently: log in, ports, keys, deletion.

        Not with the time that passes: a form somebody fills in is replaced only for a reason.
        """
        parts = (self.offers, self.services, self.login, self.machine.built_at, [key.pk for key in keys])
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]

    @property
    def progress(self) -> tuple[int, int] | None:
        """Of a running job: the number of the step it is at, and of how many."""
        if self.job is None or self.job.state != Job.State.RUNNING:
            return None
        states = list(self.job.steps.values_list("state", flat=True))
        ended = sum(state in (JobStep.State.DONE, JobStep.State.ALREADY) for state in states)
        return min(ended + 1, len(states)), len(states)


def scenes(user: User, machines: Sequence[Machine]) -> list[Scene]:
    """The scenes of `machines` (fetched with zone, owner, host); the same few queries for any number of them."""
    jobs = notable_jobs([machine.pk for machine in machines])
    services, verbs = published(machines), verbs_for(user, machines)
    now = timezone.now()
    return [_scene(user, m, jobs.get(m.pk), services[m.pk], verbs[m.pk], now) for m in machines]


def _scene(
    user: User, machine: Machine, job: Job | None, services: list[Published], verbs: frozenset[str], now: datetime
) -> Scene:
    return Scene(
        machine=machine,
        shown=shown(machine, job, now),
        job=job,
        offers=offers(user, machine, job, verbs),
        services=services,
        login=login(machine, services),
        verbs=verbs,
    )


def offers(user: User, machine: Machine, job: Job | None, verbs: frozenset[str]) -> Offers:
    """What to offer `user`, who holds `verbs` on `machine`, while `job` is its notable job."""
    idle = not machine.deleting and (job is None or not job.is_open)
    seen = machine.observed
    built = idle and machine.built_at is not None
    there = built and seen != Machine.Observed.MISSING
    on = built and seen in (Machine.Observed.RUNNING, Machine.Observed.PAUSED)
    # A missing one is defined anew by its start, from its volume.
    off = built and not on
    # On lxc the host may write to a root beside its machine.
    open_ = there and (off or machine.host.shared)

    def allowed(action: str) -> bool:
        return may(user, action, verbs=verbs)

    return Offers(
        start=off and allowed("machine.start"),
        stop=on and allowed("machine.stop"),
        reboot=on and allowed("machine.reboot"),
        pause=seen == Machine.Observed.RUNNING and on and allowed("machine.pause"),
        resume=seen == Machine.Observed.PAUSED and on and allowed("machine.resume"),
        force=on and _did_not_stop(job) and allowed("machine.stop"),
        console=on and allowed("machine.console"),
        key=open_ and allowed("machine.key"),
        password=open_ and allowed("machine.password"),
        delete=idle and allowed("machine.delete"),
        rescue=built and allowed("machine.rescue"),
        root_off=there and not open_ and (allowed("machine.key") or allowed("machine.password")),
    )


def _did_not_stop(job: Job | None) -> bool:
    """Whether the machine was asked to power off and has had its time."""
    return job is not None and job.kind == "machine.stop" and job.state in Job.RESUMABLE and job.attempt > 0


def lent(machine: Machine) -> list[str]:
    """To whom else the machine is lent, and for what: "brendan: start, stop and restart it, until 31 December 2026"."""
    live = machine.grants.filter(Q(expires=None) | Q(expires__gt=timezone.now())).select_related("user")
    return [_lent(grant) for grant in live.order_by("user__username")]


def volumes_of(machine: Machine) -> list[tuple[str, int]]:
    """Its volumes by their names, with their MiB."""
    where = f"{machine.volume_group}/" if machine.volume_group else ""
    sizes = (("root", machine.root_mib), ("swap", machine.swap_mib), ("log", machine.log_mib))
    return [(f"{where}{machine.name}-{kind}", size) for kind, size in sizes if size]


def _lent(grant: Grant) -> str:
    deeds = [str(verb.label) for verb in Verb if f",{verb}," in grant.verbs and verb != Verb.VIEW] or [Verb.VIEW.label]
    until = timezone.localtime(grant.expires) if grant.expires else None
    return f"{grant.user.get_username()}: {', '.join(deeds)}" + (
        f", until {until.day} {until:%B %Y}" if until is not None else ""
    )


def verbs_for(user: User, machines: Sequence[Machine]) -> dict[int, frozenset[str]]:
    """`machines.models.verbs_on` for many machines, in two queries; none are needed for other roles than owners."""
    if user.role != Role.OWNER:
        return {machine.pk: frozenset() for machine in machines}
    owners = set(Owner.objects.filter(Q(person=user) | Q(members=user)).values_list("pk", flat=True))
    live = Q(expires=None) | Q(expires__gt=timezone.now())
    grants = dict(
        Grant.objects.filter(live, user=user, machine__in=[m.pk for m in machines]).values_list("machine", "verbs")
    )
    return {
        m.pk: frozenset(Verb) if m.owner_id in owners else frozenset(v for v in grants.get(m.pk, "").split(",") if v)
        for m in machines
    }
