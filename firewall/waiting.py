"""How many changes wait for an apply: told on every page, found out only when somebody changed something.

Every wish leaves an entry in the audit log, so the log's head says whether what was counted last still holds;
the site is compiled anew only after an entry that can have changed a wish (and once a minute: rules expire).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from audit.models import Entry, Head
from firewall import rows, words
from firewall.models import Revision
from hosts.models import Host

#: Beginnings of the actions that change what the rules are made from.
WISHES = ("service.", "restriction.", "policy.", "custom.", "firewall.", "zone.", "address.", "vpn.")
#: With more new entries than these, counting anew costs less than reading them.
MANY = 100
KEPT_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """`count` differences between what is wished and what is in force, `first` the first of them as a sentence."""

    count: int
    first: str = ""


@dataclass(frozen=True, kw_only=True)
class _Counted:
    waiting: Waiting
    seq: int
    digest: str
    revision: int | None
    facts: dict[str, Any]
    at: float

    def holds(self, revision: int | None, facts: dict[str, Any]) -> bool:
        same = self.revision == revision and self.facts == facts
        return same and time.monotonic() - self.at < KEPT_S


_counted: dict[int, _Counted] = {}


def waiting(host: Host, revision: int | None) -> Waiting:
    """What waits beyond this revision (its row's id: the one on trial, else the one in force; None: none yet).

    One query where nothing happened since it was counted last.
    """
    head = Head.objects.first() or Head()
    known = _counted.get(host.pk)
    if known and known.holds(revision, host.facts) and _quiet(known, head):
        return known.waiting
    now = _count(host, revision)
    _counted[host.pk] = _Counted(
        waiting=now, seq=head.seq, digest=head.digest, revision=revision, facts=host.facts, at=time.monotonic()
    )
    return now


def forget() -> None:
    """Count anew next time."""
    _counted.clear()


def _quiet(known: _Counted, head: Head) -> bool:
    """Whether no wish was touched since; entry by entry, from the last one that was known."""
    if (known.seq, known.digest) == (head.seq, head.digest):
        return True
    since = list(Entry.objects.filter(seq__gte=known.seq).order_by("seq").values_list("digest", "action")[: MANY + 1])
    if not since or since[0][0] != known.digest or len(since) > MANY:
        return False
    return not any(action.startswith(WISHES) for _, action in since[1:])


def _count(host: Host, revision: int | None) -> Waiting:
    base = Revision.objects.filter(pk=revision).first() if revision else None
    wished = rows.site_of(host)
    if base is None and not wished.zones:
        # Before the first apply a host without zones has nothing to protect.
        return Waiting(count=0)
    changes = words.difference(rows.site_in(base), wished, names=rows.machine_names(host))
    return Waiting(count=len(changes), first=changes[0].sentence if changes else "")
