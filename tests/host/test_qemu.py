"""The short life on qemu by software emulation: made, an address by DHCP, SSH, stopped, deleted; nothing is left."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from demo import dom0, enter, packages
from tests.host.test_life import ROOT, Lxc, on_stage
from tests.lab import kernels
from tests.life.story import live_shortly

pytestmark = pytest.mark.host
CACHE = ROOT / "var" / "cache"
PACKAGE = "linux-image-cloud-amd64"
DRIVERS = ("virtio_pci", "virtio_blk", "virtio_net", "ext4", "crc32c_generic", "button", "evdev")
#: What needs users, groups and daemons of the box's own is off.
QEMU_CONF = """\
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
"""
#: libvirt looks this user up before it reads qemu.conf, whatever stands there, and ends where he is missing.
USER = "libvirt-qemu"
INHABIT = f"""
echo '{USER}:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin' >> /etc/passwd
echo '{USER}:x:64055:' >> /etc/group
"""


class Qemu(Lxc):
    """The same dom0 with libvirt's qemu driver."""

    patience_s = 180.0
    defaults: dict[str, object] = {"memory_mib": 128, "root_mib": 96, "kernel": "vmlinuz-guest"}

    def furnish(self) -> None:
        dom0.furnish(self.layout)
        var = self.layout.var
        host = var / "etc" / "host.toml"
        host.write_text(host.read_text().replace("lxc:///system", "qemu:///system"))
        (var / "libvirt" / "etc" / "qemu.conf").write_text(QEMU_CONF)
        (driver,) = Path("/usr/lib").glob("*/libvirt/connection-driver/libvirt_driver_qemu.so")
        (self.layout.run / "drivers" / driver.name).symlink_to(driver)
        folder = var / "lib" / "kernels"
        folder.mkdir(parents=True)
        _kernel(folder)

    def inhabit(self) -> None:
        enter.run(self.layout, "sh", "-c", INHABIT)


def _kernel(folder: Path) -> None:
    """Debian's small kernel, taken apart, with an initial filesystem of the few drivers a guest needs."""
    newest = packages.fetch(PACKAGE, CACHE)
    depends = subprocess.run(("dpkg-deb", "-f", str(newest), "Depends"), capture_output=True, text=True, check=True)
    package = packages.fetch(depends.stdout.split()[0], CACHE)
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch)
        subprocess.run(("dpkg-deb", "-x", str(package), scratch), check=True)
        if not (tree / "usr/lib/modules").exists():  # Debian 12 has them below /lib
            (tree / "usr").mkdir(exist_ok=True)
            shutil.move(tree / "lib", tree / "usr/lib")
            (tree / "lib").symlink_to("usr/lib")
        (version,) = (path.name for path in (tree / "usr/lib/modules").iterdir())
        subprocess.run(("depmod", "-b", scratch, version), check=True)
        busybox = Path(shutil.which("busybox") or "/bin/busybox").read_bytes()
        (folder / "initrd.img-guest").write_bytes(kernels.initrd(tree, version, busybox, DRIVERS))
        (folder / "vmlinuz-guest").write_bytes((tree / f"boot/vmlinuz-{version}").read_bytes())


def test_a_short_life_on_qemu() -> None:
    with on_stage(Qemu, "q") as stage:
        live_shortly(stage)
