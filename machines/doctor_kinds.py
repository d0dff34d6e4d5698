"""The job kinds `machine.doctor` (the host is only looked at) and `machine.check` (the filesystem of one that is off).

Each step's output is a verdict (dom0.verdicts).
"""

from __future__ import annotations

from dom0.host import HostConfig
from dom0.plan import Plan
from dom0.probe import Scope
from dom0.state import State
from hosts.kinds import Kind, register
from hosts.models import Job, JobStep
from machines import plan_check
from machines.kinds import locks_of, machine_of, spec_of, spec_of_job
from machines.models import Machine
from machines.plan_doctor import Patient, plan_doctor
from machines.published import Published, published


def register_kinds() -> None:
    """Make machine.doctor known; called once at start-up."""
    register(
        Kind(
            name="machine.doctor",
            queue="net",  # seconds of waiting for answers, which no start or stop should wait for
            approval="none",
            scope=lambda job, config: Scope(),
            plan=_plan,
            locks=lambda job: (),
        )
    )

    register(
        Kind(
            name="machine.check",
            queue="work",
            approval="none",
            scope=_check_scope,
            plan=_check,
            locks=locks_of,
        )
    )


def _check_scope(job: Job, config: HostConfig) -> Scope:
    return Scope(**plan_check.looked_at(spec_of_job(job, config)))  # type: ignore[arg-type]


def _check(job: Job, state: State, config: HostConfig) -> Plan:
    done = job.steps.filter(stage=plan_check.STAGE, state=JobStep.State.DONE).exists()
    spec = spec_of_job(job, config)
    return plan_check.plan_check(spec, state, repair=bool(job.args.get("repair")), done=done)


def _plan(job: Job, state: State, config: HostConfig) -> Plan:
    machine = machine_of(job)
    done = set(job.steps.filter(state=JobStep.State.DONE).values_list("stage", flat=True))
    return plan_doctor(patient_of(machine, config), state, done)


def patient_of(machine: Machine, config: HostConfig) -> Patient:
    zone = machine.zone
    return Patient(
        spec=spec_of(machine, config),
        gateway=f"{zone.gateway}/{zone.prefix}",
        external=zone.external.address if zone.external else "",
        wanted=machine.wanted,
        ports=tuple(line for service in published([machine])[machine.pk] for line in _ports(service)),
    )


def _ports(service: Published) -> list[str]:
    """A service as the look takes it, once a protocol; one that is not applied yet is wished for all the same."""
    last = f"-{service.port_last}" if service.port_last != service.port else ""
    protos = service.proto.split(" and ")
    return [f"{proto} {service.address} {service.port}{last} {service.target_port}" for proto in protos]
