"""A machine's limits as dom0 keeps them: one file each, by the machine's uuid, from which they are set again.

With every start the interface and the loop device are new ones, and nobody asks the database then. Pure, and the
standard library alone: libvirt's hook reads it too.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields

from dom0.bridge import ceilings

FOLDER = "limits"


@dataclass(frozen=True, kw_only=True)
class Kept:
    """One machine's; 0 is no limit. Rates in kbit/s and KiB/s, the cap in percent of one processor.

    `project` is the folder the hook finds dom0's modules in, `volumes` the paths of what it may be slow on.
    """

    uuid: str
    name: str
    libvirt: str
    project: str
    bridge: str
    vif: str
    mac: str
    volumes: tuple[str, ...] = ()
    net_in_kbit: int = 0
    net_out_kbit: int = 0
    net_share_kbit: int = 0
    cpu_weight: int = 0
    cpu_cap: int = 0
    disk_kib_s: int = 0
    disk_iops: int = 0

    @property
    def text(self) -> str:
        """What the file holds; `read` is its inverse."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @property
    def lxc(self) -> bool:
        return self.libvirt.startswith("lxc:")

    @property
    def xen(self) -> bool:
        return self.libvirt.startswith("xen:")

    @property
    def said(self) -> str:
        """How the observed state names all of it in force; "" for no limit at all."""
        return said(
            ceilings=ceilings(self.net_in_kbit, self.net_out_kbit),
            share=str(self.net_share_kbit or ""),
            cpu=pair(self.cpu_weight, self.cpu_cap),
            disk=pair(self.disk_kib_s, self.disk_iops),
        )


def said(*, ceilings: str, share: str, cpu: str, disk: str) -> str:
    """How the observed state names what is in force; a part is "" where nothing of its kind is."""
    parts = (("net", ceilings), ("share", share), ("cpu", cpu), ("disk", disk))
    return "; ".join(f"{what} {part}" for what, part in parts if part)


def pair(one: int, other: int) -> str:
    return f"{one} {other}" if one or other else ""


def path(state: str, uuid: str) -> str:
    """The file of the machine with that uuid, in dom0's folder `state`."""
    return f"{state}/{FOLDER}/{uuid}.json"


def read(text: str) -> Kept:
    """The limits of a kept file. Raises ValueError, TypeError or AttributeError where it is none."""
    data = json.loads(text)
    kept = Kept(**{**data, "volumes": tuple(data.get("volumes", ()))})
    for field in fields(kept):
        value = getattr(kept, field.name)
        if field.type == "int" and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
            raise ValueError(f"{field.name} is {value!r}, which is no number")
    return kept
