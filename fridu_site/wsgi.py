"""The panel as a WSGI application.

A console's websocket is asked for like a page, with every check of one. Its answer then takes the connection out of the
server's hands (docs/adr/0009-console.md), so that it holds none of the threads that serve pages.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from typing import Any

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fridu_site.settings")
pages = get_wsgi_application()

from machines.console import Upgraded  # noqa: E402 - needs Django
from machines.console_views import PROTOCOL  # noqa: E402

_ACCEPTED = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n"
)


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Answer a request. Raises StopIteration, gunicorn's sign that the connection is no longer its own."""
    response = pages(environ, start_response)
    if not isinstance(response, Upgraded):
        return response
    response.close()
    server = environ.get("gunicorn.socket")
    if server is None:
        start_response("501 Not Implemented", [("Content-Type", "text/plain")])
        return [b"Consoles need the panel behind gunicorn."]
    from websockets.utils import accept_key  # only here: every test and command would load them otherwise

    from machines.console_hub import hub

    taken = _taken(server)
    text = _ACCEPTED.format(accept=accept_key(response.key), protocol=PROTOCOL)
    try:
        taken.sendall(text.encode())
    except OSError:
        taken.close()
    else:
        hub.take(taken, response.visit)
    raise StopIteration


def _taken(server: socket.socket) -> socket.socket:
    """The connection for us; the server goes on with a dead one in its place.

    It shuts down and closes what it accepted, and a shutdown would reach any duplicate. Detaching instead makes it
    count its connections wrongly.
    """
    ours = server.dup()
    dead, other = socket.socketpair()
    os.dup2(dead.fileno(), server.fileno(), inheritable=False)
    dead.close()
    other.close()
    return ours
