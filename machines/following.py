"""What hangs on one machine's address, when it gets another: told beforehand, moved when the job ends well.

A higher room registers the same Follower it moves zones with; a move of one machine is a move of one address.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from netaddr import IPAddress, IPNetwork

from hosts.models import Host
from machines.models import Machine
from zones.models import Zone
from zones.moving import Follower, Move, Preview

_followers: list[Follower] = []
_holders: list[Callable[[Host], Iterable[str]]] = []


@dataclass(frozen=True, kw_only=True)
class OneMove(Move):
    """One address; `zone` is the one the machine lives in afterwards."""

    def place(self, address: str) -> str:
        """Where an address goes: the one that moves, to its new place."""
        return str(self.new.ip) if IPAddress(address) in self.old else address


def register(follower: Follower) -> None:
    """Have what a higher room keeps of a machine's address follow it. Called at start-up."""
    _followers.append(follower)


def register_held(holder: Callable[[Host], Iterable[str]]) -> None:
    """Have `holder(host)` name addresses that rules in force lead to, whoever has them. Called at start-up."""
    _holders.append(holder)


def held(host: Host) -> frozenset[str]:
    """Addresses nobody new may have yet: what is published still leads there."""
    return frozenset(address for holder in _holders for address in holder(host))


def move_of(before: Machine, after: Machine) -> OneMove | None:
    """The move from one to the other; None where the address stays."""
    if before.address == after.address:
        return None
    return one_move(after.zone, before.address, after.address)


def one_move(zone: Zone, old: str, new: str) -> OneMove:
    return OneMove(zone=zone, old=IPNetwork(f"{old}/32"), new=IPNetwork(f"{new}/32"))


def preview(move: OneMove) -> Preview:
    """What the move takes along."""
    return Preview(move=move, rows=tuple(row for follower in _followers for row in follower.shows(move)))


def follow(move: OneMove) -> None:
    """Move every row that hangs on the address, in the caller's transaction."""
    for follower in _followers:
        follower.follows(move)
