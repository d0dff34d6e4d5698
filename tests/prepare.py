"""`python3 -m tests.prepare`: what the tests need beyond the demo, installed where it is missing. Stdlib only.

PostgreSQL's package brings a service, which is neither started nor left enabled (demo/units.py).
"""

from __future__ import annotations

import sys

from demo import packages, venv
from demo.layout import Layout, Problem

NEEDED = {
    **packages.NEEDED,
    "busybox-static": "a DHCP client for the zones' tests",
    "chromium": "the browser tests",
    "iputils-ping": "echo requests",
    "kmod": "kernels taken apart",
    "libvirt-daemon-driver-qemu": "a machine on qemu",
    "lz4": "packed kernels",
    "mmdebstrap": "Debian 12 and 13 for machines",
    "postgresql": "the database tests",
    "procps": "the host tests",
    "qemu-system-x86": "a machine on qemu, by emulation",
    "xz-utils": "packed kernels",
    "zstd": "packed kernels",
}


def main() -> int:
    try:
        packages.install(yes=True, needed=NEEDED)
        venv.ensure(Layout(), requirements="requirements-dev.txt")
    except Problem as problem:
        print(f"bin/test: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
