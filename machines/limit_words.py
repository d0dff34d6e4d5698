"""A machine's limits as people write them: 10M, 512k, 50%. Pure."""

from __future__ import annotations

import re

from machines.specs import LimitsSpec
from zones import rates

DISK_LEAST, DISK_MOST = 256, 100 << 20  # KiB/s
IOPS_LEAST, IOPS_MOST = 16, 1_000_000
WEIGHT_LEAST, WEIGHT_MOST, WEIGHT_USUAL = 16, 16_384, 256
CAP_LEAST = 5  # percent of one processor
_DISK = re.compile(r"([0-9]{1,7})(?:\.([0-9]))?\s*([kKmMgG])(?:i?[bB](?:/s)?)?", re.ASCII)
_UNIT = {"k": 1, "m": 1 << 10, "g": 1 << 20}

#: What each limit is called in a sentence.
LABELS = {
    "net_in_kbit": "To it",
    "net_out_kbit": "From it",
    "net_share_kbit": "Sure of its zone's",
    "cpu_weight": "CPU weight",
    "cpu_cap": "CPU cap",
    "disk_kib_s": "Disk bytes",
    "disk_iops": "Disk operations",
}


def kib_s(text: str) -> int | None:
    """What was typed ("10M": 10 MiB a second), in KiB/s; None for nothing ("" or none). Raises ValueError."""
    if text.strip().lower() in ("", "none"):
        return None
    typed = _DISK.fullmatch(text.strip())
    if typed is None:
        raise ValueError(f"“{text[:20]}” is no rate of a disk. Say bytes a second: 10M, 512k, or nothing for no limit.")
    return (int(typed[1]) * 10 + int(typed[2] or 0)) * _UNIT[typed[3].lower()] // 10


def typed_kib_s(rate: int) -> str:
    """A rate as one would type it again: "10M"; "" for none."""
    if not rate:
        return ""
    return f"{rate // 1024}M" if rate % 1024 == 0 else f"{rate}k"


def say_kib_s(rate: int) -> str:
    return f"{rate / 1024:g} MiB/s" if rate >= 1024 else f"{rate} KiB/s"


def said(limits: LimitsSpec) -> dict[str, str]:
    """Each limit that there is, in words, by its field."""
    words = {
        "net_in_kbit": rates.say(limits.net_in_kbit),
        "net_out_kbit": rates.say(limits.net_out_kbit),
        "net_share_kbit": rates.say(limits.net_share_kbit),
        "cpu_weight": f"{limits.cpu_weight} ({limits.cpu_weight / WEIGHT_USUAL:g} times the usual)",
        "cpu_cap": f"{limits.cpu_cap} % of one processor",
        "disk_kib_s": f"{say_kib_s(limits.disk_kib_s)} read, and as much written",
        "disk_iops": f"{limits.disk_iops} reads a second, and as many writes",
    }
    return {name: text for name, text in words.items() if getattr(limits, name)}


def complaints(limits: LimitsSpec, *, vcpus: int) -> dict[str, str]:
    """What of them no machine can have, by field, each with a value that works."""
    found = {name: rates.complaint(getattr(limits, name)) for name in ("net_in_kbit", "net_out_kbit", "net_share_kbit")}
    found["cpu_weight"] = _between(limits.cpu_weight, WEIGHT_LEAST, WEIGHT_MOST, "A weight", "256 is usual")
    most = vcpus * 100
    found["cpu_cap"] = _between(
        limits.cpu_cap, CAP_LEAST, most, "A cap, in percent of one processor,", f"its vCPUs alone keep it to {most}"
    )
    if limits.disk_kib_s and not DISK_LEAST <= limits.disk_kib_s <= DISK_MOST:
        found["disk_kib_s"] = "A disk's limit lies between 256k and 100G a second. Use for example 10M."
    found["disk_iops"] = _between(limits.disk_iops, IOPS_LEAST, IOPS_MOST, "Operations a second", "use for example 200")
    ceilings = [rate for rate in (limits.net_in_kbit, limits.net_out_kbit) if rate]
    if limits.net_share_kbit and ceilings and limits.net_share_kbit > min(ceilings):
        found["net_share_kbit"] = (
            f"It can't be sure of more than it may take: {rates.say(min(ceilings))}. "
            f"Use {rates.typed(min(ceilings))} or less."
        )
    return {name: text for name, text in found.items() if text and getattr(limits, name)}


def _between(value: int, least: int, most: int, what: str, note: str) -> str:
    return "" if least <= value <= most else f"{what} lies between {least} and {most}; {note}."
