"""The sample's WEB-Dom as a spec, and hosts in the states a plan may meet."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest

from dom0.state import Golden, Link, State
from machines.specs import ImageSpec, MachineSpec, PlaceSpec, ZoneSpec

DIGEST = "5d" * 32
PLACE = PlaceSpec(
    host="ns3100421",
    libvirt="lxc:///system",
    volumes="/var/lib/fridu/volumes",
    state="/var/lib/fridu/state",
    run="/run/fridu",
    python="/usr/bin/python3",
    project="/srv/fridu",
)
ZONE = ZoneSpec(name="zDominig", bridge="xen-br2", gateway="10.10.2.1", domain="dominig.internal")
TINY = ImageSpec(name="tiny", archive="tiny.tar.gz", digest=DIGEST, family="tiny", min_root_mib=32)


@pytest.fixture
def spec() -> MachineSpec:
    return MachineSpec(
        place=PLACE,
        zone=ZONE,
        image=TINY,
        name="WEB-Dom",
        uuid="6f1d7a52-6d4c-4a53-9a3b-0f6a9c1f4e10",
        address="10.10.2.2",
        mac="aa:bb:cc:0a:02:02",
        vif="fr10020202",
        uid_base=1_048_576,
        vcpus=1,
        memory_mib=128,
        root_mib=256,
        keys=("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDominig",),
    )


@pytest.fixture
def debian(spec: MachineSpec) -> MachineSpec:
    image = replace(TINY, name="bookworm", archive="bookworm.tar.zst", family="debian", min_root_mib=512)
    return replace(spec, image=image, root_mib=2048)


@pytest.fixture
def bare() -> State:
    """A host with the zone's bridge and the image's golden filesystem, and nothing of the machine."""
    bridge = Link(name="xen-br2", up=True, kind="bridge", addresses=("10.10.2.1/24",))
    golden = Golden(digest=DIGEST, path=f"/var/lib/fridu/golden/{DIGEST}.ext4", size_bytes=14 << 20)
    return State(
        host="ns3100421",
        links=MappingProxyType({"xen-br2": bridge}),
        goldens=MappingProxyType({DIGEST: golden}),
        archives=MappingProxyType({"tiny.tar.gz": 3_000_000, "bookworm.tar.zst": 90_000_000}),
        free_bytes=10 << 30,
        free_memory_mib=4096,
    )
