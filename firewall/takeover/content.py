"""What a file of an older box is, by its content. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from firewall.takeover import box, drawing, guest

Kind = Literal["rules", "hosts", "ethers", "config", "xend", "guest", "drawing", "unknown"]
CALLED: Mapping[Kind, str] = {
    "rules": "a rule file",
    "hosts": "names and addresses (/etc/hosts)",
    "ethers": "MACs and names (/etc/ethers)",
    "config": "the site's defaults (Fridu-lvm.config)",
    "xend": "Xen's own configuration, with its bridges",
    "guest": "a Xen guest",
    "drawing": "a drawing of the network",
    "unknown": "nothing that is known here",
}
MAX_FILES, MAX_TEXT = 300, 200_000
_RULES = re.compile(r"^[ \t]*(?:CreateZone|CreateApp|TuneZone|DoIt)\b", re.MULTILINE)
_XEND = re.compile(r"^[ \t]*\((?:network-script|vif-script|xend-|dom0-)", re.MULTILINE)
_CONFIG = re.compile(r"^[ \t]*(?:lvmvg|vmbr|vmram|linuxroot|xenkerneldir)[ \t]*=", re.MULTILINE)


def kind_of(text: str) -> Kind:
    """What a file is, by its content."""
    if _RULES.search(text):
        return "rules"
    if _XEND.search(text):
        return "xend"
    if _CONFIG.search(text):
        return "config"
    if guest.looks_like_one(text):
        return "guest"
    lines = [line.split()[0] for line in text.split("\n") if line.split() and not line.lstrip().startswith("#")]
    if lines and sum(bool(box.MAC.fullmatch(word)) for word in lines) * 2 > len(lines):
        return "ethers"
    if lines and sum(word[0].isdigit() or ":" in word for word in lines) * 2 > len(lines):
        return "hosts"
    return "drawing" if drawing.looks_like_one(text) else "unknown"


def sort_out(files: Sequence[tuple[str, str]]) -> tuple[tuple[str, str, Kind], ...]:
    """Files with what each is; too many or too long ones are unknown."""
    return tuple(
        (name[:100], text, kind_of(text) if n < MAX_FILES and len(text) <= MAX_TEXT else "unknown")
        for n, (name, text) in enumerate(files)
    )
