"""dom0's network as it is: links, routes, kernel settings, set members, and the zones' dnsmasq."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
from collections.abc import Callable, Collection, Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from dom0 import added, addresses, dnsmasq, files, members, runner, shaping
from dom0.bridge import SHAPING
from dom0.errors import Refused
from dom0.host import HostConfig
from dom0.state import Link, Route

ALL = "*"
STOP_S = 5.0


def links(names: Collection[str]) -> dict[str, Link]:
    """The interfaces of those names that exist, with their IPv4 addresses; "*" stands for all of them."""
    found = json.loads(runner.run(("ip", "-json", "-details", "address", "show")).stdout or "[]")
    return {e["ifname"]: _link(e) for e in found if e and (ALL in names or e["ifname"] in names)}


def _link(entry: dict[str, Any]) -> Link:
    inet = [a for a in entry.get("addr_info", ()) if a.get("family") == "inet"]
    return Link(
        name=entry["ifname"],
        up="UP" in entry.get("flags", ()),
        kind=entry.get("linkinfo", {}).get("info_kind", ""),
        master=entry.get("master", ""),
        mac=entry.get("address", ""),
        addresses=tuple(f"{a['local']}/{a['prefixlen']}" for a in inet),
    )


def routes(texts: Collection[str]) -> dict[str, Route]:
    """The IPv4 routes of the main table with those texts; "*" stands for all of them."""
    entries = json.loads(runner.run(("ip", "-json", "-4", "route", "show")).stdout or "[]")
    found = [_route(entry) for entry in entries if entry]
    return {route.text: route for route in found if ALL in texts or route.text in texts}


def _route(entry: dict[str, Any]) -> Route:
    to = str(ip_network("0.0.0.0/0" if entry["dst"] == "default" else entry["dst"]))
    if (kind := entry.get("type", "unicast")) != "unicast":
        return Route(to=to, way=kind)
    hop = next(iter(entry.get("nexthops", ())), entry)
    via = [f"via {hop['gateway']}"] if "gateway" in hop else []
    return Route(to=to, way=" ".join([*via, f"dev {hop['dev']}"]), device=hop["dev"])


def told(config: HostConfig) -> dict[str, str]:
    """What the watcher reads besides: the zones' leases and the addresses of our own, as texts by path.

    A leases file grows with what guests ask for: its first 200,000 bytes do.
    """
    leases = Path(config.run, "dnsmasq").glob(f"*{dnsmasq.LEASES}")
    found = {}
    for path in (*leases, *Path(config.state, added.FOLDER).glob("[!.]*.json")):
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            found[str(path)] = file.read(200_000).decode(errors="replace")
    return found


def sysctls(keys: Collection[str]) -> dict[str, str]:
    """The kernel settings of those names that this kernel has, e.g. net.ipv4.ip_forward."""
    found = {}
    for key in keys:
        with contextlib.suppress(FileNotFoundError):
            found[key] = Path("/proc/sys", key.replace(".", "/")).read_text().strip()
    return found


def found_members(keys: Collection[str]) -> dict[str, str]:
    """Which of those elements (`dom0.members.Member.key`) the firewall's sets hold.

    A key that ends with "*" stands for every element that begins so.
    """
    present: set[str] = set()
    if any(not key.startswith(members.VIFS) for key in keys):
        present.update(members.found_in_ipset(runner.run(("ipset", "save"), ok_codes=(0, 1)).stdout))
    if any(key.startswith(members.VIFS) for key in keys):
        argv = ("nft", "-j", "list", "set", "bridge", members.TABLE, members.VIFS)
        present.update(members.found_in_nft(runner.run(argv, ok_codes=(0, 1)).stdout))
    begun = tuple(key[:-1] for key in keys if key.endswith(ALL))
    return {key: "present" for key in sorted(present) if key in keys or (begun and key.startswith(begun))}


def services(config: HostConfig, names: Collection[str]) -> dict[str, str]:
    """What of ours runs: of a daemon ("dnsmasq:ZONE") the digest of the configuration it was started with, of a
    bridge's ceilings ("shaping:BRIDGE") what they are."""
    found = shaping.found([name for name in names if name.startswith(SHAPING)])
    for name in names:
        what, _, zone = name.partition(":")
        pid = _pid(_files(config, zone)) if what == "dnsmasq" else None
        if pid is not None:
            found[name] = _mark(pid)
    return found


def _files(config: HostConfig, zone: str) -> dnsmasq.Files:
    if not zone.replace("-", "").isalnum():
        raise Refused(f"{zone!r} is not the name of a zone.")
    return dnsmasq.Files(state=config.state, run=config.run, zone=zone)


def _pid(where: dnsmasq.Files) -> int | None:
    """The running daemon's process id: what its pid file says, if that process was called as we call it.

    The pid file alone is not believed (ids are used again), nor the process list alone: a guest of the lxc
    driver can call a process of its own just the same.
    """
    text = (files.read_text(where.pid) or "").strip()
    if not text.isdigit():
        return None
    try:
        argv = Path("/proc", text, "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except (FileNotFoundError, ProcessLookupError):
        return None
    if not argv:
        _wait_for_end(int(text))
        return None
    same = argv[1 : len(where.argv)] == list(where.argv[1:]) and Path(argv[0]).name == where.argv[0]
    return int(text) if same else None


def _wait_for_end(pid: int) -> None:
    """A process without a command line is ending, but keeps its sockets for some milliseconds yet (measured)."""
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(pid)
        try:
            _ended(handle)
        finally:
            os.close(handle)


def _mark(pid: int) -> str:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for entry in Path("/proc", str(pid), "environ").read_bytes().split(b"\0"):
            name, _, value = entry.decode(errors="replace").partition("=")
            if name == dnsmasq.MARK:
                return value
    return "unknown"


def dnsmasq_stop(config: HostConfig, args: Mapping[str, str], stdin: str) -> str:
    """End a zone's dnsmasq; after 5 s by force. Says so where it does not run."""
    where = _files(config, args["zone"])
    pid = _pid(where)
    if pid is None:
        return f"dnsmasq of {where.zone} does not run."
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return f"dnsmasq of {where.zone} has just ended."
    try:
        if _pid(where) == pid:
            signal.pidfd_send_signal(handle, signal.SIGTERM)
            if not _ended(handle):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                _ended(handle)
    finally:
        os.close(handle)
    files.remove(where.pid)
    return f"dnsmasq of {where.zone} (process {pid}) ended."


def leases_reload(config: HostConfig, args: Mapping[str, str], stdin: str) -> str:
    """Have a zone's dnsmasq read its machines' files again: new ones it takes by itself, removed ones only so."""
    where = _files(config, args["zone"])
    pid = _pid(where)
    if pid is None:
        return f"dnsmasq of {where.zone} does not run; it reads its folders when it starts."
    os.kill(pid, signal.SIGHUP)
    return f"dnsmasq of {where.zone} reads its folders again."


def _ended(handle: int) -> bool:
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(STOP_S * 1000))


VERBS: dict[str, Callable[[HostConfig, Mapping[str, str], str], str]] = {
    "dnsmasq-stop": dnsmasq_stop,
    "leases-reload": leases_reload,
    **shaping.VERBS,
    **addresses.VERBS,
}
