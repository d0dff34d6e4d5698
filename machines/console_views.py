"""A machine's console: its page, the ticket for it, and the line that a browser opens with the ticket."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from urllib.parse import urlsplit

from csp.constants import NONCE
from csp.decorators import csp_update
from django.conf import settings
from django.contrib.staticfiles import finders
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse, JsonResponse

from accounts.doors import UserRequest, actor_of, page
from audit.log import record
from dom0 import console_wire as wire
from machines.console import Upgraded, Visit, redeem, ticket
from machines.models import Machine
from machines.scenes import scenes
from machines.services import thing_of
from machines.views import machine_for
from ui.htmx import answer

PROTOCOL = "fridu.console"
TERMINAL = "assets/xterm/xterm.js"
_RUN = re.compile(r"[0-9a-f]{16}\Z")
_AFTER = re.compile(r"[0-9]{1,16}-[0-9]{1,9}\Z")


@page("machine.console")
@csp_update({"style-src": [NONCE]})  # type: ignore[arg-type]  # the terminal writes a style sheet of its own
def console(request: UserRequest, pk: int) -> HttpResponse:
    """The terminal; without script, how else to get in."""
    machine = machine_for(request, pk, "machine.console")
    (scene,) = scenes(request.user, [machine])
    context = {"machine": machine, "scene": scene, "lacks": _lacks(), "on": _on(machine)}
    return answer(request, "machines/console.html", {}, context)


@page("machine.console", methods=("POST",))
def console_ticket(request: UserRequest, pk: int) -> HttpResponse:
    """A ticket, or in words why there is none."""
    machine = machine_for(request, pk, "machine.console")
    if not _on(machine):
        return JsonResponse({"say": f"{machine.name} does not run, so it has no console. Start it first."}, status=409)
    response = JsonResponse({"ticket": ticket(request.user, machine, request.session.session_key)})
    response["Cache-Control"] = "no-store, private"
    return response


@page("machine.console")
def console_line(request: UserRequest, pk: int) -> HttpResponse:
    """The websocket. The ticket comes as a subprotocol, for addresses end up in logs."""
    machine = machine_for(request, pk, "machine.console")
    key = request.headers.get("Sec-WebSocket-Key", "")
    if request.headers.get("Upgrade", "").lower() != "websocket" or not _is_key(key):
        response = HttpResponse("The console speaks websocket alone; open its page.", status=426)
        response["Upgrade"] = "websocket"
        return response
    offered = [word.strip() for word in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
    if not _same_origin(request):
        raise PermissionDenied("This page is not the panel's, so its console stays closed.")
    if offered[:1] != [PROTOCOL] or len(offered) != 2 or not _redeemed(request, machine, offered[1]):
        raise PermissionDenied("This ticket is used, too old or another's. Open the console's page again.")
    record(actor_of(request), "machine.console", thing_of(machine))
    return Upgraded(_visit(request, machine), key)


def _visit(request: UserRequest, machine: Machine) -> Visit:
    run, after, was = (request.GET.get(name, "") for name in ("run", "after", "was"))
    known = bool(_RUN.match(run) and _AFTER.match(after))
    return Visit(
        viewer=secrets.token_hex(8),
        user=request.user.pk,
        name=request.user.get_username(),
        machine=machine.pk,
        uuid=str(machine.uuid),
        host=machine.host.name,
        session=request.session.session_key or "",
        was=was if known and _RUN.match(was) else "",
        run=run if known else "",
        after=after if known else "",
    )


def _redeemed(request: UserRequest, machine: Machine, word: str) -> bool:
    return redeem(word, request.user, machine, request.session.session_key)


def _same_origin(request: UserRequest) -> bool:
    """Browsers let any page open a websocket and send our cookie along; the origin they add can't be forged there."""
    origin = request.headers.get("Origin", "")
    if not urlsplit(origin).netloc:
        return False
    return origin == f"{request.scheme}://{request.get_host()}" or origin in settings.CSRF_TRUSTED_ORIGINS


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


def _on(machine: Machine) -> bool:
    return machine.observed in (Machine.Observed.RUNNING, Machine.Observed.PAUSED)


def _lacks() -> str:
    """What keeps this panel from showing a console, "" for nothing."""
    try:
        wire.redis_url(settings.CELERY_BROKER_URL)
    except ValueError:
        return "This panel has no Redis (FRIDU_BROKER_URL), by which it would reach the host's consoles."
    if finders.find(TERMINAL) is None:
        return "The terminal's script is not installed beside the panel; deploy/assets.py installs it."
    return ""
