"""The job kinds of external addresses: address.add and address.remove. The host file has the last word."""

from __future__ import annotations

from dom0.added import Added
from dom0.addresses import permitted
from dom0.host import HostConfig
from dom0.plan import Plan
from dom0.probe import Scope
from dom0.state import State
from hosts.kinds import Kind, register
from hosts.models import Job
from zones import address_plan, addresses
from zones.models import ExternalAddress


def register_kinds() -> None:
    """Make the kinds known; called once at start-up."""
    for name, plan, done in (("address.add", _present, _added), ("address.remove", _absent, _removed)):
        register(
            Kind(
                name=name,
                queue="net",
                approval="operator",
                scope=_scope,
                plan=plan,
                locks=lambda job: ("net",),
                done=done,
            )
        )


def _wanted(job: Job) -> Added:
    return Added(nic=job.args["nic"], address=job.args["address"])


def _scope(job: Job, config: HostConfig) -> Scope:
    looked = address_plan.looked_at(_wanted(job), config.state)
    return Scope(links=looked["links"], files=looked["files"])


def _present(job: Job, state: State, config: HostConfig) -> Plan:
    allowed = permitted(config, _wanted(job))
    return address_plan.present(_wanted(job), config.state, state, allowed=allowed)


def _absent(job: Job, state: State, config: HostConfig) -> Plan:
    row = ExternalAddress.objects.filter(host=job.host, address=job.args["address"]).first()
    if row is not None:
        addresses.refuse_used(row)
    return address_plan.absent(_wanted(job), config.state, state)


def _added(job: Job) -> None:
    addresses.booked(job.host, _wanted(job))


def _removed(job: Job) -> None:
    addresses.unbooked(job.host, _wanted(job))
