"""Package sources: the box's own configured ones, spelled for another release. None is named in this tree."""

from __future__ import annotations

import re
from pathlib import Path

from demo.layout import Problem

APT = Path("/etc/apt")
OS_RELEASE = Path("/etc/os-release")
DEBIAN_KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"


def lines(suite: str, apt: Path = APT, os_release: Path = OS_RELEASE) -> list[str]:
    """One-line entries for `suite`, from those the box has for its own release. Raises Problem."""
    own = _codename(os_release)
    found = []
    for line in _configured(apt):
        options, uri, name, components = line
        if name.split("-")[0] == own:
            found.append(f"deb [{options}] {uri} {suite}{name[len(own) :]} {components}")
    if not found:
        raise Problem(
            f"{apt} names no package source for {own}, this box's own release; the lab takes its packages from there. "
            "A line such as `deb URI bookworm main` in sources.list is enough."
        )
    return found


def _codename(os_release: Path) -> str:
    match = re.search(r"^VERSION_CODENAME=(\w+)$", os_release.read_text(), re.MULTILINE)
    if not match:
        raise Problem(f"{os_release} names no release (VERSION_CODENAME); the lab is made on Debian 12 or 13.")
    return match.group(1)


def _configured(apt: Path) -> list[tuple[str, str, str, str]]:
    """(options, address, suite, components) of every source of binary packages."""
    found: list[tuple[str, str, str, str]] = []
    for path in [apt / "sources.list", *sorted(apt.glob("sources.list.d/*.list"))]:
        found += _one_line(path.read_text()) if path.exists() else []
    for path in sorted(apt.glob("sources.list.d/*.sources")):
        found += _stanzas(path.read_text())
    return found


def _one_line(text: str) -> list[tuple[str, str, str, str]]:
    found = []
    for options, uri, suite, components in re.findall(
        r"^deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+(\S.*)$", text, re.MULTILINE
    ):
        key = re.search(r"signed-by=(\S+)", options)
        found.append((_signed(key.group(1) if key else ""), uri, suite, components.strip()))
    return found


def _stanzas(text: str) -> list[tuple[str, str, str, str]]:
    found = []
    for stanza in re.split(r"\n\s*\n", text):
        said = dict(re.findall(r"^([\w-]+):\s*(.*)$", stanza, re.MULTILINE))
        if "deb" not in said.get("Types", "").split() or said.get("Enabled", "yes") == "no":
            continue
        for uri in said.get("URIs", "").split():
            for suite in said.get("Suites", "").split():
                found.append((_signed(said.get("Signed-By", "")), uri, suite, said.get("Components", "main")))
    return found


def _signed(key: str) -> str:
    return f"signed-by={key if key.startswith('/') else DEBIAN_KEYS}"
