"""Changes as the pages list them: by kind, the long tail folded away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from firewall.words import ORDER, Change, Kind

SHOWN = 40
#: A first import of thousands is read as a file, not as a list.
MOST = 1000


@dataclass(frozen=True, kw_only=True)
class Heap:
    """Changes of one kind: `shown` at once, `folded` behind a click, `left` not listed at all."""

    kind: Kind
    shown: tuple[Change, ...]
    folded: tuple[Change, ...] = ()
    left: int = 0


def heaps(changes: Sequence[Change]) -> tuple[Heap, ...]:
    """Changes by kind, in the order opens, closes, moves, changes; empty kinds left out."""
    out = []
    for kind in ORDER:
        found = tuple(change for change in changes if change.kind == kind)
        if found:
            rest = found[SHOWN:MOST]
            out.append(Heap(kind=kind, shown=found[:SHOWN], folded=rest, left=max(0, len(found) - MOST)))
    return tuple(out)
