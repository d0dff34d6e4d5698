"""A machine or kept entry where its zone now is: membership, lease and name, whatever it had before. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from dom0 import members
from dom0.plan import Draft
from dom0.steps import Drop, Step
from machines.specs import EntrySpec
from machines.stages import dhcp, elements, updateether


def looked_at(spec: EntrySpec) -> dict[str, tuple[str, ...]]:
    """What settling a machine needs to see of the host, by room of the state."""
    return {"files": (*(file.path for file in dhcp(spec)), spec.members_file), "members": (members.EVERY_VIF,)}


def looks_at(specs: Iterable[EntrySpec]) -> dict[str, tuple[str, ...]]:
    """The same for all of them, each thing once."""
    found: dict[str, tuple[str, ...]] = {}
    for spec in specs:
        for room, names in looked_at(spec).items():
            found[room] = tuple(dict.fromkeys((*found.get(room, ()), *names)))
    return found


def settle(spec: EntrySpec, draft: Draft) -> None:
    """Plan that the firewall and DHCP know the machine at its address, and at no other.

    The new membership comes before the former goes; what runs under its former address falls silent with that, until
    it asks DHCP again.
    """
    updateether(spec, draft)
    wanted = {member.key for member in spec.members}
    former = [m for m in members.of_vif(tuple(draft.state.members), spec.vif) if m.key not in wanted]
    if former:
        draft.do(
            Step(
                stage="updateether",
                title=f"Have the firewall forget what {spec.name} was",
                action=elements("delete", former),
                effect=tuple(Drop(room="members", key=member.key) for member in former),
            )
        )
