"""Services that packages bring: not started while these are installed, left disabled afterwards.

Debian 12 has the programs without services; on 13 libvirt's daemon comes with its own. Services that were
enabled before stay as they were, running or not.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

ETC = Path("/etc")
POLICY = Path("/usr/sbin/policy-rc.d")


@contextlib.contextmanager
def none_new() -> Iterator[None]:
    """Around an installation: whatever it enables is disabled at its end, even where it fails half-way."""
    units, scripts = _units(), _scripts()
    try:
        with _starts_refused():
            yield
    finally:
        for unit in sorted(_units() - units):
            _run("systemctl", "disable", "--quiet", "--now", unit)
        for script in sorted(_scripts() - scripts):
            _run("update-rc.d", script, "disable")


def _units() -> set[str]:
    """Enabled systemd units, by their links: also where systemd is installed and not running."""
    return {link.name for link in (ETC / "systemd" / "system").glob("*.wants/*")}


def _scripts() -> set[str]:
    """Start scripts that a box without systemd would run at boot."""
    return {link.name[3:] for link in ETC.glob("rc[2-5].d/S[0-9][0-9]*")}


def _run(*argv: str) -> None:
    if shutil.which(argv[0]):
        subprocess.run(argv, capture_output=True, timeout=120, check=False)


@contextlib.contextmanager
def _starts_refused() -> Iterator[None]:
    """Debian's own way to say that no package may start a daemon; one that is there already stays as it is."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()
