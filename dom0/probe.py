"""Reading the host into a frozen state. Looks, never changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dom0.host import HostConfig
from dom0.state import State


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What a plan needs to look at; each a tuple of names or paths. Empty means: don't look."""

    volumes: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    goldens: tuple[str, ...] = ()  # image digests
    archives: tuple[str, ...] = ()  # file names in the images folder
    files: tuple[str, ...] = ()  # paths
    links: tuple[str, ...] = ()
    services: tuple[str, ...] = ()  # daemons of ours, e.g. "dnsmasq:zFulup"
    members: tuple[str, ...] = ()  # "SET ELEMENT" as rendered by dom0.members
    rules: tuple[str, ...] = ()  # families of the firewall policy: "v4", "v6", "bridge"
    sysctls: tuple[str, ...] = ()
    room: bool = False  # free disk and memory


def scope_of(room: str, key: str) -> Scope:
    """The scope that looks at one fact alone."""
    names: dict[str, Any] = {room: (key,)}
    return Scope(**names)


def probe(config: HostConfig, scope: Scope) -> State:
    """Look at what `scope` names; raises CommandFailed or OSError where the host can't be read."""
    return State(host=config.name)


def overview(config: HostConfig) -> State:
    """All domains, free disk and memory, in one round."""
    return State(host=config.name)
