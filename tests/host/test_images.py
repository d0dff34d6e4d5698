"""An image's life by real jobs: a file of the imports folder becomes one, its kernel comes out, it is deleted."""

from __future__ import annotations

import gzip
import io
import os
import socket
import stat
import tarfile
from pathlib import Path

import pytest

from audit.log import Actor
from dom0 import golden, image_files
from dom0 import host as host_file
from dom0.errors import Refused
from hosts import work
from hosts.models import Job
from hosts.services import job_approve
from machines import image_services
from machines.models import Image
from tests.dom0.test_kernels import bzimage, vmlinux

pytestmark = [pytest.mark.host, pytest.mark.django_db]
FILES = {
    "./etc/os-release": b'ID=alpine\nPRETTY_NAME="Alpine Linux v3.20"\nVERSION_ID=3.20.1\n',
    "./sbin/ifup": b"",
    "./boot/vmlinuz-lts": bzimage(gzip.compress(vmlinux())),
    "./boot/initramfs-lts": b"initramfs",
}


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host):
    folders = {name: tmp_path / name for name in ("volumes", "images", "golden", "kernels", "imports", "state", "run")}
    lines = [f'name = "{host.name}"', 'libvirt = "lxc:///system"', *(f'{n} = "{p}"' for n, p in folders.items())]
    (tmp_path / "host.toml").write_text("\n".join(lines))
    monkeypatch.setenv("FRIDU_HOST_TOML", str(tmp_path / "host.toml"))
    folders["imports"].mkdir()
    return host_file.load()


@pytest.fixture
def actor(fulup) -> Actor:
    return Actor(id=fulup.pk, name="fulup")


def archive(config, files: dict[str, bytes]) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    (Path(config.imports) / "alpine.tar.gz").write_bytes(out.getvalue())


def asked(config, host, actor: Actor) -> Job:
    host.figures = {"imports": image_files.offered(config)}
    host.save()
    return image_services.image_import(actor, host=host, name="alpine", file="alpine.tar.gz")


def run(job: Job) -> Job:
    work.run(job.pk)
    job.refresh_from_db()
    return job


def left(config) -> list[str]:
    rooms = (config.images, config.golden, config.kernels, config.imports)
    return [str(p) for room in rooms if Path(room).is_dir() for p in Path(room).iterdir()]


def test_a_file_becomes_an_image_that_knows_its_family_and_size(config, host, actor):
    archive(config, FILES)
    job = run(asked(config, host, actor))
    image = Image.objects.get()
    assert (job.state, job.message) == ("done", "")
    assert (image.family, image.facts["distribution"]) == ("alpine", "Alpine Linux v3.20")
    assert image.facts["kernels"] == ["vmlinuz-lts"]
    assert image.facts["tools"] == ["ifupdown"]
    assert image.min_root_mib == -(-Path(golden.path_of(config, image.digest)).stat().st_size >> 20)
    assert list(Path(config.imports).iterdir()) == []
    again = Job.objects.create(
        kind="image.make", host=host, title="again", target_kind="image", target_id=image.pk,
        target_text="alpine", actor_id=actor.id, args=job.args,
    )  # fmt: skip
    assert run(again).state == "nothing"


def test_its_kernel_comes_out_and_the_image_goes_without_a_trace(config, host, actor):
    archive(config, FILES)
    run(asked(config, host, actor))
    image = Image.objects.get()
    job = run(image_services.image_kernel(actor, image, "vmlinuz-lts"))
    assert (job.state, job.message) == ("done", "")
    names = {p.name for p in Path(config.kernels).iterdir() if not p.name.startswith(".")}
    assert names == {"alpine-vmlinuz-lts", "alpine-initramfs-lts"}
    job = run(image_services.image_delete(actor, image))
    assert job.state == "planned"
    job_approve(actor, job, job.digest)
    assert (run(job).state, Image.objects.count()) == ("done", 0)
    assert [p for p in left(config) if not p.startswith(config.kernels)] == []


def test_a_hostile_file_is_refused_and_makes_no_image(config, host, actor):
    archive(config, {**FILES, "../../victim": b"x"})
    job = run(asked(config, host, actor))
    assert job.state == "refused"
    assert "“../../victim” leads out of the archive" in job.message
    assert Image.objects.get().digest == ""
    assert [p for p in left(config) if p.endswith((".ext4", ".making", ".json"))] == []


@pytest.mark.parametrize("kind", ["link", "fifo", "socket", "folder", "device"])
def test_nothing_but_a_plain_file_is_taken_from_the_imports_folder(config, kind):
    path = Path(config.imports) / "shadow.tar"
    if kind == "link":
        path.symlink_to("/etc/shadow")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    elif kind == "folder":
        path.mkdir()
    else:
        os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 5))
    with pytest.raises(Refused, match="is not a regular file"):
        image_files.take(config, "shadow.tar", "shadow.tar")
    assert not list(Path(config.images).glob("*shadow*"))
    assert not list(Path(config.images).glob(".shadow*"))


def test_what_was_left_of_a_take_that_was_killed_is_written_anew_and_no_link_is_followed(config, tmp_path):
    Path(config.images).mkdir(exist_ok=True)
    (tmp_path / "other").write_text("theirs")
    (Path(config.images) / ".a.tar.taking").symlink_to(tmp_path / "other")
    (Path(config.imports) / "a.tar").write_text("ours")
    assert image_files.take(config, "a.tar", "a.tar").endswith(": 4 bytes")
    assert (Path(config.images) / "a.tar").read_text() == "ours"
    assert (tmp_path / "other").read_text() == "theirs"


def test_a_link_in_the_imports_folder_is_not_offered(config):
    (Path(config.imports) / "shadow.tar").symlink_to("/etc/shadow")
    assert image_files.offered(config) == []


def test_a_root_of_many_small_files_gets_the_inodes_it_takes(config, host, actor):
    archive(config, {**FILES, **{f"./small/{number % 200}/{number}": b"" for number in range(20_000)}})
    job = run(asked(config, host, actor))
    assert (job.state, job.message) == ("done", "")
