"""Where everything of the lab lies: all below var/lab, which git ignores. Pure."""

from __future__ import annotations

from pathlib import Path

from demo.layout import PROJECT, Problem

LAB = PROJECT / "var" / "lab"
KEY = LAB / "key"  # lets root in; made once, its public half lies in every image
CACHE = PROJECT / "var" / "cache"  # packages' files, shared with the demo
INSIDE = Path("/opt/fridu")  # the project in every host of the lab, as docs/install.md has it
DATA = Path(__file__).parent / "inside"

__all__ = ["CACHE", "DATA", "INSIDE", "KEY", "LAB", "PROJECT", "Problem", "built", "frozen", "running"]


def built(image: str) -> Path:
    """The folder of a finished image: root.ext4, kernel, initrd (and xen)."""
    return LAB / "images" / image


def frozen(tier: str) -> Path:
    """The folder of a tier's frozen state: its memory and its disks."""
    return LAB / "frozen" / tier


def running(name: str) -> Path:
    """The folder of one running host: throw-away disks, sockets, logs."""
    return LAB / "run" / name
