"""A zone's subnet is changed: what moves along, told beforehand, done when the zone's job ends well.

Higher rooms register what of theirs hangs on a zone's addresses: a `Follower`. Its machines' files and membership
are settled by steps of the zone's own job; rows follow in the transaction that closes it, so a job that is
cancelled or fails leaves every wish as it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from netaddr import IPAddress, IPNetwork

from dom0.errors import Refused
from dom0.host import HostConfig
from dom0.plan import Draft
from zones.models import Zone

Look = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Move:
    """A zone, as wished after the change; its subnet before and after."""

    zone: Zone
    old: IPNetwork
    new: IPNetwork

    def place(self, address: str) -> str:
        """Where an address of the old subnet goes; "" where the new one has no such place.

        Same host part; where one subnet lies in the other, what fits stays as it is. An address outside the old
        subnet is returned unchanged.
        """
        here = IPAddress(address)
        if here not in self.old:
            return address
        nested = self.old in self.new or self.new in self.old
        there = here if nested else IPAddress(self.new.first + (int(here) - self.old.first))
        inside = there in self.new and there not in (self.new.network, self.new.broadcast)
        return str(there) if inside else ""

    def conflict(self, address: str) -> str:
        """Why nobody can have the place this address goes to, as a sentence; "" where somebody can."""
        after = self.place(address)
        if not after:
            return f"{address} has no place in {self.new}."
        return f"{after} would be the gateway's. Use another gateway." if after == self.zone.gateway else ""

    def place_network(self, text: str) -> str:
        """The same for "10.10.2.7" or "10.10.2.64/26"; "" where it does not fit, unchanged where it is not all ours."""
        if "/" not in text:
            return self.place(text)
        network = IPNetwork(text).cidr
        if network == self.old:
            return str(self.new)
        if network not in self.old or self.old in self.new:
            return text
        if self.new in self.old:
            return text if network in self.new else ""
        first = IPAddress(self.new.first + (network.first - self.old.first))
        there = IPNetwork(f"{first}/{network.prefixlen}")
        return str(there) if there in self.new else ""


@dataclass(frozen=True, kw_only=True)
class Moved:
    """One thing that moves (or stands in the way: `conflict` says why), as the preview shows it."""

    kind: str
    name: str
    before: str
    after: str
    note: str = ""
    conflict: str = ""
    url: str = ""


def _shows_nothing(move: Move) -> Iterable[Moved]:
    return ()


def _follows_nothing(move: Move) -> None:
    pass


def _locks_nothing(zone: Zone) -> tuple[str, ...]:
    return ()


def _looks_at_nothing(zone: Zone, config: HostConfig) -> Look:
    return {}


def _settles_nothing(zone: Zone, move: Move | None, config: HostConfig, draft: Draft) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Follower:
    """What a higher room keeps that hangs on a zone's addresses.

    `shows` tells what would move; `follows` moves its rows, in the caller's transaction. `locks`, `looks_at` and
    `settles` take part in every `zone.change` job: the kernel locks it needs, the facts it plans from (by room of
    the state), and the steps after which the host is as it shall be; `move` is None where the subnet stays.
    """

    shows: Callable[[Move], Iterable[Moved]] = _shows_nothing
    follows: Callable[[Move], None] = _follows_nothing
    locks: Callable[[Zone], tuple[str, ...]] = _locks_nothing
    looks_at: Callable[[Zone, HostConfig], Look] = _looks_at_nothing
    settles: Callable[[Zone, Move | None, HostConfig, Draft], None] = _settles_nothing


_followers: list[Follower] = []


def register_follower(follower: Follower) -> None:
    """Have what a higher room keeps of a zone's addresses move with its subnet. Called at start-up."""
    _followers.append(follower)


@dataclass(frozen=True, kw_only=True)
class Preview:
    """All that a change of subnet moves; `digest` names exactly this list."""

    move: Move
    rows: tuple[Moved, ...]

    @property
    def conflicts(self) -> tuple[Moved, ...]:
        return tuple(row for row in self.rows if row.conflict)

    @property
    def digest(self) -> str:
        text = "\0".join(f"{r.kind}\0{r.name}\0{r.before}\0{r.after}\0{r.conflict}" for r in self.rows)
        return hashlib.sha256(f"{self.move.old}\0{self.move.new}\0{text}".encode()).hexdigest()[:16]


def move_of(before: Zone, after: Zone) -> Move | None:
    """The move from one to the other; None where subnet and gateway stay."""
    same = (before.gateway, before.prefix) == (after.gateway, after.prefix)
    return None if same else Move(zone=after, old=before.network, new=after.network)


def preview(move: Move) -> Preview:
    """What the move takes along, room by room."""
    return Preview(move=move, rows=tuple(row for follower in _followers for row in follower.shows(move)))


def refuse_conflicts(move: Move) -> None:
    """Raise Refused, naming it, where something can't move along."""
    conflicts = preview(move).conflicts
    if conflicts:
        first = conflicts[0]
        more = f" {len(conflicts) - 1} more can't either." if len(conflicts) > 1 else ""
        raise Refused(
            f"{first.name} can't move to {move.new}: {first.conflict}{more}",
            note="Nothing was changed. Choose a subnet in which each keeps its place, or move that one first.",
        )


def follow(move: Move) -> None:
    """Move every row that hangs on the old subnet, in the caller's transaction."""
    for follower in _followers:
        follower.follows(move)


def locks(zone: Zone) -> tuple[str, ...]:
    """The kernel locks of what lives in the zone, in the order to take them."""
    return tuple(name for follower in _followers for name in follower.locks(zone))


def looked_at(zone: Zone, config: HostConfig) -> dict[str, tuple[str, ...]]:
    """What planning for those who live in the zone needs to see, by room of the state."""
    found: dict[str, tuple[str, ...]] = {}
    for follower in _followers:
        for room, names in follower.looks_at(zone, config).items():
            found[room] = (*found.get(room, ()), *names)
    return found


def settle(zone: Zone, move: Move | None, config: HostConfig, draft: Draft) -> None:
    """Plan what those who live in the zone need."""
    for follower in _followers:
        follower.settles(zone, move, config, draft)
