"""A zone's bandwidth on dom0: HTB towards its machines on the bridge itself, from them on an ifb the bridge feeds.

What dom0 routes to the machines leaves by the bridge's own egress; what they send to anybody outside the zone
arrives on its ingress, which only policing could slow down, so it is led through an ifb with a queue. Frames that
stay on the bridge, from machine to machine, pass neither. Kernels may lack police, matchall, fw and fq_codel (ours
here does); htb, bfifo, ifb and u32 are in every distribution's.

Below the ceiling's class (1:1) everybody shares one (1:2); a machine with a guaranteed share has its own, which its
MAC leads to. A machine's own ceilings are the same on its interface (`dom0.limits`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from dom0 import limits_file, runner
from dom0.bridge import SHAPING, ceilings
from dom0.errors import CommandFailed, Refused
from dom0.host import HostConfig

ODD = "?"  # something is there, but not as we set it

TO, FROM = "to", "from"  # by which of a frame's addresses a machine is known: the one it goes to, or is from
REST = 2  # the class of whoever has no share
FIRST_MINOR, MINORS = 0x10, 0xFF00

_CLASS = re.compile(
    r"^class htb 1:([0-9a-f]+) (root|parent 1:1) .*?\brate (\d+)([KMG]?)bit ceil (\d+)([KMG]?)bit", re.MULTILINE
)
_LED = re.compile(
    r"flowid 1:([0-9a-f]+)\b.*\n +match ([0-9a-f]{8})/\S+ at (-16|-8)\n +match ([0-9a-f]{8})/\S+ at (?:-12|-4)\b"
)
_UNIT = {"": 1, "K": 1000, "M": 1_000_000, "G": 1_000_000_000}


def ifb_of(bridge: str) -> str:
    """The bridge's ifb; at most 15 characters."""
    name = f"ifb-{bridge}"
    return name if len(name) <= 15 else f"ifb-{hashlib.sha256(bridge.encode()).hexdigest()[:11]}"


def found(names: Collection[str]) -> dict[str, str]:
    """The ceilings of the bridges named "shaping:BRIDGE" that have any, as `ceilings` says them; "?" for a half one."""
    out = {name: ceilings_of(name.removeprefix(SHAPING)) for name in names}
    return {name: said for name, said in out.items() if said}


def ceilings_of(device: str) -> str:
    """One device's, "" where it has none."""
    towards, away = _ceiling(device), _led(device)
    return f"to {towards} from {away}" if towards != "0" or away != "0" else ""


def ceiling(device: str) -> int:
    """The ceiling `apply` gave the device, in kbit/s; 0 for none, or for another queue."""
    said = _ceiling(device)
    return 0 if said == ODD else int(said)


def shares_of(bridge: str) -> tuple[dict[str, int], dict[str, int]]:
    """The shares (kbit/s by MAC) in what goes to the bridge's machines and in what comes from them, as they are."""
    return _shares(bridge), _shares(ifb_of(bridge))


def apply(device: str, in_kbit: int, out_kbit: int, shares: Mapping[str, int] | None = None) -> None:
    """Set exactly these ceilings (kbit/s, 0: none); a rate alone changes without a packet lost.

    `shares`: kbit/s by MAC that a machine always gets of a ceiling; together more than it, each gets that much less.
    """
    _set(device, in_kbit, TO, shares or {})
    ifb = ifb_of(device)
    if not out_kbit:
        # The way into the ifb goes first: what still came would be lost there.
        if _ask("tc", "-j", "qdisc", "show", "dev", device, "ingress") not in ("", "[]"):
            runner.run(("tc", "qdisc", "del", "dev", device, "ingress"), ok_codes=(0, 2))
        if _ask("ip", "-o", "link", "show", "dev", ifb):
            runner.run(("ip", "link", "delete", ifb, "type", "ifb"))
        return
    if not _ask("ip", "-o", "link", "show", "dev", ifb):
        runner.run(("ip", "link", "add", ifb, "type", "ifb"))
    _set(ifb, out_kbit, FROM, shares or {})
    runner.run(("ip", "link", "set", ifb, "up"))
    if _led(device) == str(out_kbit):
        return
    runner.run(("tc", "qdisc", "replace", "dev", device, "handle", "ffff:", "ingress"))
    runner.run(("tc", "filter", "del", "dev", device, "parent", "ffff:"), ok_codes=(0, 1, 2))
    every = ("protocol", "all", "prio", "1", "u32", "match", "u32", "0", "0")
    redirect = ("action", "mirred", "egress", "redirect", "dev", ifb)
    runner.run(("tc", "filter", "add", "dev", device, "parent", "ffff:", *every, *redirect))


def share_again(bridge: str, shares: Mapping[str, int]) -> None:
    """Set the shares below whatever ceilings the bridge has; without a ceiling there is nothing to have a share of."""
    for device, way in ((bridge, TO), (ifb_of(bridge), FROM)):
        if most := ceiling(device):
            _set(device, most, way, shares)


def kept_shares(config: HostConfig, bridge: str) -> dict[str, int]:
    """The guaranteed shares (kbit/s by MAC) of the machines on that bridge, from dom0's own files."""
    found = {}
    for file in sorted(Path(config.state, limits_file.FOLDER).glob("[!.]*.json")):
        try:
            kept = limits_file.read(file.read_text())
        except (OSError, ValueError, TypeError, AttributeError):
            continue  # one that can't be read takes nobody else's share away
        if kept.bridge == bridge and kept.net_share_kbit:
            found[kept.mac] = kept.net_share_kbit
    return found


