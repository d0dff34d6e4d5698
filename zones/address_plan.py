"""From an external address and the host's state to the step that puts it on its card or takes it off. Pure.

A card gets or loses one /32; it is never renamed, enslaved, set up or down.
"""

from __future__ import annotations

from dataclasses import replace

from dom0 import added
from dom0.added import Added
from dom0.errors import Refused
from dom0.plan import Draft, Plan
from dom0.state import Link, State
from dom0.steps import Drop, Hand, Put, Step


def looked_at(wanted: Added, folder: str) -> dict[str, tuple[str, ...]]:
    """What both plans need to see of the host, by room of the state; `folder` is dom0's own for its state."""
    return {"links": ("*",), "files": (added.path(folder, wanted.address),)}


def present(wanted: Added, folder: str, state: State, *, allowed: bool) -> Plan:
    """The step after which the address is on its card, now and at boot.

    Raises Refused where there is no such card, another interface has the address, or the host file does not allow it.
    """
    card = state.links.get(wanted.nic)
    if card is None:
        there = ", ".join(sorted(state.links))
        raise Refused(
            f"{state.host} has no interface {wanted.nic}.", note=f"It has {there}. Name one of the host file."
        )
    for link in state.links.values():
        if link.name != wanted.nic and wanted.address in _bare(link):
            raise Refused(
                f"{link.name} on {state.host} has {wanted.address} already.",
                note=f"Take it off there first: ip address del {wanted.address} dev {link.name}.",
            )
    if not allowed:
        raise Refused(
            f"The host file of {state.host} does not let Fridu put {wanted.address} on {wanted.nic}.",
            note=f"By hand: {wanted.by_hand}. Or allow it under [[nic]] {wanted.nic}: may_add = true.",
        )
    draft = Draft(state)
    path = added.path(folder, wanted.address)
    if wanted.address in _bare(card) and state.files.get(path) == wanted.text:
        draft.so("address", f"{wanted.address} is on {wanted.nic} and stays there at boot")
        return draft.plan()
    addresses = card.addresses if wanted.address in _bare(card) else (*card.addresses, f"{wanted.address}/32")
    draft.do(
        Step(
            stage="address",
            title=f"Put {wanted.address} on {wanted.nic}, now and when the host boots",
            action=_hand("address-add", wanted),
            effect=(
                Put(room="links", key=wanted.nic, value=replace(card, addresses=addresses)),
                Put(room="files", key=path, value=wanted.text),
            ),
        )
    )
    return draft.plan()


def absent(wanted: Added, folder: str, state: State) -> Plan:
    """The step after which the address is off its card. Raises Refused for one Fridu did not put there."""
    draft = Draft(state)
    path, card = added.path(folder, wanted.address), state.links.get(wanted.nic)
    if path not in state.files:
        if card and wanted.address in _bare(card):
            raise Refused(
                f"{wanted.address} was not put on {wanted.nic} by Fridu.",
                note="Whoever put it there takes it off; then it goes from the host file.",
            )
        draft.so("address", f"{wanted.address} is off {wanted.nic}")
        return draft.plan()
    left = tuple(text for text in card.addresses if text != f"{wanted.address}/32") if card else ()
    effect = [Drop(room="files", key=path)]
    draft.do(
        Step(
            stage="address",
            title=f"Take {wanted.address} off {wanted.nic}",
            action=_hand("address-remove", wanted),
            effect=(
                *effect,
                *([Put(room="links", key=card.name, value=replace(card, addresses=left))] if card else ()),
            ),
            relies_on=(("files", path),),
            destroys=f"{wanted.address} answers no more; connections through it end.",
        )
    )
    return draft.plan()


def _bare(link: Link) -> set[str]:
    return {text.partition("/")[0] for text in link.addresses}


def _hand(verb: str, wanted: Added) -> Hand:
    return Hand(verb=verb, args=(("nic", wanted.nic), ("address", wanted.address)))
