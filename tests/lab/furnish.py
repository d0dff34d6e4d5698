"""`python3 -m tests.lab.furnish ROOT IMAGE OUT PACKAGES WHEELS`: what makes a fresh Debian tree a host of the lab.

A program of its own, in a mount namespace of its own. Nothing is fetched, here or later: the hosts have no way out.
"""

from __future__ import annotations

import gzip
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from demo import tiny
from tests.lab import kernels, recipe
from tests.lab.places import CACHE, INSIDE, KEY, PROJECT
from tests.lab.recipe import Image

ADDRESS, GATEWAY = "10.0.2.15/24", "10.0.2.2"  # qemu's own network
DISK = ("virtio_pci", "virtio_blk", "ext4", "crc32c_generic")
GUEST_DISK = ("xen-blkfront", "xen-netfront", "ext4", "crc32c_generic")
SITE = Path("var/lib/fridu")  # where docs/install.md puts kernels and images
#: Enabled by their packages, and started by docs/install.md's own commands where those want them.
LATER = ("nginx", "postgresql", "redis-server", "libvirt-guests", "xendomains", "dnsmasq", "openvpn")
#: Enabled by Debian 13's packages; where bin/demo installs those itself, it leaves them disabled.
BY_THE_DEMO = (
    *("libvirtd.service", "libvirtd.socket", "libvirtd-ro.socket", "libvirtd-admin.socket"),
    *("virtlogd.service", "virtlogd.socket", "virtlogd-admin.socket"),
)
#: They would begin by themselves in the middle of a test.
TIMERS = ("apt-daily", "apt-daily-upgrade", "dpkg-db-backup", "e2scrub_all", "fstrim", "logrotate", "man-db")
FILES = {
    "etc/fstab": "/dev/vda / ext4 noatime 0 0\n",
    "etc/network/interfaces": f"auto lo\niface lo inet loopback\nauto eth0\niface eth0 inet static\n"
    f"    address {ADDRESS}\n    gateway {GATEWAY}\n",
    "etc/resolv.conf": "nameserver 127.0.0.1\n",
    "etc/ssh/sshd_config.d/lab.conf": "UseDNS no\nPermitRootLogin prohibit-password\n",
    # An emulated processor takes ten times as long as the one systemd thinks of.
    "etc/systemd/system.conf.d/lab.conf": "[Manager]\nDefaultTimeoutStartSec=600s\nDefaultTimeoutStopSec=300s\n",
    # Without xenstored, started by Xen's script, libvirt's Xen driver does not register.
    "etc/systemd/system/libvirtd.service.d/xen.conf": "[Unit]\nAfter=xen.service\nWants=xen.service\n",
}


def main(root: Path, wanted: Image, out: Path, packages: Path, wheels: Path) -> None:
    """Furnish the tree `root` from `packages` and `wheels`; put its kernel and hypervisor into `out`."""
    _run("mount", "-t", "proc", "proc", str(root / "proc"))
    with tempfile.TemporaryDirectory(dir=out) as folder:
        scratch = Path(folder)
        kernel = _unpacked(packages / "linux-image-amd64.deb", scratch)
        busybox = _busybox(root, packages / "busybox-static.deb", scratch)
        version = kernels.install_modules(kernel, root)
        (out / "initrd").write_bytes(kernels.initrd(root, version, busybox, DISK))
        packed = next((kernel / "boot").glob("vmlinuz-*")).read_bytes()
        (out / "vmlinuz").write_bytes(packed)
        _configure(root, wanted)
        _libraries(root, wheels)
        if wanted.xen:
            (out / "vmlinux").write_bytes(kernels.vmlinux(packed))
            (hypervisor,) = (root / "boot").glob("xen-*-amd64.gz")
            (out / "xen").write_bytes(gzip.decompress(hypervisor.read_bytes()))
            _guest(root, busybox, _unpacked(packages / "linux-image-cloud-amd64.deb", scratch))


def _configure(root: Path, wanted: Image) -> None:
    """Name, network, way in, and nothing that starts by itself later."""
    files = {**FILES, "etc/hostname": f"{wanted.name}\n", "etc/hosts": f"127.0.0.1 localhost {wanted.name}\n"}
    for name, text in files.items():
        if "libvirtd" in name and not wanted.xen:
            continue
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(text)
    folder = root / "root/.ssh"
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / "authorized_keys").write_text(KEY.with_suffix(".pub").read_text())
    for name in (*LATER, *(() if wanted.xen else BY_THE_DEMO)):
        subprocess.run(
            ("systemctl", "--quiet", f"--root={root}", "disable", name), stderr=subprocess.DEVNULL, check=False
        )
    for name in TIMERS:
        (root / f"etc/systemd/system/{name}.timer").symlink_to("/dev/null")


def _libraries(root: Path, wheels: Path) -> None:
    """The virtual environment, made inside by the demo's own code, with what was fetched beforehand."""
    project = root / INSIDE.relative_to("/")
    shutil.copytree(PROJECT / "demo", project / "demo", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "requirements.txt", project)
    (project / "deploy").mkdir()
    for name in ("assets.py", "assets.txt"):
        shutil.copy(PROJECT / "deploy" / name, project / "deploy")
    shutil.copytree(wheels, root / "opt/wheels")
    make = f"import sys; sys.path.insert(0, '{INSIDE}'); from demo import layout, venv; venv.ensure(layout.Layout())"
    _run(
        *("chroot", str(root), "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"),
        *("PIP_CONFIG_FILE=/dev/null", "PIP_NO_INDEX=1", "PIP_FIND_LINKS=/opt/wheels", "PIP_NO_CACHE_DIR=1"),
        *("/usr/bin/python3", "-B", "-c", make),
    )
    shutil.rmtree(root / "opt/wheels")


def _guest(root: Path, busybox: bytes, kernel: Path) -> None:
    """What a PV guest starts from: a kernel, its initial filesystem, the tiny image."""
    site = root / SITE
    (site / "kernels").mkdir(parents=True)
    version = kernels.install_modules(kernel, root)
    (site / "kernels/guest-initrd").write_bytes(kernels.initrd(root, version, busybox, GUEST_DISK))
    packed = next((kernel / "boot").glob("vmlinuz-*")).read_bytes()
    (site / "kernels/guest-vmlinux").write_bytes(kernels.vmlinux(packed))
    shutil.rmtree(root / "usr/lib/modules" / version)  # the tiny image needs none
    tiny.build(site / "images/tiny.tar.gz", CACHE)


def _unpacked(package: Path, scratch: Path) -> Path:
    target = scratch / package.stem
    _run("dpkg-deb", "-x", str(package), str(target))
    return target


def _busybox(root: Path, package: Path, scratch: Path) -> bytes:
    """Debian's static busybox; its package stays where the demo inside looks for it."""
    cache = root / INSIDE.relative_to("/") / "var/cache"
    cache.mkdir(parents=True)
    shutil.copy(package, cache / "busybox-static_lab.deb")
    return next(_unpacked(package, scratch).glob("**/bin/busybox")).read_bytes()


def _run(*argv: str) -> None:
    subprocess.run(argv, timeout=1200, check=True)


if __name__ == "__main__":
    ROOT, NAME, OUT, PACKAGES, WHEELS = sys.argv[1:]
    main(Path(ROOT), recipe.image(NAME), Path(OUT), Path(PACKAGES), Path(WHEELS))
