"""How much memory a running domain has, and giving it more or less of it. Called by dom0.domains alone.

lxc: its control group's limit, at once, up and down. Others: the balloon, up to what the domain was started with; the
guest lets go of what it has at its own pace.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from dom0.errors import Refused

LIVE = 1  # VIR_DOMAIN_AFFECT_LIVE
ROUGHLY_MIB = 4  # a hypervisor counts some of its own memory as the guest's
PATIENCE_S = 20.0
POLL_S = 0.1


def now(domain: Any) -> tuple[int, int]:
    """(MiB a running domain has, MiB it may be given while it runs). Raises libvirtError."""
    if _lxc(domain):
        return int(domain.memoryParameters(LIVE)["hard_limit"]) // 1024, _all_mib()
    _, ceiling, has, *_ = domain.info()
    return has // 1024, ceiling // 1024


def give(domain: Any, mib: int) -> str:
    """Have a running domain have so much from now on. Raises Refused where it holds on to more, libvirtError."""
    name, had = domain.name(), now(domain)[0]
    if _lxc(domain):
        _refuse_used(domain, mib)
        domain.setMemoryParameters({"hard_limit": mib * 1024}, LIVE)
    else:
        domain.setMemoryFlags(mib * 1024, LIVE)
        _followed(domain, mib)
    return f"{name} has {mib} MB of memory now, {had} MB before."


def _lxc(domain: Any) -> bool:
    return bool(domain.connect().getType() == "LXC")


def _refuse_used(domain: Any, mib: int) -> None:
    """The older control groups refuse by themselves what they can't reclaim; the newer ones kill for it."""
    used = -(-int(domain.info()[2]) // 1024)
    if Path("/sys/fs/cgroup/cgroup.controllers").exists() and used > mib:
        raise _holds_on(domain.name(), mib, f"it uses {used} MB, what it keeps of files included")


def _followed(domain: Any, mib: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while abs(now(domain)[0] - mib) > ROUGHLY_MIB:
        if time.monotonic() > deadline:
            raise _holds_on(domain.name(), mib, f"it has {now(domain)[0]} MB still, asked {PATIENCE_S:g} s ago")
        time.sleep(POLL_S)


def _holds_on(name: str, mib: int, why: str) -> Refused:
    return Refused(
        f"{name} does not get along with {mib} MB right now: {why}.",
        note=f"It is defined with {mib} MB and has that from its next start. Restart it, or end what uses so much, "
        "then go on.",
    )


def _all_mib() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
