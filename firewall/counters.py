"""What the rules counted, by the objects they come from: connections to a service, packets a restriction met.

The kernel starts anew with every chain that is declared again; the rows go on. A week begins on Monday.
"""

from __future__ import annotations

import re
import time
from collections import Counter as Sum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.utils import timezone

from dom0 import policy
from dom0.errors import CommandFailed
from dom0.state import State
from firewall.models import Counter
from hosts.models import Host

EVERY_S = 30.0
Key = tuple[str, str]

_RULE = re.compile(r"^\[(\d+):\d+\] -A (fr-\S+) (.*)$", re.MULTILINE)
_COMMENT = re.compile(r'--comment "?([^" ]+)"?')
_RESTRICTION = re.compile(r"fr-r[io]-(\d+)")
_OWN = re.compile(r"fr-((?:before|after)-(?:input|output|forwarding))")


@dataclass(frozen=True, kw_only=True)
class Count:
    """`count` since the Monday `since`, or since `begun` where the object came later in the week."""

    count: int
    since: date
    begun: datetime | None = None


def read(save: str) -> Mapping[Key, int]:
    """Packets by (kind, name) in the output of `iptables-save -c`; an object's several rules together.

    A DNAT rule sees the first packet of each connection only, and so does an ACCEPT behind "established".
    """
    found: Sum[Key] = Sum()
    for packets, chain, rule in _RULE.findall(save):
        key = _object(chain, rule)
        if key:
            found[key] += int(packets)
    return found


def _object(chain: str, rule: str) -> Key | None:
    own = _OWN.fullmatch(chain)
    if own:
        return (Counter.Kind.CUSTOM, f"{own[1]}: {rule}")
    comment = _COMMENT.search(rule)
    if comment is None:
        return None
    if zone := _RESTRICTION.fullmatch(chain):
        return (Counter.Kind.RESTRICTION, f"{zone[1]}/{comment[1]}")
    if chain.startswith("fr-dn-") or chain == "fr-dom0":
        return (Counter.Kind.SERVICE, comment[1])
    return None


def of(host: Host, **only: Any) -> Mapping[Key, Count]:
    """What was counted this week, by (kind, name); 1 query. `only` narrows it: kind=…, name__in=…."""
    return {
        (row.kind, row.name): Count(count=row.count, since=row.week, begun=_within(row.week, row.begun))
        for row in Counter.objects.filter(host=host, week=_monday(), **only)
    }


def told(host: Host, **only: Any) -> Mapping[Key, str]:
    """The same in words: "412 connections since Monday"; "none yet, counted since today 14:02"."""
    words = {Counter.Kind.SERVICE: "connection"}
    found = {}
    for (kind, name), each in of(host, **only).items():
        word = words.get(Counter.Kind(kind), "packet")
        if each.begun and not each.count:
            found[(kind, name)] = f"none yet, counted since {_moment(each.begun)}"
            continue
        what = f"{f'{each.count:,}' if each.count else 'no'} {word}{'' if each.count == 1 else 's'}"
        found[(kind, name)] = f"{what} since {_moment(each.begun) if each.begun else 'Monday'}"
    return found


def _within(monday: date, begun: datetime | None) -> datetime | None:
    return begun if begun and timezone.localdate(begun) >= monday else None


def _moment(when: datetime) -> str:
    local = timezone.localtime(when)
    return f"{'today' if local.date() == timezone.localdate() else f'{local:%A}'} {local:%H:%M}"


def watch(host: Host, state: State) -> None:
    """Observer: look at the host's counters every half minute, and add what came."""
    if time.monotonic() < _due.get(host.pk, 0):
        return
    _due[host.pk] = time.monotonic() + EVERY_S
    try:
        book(host, read(policy.counted()))
    except CommandFailed:
        return  # a host without iptables counts nothing


_due: dict[int, float] = {}


def book(host: Host, seen: Mapping[Key, int]) -> None:
    """Add what was counted since the last look; objects that are gone are forgotten."""
    monday, now = _monday(), timezone.now()
    rows = {(row.kind, row.name): row for row in Counter.objects.filter(host=host)}
    fresh, changed = [], []
    for (kind, name), raw in seen.items():
        row = rows.pop((kind, name), None)
        if row is None:
            fresh.append(Counter(host=host, kind=kind, name=name, week=monday, count=raw, raw=raw, begun=now))
            continue
        came = raw - row.raw if raw >= row.raw else raw
        if came or row.week != monday or raw != row.raw:
            row.count = came + (row.count if row.week == monday else 0)
            row.week, row.raw = monday, raw
            changed.append(row)
    Counter.objects.bulk_create(fresh)
    Counter.objects.bulk_update(changed, ["count", "week", "raw"], batch_size=500)
    Counter.objects.filter(pk__in=[row.pk for row in rows.values()]).delete()


def _monday() -> date:
    today = timezone.localdate()
    return today - timedelta(days=today.weekday())
