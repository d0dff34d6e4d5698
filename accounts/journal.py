"""Sign-in, sign-out and passwords in the audit log: receivers of the signals of Django and allauth."""

from __future__ import annotations

from typing import Any

from allauth.account.signals import password_changed
from django.contrib import messages
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.core.cache import cache
from django.http import HttpRequest

from accounts.client import client_address
from accounts.models import User
from accounts.services import thing_of_user
from audit import log
from audit.log import Actor, Thing, session_digest

# One entry of that kind in so many seconds, or a script that keeps trying would fill the log.
QUIET_S = 300


def connect() -> None:
    """Called once, when the app is ready."""
    user_logged_in.connect(_signed_in, dispatch_uid="accounts.signed_in")
    user_logged_out.connect(_signed_out, dispatch_uid="accounts.signed_out")
    user_login_failed.connect(_failed, dispatch_uid="accounts.failed")
    password_changed.connect(_password_changed, dispatch_uid="accounts.password_changed")


def actor_from(request: HttpRequest | None, user: User | None) -> Actor:
    """Who is at the other end, known or not."""
    session = getattr(request, "session", None)
    return Actor(
        id=user.pk if user else None,
        name=user.get_username() if user else "unknown",
        session=session_digest(session.session_key) if session is not None else "",
        address=client_address(request) if request is not None else "",
    )


def slowed_down(request: HttpRequest, name: str) -> None:
    """The rate limit answered instead of the password check."""
    actor = actor_from(request, None)
    if cache.add("slowed:" + session_digest(f"{actor.address} {name}"), 1, QUIET_S):
        thing = Thing(kind="user", id="", text=name)
        data = {"message": "too many wrong passwords; further tries are not listed for five minutes"}
        log.record(actor, "account.login", thing, outcome="refused", data=data)


def _signed_in(request: HttpRequest, user: User, **_: Any) -> None:
    log.record(actor_from(request, user), "account.login", thing_of_user(user))


def _signed_out(request: HttpRequest, user: User | None, **_: Any) -> None:
    if user is not None:
        log.record(actor_from(request, user), "account.logout", thing_of_user(user))


def _failed(credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    known = getattr(request, "user", None)
    user = known if isinstance(known, User) else None
    action = "account.reauthenticate" if user else "account.login"
    thing = Thing(kind="user", id="", text=str(credentials.get("username", "")))
    log.record(actor_from(request, user), action, thing, outcome="refused", data={"message": "wrong password"})


def _password_changed(request: HttpRequest, user: User, **_: Any) -> None:
    User.objects.filter(pk=user.pk).update(password_is_once=False)
    user.password_is_once = False
    log.record(actor_from(request, user), "account.password", thing_of_user(user))
    messages.success(request, "Your password is changed. Other places where you were signed in are signed out.")
