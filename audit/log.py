"""The one writer of the audit log.

`record` is the last statement of the deed's transaction, so deed and entry stand or fall together; a refusal is
recorded after the rollback, in a transaction of its own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import transaction
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
    """The bytes an entry's digest is made of: every field but the digest itself."""
    fields = {f.attname: getattr(entry, f.attname) for f in Entry._meta.concrete_fields if f.attname != "digest"}
    fields["at"] = entry.at.isoformat()
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


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
    """Append one entry under a lock on the chain's head; gapless `seq`."""
    with transaction.atomic():
        Head.objects.get_or_create(id=1)
        head = Head.objects.select_for_update().get(id=1)
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
            object_text=thing.text[:200],
            why=why,
            outcome=outcome,
            job=job,
            data=json.loads(json.dumps(dict(data or {}))),
            previous=head.digest,
        )
        entry.digest = hashlib.sha256(canonical(entry)).hexdigest()
        entry.save(force_insert=True)
        Head.objects.filter(id=1).update(seq=entry.seq, digest=entry.digest)
    return entry
