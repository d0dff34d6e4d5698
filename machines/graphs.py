"""What a machine uses, in words and small graphs, for its pages and the command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db.models import F
from django.utils import timezone

from machines import series
from machines.models import Figures, Machine, MachineQuerySet
from machines.series import Sample
from ui import sparks, words

Say = Callable[[float], str]
SPANS = {"hour": ("the last hour", 3600, series.BOOK_S), "day": ("the last day", 86_400, series.DAY_S)}
STALE_S = 120  # figures older than this are not "now"


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One line of a graph: what it is called, how it is drawn ("" or "two"), its path, its figures in words."""

    label: str
    look: str
    path: str
    now: str
    mean: str
    highest: str


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A small graph; `spoken` says it to whoever does not see it."""

    label: str
    now: str
    note: str
    area: str
    curves: list[Curve]
    spoken: str


@dataclass(frozen=True, kw_only=True)
class Use:
    """What one machine uses: of an hour or a day. `graphs` is empty where nothing is known yet."""

    span: str
    graphs: list[Graph]
    at: datetime | None
    fresh: bool


@dataclass(frozen=True, kw_only=True)
class _Wish:
    """What a graph shows: columns of a sample with the name of each line, the value at its upper edge (0: the
    highest), how a value is said."""

    label: str
    columns: tuple[tuple[str, str], ...]
    top: float
    say: Say
    of: str = ""


def use(machine: Machine, figures: Figures | None, span: str = "hour") -> Use:
    """The graphs of `span`, "hour" or "day"."""
    ring = series.samples((figures.day if span == "day" else figures.hour) if figures else [])
    now = timezone.now()
    latest = series.samples([figures.now["sample"]]) if figures and "sample" in figures.now else []
    at = datetime.fromtimestamp(latest[0].at, UTC) if latest else None
    fresh = at is not None and (now - at).total_seconds() < STALE_S
    graphs = [_graph(wish, ring, latest, span, now.timestamp()) for wish in _wishes(machine)] if ring or latest else []
    return Use(span=span, graphs=[graph for graph in graphs if graph.curves], at=at, fresh=fresh)


def short(machine: Machine) -> tuple[str, str] | None:
    """For a list: "3 %" and "40 of 64 MB"; None where nothing is known now. The machine comes from `with_used`."""
    kept = getattr(machine, "used", None) or {}
    latest = series.samples([kept["sample"]]) if "sample" in kept else []
    if not latest or timezone.now().timestamp() - latest[0].at > STALE_S:
        return None
    return _percent(machine)(latest[0].cpu), _memory(machine)(latest[0].memory_mib)


def with_used(machines: MachineQuerySet) -> MachineQuerySet:
    """The machines, each with what `short` needs: no query more, and not their rings."""
    return machines.annotate(used=F("figures__now"))


def numbers(*uses: Use) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """A table's rows: what it is, what it is now, and of each span its average and its highest."""
    rows: dict[str, tuple[str, list[tuple[str, str]]]] = {}
    for use_ in uses:
        for graph in use_.graphs:
            for curve in graph.curves:
                label = f"{graph.label} {curve.label}".strip()
                rows.setdefault(label, (curve.now, []))[1].append((curve.mean, curve.highest))
    return [(label, now, cells) for label, (now, cells) in rows.items()]


def _wishes(machine: Machine) -> tuple[_Wish, ...]:
    return (
        _Wish(label="CPU", columns=(("cpu", ""),), top=1000 * machine.vcpus, say=_percent(machine)),
        _Wish(label="Memory", columns=(("memory_mib", ""),), top=machine.memory_mib, say=_memory(machine)),
        _Wish(label="Network", columns=(("net_in", "in"), ("net_out", "out")), top=0, say=words.rate),
        _Wish(label="Disk", columns=(("disk_read", "read"), ("disk_written", "written")), top=0, say=_a_second),
    )


def _percent(machine: Machine) -> Say:
    """Thousandths of one processor as percent of all it has."""
    return lambda value: f"{value / 10 / machine.vcpus:.0f} %"


def _memory(machine: Machine) -> Say:
    """Only where the host shares its kernel with a machine it knows what that uses of what it was given."""
    if machine.host.shared:
        return lambda value: f"{value:.0f} of {machine.memory_mib} MB"
    return lambda value: f"{value:.0f} MB given"


def _a_second(value: float) -> str:
    return f"{words.size(value)}/s"


def _graph(wish: _Wish, ring: Sequence[Sample], latest: Sequence[Sample], span: str, until: float) -> Graph:
    called, seconds, step = SPANS[span]
    known = {
        name: [(float(s.at), float(getattr(s, name))) for s in ring if getattr(s, name) >= 0]
        for name, _ in wish.columns
    }
    top = wish.top or max((value for points in known.values() for _, value in points), default=0.0) * 1.1 or 1.0
    box = {"since": until - seconds, "until": until, "top": top, "gap": 2.5 * step}
    curves = [
        _curve(wish, number, known[name], _last(latest, name), box)
        for number, (name, _) in enumerate(wish.columns)
        if known[name] or (span == "hour" and _last(latest, name) is not None)
    ]
    now = ", ".join(f"{c.label} {c.now}".strip() for c in curves)
    note = "; ".join(f"{c.label} highest {c.highest}".strip() for c in curves if c.highest)
    area = sparks.area(known[wish.columns[0][0]], **box) if len(curves) == 1 else ""
    spoken = f"{wish.label} over {called}: now {now}; {note}" if note else f"{wish.label}: now {now}"
    return Graph(label=wish.label, now=now, note=note, area=area, curves=curves, spoken=spoken)


def _curve(wish: _Wish, number: int, points: list[sparks.Point], last: float | None, box: dict[str, float]) -> Curve:
    values = [value for _, value in points]
    when, most = max(points, key=lambda point: point[1], default=(0.0, 0.0))
    clock = timezone.localtime(datetime.fromtimestamp(when, UTC)).strftime("%H:%M")
    return Curve(
        label=wish.columns[number][1],
        look="two" if number else "",
        path=sparks.line(points, **box),
        now=wish.say(last) if last is not None else "not now",
        mean=wish.say(sum(values) / len(values)) if values else "",
        highest=f"{wish.say(most)} at {clock}" if values else "",
    )


def _last(latest: Sequence[Sample], name: str) -> float | None:
    return next((float(getattr(s, name)) for s in latest if getattr(s, name) >= 0), None)