def scaled(shares: Mapping[str, int], kbit: int) -> dict[str, int]:
    """The shares as they fit below a ceiling of that many kbit/s, a hundredth left for everybody else."""
    most, asked = kbit - max(1, kbit // 100), sum(shares.values())
    return {mac: rate * most // asked if asked > most else rate for mac, rate in shares.items() if rate}


def minors(macs: Collection[str]) -> dict[str, int]:
    """Each machine's class: by the end of its MAC, the next free one where two end alike."""
    found: dict[str, int] = {}
    for mac in sorted(macs):
        at = int(mac.replace(":", "")[-4:], 16)
        while (minor := FIRST_MINOR + at % MINORS) in found.values():
            at += 1
        found[mac] = minor
    return found


def _set(device: str, kbit: int, way: str, shares: Mapping[str, int]) -> None:
    """HTB as the device's root; whatever else is there goes."""
    root = _root(device)
    if not kbit or root != "htb" or _ceiling(device) == ODD:
        if root not in ("", "noqueue"):
            runner.run(("tc", "qdisc", "del", "dev", device, "root"), ok_codes=(0, 2))
        if not kbit:
            return
        runner.run(("tc", "qdisc", "add", "dev", device, "root", "handle", "1:", "htb", "default", f"{REST:x}"))
    wanted = scaled(shares, kbit)
    lines = [_class(device, "1:", 1, kbit, kbit), *_leaf(device, REST, kbit - sum(wanted.values()), kbit)]
    numbers, known = minors(wanted), _led_by_mac(device)
    for mac, minor in numbers.items():
        lines += _leaf(device, minor, wanted[mac], kbit)
    if known != numbers:
        # What passes between the two lines is nobody's share; nothing is lost.
        lines += [f"filter del dev {device} parent 1: prio 1"] if known else []
        lines += [_filter(device, way, mac, minor) for mac, minor in numbers.items()]
    former = set(_classes(device)) - {1, REST, *numbers.values()}
    lines += [f"class del dev {device} classid 1:{minor:x}" for minor in sorted(former)]
    runner.run(("tc", "-batch", "-"), stdin="".join(f"{line}\n" for line in lines))


def _leaf(device: str, minor: int, rate: int, ceiling: int) -> list[str]:
    # A queue of 100 ms; room for the largest offloaded packet (64 kB) as in the burst.
    queue = max(150_000, ceiling * 25 // 2)
    fifo = f"qdisc replace dev {device} parent 1:{minor:x} handle {minor:x}: bfifo limit {queue}"
    return [_class(device, "1:1", minor, rate, ceiling), fifo]


def _class(device: str, parent: str, minor: int, rate: int, ceiling: int) -> str:
    burst, most = (max(16_000, kbit * 5 // 4) for kbit in (rate, ceiling))  # 10 ms of bytes at once
    of = f"class replace dev {device} parent {parent} classid 1:{minor:x} htb"
    return f"{of} rate {rate}kbit ceil {ceiling}kbit burst {burst} cburst {most} quantum 60000"


def _filter(device: str, way: str, mac: str, minor: int) -> str:
    bare = mac.replace(":", "")
    if way == TO:
        keys = f"match u16 0x{bare[:4]} 0xffff at -14 match u32 0x{bare[4:]} 0xffffffff at -12"
    else:
        keys = f"match u32 0x{bare[:8]} 0xffffffff at -8 match u16 0x{bare[8:]} 0xffff at -4"
    return f"filter add dev {device} parent 1: protocol all prio 1 u32 {keys} flowid 1:{minor:x}"


def _classes(device: str) -> dict[int, tuple[int, int]]:
    """Rate and ceiling of each class, in kbit/s."""
    shown = _ask("tc", "class", "show", "dev", device)
    return {
        int(each[1], 16): (int(each[3]) * _UNIT[each[4]] // 1000, int(each[5]) * _UNIT[each[6]] // 1000)
        for each in _CLASS.finditer(shown)
    }


def _led_by_mac(device: str) -> dict[str, int]:
    """The class each MAC is led to."""
    found = {}
    for each in _LED.finditer(_ask("tc", "filter", "show", "dev", device, "parent", "1:")):
        bare = each[2][4:] + each[4] if each[3] == "-16" else each[2] + each[4][:4]
        found[":".join(bare[at : at + 2] for at in range(0, 12, 2))] = int(each[1], 16)
    return found


def _shares(device: str) -> dict[str, int]:
    if _root(device) != "htb":
        return {}
    classes = _classes(device)
    return {mac: classes[minor][0] for mac, minor in _led_by_mac(device).items() if minor in classes}


def _root(device: str) -> str:
    """The kind of the device's root queue; "" for none or no device."""
    shown = json.loads(_ask("tc", "-j", "qdisc", "show", "dev", device, "root") or "[]")
    return next((str(q.get("kind", "")) for q in shown if q), "")


def _ceiling(device: str) -> str:
    """The device's ceiling in kbit/s as `_set` made it; "0" for none, "?" for another queue."""
    root = _root(device)
    if root != "htb":
        return "0" if root in ("", "noqueue") else ODD
    classes = _classes(device)
    rate, ceiling = classes.get(1, (0, -1))
    return str(rate) if rate == ceiling and classes.get(REST, (0, 0))[1] == rate else ODD


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
        apply(bridge, in_kbit, out_kbit, kept_shares(config, bridge))
    except CommandFailed as error:
        raise Refused(
            f"This kernel does not shape as asked: {error}",
            note="It needs sch_htb, sch_ingress, cls_u32, act_mirred and ifb: modprobe them, or take the ceiling off.",
        ) from error
    return f"{bridge}: {ceilings(in_kbit, out_kbit) or 'no ceiling'} kbit/s"


VERBS: dict[str, Callable[[HostConfig, Mapping[str, str], str], str]] = {"zone-shape": zone_shape}
