"""What libvirt knows of domains, and what can be done with them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

import libvirt

from dom0 import domain_memory, files
from dom0.errors import Refused
from dom0.found import Found, looked_at
from dom0.host import HostConfig
from dom0.libvirtd import asked, by_uuid
from dom0.state import Domain

MIB = 1 << 20
ANSWER_S = 30.0  # for a call that only asks or defines
START_S = 120.0  # includes the hook's check of the filesystem
POLL_S = 0.02
ASK_AGAIN_S = 1.0
GOING = (libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_ERR_INTERNAL_ERROR)
SIGNALS = {
    "usr2": libvirt.VIR_DOMAIN_PROCESS_SIGNAL_USR2,  # busybox init: power off
    "rt6": libvirt.VIR_DOMAIN_PROCESS_SIGNAL_RT6,  # systemd: power off (its SIGRTMIN+4)
}
OFF = (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_CRASHED, libvirt.VIR_DOMAIN_NOSTATE)
CRASHED = [libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED]  # on lxc every end looks like a shutdown
PAUSED = (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PMSUSPENDED)
_DEFINITION = re.compile(r'<fridu:definition [^>]*digest=["\']([0-9a-f]+)["\']')


def look(config: HostConfig, names: Collection[str]) -> dict[str, Domain]:
    """Those of the named domains that libvirt knows. Raises CommandFailed."""

    def work(link: Any) -> dict[str, Domain]:
        found = {}
        for name in names:
            try:
                found[name] = _described(link.lookupByName(name))
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                    raise
        return found

    return asked(config, "look", ANSWER_S, work)


def look_at_all(config: HostConfig) -> dict[str, Domain]:
    """Every domain by name, without its definition, with what it has used. Raises CommandFailed.

    One question to libvirt a domain, where a second one would double what a round costs.
    """

    def work(link: Any) -> dict[str, Domain]:
        found = {}
        for domain in link.listAllDomains(0):
            name = domain.name()
            found[name] = _counted(domain, Domain(name=name, uuid=domain.UUIDString()))
        return found

    return asked(config, "list", ANSWER_S, work)


def free_memory_mib(config: HostConfig) -> int:
    """What the hypervisor has left to give; under Xen no other has. Raises CommandFailed."""
    return asked(config, "free memory", ANSWER_S, lambda link: int(link.getFreeMemory()) // MIB)


def definitions(config: HostConfig, names: Collection[str]) -> dict[str, Found]:
    """What libvirt keeps of those domains, by name; "*" stands for all. Raises CommandFailed."""

    def work(link: Any) -> dict[str, Found]:
        seen = {}
        for domain in link.listAllDomains(0):
            if "*" in names or domain.name() in names:
                try:
                    seen[domain.name()] = _defined(domain)
                except libvirt.libvirtError as error:
                    if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                        raise
        return seen

    return asked(config, "definitions", ANSWER_S, work)


def _defined(domain: Any) -> Found:
    running, _ = _state(domain)
    return looked_at(
        domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE),
        live_mib=domain_memory.now(domain)[0] if running else 0,
        running=running,
        autostart=bool(domain.isPersistent() and domain.autostart()),
    )


def network_inside(config: HostConfig, uuid: str) -> str:
    """The path of a running lxc machine's network namespace; "" where it has none. Raises CommandFailed, Refused."""

    def work(link: Any) -> str:
        keeper = by_uuid(link, uuid).ID()  # of the lxc driver: libvirt_lxc, whose only child is the machine's init
        if keeper <= 0:
            return ""
        children = (files.read_text(f"/proc/{keeper}/task/{keeper}/children") or "").split()
        return f"/proc/{children[0]}/ns/net" if children else ""

    return asked(config, "network", ANSWER_S, work)


