"""What libvirt is told of a machine, by hypervisor; and which kernel may stand in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from xml.etree import ElementTree

import pytest

from dom0.errors import Refused
from dom0.kernel_image import Kernel
from dom0.state import BootFile, Place, State
from machines import definition, plan, render
from machines.specs import BootSpec, MachineSpec
from tests.machines.test_plan import after, compare

GOLDEN = Path(__file__).parents[1] / "golden"
MIB = 1 << 20
VMLINUZ = "/var/lib/fridu/kernels/vmlinuz-6.1.0-amd64"
INITRD = "/var/lib/fridu/kernels/initrd.img-6.1.0-amd64"
GRUB = "/usr/lib/grub-xen/grub-x86_64-xen.bin"
KERNEL = Kernel(kind="bzImage", pv=True, pvh=True, memory_bytes=58 * MIB)


@pytest.fixture
def xen(spec: MachineSpec) -> MachineSpec:
    return replace(
        spec,
        place=replace(spec.place, libvirt="xen:///system"),
        volume_group="vg0",
        swap_mib=64,
        log_mib=32,
        boot=BootSpec(kernel=VMLINUZ, initrd=INITRD),
    )


@pytest.fixture
def qemu(xen: MachineSpec) -> MachineSpec:
    return replace(xen, place=replace(xen.place, libvirt="qemu:///system"), volume_group="", swap_mib=0)


@pytest.fixture
def dom0(bare: State) -> State:
    """The bare host with a volume group, a kernel that Xen starts, and its initrd."""
    group = Place(name="vg0", size_bytes=100 << 30, free_bytes=50 << 30, extent_bytes=4 << 20)
    files = {
        VMLINUZ: BootFile(path=VMLINUZ, size_bytes=8 * MIB, kernel=KERNEL),
        INITRD: BootFile(path=INITRD, size_bytes=30 * MIB, wrong="It is no kernel."),
        GRUB: BootFile(path=GRUB, size_bytes=MIB, kernel=Kernel(kind="ELF", pv=True, pvh=False, memory_bytes=6 * MIB)),
    }
    return replace(bare, places=MappingProxyType({"vg0": group}), kernels=MappingProxyType(files))


@pytest.mark.parametrize("host", ["xen", "qemu"])
def test_the_definition_is_the_one_that_was_started_in_the_lab(host: str, request: pytest.FixtureRequest):
    spec = request.getfixturevalue(host)
    compare(f"../domain-{host}.xml", definition.domain_xml(spec))


def test_each_definition_is_xml_with_our_name_for_the_interface_and_our_digest(xen: MachineSpec, qemu: MachineSpec):
    for spec in (xen, qemu, replace(xen, boot=BootSpec(how="grub", kernel=GRUB))):
        found = ElementTree.fromstring(definition.domain_xml(spec))
        target = found.find("devices/interface/target")
        assert target is not None
        assert target.get("dev") == spec.vif
        noted = found.find(f"metadata/{{{definition.NAMESPACE}}}machine/{{{definition.NAMESPACE}}}definition")
        assert noted is not None
        assert noted.get("digest") == definition.definition_digest(spec)


def test_volumes_are_devices_in_a_group_and_files_in_a_folder(xen: MachineSpec):
    in_files = replace(xen, volume_group="")
    devices = [d.find("source").attrib for d in _disks(xen)]  # type: ignore[union-attr]
    files = [d.find("source").attrib for d in _disks(in_files)]  # type: ignore[union-attr]
    assert devices == [{"dev": f"/dev/vg0/WEB-Dom-{kind}"} for kind in ("root", "swap", "log")]
    assert files == [{"file": f"/var/lib/fridu/volumes/WEB-Dom-{kind}.img"} for kind in ("root", "swap", "log")]
    assert [d.find("target").get("dev") for d in _disks(xen)] == ["xvda", "xvdb", "xvdc"]  # type: ignore[union-attr]


def test_a_log_volume_keeps_its_name_without_swap(xen: MachineSpec):
    spec = replace(xen, swap_mib=0)
    assert [d.find("target").get("dev") for d in _disks(spec)] == ["xvda", "xvdc"]  # type: ignore[union-attr]
    assert definition.fstab(spec).splitlines()[-1] == "/dev/xvdc /var/log ext4 noatime,nofail 0 2"


def test_grub_finds_kernel_and_root_by_itself(xen: MachineSpec):
    text = definition.domain_xml(replace(xen, boot=BootSpec(how="grub", kernel=GRUB)))
    assert f"<kernel>{GRUB}</kernel>" in text
    assert "cmdline" not in text
    assert "initrd" not in text


def test_a_machine_with_a_kernel_of_its_own_mounts_its_volumes_itself(xen: MachineSpec, spec: MachineSpec):
    assert definition.fstab(xen) == (
        "/dev/xvda / ext4 noatime,errors=remount-ro 0 1\n"
        "/dev/xvdb none swap nofail 0 0\n"
        "/dev/xvdc /var/log ext4 noatime,nofail 0 2\n"
    )
    assert "/dev/xvdb none swap" in render.tuning(xen)
    assert "mounted by the host" in render.tuning(spec)


# Its kernel


def test_a_plan_names_the_kernel_and_looks_at_it_again_right_before_the_start(xen: MachineSpec, dom0: State):
    made = plan.plan_create(xen, dom0)
    start = made.steps[-1]
    assert start.title == "Start WEB-Dom with vmlinuz-6.1.0-amd64"
    assert start.relies_on == (("kernels", VMLINUZ), ("kernels", INITRD))
    assert plan.looked_at(xen)["kernels"] == (VMLINUZ, INITRD)
    assert plan.plan_create(xen, after(made, dom0)).steps == ()


def test_an_lxc_machine_shares_the_hosts_kernel_and_needs_none(spec: MachineSpec, bare: State):
    assert plan.looked_at(spec)["kernels"] == ()
    assert plan.plan_create(spec, bare).steps[-1].relies_on == ()


Change = Callable[[MachineSpec, State], tuple[MachineSpec, State]]


def _without(path: str) -> Change:
    return lambda spec, state: (spec, state.without("kernels", path))


def _booting(**boot: str) -> Change:
    return lambda spec, state: (replace(spec, boot=BootSpec(**boot)), state)


def _kernel(**facts: object) -> Change:
    wrong = BootFile(path=VMLINUZ, size_bytes=9, **facts)  # type: ignore[arg-type]
    return lambda spec, state: (spec, state.having("kernels", VMLINUZ, wrong))


REFUSED: list[tuple[Change, str, str]] = [
    (_without(VMLINUZ), f"kernel {VMLINUZ} is missing on ns3100421", "kernels folder"),
    (_without(INITRD), f"kernel {INITRD} is missing", "kernels folder"),
    (_booting(), "none is chosen for it, and ns3100421 has no default", "kernels folder"),
    (_booting(how="image"), "fridu image kernel tiny KERNEL", "kernels folder"),
    (_kernel(wrong="vmlinuz-6.1.0-amd64 is not a kernel."), "is not a kernel", "kernels folder"),
    (_kernel(kernel=replace(KERNEL, pv=False)), "has no Xen entry", "CONFIG_XEN_PV"),
    (lambda spec, state: (replace(spec, memory_mib=64), state), "does not fit into 64 MB", "104 MB or more"),
    (
        lambda spec, state: _booting(how="grub", kernel="/gone.bin")(spec, state),
        "/gone.bin is missing",
        "grub-xen-host",
    ),
]


@pytest.mark.parametrize(("change", "says", "note"), REFUSED)
@pytest.mark.parametrize("planner", ["create", "start", "reboot"])
def test_a_kernel_it_could_not_start_is_refused_before_anything_is_changed(
    planner: str, change: Change, says: str, note: str, xen: MachineSpec, dom0: State
):
    state = dom0
    if planner != "create":
        state = after(plan.plan_create(xen, dom0), dom0)
        state = after(plan.plan_stop(xen, state), state)
    spec, state = change(xen, state)
    made = {
        "create": plan.plan_create,
        "start": plan.plan_start,
        "reboot": lambda spec, state: plan.plan_reboot(spec, state, "job-7"),
    }[planner]
    with pytest.raises(Refused) as refused:
        made(spec, state)
    assert says in refused.value.message
    assert note in refused.value.note


def test_grub_starts_under_xen_only(qemu: MachineSpec, dom0: State):
    with pytest.raises(Refused, match="inside Xen's guests only"):
        plan.plan_create(replace(qemu, boot=BootSpec(how="grub", kernel=GRUB)), dom0)


def _disks(spec: MachineSpec) -> list[ElementTree.Element]:
    return ElementTree.fromstring(definition.domain_xml(spec)).findall("devices/disk")
