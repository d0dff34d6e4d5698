"""What a domain's definition on the host says, as far as a wish could have said it. Pure.

Read alike from what libvirt has and from what we would tell it: so the two can be compared whatever hypervisor it is,
whoever defined it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from xml.etree import ElementTree

NAMESPACE = "{https://fridu.org/xmlns/machine/1}"
_KIB = {"b": 1 / 1024, "bytes": 1 / 1024, "k": 1, "KiB": 1, "KB": 1, "M": 1024, "MiB": 1024, "MB": 1024,
        "G": 1 << 20, "GiB": 1 << 20, "GB": 1 << 20}  # fmt: skip
LONGEST = 200  # characters of a name or path that are believed


@dataclass(frozen=True, kw_only=True)
class Card:
    """A network interface of it."""

    mac: str
    bridge: str
    vif: str


@dataclass(frozen=True, kw_only=True)
class Found:
    """A definition. `volumes` are paths of its disks, or what our hook mounts; `ours`: it carries our metadata."""

    name: str
    uuid: str
    kind: str  # "lxc", "xen", "qemu", …
    memory_mib: int
    vcpus: int
    cards: tuple[Card, ...]
    volumes: tuple[str, ...]
    ours: bool = False
    root: str = ""  # the path of the root volume, of ours
    uid_base: int = 0
    on_crash: str = ""
    # What only a look at the host can say; no part of a definition.
    running: bool = False
    autostart: bool = False
    live_mib: int = 0  # what it has now, 0 where it doesn't run


def read(xml: str) -> Found:
    """The definition. Raises ValueError for what is none."""
    return _read(xml)


@lru_cache(maxsize=2048)  # a host's definitions are the same in every round
def _read(xml: str) -> Found:
    try:
        domain = ElementTree.fromstring(xml)  # noqa: S314 - libvirt wrote it
    except ElementTree.ParseError as error:
        raise ValueError(f"no definition: {error}") from error
    root = domain.find(f"metadata//{NAMESPACE}root")
    cards = tuple(_card(each) for each in domain.iterfind("devices/interface"))
    return Found(
        name=_text(domain, "name"),
        uuid=_text(domain, "uuid"),
        kind=domain.get("type", "")[:20],
        memory_mib=_memory(domain),
        vcpus=int(domain.findtext("vcpu") or 1),
        cards=cards,
        volumes=tuple(dict.fromkeys(_volumes(domain))),
        ours=root is not None,
        root=root.get("volume", "")[:LONGEST] if root is not None else "",
        uid_base=int(root.get("uid_base") or 0) if root is not None else 0,
        on_crash=_text(domain, "on_crash"),
    )


def looked_at(xml: str, *, running: bool, autostart: bool, live_mib: int) -> Found:
    """What a look at the host found: its lasting definition, and what it has now."""
    return replace(read(xml), running=running, autostart=autostart, live_mib=live_mib)


def _text(domain: ElementTree.Element, path: str) -> str:
    return (domain.findtext(path) or "").strip()[:LONGEST]


def _memory(domain: ElementTree.Element) -> int:
    element = domain.find("currentMemory")
    element = domain.find("memory") if element is None else element
    if element is None or not (element.text or "").strip().isdigit():
        return 0
    return int(int(element.text or 0) * _KIB.get(element.get("unit", "KiB"), 1) / 1024)


def _card(element: ElementTree.Element) -> Card:
    def of(path: str, key: str) -> str:
        found = element.find(path)
        return found.get(key, "")[:LONGEST] if found is not None else ""

    return Card(
        mac=of("mac", "address").lower(),
        bridge=of("source", "bridge") or of("source", "network"),
        vif=of("target", "dev"),
    )


def _volumes(domain: ElementTree.Element) -> Iterator[str]:
    for tag in ("root", "log", "own"):
        for each in domain.iterfind(f"metadata//{NAMESPACE}{tag}"):
            yield each.get("volume", "")[:LONGEST]
    for source in domain.iterfind("devices/disk/source"):
        path = source.get("dev") or source.get("file") or source.get("name")
        if path:
            yield path[:LONGEST]
    ours = domain.find(f"metadata//{NAMESPACE}root") is not None
    for source in () if ours else domain.iterfind("devices/filesystem/source"):
        path = source.get("dir") or source.get("file") or source.get("dev")
        if path:
            yield path[:LONGEST]
