"""The one writer of the audit log.

`record` is the last statement of the deed's transaction, so deed and entry stand or fall together; a refusal is
recorded after the rollback, in a transaction of its own.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from django.db import models, transaction
from django.utils import timezone

from audit.models import Entry, Head


@dataclass(frozen=True, kw_only=True)
class Actor:
    """Who acts: a panel user, from where. `SYSTEM` for what the sweep does by itself."""

    id: int | None
    name: str
    session: str = ""
    address: str = ""


SYSTEM = Actor(id=None, name="fridu")


@dataclass(frozen=True, kw_only=True)
class Thing:
    """What the deed is about, as text that outlives the row."""

    kind: str
    id: str
    text: str


NOTHING = Thing(kind="", id="", text="")


def session_digest(key: str | None) -> str:
    """Sixteen characters that tell sessions apart without giving one away."""
    return hashlib.sha256(key.encode()).hexdigest()[:16] if key else ""


def canonical(entry: Entry) -> bytes:
    """The bytes an entry's digest is made of: every field but the digest itself, the same after any reload."""
    fields = {f.attname: getattr(entry, f.attname) for f in Entry._meta.concrete_fields if f.attname != "digest"}
    fields["at"] = entry.at.astimezone(UTC).isoformat(timespec="microseconds")
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


def digest(entry: Entry) -> str:
    """SHA-256 of the entry's canonical bytes, which hold the digest of the entry before it."""
    return hashlib.sha256(canonical(entry)).hexdigest()


def record(
    actor: Actor,
    action: str,
    thing: Thing = NOTHING,
    *,
    outcome: str = Entry.Outcome.DONE,
    why: str = "",
    job: int | None = None,
    data: Mapping[str, Any] | None = None,
) -> Entry:
    """Append one entry under a lock on the chain's head; gapless `seq`.

    Text longer than its column is cut, what a database can't hold is replaced: whatever happened gets its entry.
    """
    with transaction.atomic():
        head = _locked_head()
        entry = Entry(
            seq=head.seq + 1,
            at=timezone.now(),
            actor_id=actor.id,
            actor_name=actor.name,
            session=actor.session,
            address=actor.address,
            action=action,
            object_kind=thing.kind,
            object_id=thing.id,
            object_text=thing.text,
            why=why,
            outcome=str(outcome),
            job=job,
            data=_storable(json.loads(json.dumps(dict(data or {}), default=str))),
            previous=head.digest,
        )
        for field in _TEXTS:
            setattr(entry, field.attname, _text(getattr(entry, field.attname))[: field.max_length])
        entry.digest = digest(entry)
        entry.save(force_insert=True)
        Head.objects.filter(id=1).update(seq=entry.seq, digest=entry.digest)
    return entry


_TEXTS = [f for f in Entry._meta.concrete_fields if isinstance(f, (models.CharField, models.TextField))]


def _locked_head() -> Head:
    head = Head.objects.select_for_update().filter(id=1).first()
    if head is None:
        Head.objects.get_or_create(id=1)
        head = Head.objects.select_for_update().get(id=1)
    return head


def _text(text: str) -> str:
    """Without NUL and half surrogate pairs, which PostgreSQL and UTF-8 can't hold."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _storable(value: Any) -> Any:
    """JSON that comes back from SQLite's text and from PostgreSQL's jsonb exactly as it went in."""
    match value:
        case str():
            return _text(value)
        case dict():
            return {_text(key): _storable(item) for key, item in value.items()}
        case list():
            return [_storable(item) for item in value]
        case float() if not math.isfinite(value):
            return str(value)
        case float() if value.is_integer():
            return int(value)
    return value
