"""What a diagnosis looks at, one step each, in the order in which a packet would fail. Pure.

Each look is data: a stage, what it asks, and the verb that answers. Done once, it is not done again.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from dom0.plan import Draft, Plan
from dom0.state import State
from dom0.steps import Hand, Step
from machines.specs import MachineSpec


@dataclass(frozen=True, kw_only=True)
class Look:
    """One question; `needs` are the arguments it takes beside those of every look, `about_s` what it may take."""

    stage: str
    asks: str
    needs: tuple[str, ...] = ()
    about_s: float = 0.1


LOOKS = (
    Look(stage="domain", asks="Does it run?", needs=("wanted",)),
    Look(stage="bridge", asks="Is its zone's bridge up?"),
    Look(stage="vif", asks="Is its interface in the bridge?"),
    Look(stage="membership", asks="Does the firewall know it?"),
    Look(stage="server", asks="Do DHCP and DNS of its zone run?"),
    Look(stage="lease", asks="Is its address in the zone, and leased?"),
    Look(stage="arp", asks="Does it answer for its address?", about_s=1.5),
    Look(stage="dhcp", asks="Is its question for an address answered?", about_s=3.0),
    Look(stage="dns", asks="Does its zone's DNS know it?"),
    Look(stage="forwarding", asks="Does the host forward?"),
    Look(stage="snat", asks="Does it get out, and as whom?", needs=("external",)),
    Look(stage="dnat", asks="Do its published ports lead to it?", needs=("ports",)),
    Look(stage="root", asks="Is its root filesystem in order, with room left?", needs=("volume", "mount", "wanted")),
)


@dataclass(frozen=True, kw_only=True)
class Patient:
    """The machine, and what is published of it: "tcp 91.121.65.140 80 8080" each; `gateway` as "10.10.2.1/24"."""

    spec: MachineSpec
    gateway: str
    external: str
    wanted: str
    ports: tuple[str, ...] = ()

    @property
    def args(self) -> dict[str, str]:
        spec = self.spec
        return {
            "name": spec.name,
            "uuid": spec.uuid,
            "vif": spec.vif,
            "mac": spec.mac,
            "address": spec.address,
            "bridge": spec.zone.bridge,
            "gateway": self.gateway,
            "zone": spec.zone.name,
            "domain": spec.zone.domain,
        }

    @property
    def more(self) -> dict[str, str]:
        return {
            "wanted": self.wanted,
            "external": self.external,
            "ports": ",".join(self.ports),
            "volume": self.spec.volume_path,
            "mount": self.spec.mount,
        }


def plan_doctor(patient: Patient, state: State, done: Collection[str]) -> Plan:
    """A step for each look but those `done`."""
    draft = Draft(state)
    for look in LOOKS:
        if look.stage in done:
            draft.so(look.stage, look.asks)
            continue
        args = {"look": look.stage, **patient.args, **{key: patient.more[key] for key in look.needs}}
        hand = Hand(verb="doctor-look", args=tuple(args.items()))
        draft.do(Step(stage=look.stage, title=look.asks, action=hand, about_s=look.about_s))
    return draft.plan()
