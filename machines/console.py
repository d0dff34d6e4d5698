"""The console in the browser: its one-use ticket, who may still look, and the answer that becomes a websocket."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user
from django.contrib.sessions.backends.db import SessionStore
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse

from accounts.models import User
from audit.log import session_digest
from machines.models import Machine

TICKET_S = 30
_KEY = "console-ticket-"


@dataclass(frozen=True, kw_only=True)
class Visit:
    """One viewer of one machine's console, as the panel knows them when the line is opened.

    `was` is its viewer before the line broke; `run` and `after` say what this browser has shown. "" for nothing.
    """

    viewer: str
    user: int
    name: str
    machine: int
    uuid: str
    host: str
    session: str
    was: str = ""
    run: str = ""
    after: str = ""


class Upgraded(HttpResponse):
    """Not sent: whoever serves the panel takes the connection and hands it to the console (fridu_site.wsgi)."""

    status_code = 101

    def __init__(self, visit: Visit, key: str) -> None:
        super().__init__()
        self.visit, self.key = visit, key


def ticket(user: User, machine: Machine, session_key: str | None) -> str:
    """Good once, within 30 s, for this user on this machine in this session. Kept as a digest only."""
    word = secrets.token_urlsafe(32)
    cache.set(_KEY + word, _bound(user, machine, session_key), TICKET_S)
    return word


def redeem(word: str, user: User, machine: Machine, session_key: str | None) -> bool:
    """Whether the ticket holds; whatever it was made for, it is spent."""
    found = cache.get(_KEY + word)
    # Of two who come with the same one, the one whose delete finds it has it.
    return cache.delete(_KEY + word) and found is not None and found == _bound(user, machine, session_key)


def _bound(user: User, machine: Machine, session_key: str | None) -> dict[str, Any]:
    return {"user": user.pk, "machine": machine.pk, "session": session_digest(session_key)}


def may_still(visit: Visit) -> bool:
    """Whether the session still stands (not signed out, no other password since) and may use this console."""
    request = HttpRequest()
    request.session = SessionStore(visit.session)
    user = get_user(request)
    if not isinstance(user, User) or user.pk != visit.user:
        return False
    return Machine.objects.visible_to(user, "machine.console").filter(pk=visit.machine, deleting=False).exists()
