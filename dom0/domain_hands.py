"""dom0's verbs for domains."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dom0 import domains, files
from dom0.host import HostConfig


def _define(config: HostConfig, args: Mapping[str, str], stdin: str) -> str:
    return domains.define(config, stdin, autostart=args["autostart"] == "yes")


def _autostart(config: HostConfig, args: Mapping[str, str], stdin: str) -> str:
    return domains.set_autostart(config, args["uuid"], autostart=args["autostart"] == "yes")


def _start(config: HostConfig, args: Mapping[str, str], stdin: str) -> str:
    if "restart" in args:  # noted before: whoever is killed in between finds it off and noted, and starts it once
        files.write_atomic(f"{config.run}/restarts/{args['uuid']}", args["restart"])
    return domains.start(config, args["uuid"])


def _stop(config: HostConfig, args: Mapping[str, str], stdin: str) -> str:
    force = args.get("then", "force") == "force"
    return domains.stop(config, args["uuid"], how=args["how"], grace_s=float(args["grace_s"]), force=force)


def _force_off(config: HostConfig, args: Mapping[str, str], stdin: str) -> str:
    return domains.force_off(config, args["uuid"])


def _pause(config: HostConfig, args: Mapping[str, str], stdin: str) -> str:
    return domains.pause(config, args["uuid"])


def _resume(config: HostConfig, args: Mapping[str, str], stdin: str) -> str:
    return domains.resume(config, args["uuid"])


def _set_memory(config: HostConfig, args: Mapping[str, str], stdin: str) -> str:
    return domains.set_memory(config, args["uuid"], int(args["mib"]))


def _undefine(config: HostConfig, args: Mapping[str, str], stdin: str) -> str:
    return domains.undefine(config, args["uuid"])


VERBS: dict[str, Callable[[HostConfig, Mapping[str, str], str], str]] = {
    "domain-define": _define,
    "domain-autostart": _autostart,
    "domain-start": _start,
    "domain-stop": _stop,
    "domain-force-off": _force_off,
    "domain-pause": _pause,
    "domain-resume": _resume,
    "domain-memory": _set_memory,
    "domain-undefine": _undefine,
}
