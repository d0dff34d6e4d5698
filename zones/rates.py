"""Bandwidth as people write it: 10M, 512k, 1G; always bits a second. Pure."""

from __future__ import annotations

import re

LEAST, MOST = 64, 10_000_000  # kbit/s
_TYPED = re.compile(r"([0-9]{1,8})(?:\.([0-9]{1,3}))?\s*([kKmMgG])(?:bit(?:/s)?|bps)?", re.ASCII)
_UNIT = {"k": 1, "m": 1000, "g": 1_000_000}


def kbit(text: str) -> int | None:
    """What was typed, in kbit/s; None for nothing ("" or none). Raises ValueError with a sentence."""
    if text.strip().lower() in ("", "none"):
        return None
    typed = _TYPED.fullmatch(text.strip())
    if typed is None:
        raise ValueError(
            f"“{text[:20]}” is no bandwidth. Say it in bits a second: 10M, 512k, or nothing for no ceiling."
        )
    thousandths = int(typed[1]) * 1000 + int((typed[2] or "").ljust(3, "0"))
    found = thousandths * _UNIT[typed[3].lower()] // 1000
    if said := complaint(found):
        raise ValueError(said)
    return found


def complaint(rate: int) -> str:
    """Why `rate` kbit/s can't be a ceiling, with one that can; "" where it can."""
    if not LEAST <= rate <= MOST:
        return f"A ceiling lies between {say(LEAST)} and {say(MOST)}. Use for example 10M."
    # The kernel's own words round above 1 Gbit/s; what is there could not be told from what is wished.
    return "" if rate < 1_000_000 or rate % 1000 == 0 else f"Above 1 Gbit/s use whole Mbit/s: {rate // 1000}M."


def say(rate: int | None) -> str:
    """A rate in words: "10 Mbit/s", "512 kbit/s"; "" for none."""
    if not rate:
        return ""
    value, unit = (rate / 1000, "Mbit/s") if rate >= 1000 else (rate, "kbit/s")
    return f"{value:g} {unit}" if value < 1_000_000 else f"{rate // 1000} Mbit/s"


def typed(rate: int | None) -> str:
    """A rate as one would type it again: "10M"; "" for none."""
    if not rate:
        return ""
    return f"{rate // 1000}M" if rate % 1000 == 0 else f"{rate}k"
