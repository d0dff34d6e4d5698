"""A zone's bridge: the commands that make it, and the file from which it is made again at boot. Pure."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from dom0.steps import Hand

Argv = tuple[str, ...]

#: How `State.services` names a bridge's ceilings: "shaping:xen-br1".
SHAPING = "shaping:"


def ceilings(in_kbit: int, out_kbit: int) -> str:
    """How the observed state says ceilings: "to 10000 from 5000", in kbit/s, 0 for none; "" for none at all."""
    return f"to {in_kbit} from {out_kbit}" if in_kbit or out_kbit else ""


@dataclass(frozen=True, kw_only=True)
class Bridge:
    """One bridge; `address` as "10.10.1.1/24", `sysctls` as (key, value), ceilings in kbit/s (0: none)."""

    name: str
    mac: str
    address: str
    sysctls: tuple[tuple[str, str], ...]
    in_kbit: int = 0  # to its machines
    out_kbit: int = 0  # from them

    @property
    def add(self) -> Argv:
        # Frames to 01:80:c2:00:00:0X pass no rule; learning from them would give a machine its neighbour's place.
        kind = ("type", "bridge", "forward_delay", "0", "stp_state", "0", "no_linklocal_learn", "1")
        return ("ip", "link", "add", self.name, "address", self.mac, *kind)

    @property
    def up(self) -> Argv:
        return ("ip", "link", "set", self.name, "up")

    def addressed(self, verb: str, address: str) -> Argv:
        """`verb` is "add" or "del"."""
        return ("ip", "address", verb, address, "dev", self.name)

    @property
    def text(self) -> str:
        """What is kept for the next boot; `read` is its inverse."""
        kept = {key: value for key, value in asdict(self).items() if value or not key.endswith("_kbit")}
        return json.dumps({**kept, "sysctls": dict(self.sysctls)}, indent=1) + "\n"


def read(text: str) -> Bridge:
    """The bridge of a kept file. Raises ValueError, KeyError, TypeError or AttributeError where it is none."""
    data = json.loads(text)
    return Bridge(**{**data, "sysctls": tuple(data["sysctls"].items())})


def shape(name: str, in_kbit: int, out_kbit: int) -> Hand:
    """Set the bridge's ceilings, in kbit/s; 0 takes one off."""
    rates = (("in_kbit", str(in_kbit)), ("out_kbit", str(out_kbit)))
    return Hand(verb="zone-shape", args=(("bridge", name), *rates))


def settings(pairs: tuple[tuple[str, str], ...]) -> Argv:
    """Set kernel settings."""
    return ("sysctl", "-w", *(f"{key}={value}" for key, value in pairs))
