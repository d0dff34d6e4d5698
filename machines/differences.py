"""In what a machine on the host differs from its wish. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from dom0 import found as reading
from dom0 import members
from dom0.found import Found
from dom0.state import State, Volume
from machines import definition, limits_stages, stages
from machines.specs import MIB, MachineSpec, VolumeSpec


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One thing: what it is called, what is wished and found in words, and the wish that would make it so."""

    what: str
    wished: str
    found: str
    adopt: dict[str, Any] = field(default_factory=dict)


def differences(spec: MachineSpec, state: State) -> tuple[Difference, ...]:
    """All of them. `state` holds the domain as found, its files, its membership and its volumes."""
    there = state.found.get(spec.name)
    if there is None or there.uuid != spec.uuid:
        return ()  # missing: that is said elsewhere
    defined = tuple(_definition(spec, there)) if not spec.foreign else ()
    volumes = tuple(_volumes(spec, state)) if not spec.foreign else ()
    return (*defined, *_network(spec, state), *_limits(spec, state), *volumes)


def as_json(found: tuple[Difference, ...]) -> dict[str, Any]:
    """As a machine's row keeps it; {} where nothing differs."""
    if not found:
        return {}
    items = [asdict(one) for one in found]
    text = "\0".join(f"{one.what}\0{one.wished}\0{one.found}" for one in found)
    return {"digest": hashlib.sha256(text.encode()).hexdigest(), "items": items}


def wished(spec: MachineSpec) -> Found:
    """The definition as it should be, read as the host's is."""
    return reading.read(definition.domain_xml(spec))


def same_definition(spec: MachineSpec, there: Found) -> bool:
    """Whether what libvirt keeps says what is wished."""
    return not any(one.what != "memory now" for one in _definition(spec, there))


def _definition(spec: MachineSpec, there: Found) -> Iterator[Difference]:
    wish = wished(spec)
    if there.memory_mib != wish.memory_mib:
        yield _sized("memory", wish.memory_mib, there.memory_mib, "memory_mib")
    elif there.live_mib and there.live_mib != wish.memory_mib:
        yield _sized("memory now", wish.memory_mib, there.live_mib, "memory_mib")
    if there.vcpus != wish.vcpus:
        adopt = {"vcpus": there.vcpus} if 1 <= there.vcpus <= 64 else {}
        yield Difference(what="vCPUs", wished=str(wish.vcpus), found=str(there.vcpus), adopt=adopt)
    if there.cards != wish.cards:
        yield Difference(what="network interface", wished=_cards(wish), found=_cards(there))
    if set(there.volumes) != set(wish.volumes):
        yield Difference(what="disks", wished=_list(wish.volumes), found=_list(there.volumes))
    if there.kind != wish.kind:
        yield Difference(what="hypervisor", wished=wish.kind, found=there.kind)
    if wish.on_crash != there.on_crash:
        yield Difference(what="after a crash", wished=wish.on_crash, found=there.on_crash or "nothing said")
    if there.autostart:
        yield Difference(what="libvirt’s own autostart", wished="off: the host starts it in order", found="on")


def _sized(what: str, wish: int, there: int, column: str) -> Difference:
    return Difference(what=what, wished=f"{wish} MB", found=f"{there} MB", adopt={column: there} if there >= 16 else {})


def _cards(one: Found) -> str:
    return _list(tuple(f"{card.mac} in {card.bridge or 'no bridge'} as {card.vif or 'any'}" for card in one.cards))


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "none"


def _network(spec: MachineSpec, state: State) -> Iterator[Difference]:
    missing = [m for m in spec.members if m.key not in state.members]
    if missing:
        known = f"{spec.vif} has {spec.mac} and {spec.address}"
        yield Difference(what="membership", wished=known, found="the firewall does not know it")
    _, boot = members.boot_files(spec.members)
    ethers, hosts = stages.dhcp(spec)
    wanted = {
        "lease file": (ethers.path, ethers.content),
        "DNS file": (hosts.path, hosts.content),
        "boot file of its membership": (spec.members_file, boot),
    }
    for what, (path, content) in wanted.items():
        if state.files.get(path) != content:
            gone = path not in state.files
            yield Difference(what=what, wished=content.strip()[:200], found="missing" if gone else "another content")
    if spec.autostart != (spec.autostart_file in state.files):
        words = ("starts by itself", "stays off")
        yield Difference(what="host start", wished=words[not spec.autostart], found=words[spec.autostart])


def _limits(spec: MachineSpec, state: State) -> Iterator[Difference]:
    """What dom0 keeps of them, from which each start sets them: the wish's, and nothing where none is wished."""
    there, wanted = state.files.get(limits_stages.path(spec)), limits_stages.kept(spec).text
    if spec.limits == limits_stages.NONE and there is not None:
        yield Difference(what="limits", wished="none", found="the host keeps some")
    elif spec.limits != limits_stages.NONE and there != wanted:
        found = "the host keeps none" if there is None else "the host keeps others"
        yield Difference(what="limits", wished=f"at most {limits_stages.words(spec)}", found=found)


def _volumes(spec: MachineSpec, state: State) -> Iterator[Difference]:
    for wish in spec.volumes:
        there = state.volumes.get(wish.name)
        if there is None:
            yield Difference(what=f"{wish.kind} volume", wished=f"{wish.name}, {wish.size_mib} MB", found="missing")
            continue
        yield from _volume(spec, wish, there, state)


def _volume(spec: MachineSpec, wish: VolumeSpec, there: Volume, state: State) -> Iterator[Difference]:
    group = state.places.get(spec.volume_group)
    size = group.rounded(wish.size_bytes) if group else wish.size_bytes
    if there.size_bytes != size:
        mib = there.size_bytes // MIB
        adopt = {f"{wish.kind}_mib": mib} if there.size_bytes > size and there.machine == spec.uuid else {}
        yield Difference(
            what=f"{wish.kind} volume’s size", wished=f"{wish.size_mib} MB", found=f"{mib} MB", adopt=adopt
        )
    if there.machine != spec.uuid:
        whose = "another machine’s" if there.machine else "none"
        yield Difference(what=f"{wish.kind} volume’s mark", wished="this machine’s", found=whose)
    elif there.unfinished:
        yield Difference(what=f"{wish.kind} volume", wished="finished", found=f"{there.unfinished} was never finished")
    elif wish.kind == "root" and there.root != spec.root_mark:
        yield Difference(what="root volume’s mark", wished=spec.image.name, found="another root, or none that is whole")
