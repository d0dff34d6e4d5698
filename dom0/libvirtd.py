"""A connection to libvirt for one question: no call lasts longer than its time, whatever libvirtd does."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import libvirt

from dom0.errors import CommandFailed, FriduError, Refused
from dom0.host import HostConfig

_FROM_HOOK = re.compile(r"Fridu: (.+?)\s*$", re.S)

T = TypeVar("T")
libvirt.registerErrorHandler(lambda *_: None, None)  # it would print each error besides raising it


def asked(config: HostConfig, what: str, within_s: float, work: Callable[[Any], T]) -> T:
    """Run `work` with a connection in a thread of its own, so that a libvirt that hangs costs time, not the worker.

    Raises Refused with the hook's sentence, CommandFailed with libvirt's.
    """
    box: list[T] = []
    failed: list[Any] = []

    def run() -> None:
        try:
            link = libvirt.open(config.libvirt)
            try:
                box.append(work(link))
            finally:
                link.close()
        except (libvirt.libvirtError, FriduError) as error:
            failed.append(error)

    thread = threading.Thread(target=run, name=f"libvirt-{what}", daemon=True)
    thread.start()
    thread.join(within_s)
    argv = ("libvirt", what, config.libvirt)
    if thread.is_alive():
        raise CommandFailed(argv, None, "", f"libvirt gave no answer within {within_s:g} s")
    if failed:
        raise _translated(argv, failed[0])
    return box[0]


def _translated(argv: tuple[str, ...], error: Any) -> FriduError:
    if isinstance(error, FriduError):
        return error
    message = error.get_error_message() or str(error)
    hook = _FROM_HOOK.search(message)
    if hook:
        return Refused(hook.group(1), note="The machine was not started. Mend that, then start it again.")
    return CommandFailed(argv, error.get_error_code(), "", message)


def by_uuid(link: Any, uuid: str) -> Any:
    """The domain of that uuid. Raises Refused where there is none, libvirtError."""
    try:
        return link.lookupByUUIDString(uuid)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            raise Refused(f"libvirt knows no domain {uuid} any more.", note="Go on plans again.") from error
        raise
