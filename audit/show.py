"""The log as pages show it: filtered, in pages by number, in words."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from audit import words
from audit.models import Entry

PER_PAGE = 50


@dataclass(frozen=True, kw_only=True)
class Line:
    """One entry, ready for the template."""

    entry: Entry
    deed: str
    mark: str
    word: str
    message: str
    commands: list[dict[str, Any]]
    details: str
    url: str
    job_url: str

    @property
    def refused(self) -> bool:
        return bool(self.entry.outcome == Entry.Outcome.REFUSED)


def filtered(chosen: dict[str, Any]) -> QuerySet[Entry]:
    """The entries a cleaned FilterForm asks for, newest first."""
    entries = Entry.objects.order_by("-seq")
    if words_ := chosen.get("q"):
        entries = entries.filter(
            Q(object_text__icontains=words_)
            | Q(why__icontains=words_)
            | Q(actor_name__icontains=words_)
            | Q(address__icontains=words_)
            | Q(action__icontains=words_)
        )
    exact = {"actor_name": "who", "outcome": "out", "object_kind": "kind", "object_id": "id"}
    entries = entries.filter(**{field: chosen[key] for field, key in exact.items() if chosen.get(key)})
    if action := chosen.get("action"):
        entries = entries.filter(Q(action=action) | Q(action__startswith=action + "."))
    if since := chosen.get("since"):
        entries = entries.filter(at__gte=_midnight(since))
    if until := chosen.get("until"):
        entries = entries.filter(at__lt=_midnight(until) + timedelta(days=1))
    return entries


def _midnight(day: Any) -> datetime:
    return timezone.make_aware(datetime(day.year, day.month, day.day))


def actions() -> list[str]:
    """The actions one can ask for: those that have words, whole rooms first."""
    return sorted({*(action.partition(".")[0] for action in words.DEEDS), *words.DEEDS, "machine", "zone", "service"})


def names() -> list[str]:
    """Everybody who may stand in the log."""
    users = get_user_model().objects.order_by("username").values_list("username", flat=True)
    return [*users, "fridu", "unknown"]


def lines(entries: Iterable[Entry]) -> list[Line]:
    return [line(entry) for entry in entries]


def line(entry: Entry) -> Line:
    """The entry in words, with the commands of its job."""
    mark, word = words.outcome(entry)
    data = dict(entry.data)
    commands = data.pop("commands", [])
    message = str(data.pop("message", "") or "")
    return Line(
        entry=entry,
        deed=words.deed(entry),
        mark=mark,
        word=word,
        message=message,
        commands=commands if isinstance(commands, list) else [],
        details=json.dumps(data, indent=1, ensure_ascii=False) if data else "",
        url=_address("audit:entry", entry.seq),
        job_url=_address("hosts:job", entry.job) if entry.job else "",
    )


def _address(name: str, number: int) -> str:
    """The page of that number, if the panel has such pages."""
    try:
        return reverse(name, args=[number])
    except NoReverseMatch:
        return ""
