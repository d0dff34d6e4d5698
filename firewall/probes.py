"""The job kind `firewall.probe`: a question sent as a packet through a copy of the live rules, on the host."""

from __future__ import annotations

from accounts.doors import check
from audit.log import Actor, Thing
from dom0.host import HostConfig
from dom0.plan import Draft, Plan
from dom0.probe import Scope
from dom0.probing import ARRIVED, NOTHING
from dom0.state import State
from dom0.steps import Hand, Step
from firewall.explain import Explainer, Question
from firewall.specs import ICMP, Site
from hosts.kinds import Kind, register
from hosts.models import Host, Job, JobStep
from hosts.services import job_create

KIND = "firewall.probe"
STAGE = "probe"


def register_kinds() -> None:
    """Make firewall.probe known; called once at start-up."""
    register(
        Kind(
            name=KIND,
            queue="net",
            approval="none",  # the host is only read
            scope=lambda job, config: Scope(),
            plan=_plan,
            locks=lambda job: (),
        )
    )


def ask(actor: Actor, host: Host, site: Site, question: Question) -> Job:
    """Have the host send it. `site` is the one in force: it says where the packet comes out if it gets through.

    Raises PermissionDenied; Refused while another probe of that host is on its way.
    """
    check(actor, KIND)
    address, port = Explainer(site).lands(question)
    what = "a ping" if question.proto == ICMP else f"{question.proto} {question.port}"
    return job_create(
        actor,
        KIND,
        host=host,
        title=f"Try {what} of {question.target} from {question.source}",
        target=Thing(kind="probe", id=str(host.pk), text=f"probe on {host.name}"),
        args={
            "source": question.source,
            "target": question.target,
            "proto": question.proto,
            "port": str(question.port),
            "lands": f"{address}:{port}",
        },
    )


def found(job: Job) -> tuple[bool | None, str]:
    """Whether the packet arrived (None: not known), and what the host said."""
    step = job.steps.filter(stage=STAGE, state=JobStep.State.DONE).last()
    if step is None:
        return None, job.message
    return {ARRIVED: True, NOTHING: False}.get(" ".join(step.output.split()[:2])), step.output


def _plan(job: Job, state: State, config: HostConfig) -> Plan:
    draft = Draft(state)
    if job.steps.filter(stage=STAGE, state=JobStep.State.DONE).exists():
        draft.so(STAGE, "It was sent.")
        return draft.plan()
    draft.do(
        Step(
            stage=STAGE,
            title="Send it through a copy of the live rules",
            action=Hand(verb="firewall-probe", args=tuple(sorted((str(k), str(v)) for k, v in job.args.items()))),
            about_s=1.0,
        )
    )
    return draft.plan()
