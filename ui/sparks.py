"""Small graphs as SVG paths: values over time, in a box 144 wide and 40 high, gaps left open. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

WIDTH, HEIGHT = 144.0, 40.0
Point = tuple[float, float]  # when, how much


def line(points: Iterable[Point], *, since: float, until: float, top: float, gap: float) -> str:
    """The path's `d`; `top` is drawn at the upper edge, points further apart than `gap` are not joined."""
    return "".join(_drawn(part) for part in _parts(points, since, until, top, gap))


def area(points: Iterable[Point], *, since: float, until: float, top: float, gap: float) -> str:
    """The same down to the lower edge, to be filled."""
    parts = _parts(points, since, until, top, gap)
    return "".join(f"{_drawn(part)}L{part[-1][0]:g} {HEIGHT:g}L{part[0][0]:g} {HEIGHT:g}z" for part in parts)


def _drawn(part: Sequence[Point]) -> str:
    first, *rest = part
    rest = rest or [(first[0] + 0.5, first[1])]  # a single point would not be seen
    return f"M{first[0]:g} {first[1]:g}" + "".join(f"L{x:g} {y:g}" for x, y in rest)


def _parts(points: Iterable[Point], since: float, until: float, top: float, gap: float) -> list[list[Point]]:
    found: list[list[Point]] = []
    before: float | None = None
    for when, value in points:
        if since <= when <= until:
            if before is None or when - before > gap:
                found.append([])
            share = min(1.0, max(0.0, value / top)) if top > 0 else 0.0
            found[-1].append((round((when - since) / (until - since) * WIDTH, 1), round(HEIGHT * (1 - share), 1)))
            before = when
    return found
