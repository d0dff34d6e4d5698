"""What the lab's hosts are made of. These wake none, and run with all other tests."""

from __future__ import annotations

import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from demo.layout import Problem
from tests.lab import kernels, recipe, sources, tiers
from tests.lab.conftest import asked_for

BOX = "PRETTY_NAME=Debian\nVERSION_CODENAME=bookworm\n"
KEY = "/usr/share/keyrings/debian-archive-keyring.gpg"


@pytest.fixture
def box(tmp_path: Path) -> Path:
    (tmp_path / "os-release").write_text(BOX)
    (tmp_path / "sources.list.d").mkdir()
    return tmp_path


def _lines(box: Path, suite: str) -> list[str]:
    return sources.lines(suite, apt=box, os_release=box / "os-release")


def test_the_boxs_own_sources_are_used_for_another_release(box: Path) -> None:
    (box / "sources.list").write_text(
        "# a comment\ndeb-src http://mirror.example/debian bookworm main\n"
        "deb [arch=amd64 signed-by=/etc/key.gpg] http://mirror.example/debian bookworm main contrib\n"
        "deb http://mirror.example/security bookworm-security main\n"
        "deb http://other.example/tools stable main\n"
    )
    assert _lines(box, "trixie") == [
        "deb [signed-by=/etc/key.gpg] http://mirror.example/debian trixie main contrib",
        f"deb [signed-by={KEY}] http://mirror.example/security trixie-security main",
    ]


def test_stanzas_are_read_and_what_is_switched_off_is_left_out(box: Path) -> None:
    (box / "sources.list.d" / "debian.sources").write_text(
        "Types: deb deb-src\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\nComponents: main\n"
        f"Signed-By: {KEY}\n\nEnabled: no\nTypes: deb\nURIs: http://off.example\nSuites: bookworm\nComponents: main\n"
    )
    assert _lines(box, "bookworm") == [
        f"deb [signed-by={KEY}] http://mirror.example/debian bookworm main",
        f"deb [signed-by={KEY}] http://mirror.example/debian bookworm-updates main",
    ]


def test_a_box_without_sources_of_its_own_release_is_told_so(box: Path) -> None:
    (box / "sources.list").write_text("deb http://other.example/tools stable main\n")
    with pytest.raises(Problem, match="names no package source for bookworm"):
        _lines(box, "trixie")


def test_the_xen_hosts_packages_are_those_of_the_installation() -> None:
    listed = recipe.installed_by_the_docs()
    of_xen = {"xen-system-amd64", "libvirt-daemon-driver-xen", "grub-xen-host", "lvm2"}
    assert of_xen | {"postgresql", "nginx"} <= set(listed)
    assert not [word for word in listed if not word[0].isalnum()]
    assert set(listed) < set(recipe.image("dom0").packages)


def test_without_xen_in_the_installation_there_is_no_xen_host() -> None:
    with pytest.raises(Problem, match="names no packages for a Xen dom0"):
        recipe.installed_by_the_docs("## 1. Packages\n\n    apt-get install git\n\n## 2. More\n")


def test_another_package_makes_another_image_and_that_another_frozen_state() -> None:
    wanted = recipe.image("debian13")
    other = replace(wanted, packages=(*wanted.packages, "zsh"))
    before, after = (recipe.image_digest(each, "key") for each in (wanted, other))
    assert before != after
    tier = tiers.TIERS["debian13"]
    frozen = {
        tiers.frozen_digest(tier, before, "7.2", ("qemu", "-m", "64")),
        tiers.frozen_digest(tier, after, "7.2", ("qemu", "-m", "64")),
        tiers.frozen_digest(tier, before, "10.0", ("qemu", "-m", "64")),
        tiers.frozen_digest(tier, before, "7.2", ("qemu", "-m", "96")),
        tiers.frozen_digest(replace(tier, ready=("true",)), before, "7.2", ("qemu", "-m", "64")),
    }
    assert len(frozen) == 5
    assert recipe.image_digest(wanted, "key") == before


def _bzimage(payload: bytes) -> bytes:
    """A boot sector, one sector of setup, and the payload with its size, as the kernel's build lays them out."""
    head = bytearray(1024)
    head[0x1F1] = 1
    struct.pack_into("<II", head, 0x248, 0, len(payload) + 4)
    return bytes(head) + payload + struct.pack("<I", 0)


@pytest.mark.parametrize("packer", ["xz", "gzip", "lz4 -l", "zstd"])
def test_a_packed_kernel_is_taken_out_whatever_packed_it(packer: str) -> None:
    kernel = b"\x7fELF" + bytes(5000)
    packed = subprocess.run((*packer.split(), "-c"), input=kernel, capture_output=True, check=True, timeout=20).stdout
    assert kernels.vmlinux(_bzimage(packed)) == kernel


def test_what_is_no_kernel_is_refused() -> None:
    with pytest.raises(Problem, match="can't undo"):
        kernels.vmlinux(_bzimage(b"MZ nothing of ours"))


def test_an_initial_filesystem_loads_a_module_after_those_it_needs(tmp_path: Path) -> None:
    folder = tmp_path / "usr/lib/modules/6.1"
    folder.mkdir(parents=True)
    (folder / "modules.builtin").write_text("kernel/fs/ext4/ext4.ko\n")
    (folder / "modules.dep").write_text("k/virtio_blk.ko: k/virtio.ko k/ring.ko\nk/ring.ko:\nk/virtio.ko: k/ring.ko\n")
    (folder / "k").mkdir()
    for name in ("virtio_blk", "virtio", "ring"):
        (folder / "k" / f"{name}.ko").write_bytes(name.encode())
    archive = tmp_path / "initrd"
    archive.write_bytes(kernels.initrd(tmp_path, "6.1", b"busybox", ("virtio-blk", "ext4")))
    unpacked = subprocess.run(
        ("busybox", "cpio", "-i", "--to-stdout", "modules"), stdin=archive.open("rb"), capture_output=True, check=True
    )
    assert unpacked.stdout == b"ring.ko\nvirtio.ko\nvirtio_blk.ko\n"


@pytest.mark.parametrize(
    ("expression", "asked"),
    [("", False), ("not host", False), ("not lab", False), ("lab", True), ("lab and not host", True)],
)
def test_hosts_are_woken_only_when_asked_for(expression: str, asked: bool) -> None:
    assert asked_for(expression) is asked


def test_this_very_run_holds_the_labs_tests_only_if_it_was_asked_for(request: pytest.FixtureRequest) -> None:
    held = [item for item in request.session.items if item.get_closest_marker("lab")]
    assert not held or asked_for(request.config.option.markexpr)
