"""From a machine's spec and the host's state to the steps that make its limits hold. Pure."""

from __future__ import annotations

from dom0.errors import Refused
from dom0.plan import Draft, Plan
from dom0.state import State
from machines import limits_stages, rules
from machines.specs import LimitsSpec, MachineSpec, PlaceSpec


def offered(place: PlaceSpec) -> tuple[str, ...]:
    """The limits that hold on this kind of host; the others were shown not to (docs/operations.md)."""
    network = ("net_in_kbit", "net_out_kbit", "net_share_kbit")
    cpu = ("cpu_weight", "cpu_cap") if place.lxc or place.xen else ()
    disk = ("disk_kib_s", "disk_iops") if place.lxc else ()
    return (*network, *cpu, *disk)


def plan_limits(spec: MachineSpec, state: State) -> Plan:
    """Steps after which the machine keeps to the spec's limits, now and after every start. Raises Refused."""
    rules.refuse_strangers(spec, state)
    refuse_unoffered(spec)
    draft = Draft(state)
    limits_stages.keep(spec, draft)
    limits_stages.hold(spec, draft)
    return draft.plan()


def refuse_unoffered(spec: MachineSpec) -> None:
    """Raises Refused for a limit that would not hold on this host."""
    wanted = [name for name in vars(LimitsSpec()) if getattr(spec.limits, name) and name not in offered(spec.place)]
    if wanted:
        what = "disks" if wanted[0].startswith("disk") else "processors"
        raise Refused(
            f"{spec.place.host} can't limit {what} by machine: what its machines do there, the host does for them all.",
            note="Nothing was changed. Take that limit off for machines of this host.",
        )
