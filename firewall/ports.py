"""Free and taken ports of one external address. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LAST = 65535
#: Below are the well-known ones: nobody is sent there who asked for another.
COMMON = 1024


@dataclass(frozen=True, kw_only=True)
class Taken:
    """A port, or a closed range of them, that leads somewhere already: `by` names the service, `to` its target."""

    first: int
    last: int
    by: str
    to: str

    @property
    def span(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


def in_the_way(taken: Sequence[Taken], first: int, last: int) -> Taken | None:
    """Whoever has one of these ports."""
    return next((t for t in taken if t.first <= last and first <= t.last), None)


def free_near(taken: Sequence[Taken], wanted: int, *, size: int = 1, most: int = 3) -> tuple[int, ...]:
    """First ports of free ranges of `size` near `wanted`, nearest first: `wanted` alone where it is free.

    For a well-known port that is taken, those at 8000 above: 8080 for 80, 8443 for 443. At most `most`; empty
    where no range of that size is free.
    """
    if wanted + size - 1 <= LAST and in_the_way(taken, wanted, wanted + size - 1) is None:
        return (wanted,)
    start = wanted if wanted >= COMMON else 8000 + wanted
    above = _from(taken, start, size, most, up=True)
    below = _from(taken, start - 1, size, 1, up=False)
    found = {*above, *below} - {wanted}
    return tuple(sorted(found, key=lambda port: (abs(port - start), port < start))[:most])


def _from(taken: Sequence[Taken], start: int, size: int, most: int, *, up: bool) -> list[int]:
    """Free starts from `start` on in one direction; each step jumps over what is in the way."""
    out: list[int] = []
    port = start
    while len(out) < most and COMMON <= port <= LAST - size + 1:
        busy = in_the_way(taken, port, port + size - 1)
        if busy is None:
            out.append(port)
            port += 1 if up else -1
        else:
            port = busy.last + 1 if up else busy.first - size
    return out
