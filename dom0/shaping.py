"""A zone's bandwidth on dom0: HTB towards its machines on the bridge itself, from them on an ifb the bridge feeds.

What dom0 routes to the machines leaves by the bridge's own egress; what they send to anybody outside the zone
arrives on its ingress, which only policing could slow down, so it is led through an ifb with a queue. Frames that
stay on the bridge, from machine to machine, pass neither. Kernels may lack police, matchall, fw and fq_codel (ours
here does); htb, bfifo, ifb and u32 are in every distribution's.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Mapping

from dom0 import runner
from dom0.bridge import SHAPING, ceilings
from dom0.errors import CommandFailed, Refused
from dom0.host import HostConfig

ODD = "?"  # something is there, but not as we set it

_RATE = re.compile(r"^class htb 1:1 root .*?\brate (\d+)([KMG]?)bit ceil (\d+)([KMG]?)bit", re.MULTILINE)
_UNIT = {"": 1, "K": 1000, "M": 1_000_000, "G": 1_000_000_000}


def ifb_of(bridge: str) -> str:
    """The bridge's ifb; at most 15 characters."""
    name = f"ifb-{bridge}"
    return name if len(name) <= 15 else f"ifb-{hashlib.sha256(bridge.encode()).hexdigest()[:11]}"


def found(names: Collection[str]) -> dict[str, str]:
    """The ceilings of the bridges named "shaping:BRIDGE" that have any, as `ceilings` says them; "?" for a half one."""
    out = {}
    for name in names:
        bridge = name.removeprefix(SHAPING)
        towards, away = _ceiling(bridge), _led(bridge)
        if towards != "0" or away != "0":
            out[name] = f"to {towards} from {away}"
    return out


def apply(bridge: str, in_kbit: int, out_kbit: int) -> None:
    """Set exactly these ceilings (kbit/s, 0: none); a rate alone changes without a packet lost."""
    _set(bridge, in_kbit)
    ifb = ifb_of(bridge)
    if not out_kbit:
        # The way into the ifb goes first: what still came would be lost there.
        if _ask("tc", "-j", "qdisc", "show", "dev", bridge, "ingress") not in ("", "[]"):
            runner.run(("tc", "qdisc", "del", "dev", bridge, "ingress"), ok_codes=(0, 2))
        if _ask("ip", "-o", "link", "show", "dev", ifb):
            runner.run(("ip", "link", "delete", ifb, "type", "ifb"))
        return
    if not _ask("ip", "-o", "link", "show", "dev", ifb):
        runner.run(("ip", "link", "add", ifb, "type", "ifb"))
    _set(ifb, out_kbit)
    runner.run(("ip", "link", "set", ifb, "up"))
    if _led(bridge) == str(out_kbit):
        return
    runner.run(("tc", "qdisc", "replace", "dev", bridge, "handle", "ffff:", "ingress"))
    runner.run(("tc", "filter", "del", "dev", bridge, "parent", "ffff:"), ok_codes=(0, 1, 2))
    every = ("protocol", "all", "prio", "1", "u32", "match", "u32", "0", "0")
    redirect = ("action", "mirred", "egress", "redirect", "dev", ifb)
    runner.run(("tc", "filter", "add", "dev", bridge, "parent", "ffff:", *every, *redirect))


def _set(device: str, kbit: int) -> None:
    """HTB with one class as the device's root; whatever else is there goes."""
    root = _root(device)
    if not kbit:
        if root not in ("", "noqueue"):
            runner.run(("tc", "qdisc", "del", "dev", device, "root"), ok_codes=(0, 2))
        return
    if root != "htb":
        if root not in ("", "noqueue"):
            runner.run(("tc", "qdisc", "del", "dev", device, "root"), ok_codes=(0, 2))
        runner.run(("tc", "qdisc", "add", "dev", device, "root", "handle", "1:", "htb", "default", "1"))
    # 10 ms of bytes at once, a queue of 100 ms: room for the largest offloaded packet (64 kB) in both.
    burst, queue = max(16_000, kbit * 5 // 4), max(150_000, kbit * 25 // 2)
    rate = ("rate", f"{kbit}kbit", "ceil", f"{kbit}kbit", "burst", str(burst), "cburst", str(burst))
    of = ("dev", device, "parent")
    runner.run(("tc", "class", "replace", *of, "1:", "classid", "1:1", "htb", *rate, "quantum", "60000"))
    runner.run(("tc", "qdisc", "replace", *of, "1:1", "handle", "10:", "bfifo", "limit", str(queue)))


def _root(device: str) -> str:
    """The kind of the device's root queue; "" for none or no device."""
    shown = json.loads(_ask("tc", "-j", "qdisc", "show", "dev", device, "root") or "[]")
    return next((str(q.get("kind", "")) for q in shown if q), "")


def _ceiling(device: str) -> str:
    """The device's ceiling in kbit/s as `_set` made it; "0" for none, "?" for another queue."""
    root = _root(device)
    if root != "htb":
        return "0" if root in ("", "noqueue") else ODD
    rate = _RATE.search(_ask("tc", "class", "show", "dev", device))
    if rate is None or rate.groups()[:2] != rate.groups()[2:]:
        return ODD
    return str(int(rate[1]) * _UNIT[rate[2]] // 1000)


def _led(bridge: str) -> str:
    """The ceiling of what the bridge takes in: its ifb's, where every frame is led there."""
    ifb = ifb_of(bridge)
    there = bool(_ask("ip", "-o", "link", "show", "dev", ifb))
    led = f"Egress Redirect to device {ifb})" in _ask("tc", "filter", "show", "dev", bridge, "parent", "ffff:")
    if not there and not led:
        return "0"
    up = "UP" in _ask("ip", "-o", "link", "show", "dev", ifb, "up")
    ceiling = _ceiling(ifb)
    return ceiling if there and led and up and ceiling != "0" else ODD


def _ask(*argv: str) -> str:
    return runner.run(argv, ok_codes=(0, 1, 2)).stdout.strip()


def zone_shape(config: HostConfig, args: Mapping[str, str], stdin: str) -> str:
    """Set the ceilings of a zone's bridge, in kbit/s; 0 takes one off. Raises Refused for another interface."""
    bridge, rates = args["bridge"], (args["in_kbit"], args["out_kbit"])
    if not bridge.startswith(config.bridge_prefix):
        raise Refused(f"{bridge} is no bridge of a zone here: those begin with {config.bridge_prefix}.")
    if not all(rate.isdecimal() and int(rate) <= 100_000_000 for rate in rates):
        raise Refused(f"{' and '.join(rates)} are no rates.", note="Say kbit/s, for example in_kbit=10000 out_kbit=0.")
    in_kbit, out_kbit = (int(rate) for rate in rates)
    try:
        apply(bridge, in_kbit, out_kbit)
    except CommandFailed as error:
        raise Refused(
            f"This kernel does not shape as asked: {error}",
            note="It needs sch_htb, sch_ingress, cls_u32, act_mirred and ifb: modprobe them, or take the ceiling off.",
        ) from error
    return f"{bridge}: {ceilings(in_kbit, out_kbit) or 'no ceiling'} kbit/s"


VERBS: dict[str, Callable[[HostConfig, Mapping[str, str], str], str]] = {"zone-shape": zone_shape}
