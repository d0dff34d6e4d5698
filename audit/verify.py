"""Walks the chain and names the first entry that does not hold."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import transaction

from audit import log, triggers
from audit.models import Entry, Head

GENESIS = "0" * 64


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What `verify` found: `entries` walked that hold; `broken` the first `seq` that does not, `why` in a sentence."""

    entries: int
    broken: int | None = None
    why: str = ""
    missing_triggers: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        return self.broken is None and not self.missing_triggers


def verify(using: str = "default") -> Verdict:
    """Check every entry against its digest and its predecessor, the last against the head, and the triggers."""
    lacking = tuple(triggers.missing(using))
    with transaction.atomic(using=using):
        seq, previous = 0, GENESIS
        for entry in Entry.objects.using(using).order_by("seq").iterator(chunk_size=1000):
            fault = _fault(entry, seq, previous)
            if fault:
                return Verdict(entries=seq, broken=seq + 1, why=fault, missing_triggers=lacking)
            seq, previous = entry.seq, entry.digest
        head = Head.objects.using(using).filter(id=1).first()
        if (head.seq, head.digest) != (seq, previous) if head else seq:
            last = head.seq if head else 0
            why = f"the chain's head says {last}, the last entry there is {seq}"
            return Verdict(entries=seq, broken=seq + 1 if last > seq else seq, why=why, missing_triggers=lacking)
    return Verdict(entries=seq, missing_triggers=lacking)


def _fault(entry: Entry, before: int, previous: str) -> str:
    if entry.seq != before + 1:
        return (
            f"it is missing; the next one there is {entry.seq}" if entry.seq > before else f"{entry.seq} stands there"
        )
    if entry.previous != previous:
        return "it does not follow the entry before it"
    if entry.digest != log.digest(entry):
        return "its content is not what was written"
    return ""
