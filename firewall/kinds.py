"""The job kinds of the firewall: a revision is tried, kept, taken back; the host is closed but for SSH."""

from __future__ import annotations

from dom0 import chains, trial
from dom0.errors import Refused
from dom0.host import HostConfig
from dom0.plan import Draft, Plan
from dom0.probe import Scope
from dom0.state import State
from dom0.steps import Drop, Hand, Put, Step
from firewall import booking, render, trials
from firewall import plan as planner
from firewall.drift import FAMILIES
from firewall.models import Revision, Watched
from firewall.plan import CLOSED, Wish
from firewall.specs import from_dict
from firewall.trials import APPLY, CONFIRM, RETURN, STOP
from hosts.kinds import Kind, register
from hosts.models import Job, JobStep
from hosts.services import actor_of_job

KIND = APPLY
#: Stages of an apply that have touched the host.
TOUCHING = ("apply", "sysctl", "flows", "applied")


def register_kinds() -> None:
    """Make the kinds known; called once at start-up."""
    register(
        Kind(
            name=APPLY,
            queue="net",
            approval="operator",
            scope=_scope,
            plan=_plan,
            locks=lambda job: ("net",),
            done=_booked,
            failed=_failed,
        )
    )
    # These hold no lock of jobs and wait behind no work: the trial's clock runs, and the host's one writer is
    # found by dom0 itself.
    for name, scope, plan in (
        (CONFIRM, _standing, _plan_confirm),
        (RETURN, _standing, _plan_return),
        (STOP, _closed, _plan_stop),
    ):
        register(
            Kind(
                name=name,
                queue="power",
                approval="none",
                scope=scope,
                plan=plan,
                locks=lambda job: (),
                done=_booked,
            )
        )


def _revision(job: Job) -> Revision:
    revision = Revision.objects.filter(pk=job.args.get("revision"), host_id=job.host_id).first()
    if revision is None:
        raise Refused("The revision of this job is no more.", note="Apply the firewall anew.")
    return revision


def _folder(config: HostConfig) -> str:
    return f"{config.state}/firewall"


def _wish(job: Job, config: HostConfig) -> Wish:
    revision = _revision(job)
    return Wish(
        site=from_dict(revision.site),
        folder=_folder(config),
        name=revision.name,
        token=f"{revision.name}-j{job.pk}",
        seconds=int(job.args.get("seconds", trials.CONFIRM_WITHIN_S)),
    )


def _scope(job: Job, config: HostConfig) -> Scope:
    wish = _wish(job, config)
    return Scope(
        files=planner.paths(wish, trial.read(config).confirmed),
        rules=FAMILIES,
        sysctls=planner.sysctls(wish),
        links=wish.site.nics,
        trial=planner.TRIAL,
    )


def _plan(job: Job, state: State, config: HostConfig) -> Plan:
    wish = _wish(job, config)
    if wish.site.bridge_prefix != config.bridge_prefix or wish.site.vif_prefix != config.vif_prefix:
        raise Refused(
            f"This revision was made for bridges {wish.site.bridge_prefix} and vifs {wish.site.vif_prefix}; "
            f"{config.name} now has {config.bridge_prefix} and {config.vif_prefix}, so its rules would hold nobody.",
            note="Apply the firewall anew: that makes a revision for the prefixes the host has now.",
        )
    if wish.site.ssh_port != config.admin_ssh_port:
        raise Refused(
            f"In this revision the admin's ssh is on tcp {wish.site.ssh_port}, and {config.name} has it on "
            f"{config.admin_ssh_port}: nobody would get in there.",
            note="Apply the firewall anew: that makes a revision for the port the host has now.",
        )
    planner.refuse_unfit(wish.site)
    return planner.plan(wish, state)


def _booked(job: Job) -> None:
    booking.book(job.host, booking.standing())
    # The host was planned again and nothing was left to do: what was known to differ is gone.
    Watched.objects.filter(host=job.host).update(drift=[], drift_since=None)


