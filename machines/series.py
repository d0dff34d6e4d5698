"""Rates out of counters, and the two rings they are kept in: an hour in half minutes, a day in tens. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from typing import Any

BOOK_S = 30
DAY_S = 600
HOUR_SAMPLES = 3600 // BOOK_S
DAY_SAMPLES = 86_400 // DAY_S


@dataclass(frozen=True, kw_only=True)
class Counted:
    """Sums as the host counts them at one moment; -1: nobody counts that here. `run` tells one start from the next."""

    run: int
    cpu_ns: int
    memory_kib: int
    net_in: int = -1
    net_out: int = -1
    disk_read: int = -1
    disk_written: int = -1


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What a machine used on average until `at` (seconds since 1970): bytes a second, and thousandths of a processor.

    -1: not known.
    """

    at: int
    cpu: int
    memory_mib: int
    net_in: int = -1
    net_out: int = -1
    disk_read: int = -1
    disk_written: int = -1


RATES = ("net_in", "net_out", "disk_read", "disk_written")


def counted(kept: Mapping[str, Any]) -> Counted | None:
    """What a row keeps of the last look; None where it keeps nothing one can go on from."""
    known = {field.name for field in fields(Counted)}
    try:
        return Counted(**{key: int(value) for key, value in kept.items() if key in known})
    except (TypeError, ValueError):
        return None


def kept(counts: Counted) -> dict[str, int]:
    """What a row keeps; `counted` is its inverse."""
    return asdict(counts)


def rate(before: Counted | None, now: Counted, seconds: float, at: int) -> Sample | None:
    """What was used between two looks; None for a first one. A machine or device that began anew began at zero."""
    if before is None or seconds <= 0:
        return None
    anew = before.run != now.run

    def a_second(name: str) -> int:
        was: int = getattr(before, name)
        is_: int = getattr(now, name)
        if is_ < 0 or was < 0:
            return -1
        return round((is_ if (anew and name == "cpu_ns") or is_ < was else is_ - was) / seconds)

    cpu = a_second("cpu_ns") // 1_000_000
    return Sample(at=at, cpu=cpu, memory_mib=now.memory_kib // 1024, **{name: a_second(name) for name in RATES})


def row(sample: Sample) -> list[int]:
    """A sample as a ring keeps it."""
    return list(astuple(sample))


def samples(ring: Sequence[Sequence[int]]) -> list[Sample]:
    """A ring's samples, oldest first; what another version wrote otherwise is left out."""
    names = [field.name for field in fields(Sample)]
    return [Sample(**dict(zip(names, each, strict=True))) for each in ring if len(each) == len(names)]


def pushed(ring: Sequence[Sequence[int]], new: Sequence[int], *, span_s: int, most: int) -> list[Sequence[int]]:
    """The ring with one more sample, without those older than it spans."""
    young = [each for each in ring if each and each[0] > new[0] - span_s]
    return [*young[-(most - 1) :], new]


def mean(ring: Sequence[Sequence[int]], since: int, at: int) -> list[int] | None:
    """The ring's samples after `since` as one, at `at`; None where there are none."""
    young = [each[1:] for each in ring if each and each[0] > since]
    if not young:
        return None
    known = ([value for value in column if value >= 0] for column in zip(*young, strict=True))
    return [at, *(round(sum(values) / len(values)) if values else -1 for values in known)]
