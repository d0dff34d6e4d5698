"""libvirt. The only module that imports it; no call lasts longer than its time, whatever libvirtd does."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import libvirt

from dom0 import files
from dom0.errors import CommandFailed, FriduError, Refused
from dom0.host import HostConfig
from dom0.state import Domain

MIB = 1 << 20
ANSWER_S = 30.0  # for a call that only asks or defines
START_S = 120.0  # includes the hook's check of the filesystem
POLL_S = 0.02
CPU_PERIOD_US = 100_000
UNLIMITED_US = 1 << 40  # libvirt says "none" as the largest number it has
ASK_AGAIN_S = 1.0
SIGNALS = {
    "usr2": libvirt.VIR_DOMAIN_PROCESS_SIGNAL_USR2,  # busybox init: power off
    "rt6": libvirt.VIR_DOMAIN_PROCESS_SIGNAL_RT6,  # systemd: power off (its SIGRTMIN+4)
}
_DEFINITION = re.compile(r'<fridu:definition [^>]*digest=["\']([0-9a-f]+)["\']')
_FROM_HOOK = re.compile(r"Fridu: (.+?)\s*$", re.S)

T = TypeVar("T")
libvirt.registerErrorHandler(lambda *_: None, None)  # it would print each error besides raising it


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

    return _asked(config, "look", ANSWER_S, work)


def look_at_all(config: HostConfig) -> dict[str, Domain]:
    """Every domain by name, without its definition. Raises CommandFailed."""

    def work(link: Any) -> dict[str, Domain]:
        found = {}
        for domain in link.listAllDomains(0):
            running, paused = _state(domain)
            name = domain.name()
            found[name] = Domain(name=name, uuid=domain.UUIDString(), running=running, paused=paused)
        return found

    return _asked(config, "list", ANSWER_S, work)


def free_memory_mib(config: HostConfig) -> int:
    """What the hypervisor has left to give; under Xen no other has. Raises CommandFailed."""
    return _asked(config, "free memory", ANSWER_S, lambda link: int(link.getFreeMemory()) // MIB)


def network_inside(config: HostConfig, uuid: str) -> str:
    """The path of a running lxc machine's network namespace; "" where it has none. Raises CommandFailed, Refused."""

    def work(link: Any) -> str:
        keeper = _by_uuid(link, uuid).ID()  # of the lxc driver: libvirt_lxc, whose only child is the machine's init
        if keeper <= 0:
            return ""
        children = (files.read_text(f"/proc/{keeper}/task/{keeper}/children") or "").split()
        return f"/proc/{children[0]}/ns/net" if children else ""

    return _asked(config, "network", ANSWER_S, work)


