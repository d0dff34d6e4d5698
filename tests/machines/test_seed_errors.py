"""The seed's own list of what breaks a creation ("Hoop! it's not working"), each with its sentence and its way out.

What the panel knows is said before there is a job; what only the host knows, by its plan before anything is changed.
What lies on volumes is looked at once more right before it would be overwritten: tests/host/test_seed_errors.py.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest

from dom0.errors import Refused
from dom0.kernel_image import Kernel
from dom0.state import BootFile, Domain, Place, State, Volume
from machines import modes
from machines.models import Machine
from machines.plan_create import plan_create
from machines.specs import BootSpec, MachineSpec
from tests.cli.conftest import run, worker  # noqa: F401

ROOT = "vg0/WEB-Dom-root"
KERNEL = "/var/lib/fridu/kernels/vmlinuz-6.1.0-amd64"


@pytest.fixture
def wished(spec: MachineSpec) -> MachineSpec:
    return replace(spec, volume_group="vg0")


@pytest.fixture
def dom0(bare: State) -> State:
    group = Place(name="vg0", size_bytes=1 << 30, free_bytes=1 << 30, extent_bytes=4 << 20)
    return bare.having("places", "vg0", group)


def refused(spec: MachineSpec, state: State, **chosen: str) -> tuple[str, str]:
    """What is said instead of a plan: message and note."""
    with pytest.raises(Refused) as error:
        plan_create(spec, state, modes.read(chosen), "job-1")
    return error.value.message, error.value.note


def volume(spec: MachineSpec, **facts: object) -> Volume:
    bare = Volume(name=ROOT, path=f"/dev/{ROOT}", size_bytes=256 << 20, machine=spec.uuid)
    return replace(bare, **facts)  # type: ignore[arg-type]


def test_the_logical_volume_exists(wished: MachineSpec, dom0: State):
    """Seed: Logical volume "xen-test-root" already exists in volume group."""
    for machine, whose in (("", "was not made by Fridu"), ("another", "belongs to another machine")):
        there = dom0.having("volumes", ROOT, volume(wished, machine=machine))
        assert refused(wished, there, lvmcreate="force") == (
            f"There is a volume {ROOT} (/dev/{ROOT}) on ns3100421 that {whose}.",
            "Nothing was changed. Choose another name, or move that volume away.",
        )


@pytest.mark.parametrize(
    ("content", "what"),
    [("ext3", "ext3"), ("swap", "swap space"), ("other", "something that is no ext3, ext4 or swap")],
)
def test_it_is_already_formatted(content: str, what: str, wished: MachineSpec, dom0: State):
    """Seed: already formated user 'fscreate=force'."""
    there = dom0.having("volumes", ROOT, volume(wished, content=content))
    message, note = refused(wished, there, installroot="no", tuneroot="no", start="no")
    assert message == f"/dev/{ROOT} is already formatted: it holds {what}."
    assert "fscreate=no" in note
    assert "fscreate=force" in note


def test_it_already_holds_a_distribution(wished: MachineSpec, dom0: State):
    """Seed: Logical dev contains a distribution. Note: Bypass root install or force reinstallation."""
    there = dom0.having("volumes", ROOT, volume(wished, content="ext4", root=f"{'9' * 64}:1", tuned="a/b/c"))
    message, note = refused(wished, there)
    assert message == f"/dev/{ROOT} already holds a distribution."
    assert "installroot=no" in note
    assert "installroot=force" in note


def test_the_bridge_is_missing(wished: MachineSpec, dom0: State):
    message, note = refused(wished, dom0.without("links", "xen-br2"))
    assert message == "The bridge xen-br2 of zone zDominig is not on ns3100421."
    assert "Apply zone zDominig first" in note


def test_the_name_is_known_to_the_hypervisor(wished: MachineSpec, dom0: State):
    other = Domain(name="WEB-Dom", uuid="0" * 32, running=True)
    message, note = refused(wished, dom0.having("domains", "WEB-Dom", other))
    assert message == "libvirt on ns3100421 knows another machine called WEB-Dom already."
    assert "Choose another name" in note


def xen(spec: MachineSpec) -> MachineSpec:
    return replace(spec, place=replace(spec.place, libvirt="xen:///system"), boot=BootSpec(kernel=KERNEL))


def test_the_kernel_is_missing(wished: MachineSpec, dom0: State):
    message, note = refused(replace(xen(wished), boot=BootSpec()), dom0)
    assert message == "WEB-Dom has no kernel to start: none is chosen for it, and ns3100421 has no default."
    assert "kernels folder" in note
    message, note = refused(xen(wished), dom0)
    assert message == f"WEB-Dom's kernel {KERNEL} is missing on ns3100421."
    assert "kernels folder" in note


def test_the_kernel_is_none_or_the_machine_too_small_for_it(wished: MachineSpec, dom0: State):
    nothing = BootFile(path=KERNEL, size_bytes=9, wrong=f"{KERNEL} is no kernel.")
    message, note = refused(xen(wished), dom0.having("kernels", KERNEL, nothing))
    assert message == f"WEB-Dom can't start: {KERNEL} is no kernel."
    assert "kernels folder" in note
    large = BootFile(path=KERNEL, size_bytes=9, kernel=Kernel(kind="bzImage", pv=True, pvh=True, memory_bytes=60 << 20))
    message, _ = refused(replace(xen(wished), memory_mib=64), dom0.having("kernels", KERNEL, large))
    assert "64 MB" in message


def test_there_is_not_enough_space_or_memory(wished: MachineSpec, dom0: State):
    full = dom0.having("places", "vg0", replace(dom0.places["vg0"], free_bytes=100 << 20))
    message, note = refused(replace(wished, log_mib=8), full)
    assert message.startswith(
        "WEB-Dom's root of 256 MB and log of 8 MB do not fit: 100 MB are free in the volume group"
    )
    assert "Choose a smaller root" in note
    message, _ = refused(replace(wished, volume_group=""), replace(dom0, free_bytes=100 << 20))
    assert message == "WEB-Dom's root of 256 MB does not fit: 100 MB are free for volumes on ns3100421."
    message, note = refused(wished, replace(dom0, free_memory_mib=100))
    assert message == "WEB-Dom wants 128 MB of memory; 100 MB are free on ns3100421."
    assert "Stop another machine" in note
    message, note = refused(replace(wished, root_mib=16), dom0)
    assert message == "tiny needs a root of 32 MB; WEB-Dom has 16 MB."
    assert "32 MB or more" in note


def test_the_distribution_is_not_found(wished: MachineSpec, dom0: State):
    gone = replace(dom0, goldens=MappingProxyType({}), archives=MappingProxyType({}))
    message, note = refused(wished, gone)
    assert message == "The archive tiny.tar.gz of tiny is missing on ns3100421."
    assert "images folder" in note


def test_the_volume_group_is_missing(wished: MachineSpec, dom0: State):
    message, note = refused(wished, dom0.without("places", "vg0"))
    assert message == "The volume group vg0 is missing on ns3100421."
    assert "lvmvg=" in note


# Said before there is a job


@pytest.fixture
def fatal(run, zones, image):  # noqa: F811
    """What `fridu create …` answers, having saved nothing."""

    def said(line: str) -> str:
        before = Machine.objects.count()
        code, text = run(f"create {line}")
        assert code in (1, 2)
        assert text.startswith("FATAL ")
        assert "\nNote: " in text
        assert Machine.objects.count() == before
        return text

    return said


@pytest.mark.django_db
def test_the_address_is_used_by_another_name(fatal, web_dom):
    """Seed: IP=10.10.12.1 already used by xen-br0 in /etc/hosts."""
    text = fatal("vmname=xen-test vmip=10.10.2.2")
    assert "vmip: WEB-Dom has 10.10.2.2 already. Free and next to it: 10.10.2.3." in text
    text = fatal("vmname=xen-test vmip=10.10.2.1")
    assert "10.10.2.1 is zDominig's gateway, dom0 itself." in text


@pytest.mark.django_db
def test_the_address_is_missing(fatal):
    """Seed: missing vmip, FATAL madatory comamnd line option missing."""
    assert "create needs vmip, for example: fridu create vmname=xen-test vmip=10.10.1.4" in fatal("vmname=xen-test")
    assert "vmip=10.10 is no address" in fatal("vmname=xen-test vmip=10.10")


@pytest.mark.django_db
def test_the_address_is_outside_the_zones_subnet(fatal):
    text = fatal("vmname=xen-test vmip=10.10.12.4 zone=zDominig")
    assert "vmip: 10.10.12.4 is not in zone zDominig (10.10.2.0/24). Free there: 10.10.2.2." in text
    text = fatal("vmname=xen-test vmip=10.10.12.4")
    assert "No zone holds 10.10.12.4." in text
    assert "The zones are" in text


@pytest.mark.django_db
def test_the_name_is_known_elsewhere(fatal, web_dom):
    text = fatal("vmname=web-dom vmip=10.10.2.9")
    assert "vmname: WEB-Dom exists already, at 10.10.2.2. Choose another name, for example web-dom2." in text
    assert "ns3100421 already means something else on this network." in fatal("vmname=ns3100421 vmip=10.10.2.9")


@pytest.mark.django_db
def test_the_host_has_said_that_there_is_not_enough(fatal, host):
    host.figures = {"free_bytes": 100 << 20, "free_memory_mib": 50, "places": {}}
    host.save()
    text = fatal("vmname=xen-test vmip=10.10.2.9 vmlog=10")
    assert "vmroot: root and log take 138 MB together, more than the 100 MB free for volumes." in text
    assert "vmram: 64 MB are more than the 50 MB free on ns3100421. Use 50 or less." in text


@pytest.mark.django_db
def test_distribution_volume_group_and_kernel_are_chosen_from_what_there_is(fatal, host):
    text = fatal("vmname=xen-test vmip=10.10.2.9 image=opensuse-102")
    assert "ns3100421 has no image called opensuse-102." in text
    assert "It has tiny." in text
    text = fatal("vmname=xen-test vmip=10.10.2.9 lvmvg=SATA-160GA")
    assert "lvmvg: ns3100421's host file names no volume group SATA-160GA. It names none" in text
    host.facts |= {"libvirt": "xen:///system", "volume_groups": ["vg0", "vg1"]}
    host.figures = {"places": {"vg0": {"size_bytes": 9, "free_bytes": 1 << 40}}, "kernels": [{"name": "vmlinuz-6.1"}]}
    host.save()
    assert "lvmvg: The volume group vg1 is missing on ns3100421." in fatal("vmname=x vmip=10.10.2.9 lvmvg=vg1")
    text = fatal("vmname=xen-test vmip=10.10.2.9 lvmvg=vg0 kernel=vmlinuz-2.6")
    assert "kernel: There is no kernel vmlinuz-2.6 in ns3100421's kernels folder. It has vmlinuz-6.1." in text


@pytest.mark.django_db
def test_an_lxc_machine_gets_no_swap_and_no_kernel_and_hears_why(fatal):
    text = fatal("vmname=xen-test vmip=10.10.2.9 vmswap=64 kernel=vmlinuz-6.1")
    assert "vmswap: An lxc machine shares the host's memory and swap" in text
    assert "kernel: An lxc machine runs on ns3100421's own kernel." in text
