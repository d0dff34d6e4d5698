"""Writes into the audit log what was refused to somebody who is signed in."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from django.core.cache import cache
from django.http import HttpRequest, HttpResponseBase

from accounts.doors import actor_of
from audit import log
from audit.log import Thing, session_digest

REFUSALS = (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)
# A page left open asks for a machine that was deleted every two seconds: one entry is enough.
QUIET_S = 600


class RefusalLog:
    """Last of the middleware: sees every answer, after whatever transaction the view had."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if response.status_code in REFUSALS and request.user.is_authenticated:
            _record(request, response.status_code)
        return response


def _record(request: HttpRequest, status: int) -> None:
    match = request.resolver_match
    if match is None:
        return  # an address that leads nowhere, for anybody
    action = getattr(match.func, "access", "admin.view" if "admin" in match.app_names else "")
    if not action:
        return
    actor = actor_of(request)
    same = f"{actor.id} {actor.session} {action} {request.method} {request.path}"
    if not cache.add("refused:" + session_digest(same), 1, QUIET_S):
        return
    thing = Thing(kind=action.partition(".")[0], id=str(match.kwargs.get("pk", "")), text=request.path)
    data = {"message": f"was answered {int(status)}", "method": request.method, "path": request.path}
    log.record(actor, action, thing, outcome="refused", data=data)