def define(config: HostConfig, xml: str, *, autostart: bool) -> str:
    """Make a domain known, or change it. Raises CommandFailed with libvirt's words."""

    def work(link: Any) -> str:
        domain = link.defineXMLFlags(xml, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
        domain.setAutostart(int(autostart))
        return f"{domain.name()} is defined."

    return _asked(config, "define", ANSWER_S, work)


def set_autostart(config: HostConfig, uuid: str, *, autostart: bool) -> str:
    """Whether the machine starts with the host. Raises CommandFailed, Refused."""

    def work(link: Any) -> str:
        domain = _by_uuid(link, uuid)
        domain.setAutostart(int(autostart))
        return f"{domain.name()} {'starts' if autostart else 'does not start'} with the host."

    return _asked(config, "autostart", ANSWER_S, work)


def start(config: HostConfig, uuid: str) -> str:
    """Start a defined domain; one that runs is fine. Raises Refused with the hook's sentence, CommandFailed."""

    def work(link: Any) -> str:
        domain = _by_uuid(link, uuid)
        if domain.isActive():
            return f"{domain.name()} runs already."
        domain.create()
        return f"{domain.name()} is started."

    return _asked(config, "start", START_S, work)


def memory_to_start(config: HostConfig, uuid: str) -> int:
    """MiB the domain takes when it is started; 0 for one that runs. Raises Refused, CommandFailed."""

    def work(link: Any) -> int:
        domain = _by_uuid(link, uuid)
        return 0 if domain.isActive() else int(domain.info()[1]) // 1024

    return _asked(config, "info", ANSWER_S, work)


def stop(config: HostConfig, uuid: str, *, how: str, grace_s: float, force: bool = True) -> str:
    """Ask a domain to power off by `how` ("usr2", "rt6" or "shutdown"); after `grace_s` end it where `force` says so.

    Raises Refused for a domain that is gone, or that still runs and is not to be forced; CommandFailed.
    """

    def work(link: Any) -> str:
        domain = _by_uuid(link, uuid)
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

    return _asked(config, "stop", grace_s + 2 * ANSWER_S, work)


def force_off(config: HostConfig, uuid: str) -> str:
    """End a domain as if its power was cut; one that is off is fine. Raises Refused, CommandFailed."""

    def work(link: Any) -> str:
        domain = _by_uuid(link, uuid)
        if not domain.isActive():
            return f"{domain.name()} is off already."
        _end(domain)
        return f"{domain.name()} was ended by force."

    return _asked(config, "destroy", 2 * ANSWER_S, work)


def pause(config: HostConfig, uuid: str) -> str:
    """Freeze a running domain; its memory stays. Raises Refused, CommandFailed."""

    def work(link: Any) -> str:
        domain = _by_uuid(link, uuid)
        if not _state(domain)[1]:
            domain.suspend()
        return f"{domain.name()} is paused."

    return _asked(config, "suspend", ANSWER_S, work)


def resume(config: HostConfig, uuid: str) -> str:
    """Let a paused domain go on; one that runs is fine. Raises Refused, CommandFailed."""

    def work(link: Any) -> str:
        domain = _by_uuid(link, uuid)
        if _state(domain)[1]:
            domain.resume()
        return f"{domain.name()} goes on."

    return _asked(config, "resume", ANSWER_S, work)


def undefine(config: HostConfig, uuid: str) -> str:
    """Have libvirt forget a domain that is off. Raises CommandFailed, Refused."""

    def work(link: Any) -> str:
        domain = _by_uuid(link, uuid)
        name = domain.name()
        domain.undefine()
        return f"libvirt no longer knows {name}."

    return _asked(config, "undefine", ANSWER_S, work)


@dataclass(frozen=True, kw_only=True)
class Processor:
    """What a running domain may take of it: `weight` in the scheduler's own words, `cap` in percent of one (0: none).

    `id` is libvirt's: on lxc the process id of whatever keeps the machine.
    """

    id: int
    weight: int
    cap: int


def processor(config: HostConfig, uuids: Collection[str]) -> dict[str, Processor]:
    """Of those of the domains that run. Raises CommandFailed."""

    def work(link: Any) -> dict[str, Processor]:
        found = {}
        for uuid in uuids:
            try:
                domain = link.lookupByUUIDString(uuid)
                says = domain.schedulerParametersFlags(libvirt.VIR_DOMAIN_AFFECT_LIVE)
                found[uuid] = _processor(domain.ID(), says)
            except libvirt.libvirtError as error:
                if error.get_error_code() not in (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID):
                    raise
        return found

    return _asked(config, "schedinfo", ANSWER_S, work)


def _processor(number: int, says: Mapping[str, int]) -> Processor:
    """Xen's schedulers say weight and cap; the kernel's shares, and µs in a period."""
    if "weight" in says:
        return Processor(id=number, weight=says["weight"], cap=says.get("cap", 0))
    quota, period = says.get("vcpu_quota", -1), says.get("vcpu_period", CPU_PERIOD_US)
    limited = 0 < quota < UNLIMITED_US
    return Processor(id=number, weight=says["cpu_shares"], cap=round(quota * 100 / period) if limited else 0)


def set_processor(config: HostConfig, uuid: str, *, weight: int, cap: int) -> None:
    """Have a running domain take so much from now on. Raises CommandFailed, Refused."""

    def work(link: Any) -> None:
        domain = _by_uuid(link, uuid)
        if domain.schedulerType()[0].startswith("credit"):
            wanted = {"weight": weight, "cap": cap}
        else:
            quota = cap * CPU_PERIOD_US // 100 if cap else -1
            wanted = {"cpu_shares": weight, "vcpu_period": CPU_PERIOD_US, "vcpu_quota": quota}
        domain.setSchedulerParametersFlags(wanted, libvirt.VIR_DOMAIN_AFFECT_LIVE)

    _asked(config, "schedinfo", ANSWER_S, work)


def _asked(config: HostConfig, what: str, within_s: float, work: Callable[[Any], T]) -> T:
    """Run `work` with a connection in a thread of its own, so that a libvirt that hangs costs time, not the worker."""
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


def _by_uuid(link: Any, uuid: str) -> Any:
    try:
        return link.lookupByUUIDString(uuid)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            raise Refused(f"libvirt knows no domain {uuid} any more.", note="Go on plans again.") from error
        raise


def _described(domain: Any) -> Domain:
    running, paused = _state(domain)
    digest = _DEFINITION.search(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
    return Domain(
        name=domain.name(),
        uuid=domain.UUIDString(),
        running=running,
        paused=paused,
        definition=digest.group(1) if digest else "",
        autostart=bool(domain.autostart()),
    )


def _state(domain: Any) -> tuple[bool, bool]:
    """(running, paused); a paused domain also runs. One that goes meanwhile is off."""
    try:
        state = domain.state()[0]
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
            raise
        return False, False
    off = (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_CRASHED, libvirt.VIR_DOMAIN_NOSTATE)
    paused = state in (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PMSUSPENDED)
    return state not in off, paused


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
    """A domain that has ended by itself just now is as good: it is off already, or its init can't be signalled."""
    try:
        call()
    except libvirt.libvirtError as error:
        if error.get_error_code() not in (libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_ERR_SYSTEM_ERROR):
            raise


def _off(domain: Any, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while domain.isActive():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def _define(config: HostConfig, args: Mapping[str, str], stdin: str) -> str:
    return define(config, stdin, autostart=args["autostart"] == "yes")


def _autostart(config: HostConfig, args: Mapping[str, str], stdin: str) -> str:
    return set_autostart(config, args["uuid"], autostart=args["autostart"] == "yes")


def _start(config: HostConfig, args: Mapping[str, str], stdin: str) -> str:
    if "restart" in args:  # noted before: whoever is killed in between finds it off and noted, and starts it once
        files.write_atomic(f"{config.run}/restarts/{args['uuid']}", args["restart"])
    return start(config, args["uuid"])


def _stop(config: HostConfig, args: Mapping[str, str], stdin: str) -> str:
    force = args.get("then", "force") == "force"
    return stop(config, args["uuid"], how=args["how"], grace_s=float(args["grace_s"]), force=force)


def _force_off(config: HostConfig, args: Mapping[str, str], stdin: str) -> str:
    return force_off(config, args["uuid"])


def _pause(config: HostConfig, args: Mapping[str, str], stdin: str) -> str:
    return pause(config, args["uuid"])


def _resume(config: HostConfig, args: Mapping[str, str], stdin: str) -> str:
    return resume(config, args["uuid"])


def _undefine(config: HostConfig, args: Mapping[str, str], stdin: str) -> str:
    return undefine(config, args["uuid"])


VERBS: dict[str, Callable[[HostConfig, Mapping[str, str], str], str]] = {
    "domain-define": _define,
    "domain-autostart": _autostart,
    "domain-start": _start,
    "domain-stop": _stop,
    "domain-force-off": _force_off,
    "domain-pause": _pause,
    "domain-resume": _resume,
    "domain-undefine": _undefine,
}
