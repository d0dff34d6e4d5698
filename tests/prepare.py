"""`python3 -m tests.prepare`: what the tests need beyond the demo, installed where it is missing. Stdlib only.

PostgreSQL's package brings a service: its start is refused while it is installed, and its unit left disabled.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from demo import packages, venv
from demo.layout import Layout, Problem

NEEDED = {
    **packages.NEEDED,
    "busybox-static": "a DHCP client for the zones' tests",
    "chromium": "the browser tests",
    "iputils-ping": "echo requests",
    "postgresql": "the database tests",
    "procps": "the host tests",
}
POLICY = Path("/usr/sbin/policy-rc.d")


def main() -> int:
    try:
        with _no_service_starts():
            packages.install(yes=True, needed=NEEDED)
        if shutil.which("systemctl"):
            subprocess.run(("systemctl", "disable", "--quiet", "postgresql"), check=False, timeout=60)
        venv.ensure(Layout(), requirements="requirements-dev.txt")
    except Problem as problem:
        print(f"bin/test: {problem}", file=sys.stderr)
        return 1
    return 0


@contextlib.contextmanager
def _no_service_starts() -> Iterator[None]:
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


if __name__ == "__main__":
    sys.exit(main())
