"""Times, sizes and durations as the pages say them. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta


def size(count: float) -> str:
    """Bytes as a person reads them: "512 MB", "1.5 GB" (steps of 1024, as the host counts)."""
    value, unit = float(count), "B"
    for bigger in ("kB", "MB", "GB", "TB"):
        if abs(value) < 1024:
            break
        value, unit = value / 1024, bigger
    return f"{value:.1f}".removesuffix(".0") + f" {unit}" if value < 10 else f"{value:.0f} {unit}"


def rate(count: float) -> str:
    """Bytes a second as a network's speed: "0 kbit/s", "940 kbit/s", "2.1 Mbit/s" (steps of 1000, as links count)."""
    value, unit = count * 8 / 1000, "kbit/s"
    for bigger in ("Mbit/s", "Gbit/s"):
        if value < 1000:
            break
        value, unit = value / 1000, bigger
    return f"{value:.1f}".removesuffix(".0") + f" {unit}" if value < 10 else f"{value:.0f} {unit}"


def lasting(seconds: float) -> str:
    """How long something goes on: "less than 2 minutes", "12 minutes", "3 hours", "41 days"."""
    if seconds < 120:
        return "less than 2 minutes"
    if seconds < 2 * 3600:
        return f"{int(seconds // 60)} minutes"
    return f"{int(seconds // 3600)} hours" if seconds < 2 * 86_400 else f"{int(seconds // 86_400)} days"


def clock(seconds: float) -> str:
    """Seconds on a stop watch: "0:21", "1:02:03"."""
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def left(seconds: float) -> str:
    """What is left of a time that runs out: "41 s", "2:00"."""
    return f"{max(0, int(seconds))} s" if seconds < 100 else clock(seconds)


def took(seconds: float) -> str:
    """How long something took or is expected to take: "0.3 s", "18 s", "2 min"."""
    if seconds < 10:
        return f"{max(seconds, 0.1):.1f}".removesuffix(".0") + " s"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def ago(when: datetime, now: datetime) -> str:
    """Relative under a day, else the date: "12 s ago", "3 h ago", "22 November 2026, 14:03"."""
    seconds = (now - when) / timedelta(seconds=1)
    if seconds < -120 or seconds >= 86_400:  # clocks of two machines differ a little
        return f"{when.day} {when:%B %Y, %H:%M}"
    if seconds < 2:
        return "just now"
    if seconds < 60:
        return f"{seconds:.0f} s ago"
    return f"{seconds / 60:.0f} min ago" if seconds < 5400 else f"{seconds / 3600:.0f} h ago"


def count(number: int, one: str, many: str = "") -> str:
    """A number and its noun: "1 machine", "3 machines"."""
    return f"{number} {one}" if number == 1 else f"{number} {many or one + 's'}"
