"""What each host of the lab is made of, and the digest that says whether an image made earlier still fits."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from demo import packages
from tests.lab.places import PROJECT, Problem

INSTALL = PROJECT / "docs" / "install.md"
#: What a host needs to be one: an init, a way in.
BASE = ("curl", "dbus", "ifupdown", "iputils-ping", "kmod", "openssh-server", "systemd-sysv", "udev")
#: Packages that are not installed but taken apart: without the hypervisor, and with it.
APART = {
    False: ("busybox-static", "linux-image-amd64"),
    True: ("busybox-static", "linux-image-amd64", "linux-image-cloud-amd64"),
}
#: Files whose content decides what is in an image.
MAKERS = ("build.py", "furnish.py", "kernels.py", "inside/initrd")


@dataclass(frozen=True, kw_only=True)
class Image:
    """A root filesystem with its kernel; with `xen` the hypervisor and a PV guest to start under it."""

    name: str
    suite: str
    packages: tuple[str, ...]
    xen: bool = False
    size_gib: int = 4


def image(name: str) -> Image:
    """What the image `name` is made of. Raises Problem where docs/install.md names no packages."""
    if name == "dom0":
        wanted = {*installed_by_the_docs(), *BASE}
        return Image(name=name, suite="bookworm", packages=tuple(sorted(wanted)), xen=True, size_gib=6)
    suites = {"debian12": "bookworm", "debian13": "trixie"}
    wanted = {*packages.NEEDED, *BASE}
    return Image(name=name, suite=suites[name], packages=tuple(sorted(wanted)))


def installed_by_the_docs(text: str | None = None) -> list[str]:
    """The packages of a Xen dom0: all that section 1 of docs/install.md gives to apt-get. Raises Problem."""
    text = INSTALL.read_text() if text is None else text
    section = re.search(r"^## 1\. .*?(?=^## 2\. )", text, re.MULTILINE | re.DOTALL)
    lines = re.sub(r"\\\n", " ", section.group(0) if section else "")
    named = [word for found in re.findall(r"^    apt-get install (.*)$", lines, re.MULTILINE) for word in found.split()]
    if "xen-system-amd64" not in named:
        raise Problem(
            "Section 1 of docs/install.md names no packages for a Xen dom0; the lab makes its host of those. "
            "It reads the lines that begin with `    apt-get install`."
        )
    return sorted(set(named))


def image_digest(wanted: Image, key: str) -> str:
    """Changes when the image would come out differently. `key` is the public key that is let in."""
    files = [Path(__file__).parent / name for name in MAKERS]
    files += [PROJECT / "requirements.txt", PROJECT / "demo" / "tiny.py", PROJECT / "demo" / "venv.py"]
    files += [PROJECT / "deploy" / name for name in ("assets.py", "assets.txt")]
    return digest(asdict(wanted), key, *(path.read_text() for path in files))


def digest(*parts: object) -> str:
    """One number for all of these."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
