"""Reading the host into a frozen state. Looks, never changes; one round takes milliseconds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dom0 import figures, files, golden, kernels, limits, network, openvpn, policy, trial, volumes
from dom0.host import HostConfig
from dom0.state import State

MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What a plan needs to look at; each a tuple of names or paths. Empty means: don't look."""

    volumes: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    found: tuple[str, ...] = ()  # definitions, by domain's name; "*" for all
    goldens: tuple[str, ...] = ()  # image digests
    kernels: tuple[str, ...] = ()  # paths of kernels and initrds
    archives: tuple[str, ...] = ()  # file names in the images folder
    files: tuple[str, ...] = ()  # paths
    links: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()  # texts; "*" for all
    services: tuple[str, ...] = ()  # daemons of ours, e.g. "dnsmasq:zFulup"
    members: tuple[str, ...] = ()  # "SET ELEMENT" as rendered by dom0.members
    rules: tuple[str, ...] = ()  # families of the firewall policy: "v4", "v6", "bridge"
    sysctls: tuple[str, ...] = ()
    trial: tuple[str, ...] = ()  # of "confirmed", "pending", "applied"
    peers: tuple[str, ...] = ()  # of the admin VPN, "NAME ADDRESS"
    limits: tuple[str, ...] = ()  # uuids of machines
    room: bool = False  # free disk and memory


Facts = Mapping[str, Any]
Reader = Callable[[HostConfig, Collection[str]], Facts]


def _each(look: Callable[[HostConfig, str], Any]) -> Reader:
    """A reader that looks at one name after the other and leaves out what is not there."""

    def read(config: HostConfig, names: Collection[str]) -> Facts:
        found = {name: look(config, name) for name in names}
        return {name: fact for name, fact in found.items() if fact is not None}

    return read


def _archive(config: HostConfig, name: str) -> int | None:
    try:
        return (Path(config.images) / name).stat().st_size
    except FileNotFoundError:
        return None


def _domains(config: HostConfig, names: Collection[str]) -> Facts:
    from dom0 import domains  # here, for the panel imports us too and may have no libvirt

    return domains.look(config, names)


def _found(config: HostConfig, names: Collection[str]) -> Facts:
    from dom0 import domains

    return domains.definitions(config, names)


READERS: dict[str, Reader] = {
    "volumes": volumes.look_each,
    "domains": _domains,
    "found": _found,
    "goldens": _each(golden.look),
    "kernels": _each(lambda _, path: kernels.fact(path)),
    "archives": _each(_archive),
    "files": _each(lambda _, path: files.read_text(path)),
    "links": lambda _, names: network.links(names),
    "routes": lambda _, texts: network.routes(texts),
    "services": network.services,
    "members": lambda _, keys: network.found_members(keys),
    "rules": policy.live,
    "sysctls": lambda _, keys: network.sysctls(keys),
    "trial": trial.facts,
    "peers": openvpn.speaking,
    "limits": limits.found,
}


def scope_of(room: str, key: str) -> Scope:
    """The scope that looks at one fact alone."""
    names: dict[str, Any] = {room: (key,)}
    return Scope(**names)


def probe(config: HostConfig, scope: Scope) -> State:
    """Look at what `scope` names; raises CommandFailed, Refused or OSError where the host can't be read."""
    found: dict[str, Any] = {}
    for room, read in READERS.items():
        names = getattr(scope, room)
        if names:
            found[room] = MappingProxyType(dict(read(config, names)))
    if scope.room:
        found |= _room(config)
    return State(host=config.name, **found)


def overview(config: HostConfig) -> State:
    """All domains with what they used, links, routes, leases, free disk and memory, in one round."""
    from dom0 import domains

    found = figures.with_memory(config, domains.look_at_all(config))
    return State(
        host=config.name,
        domains=MappingProxyType(found),
        traffic=MappingProxyType(figures.traffic(config)),
        disks=MappingProxyType(figures.disks(config, found)),
        load=MappingProxyType(figures.load()),
        links=MappingProxyType(network.links((network.ALL,))),
        routes=MappingProxyType(network.routes((network.ALL,))),
        files=MappingProxyType(network.told(config)),
        vpn=MappingProxyType(openvpn.report(config)),
        volumes=MappingProxyType(dict(volumes.snapshots(config))),
        **_room(config),
    )


def _room(config: HostConfig) -> dict[str, Any]:
    """Free disk of each place, and free memory."""
    return {
        "places": MappingProxyType(dict(volumes.groups(config))),
        "free_bytes": volumes.free_bytes(config),
        "free_memory_mib": free_memory_mib(config),
    }


def free_memory_mib(config: HostConfig) -> int:
    """Memory that machines may still take, dom0's reserve left alone.

    Under Xen it is the hypervisor's: dom0 has its share since boot (dom0_mem) and gives nothing of it. Raises
    CommandFailed.
    """
    if config.xen:
        from dom0 import domains

        return domains.free_memory_mib(config)
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return max(0, int(line.split()[1]) // 1024 - config.reserved_memory_mib)
    return 0
