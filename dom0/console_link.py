"""A machine's console by way of libvirt.

Blocking, without libvirt's event loop, on purpose: a client with an event loop takes whatever the daemon sends and
queues it without bound. So nothing is read that nobody asked for, and a machine that floods its console waits itself.
"""

from __future__ import annotations

import contextlib
from typing import Any

import libvirt

from dom0 import console_wire as wire

CHUNK = 16 << 10
NAMESPACE = "https://fridu.org/xmlns/machine/1"
_CODES = {libvirt.VIR_ERR_NO_DOMAIN: wire.GONE, libvirt.VIR_ERR_OPERATION_INVALID: wire.OFF}

libvirt.registerErrorHandler(lambda *_: None, None)  # it would print each error besides raising it


class Closed(Exception):
    """There is no console (any more). `code` is one of dom0.console_wire's."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Link:
    """One open console, with a connection of its own: one that hangs holds up no other.

    One thread may receive while another sends; `close` ends both, from any thread.
    """

    def __init__(self, uri: str, uuid: str) -> None:
        """Raises Closed."""
        try:
            self._connection = libvirt.open(uri)
            self._domain = self._connection.lookupByUUIDString(uuid)
            self._stream = self._connection.newStream(0)
            self._refuse_foreign()
            self._domain.openConsole(None, self._stream, 0)
        except libvirt.libvirtError as error:
            raise Closed(_code(error)) from error

    def receive(self) -> bytes:
        """What the machine prints next; waits for it. Raises Closed when the machine stopped."""
        try:
            data: Any = self._stream.recv(CHUNK)
        except libvirt.libvirtError as error:
            raise Closed(self._why()) from error
        if not data:
            raise Closed(self._why())
        return bytes(data)

    def send(self, keys: bytes) -> None:
        """Waits until libvirt has taken them. Raises Closed."""
        try:
            while keys:
                keys = keys[self._stream.send(keys) :]
        except libvirt.libvirtError as error:
            raise Closed(self._why()) from error

    def close(self) -> None:
        with contextlib.suppress(libvirt.libvirtError):
            self._stream.abort()
        with contextlib.suppress(libvirt.libvirtError):
            self._connection.close()

    def _refuse_foreign(self) -> None:
        """Whoever writes to the queue names a machine by its uuid; what Fridu did not define is none of its affair."""
        try:
            self._domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, NAMESPACE, 0)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN_METADATA:
                raise
            raise Closed(wire.FOREIGN) from error

    def _why(self) -> str:
        try:
            return wire.LIBVIRT if self._domain.isActive() else wire.OFF
        except libvirt.libvirtError as error:
            return _code(error)


def _code(error: Any) -> str:
    if "Active console session" in (error.get_error_message() or ""):
        return wire.BUSY
    return _CODES.get(error.get_error_code(), wire.LIBVIRT)