def _failed(job: Job) -> None:
    """The wishes stay, marked not applied. What stopped half-way goes back at once; but where the worker was
    killed, somebody may go on with it for as long as the trial stands.
    """
    Revision.objects.filter(pk=job.args.get("revision"), state=Revision.State.DRAFT).update(state=Revision.State.FAILED)
    stopped = job.steps.filter(stage__in=TOUCHING, state=JobStep.State.FAILED).first()
    armed = job.steps.filter(stage="arm", state=JobStep.State.DONE).exists()
    if job.state == Job.State.FAILED and armed and stopped and stopped.output != KILLED:
        trials.return_after_failure(actor_of_job(job), _revision(job), job)


#: What the sweep notes at the step during which a worker ended.
KILLED = "The worker ended here."


def _standing(job: Job, config: HostConfig) -> Scope:
    return Scope(trial=planner.TRIAL)


def _token(job: Job, state: State) -> str:
    """The trial of this job's revision that stands; "" where none does."""
    pending = state.trial.get("pending", "")
    return pending if pending.startswith(f"{_revision(job).name}-j") else ""


def _plan_confirm(job: Job, state: State, config: HostConfig) -> Plan:
    draft, revision, token = Draft(state), _revision(job), _token(job, state)
    if state.trial.get("confirmed") == revision.name and not token:
        draft.so("confirm", f"Revision {revision.number} is in force already.")
        return draft.plan()
    if not token:
        raise Refused(
            f"Revision {revision.number} was taken back; it can't be kept any more.",
            note="The wishes are kept. Apply them anew, with more time to look.",
        )
    args = (("token", token), ("nonce", str(job.args.get("nonce", ""))))
    draft.do(
        Step(
            stage="confirm",
            title=f"Make revision {revision.number} the one in force",
            action=Hand(verb="firewall-confirm", args=args),
            effect=(
                Put(room="trial", key="confirmed", value=revision.name),
                Drop(room="trial", key="pending"),
            ),
        )
    )
    return draft.plan()


def _plan_return(job: Job, state: State, config: HostConfig) -> Plan:
    draft, revision, token = Draft(state), _revision(job), _token(job, state)
    if not token and state.trial.get("confirmed") == revision.name:
        raise Refused(
            f"Revision {revision.number} was kept; it is in force now.",
            note="To go back, apply the former revision again.",
        )
    if not token:
        draft.so("return", f"Revision {revision.number} was taken back already.")
        return draft.plan()
    draft.do(
        Step(
            stage="return",
            title=f"Load the revision in force before {revision.number} again",
            action=Hand(verb="firewall-return", args=(("token", token),)),
            effect=(Drop(room="trial", key="pending"),),
            about_s=0.5,
        )
    )
    return draft.plan()


def _closed(job: Job, config: HostConfig) -> Scope:
    folder = planner.revision_folder(_folder(config), CLOSED)
    return Scope(trial=planner.TRIAL, rules=FAMILIES, files=tuple(f"{folder}/{n}" for n in (render.V4, render.V6)))


def _plan_stop(job: Job, state: State, config: HostConfig) -> Plan:
    draft = Draft(state)
    folder = planner.revision_folder(_folder(config), CLOSED)
    loaded = all(
        chains.ours(state.rules.get(family, "")) == chains.wanted(state.files.get(f"{folder}/{name}", ""))
        for family, name in (("v4", render.V4), ("v6", render.V6))
    )
    if state.trial.get("confirmed", CLOSED) == CLOSED and not state.trial.get("pending") and loaded:
        draft.so("stop", "The host is closed but for SSH.")
        return draft.plan()
    draft.do(
        Step(
            stage="stop",
            title="Load revision 0, closed but for SSH, and make it the one in force",
            action=Hand(verb="firewall-stop"),
            effect=(Put(room="trial", key="confirmed", value=CLOSED), Drop(room="trial", key="pending")),
            destroys="every connection through this host ends, until a revision is applied again",
            about_s=0.5,
        )
    )
    return draft.plan()
