"""What a new machine gets besides its name and address, and how the site's defaults fill it in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict, cast

from hosts.models import Host
from machines.models import SiteDefaults
from machines.size_checks import shares_kernel

SIZES = ("memory_mib", "root_mib", "vcpus", "volume_group", "swap_mib", "log_mib", "filesystem", "boot", "kernel")
DEFAULTS = ("image", *SIZES, "stages")


class Sizes(TypedDict, total=False):
    """By field of Machine; what is missing or None comes from the site's defaults. Sizes in MiB."""

    memory_mib: int | None
    root_mib: int | None
    vcpus: int | None
    volume_group: str | None
    swap_mib: int | None
    log_mib: int | None
    filesystem: str | None
    boot: str | None
    kernel: str | None
    autostart: bool | None
    start_order: int | None


def settled(host: Host, defaults: SiteDefaults, sizes: Sizes) -> dict[str, Any]:
    """Each of them decided. A kernel of the defaults goes with their boot, and no lxc machine has one."""
    given = {field: value for field, value in sizes.items() if value is not None}
    found = {field: getattr(defaults, field) for field in SIZES} | given
    if "boot" in given and given["boot"] != defaults.boot and "kernel" not in given:
        found["kernel"] = ""
    if shares_kernel(host) and "kernel" not in given:
        found["kernel"] = ""
    return found


def stages(defaults: SiteDefaults, own: Mapping[str, str]) -> dict[str, str]:
    """What is to become of each stage: the machine's own word before the site's; "yes" is not noted."""
    site = {} if "only" in own.values() else cast("dict[str, str]", defaults.stages)
    return {stage: mode for stage, mode in {**site, **own}.items() if mode != "yes"}


def in_words(defaults: SiteDefaults) -> dict[str, Any]:
    """The defaults as the log keeps them."""
    return {"image": defaults.image.name if defaults.image else None} | {
        field: getattr(defaults, field) for field in (*SIZES, "stages")
    }
