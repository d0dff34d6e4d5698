"""The four hosts of the lab, and the digest that says whether a frozen one still fits."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from tests.lab.recipe import digest


@dataclass(frozen=True, kw_only=True)
class Tier:
    """A way to run an image: with or without the hypervisor, with how much."""

    name: str
    says: str
    image: str
    xen: bool = False
    memory_mib: int = 1536
    dom0_mib: int = 768
    processors: int = 1
    data_gib: int = 8  # a second, empty disk, /dev/vdb
    ready: tuple[str, ...] = ()  # shell lines run once before it is frozen


_GROUP = "pvcreate -q /dev/vdb && vgcreate -q vg0 /dev/vdb"
TIERS = {
    tier.name: tier
    for tier in (
        Tier(
            name="xen",
            says="a Xen dom0 with libvirt on xen:///system and a volume group, vg0",
            image="dom0",
            xen=True,
            memory_mib=3072,
            dom0_mib=1536,
            ready=(_GROUP, "timeout 60 virsh -c xen:///system list", "timeout 60 xl info"),
        ),
        Tier(name="lvm", says="the same host without Xen: a volume group, vg0", image="dom0", ready=(_GROUP,)),
        Tier(name="debian12", says="Debian 12 with systemd and cgroup v2", image="debian12", processors=2),
        Tier(name="debian13", says="Debian 13 with systemd and cgroup v2", image="debian13", processors=2),
    )
}


def frozen_digest(tier: Tier, image_digest: str, emulator: str, argv: tuple[str, ...]) -> str:
    """Changes when the frozen state would not fit any more. `emulator` is qemu's version, `argv` how it is started."""
    return digest(asdict(tier), image_digest, emulator, argv)
