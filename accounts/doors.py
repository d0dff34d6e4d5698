"""How a view declares its access, and how its user is named in the log."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, cast

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponseBase, HttpResponseNotAllowed
from django.urls import reverse

from accounts.access import OUTSIDE, RULES, may, may_somewhere
from accounts.client import client_address
from accounts.models import User
from audit.log import Actor, session_digest
from ui.htmx import go_to, page_of


class UserRequest(HttpRequest):
    """A request whose user is known."""

    user: User


P = ParamSpec("P")
View = Callable[Concatenate[UserRequest, P], HttpResponseBase]
Door = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


def page(action: str, *, methods: tuple[str, ...] = ("GET",)) -> Callable[[View[P]], Door[P]]:
    """Declare a view's access: the action of the policy table it is, and its methods.

    Who is not signed in goes to the sign-in page; who can nowhere do `action` gets the 404 page. The view
    itself fetches its object through `visible_to`, so that another's object is a 404 too.
    """
    if action not in RULES:
        raise KeyError(action)

    def declare(view: View[P]) -> Door[P]:
        @wraps(view)
        def door(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            if not request.user.is_authenticated:
                return _to_sign_in(request)
            user = request.user
            if user.password_is_once:
                return go_to(request, reverse("account_change_password"))
            # Nobody types a NUL, and PostgreSQL takes none.
            if not may_somewhere(user, action) or "%00" in request.META.get("QUERY_STRING", ""):
                raise Http404
            if request.method not in (*methods, *(("HEAD",) if "GET" in methods else ())):
                return HttpResponseNotAllowed(methods)
            return view(cast(UserRequest, request), *args, **kwargs)

        door.access = action  # type: ignore[attr-defined]
        door.methods = methods  # type: ignore[attr-defined]
        return cast(Door[P], door)

    return declare


def outside(name: str) -> Callable[[Callable[Concatenate[HttpRequest, P], HttpResponseBase]], Door[P]]:
    """Declare a view that lies outside the policy table, by its route's name there (accounts.access.OUTSIDE)."""
    methods = OUTSIDE[name].methods

    def declare(view: Callable[Concatenate[HttpRequest, P], HttpResponseBase]) -> Door[P]:
        @wraps(view)
        def door(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            if request.method not in (*methods, *(("HEAD",) if "GET" in methods else ())):
                return HttpResponseNotAllowed(methods)
            if OUTSIDE[name].signed_in and not request.user.is_authenticated:
                return _to_sign_in(request)
            return view(request, *args, **kwargs)

        door.outside = name  # type: ignore[attr-defined]
        door.methods = methods  # type: ignore[attr-defined]
        return cast(Door[P], door)

    return declare


def _to_sign_in(request: HttpRequest) -> HttpResponseBase:
    """Sign in, and come back to the page; a fragment leads the whole page there."""
    return go_to(request, redirect_to_login(page_of(request))["Location"])


def actor_of(request: HttpRequest) -> Actor:
    """The signed-in user as the audit log names him."""
    user = cast(User, request.user)
    return Actor(
        id=user.pk,
        name=user.get_username(),
        session=session_digest(request.session.session_key),
        address=client_address(request),
    )


def check(actor: Actor, action: str, *, verbs: Callable[[User], frozenset[str]] | None = None) -> User:
    """Ask the policy table in a service, for doors that ask nobody; returns the acting user.

    `verbs` gives those the user holds on the object concerned. Raises PermissionDenied.
    """
    user = User.objects.filter(pk=actor.id or 0).first()
    if user is None or not may(user, action, verbs=verbs(user) if verbs else frozenset()):
        raise PermissionDenied(f"{actor.name} may not {RULES[action].says}.")
    return user