def define(config: HostConfig, xml: str, *, autostart: bool) -> str:
    """Make a domain known, or change it. Raises CommandFailed with libvirt's words."""

    def work(link: Any) -> str:
        domain = link.defineXMLFlags(xml, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
        domain.setAutostart(int(autostart))
        return f"{domain.name()} is defined."

    return asked(config, "define", ANSWER_S, work)


def set_autostart(config: HostConfig, uuid: str, *, autostart: bool) -> str:
    """Whether the machine starts with the host. Raises CommandFailed, Refused."""

    def work(link: Any) -> str:
        domain = by_uuid(link, uuid)
        domain.setAutostart(int(autostart))
        return f"{domain.name()} {'starts' if autostart else 'does not start'} with the host."

    return asked(config, "autostart", ANSWER_S, work)


def start(config: HostConfig, uuid: str) -> str:
    """Start a defined domain; one that runs is fine. Raises Refused with the hook's sentence, CommandFailed."""

    def work(link: Any) -> str:
        domain = by_uuid(link, uuid)
        if domain.isActive():
            if _state(domain)[0]:
                return f"{domain.name()} runs already."
            _end(domain)  # what was left of one that crashed, to look at
        domain.create()
        return f"{domain.name()} is started."

    return asked(config, "start", START_S, work)


def memory_to_start(config: HostConfig, uuid: str) -> int:
    """MiB the domain takes when it is started; 0 for one that runs. Raises Refused, CommandFailed."""

    def work(link: Any) -> int:
        domain = by_uuid(link, uuid)
        return 0 if domain.isActive() else int(domain.info()[1]) // 1024

    return asked(config, "info", ANSWER_S, work)


def stop(config: HostConfig, uuid: str, *, how: str, grace_s: float, force: bool = True) -> str:
    """Ask a domain to power off by `how` ("usr2", "rt6" or "shutdown"); after `grace_s` end it where `force` says so.

    Raises Refused for a domain that is gone, or that still runs and is not to be forced; CommandFailed.
    """

    def work(link: Any) -> str:
        domain = by_uuid(link, uuid)
        began = time.monotonic()
        if not domain.isActive():
            return f"{domain.name()} is off already."
        if _powers_off(domain, how, grace_s):
            return f"{domain.name()} powered off by itself in {time.monotonic() - began:.1f} s."
        if not force:
            raise Refused(
                f"{domain.name()} did not power off within {grace_s:g} s. It still runs.",
                note="Go on asks it once more. Forced off it ends at once; what it has not written yet is lost.",
            )
        _end(domain)
        return f"{domain.name()} did not power off in {grace_s:g} s and was ended by force."

    return asked(config, "stop", grace_s + 2 * ANSWER_S, work)


def force_off(config: HostConfig, uuid: str) -> str:
    """End a domain as if its power was cut; one that is off is fine. Raises Refused, CommandFailed."""

    def work(link: Any) -> str:
        domain = by_uuid(link, uuid)
        if not domain.isActive():
            return f"{domain.name()} is off already."
        _end(domain)
        return f"{domain.name()} was ended by force."

    return asked(config, "destroy", 2 * ANSWER_S, work)


def pause(config: HostConfig, uuid: str) -> str:
    """Freeze a running domain; its memory stays. Raises Refused, CommandFailed."""

    def work(link: Any) -> str:
        domain = by_uuid(link, uuid)
        if not _state(domain)[1]:
            domain.suspend()
        return f"{domain.name()} is paused."

    return asked(config, "suspend", ANSWER_S, work)


def resume(config: HostConfig, uuid: str) -> str:
    """Let a paused domain go on; one that runs is fine. Raises Refused, CommandFailed."""

    def work(link: Any) -> str:
        domain = by_uuid(link, uuid)
        if _state(domain)[1]:
            domain.resume()
        return f"{domain.name()} goes on."

    return asked(config, "resume", ANSWER_S, work)


def set_memory(config: HostConfig, uuid: str, mib: int) -> str:
    """Have a running domain have so much memory from now on. Raises Refused where it does not let go, CommandFailed."""

    def work(link: Any) -> str:
        domain = by_uuid(link, uuid)
        try:
            return domain_memory.give(domain, mib)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_SYSTEM_ERROR:
                raise
            name, says = domain.name(), error.get_error_message()
            raise Refused(
                f"{name} uses more than {mib} MB of memory right now ({says}).",
                note=f"It has {mib} MB from its next start. Restart it, or end what uses so much, then go on.",
            ) from error

    return asked(config, "memory", ANSWER_S, work)


def undefine(config: HostConfig, uuid: str) -> str:
    """Have libvirt forget a domain that is off. Raises CommandFailed, Refused."""

    def work(link: Any) -> str:
        domain = by_uuid(link, uuid)
        name = domain.name()
        if domain.isActive() and not _state(domain)[0]:
            _end(domain)  # what was left of one that crashed
        domain.undefine()
        return f"libvirt no longer knows {name}."

    return asked(config, "undefine", ANSWER_S, work)


def running(config: HostConfig, uuids: Collection[str]) -> dict[str, int]:
    """libvirt's number of those of the domains that run; on lxc the process id of what keeps the machine.

    Raises CommandFailed.
    """

    def work(link: Any) -> dict[str, int]:
        found = {}
        for uuid in uuids:
            try:
                number = link.lookupByUUIDString(uuid).ID()
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                    raise
                continue
            if number > 0:
                found[uuid] = number
        return found

    return asked(config, "running", ANSWER_S, work)


def credit(config: HostConfig, uuid: str) -> tuple[int, int]:
    """Weight and cap (percent of one processor) in Xen's scheduler. Raises CommandFailed, Refused.

    Never for lxc: libvirtd 9.0 dies of this question about a machine that just restarts (measured).
    """

    def work(link: Any) -> tuple[int, int]:
        says = by_uuid(link, uuid).schedulerParameters()
        return says["weight"], says.get("cap", 0)

    return asked(config, "schedinfo", ANSWER_S, work)


def set_credit(config: HostConfig, uuid: str, *, weight: int, cap: int) -> None:
    """Set both for a running domain of Xen. Raises CommandFailed, Refused."""

    def work(link: Any) -> None:
        by_uuid(link, uuid).setSchedulerParameters({"weight": weight, "cap": cap})

    asked(config, "schedinfo", ANSWER_S, work)


def _described(domain: Any) -> Domain:
    running, paused = _state(domain)
    digest = _DEFINITION.search(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
    memory, ceiling = _memory(domain) if running else (0, 0)
    return Domain(
        name=domain.name(),
        uuid=domain.UUIDString(),
        running=running,
        paused=paused,
        definition=digest.group(1) if digest else "",
        autostart=bool(domain.autostart()),
        memory_mib=memory,
        ceiling_mib=ceiling,
    )


def _memory(domain: Any) -> tuple[int, int]:
    """What it has and may be given; nothing is known of one that ends meanwhile, or that its driver can't tell."""
    try:
        return domain_memory.now(domain)
    except libvirt.libvirtError:
        return 0, 0


def _counted(domain: Any, known: Domain) -> Domain:
    """How it stands, with what it used; one that goes meanwhile is off."""
    try:
        if (number := domain.ID()) < 0:
            return replace(known, crashed=domain.state() == CRASHED)
        state, _, memory_kib, _, cpu_ns = domain.info()
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
            raise
        return known
    if state in OFF:
        return replace(known, crashed=state == libvirt.VIR_DOMAIN_CRASHED)
    paused = state in PAUSED
    return replace(known, running=True, paused=paused, number=number, cpu_ns=cpu_ns, memory_kib=memory_kib)


def _state(domain: Any) -> tuple[bool, bool]:
    """(running, paused); a paused domain also runs. One that goes meanwhile is off."""
    try:
        state = domain.state()[0]
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
            raise
        return False, False
    return state not in OFF, state in PAUSED


def _end(domain: Any) -> None:
    if domain.isActive():
        _ended(domain.destroy)
    if not _off(domain, ANSWER_S):
        raise Refused(f"{domain.name()} does not end.", note="See libvirtd's log on the host.")


def _powers_off(domain: Any, how: str, grace_s: float) -> bool:
    """Asked every second: an init that has just been started doesn't hear its first signal."""
    deadline = time.monotonic() + grace_s
    while time.monotonic() < deadline:
        _ask_to_end(domain, how)
        if _off(domain, min(ASK_AGAIN_S, max(0.0, deadline - time.monotonic()))):
            return True
    return False


def _ask_to_end(domain: Any, how: str) -> None:
    if how == "shutdown":
        _ended(domain.shutdown)
    else:
        _ended(lambda: domain.sendProcessSignal(1, SIGNALS[how]))


def _ended(call: Callable[[], object]) -> None:
    """A domain that has ended by itself just now is as good: it is off already, or its init can't be signalled.

    libxl has an internal error for one that is ending or starts just now; it is asked again.
    """
    try:
        call()
    except libvirt.libvirtError as error:
        if error.get_error_code() not in GOING:
            raise


def _off(domain: Any, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while domain.isActive():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True
