"""An archive in the panel's spool becomes an image; what a hostile panel puts there does not."""

from __future__ import annotations

import io
import os
import tarfile
import time
from pathlib import Path

import pytest

from audit.log import Actor
from dom0 import uploads
from dom0.errors import Refused
from dom0.host import HostConfig
from hosts import work
from hosts.models import Job
from hosts.services import job_create
from machines import image_services
from machines.models import Image

pytestmark = [pytest.mark.host, pytest.mark.django_db]
PANEL = 4711  # a user nobody is


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host) -> HostConfig:
    rooms = ("volumes", "images", "golden", "kernels", "imports", "uploads", "state", "run")
    folders = {name: str(tmp_path / name) for name in rooms}
    lines = [f'name = "{host.name}"', 'libvirt = "lxc:///system"', *(f'{n} = "{p}"' for n, p in folders.items())]
    (tmp_path / "host.toml").write_text("\n".join(lines))
    monkeypatch.setenv("FRIDU_HOST_TOML", str(tmp_path / "host.toml"))
    (tmp_path / "uploads").mkdir()
    os.chown(tmp_path / "uploads", PANEL, PANEL)
    return HostConfig(name=host.name, libvirt="lxc:///system", **folders)


def put(config: HostConfig, content: bytes, name: str = "up1") -> Path:
    path = Path(config.uploads) / name
    path.write_bytes(content)
    os.chown(path, PANEL, PANEL)
    return path


def target(config: HostConfig) -> Path:
    return Path(config.images) / "alpine-1.tar"


def refused(config: HostConfig, said: str, size: int = 3) -> None:
    with pytest.raises(Refused, match=said):
        uploads.take(config, "up1", size, target(config))
    assert list(Path(config.images).iterdir()) == []


def test_a_real_archive_becomes_an_image_and_leaves_the_spool(config, host, fulup):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        member = tarfile.TarInfo("./etc/os-release")
        member.size = 10
        tar.addfile(member, io.BytesIO(b"ID=alpine\n"))
    spooled = put(config, out.getvalue())
    image = Image.objects.create(host=host, name="alpine", archive="alpine-1.tar.gz", family="other")
    args = {"upload": "up1", "size": spooled.stat().st_size}
    actor = Actor(id=fulup.pk, name="fulup")
    thing = image_services.thing_of(image)
    job = job_create(actor, "image.make", host=host, title="Make alpine", target=thing, args=args)
    work.run(job.pk)
    job.refresh_from_db()
    image.refresh_from_db()
    assert (job.state, job.message, image.family) == (Job.State.DONE, "", "alpine")
    kept = Path(config.images) / "alpine-1.tar.gz"
    assert (kept.read_bytes(), kept.stat().st_uid, kept.stat().st_mode & 0o777) == (out.getvalue(), 0, 0o644)
    assert not spooled.exists()


def test_a_link_is_not_followed(config):
    (Path(config.uploads) / "up1").symlink_to("/etc/hostname")
    refused(config, "can't be opened")


def test_a_second_name_of_a_file_is_refused(config):
    os.link(put(config, b"abc", "other"), Path(config.uploads) / "up1")
    refused(config, "not a regular file of its own")


def test_a_fifo_does_not_make_the_worker_wait(config):
    os.mkfifo(Path(config.uploads) / "up1")
    refused(config, "not a regular file")


def test_somebody_elses_file_is_refused(config):
    os.chown(put(config, b"abc"), 0, 0)
    refused(config, "not the panel's own")


def test_a_file_of_another_size_is_refused(config):
    put(config, b"abcd")
    refused(config, "has 4 bytes, not the 3")


def test_one_that_grows_while_it_is_copied_is_refused(config, monkeypatch):
    path, real = put(config, b"abc"), os.read

    def growing(fd: int, size: int) -> bytes:
        with path.open("ab") as file:
            file.write(b"more")
        return real(fd, size)

    monkeypatch.setattr("dom0.uploads.os.read", growing)
    refused(config, "not the 3 that arrived")


@pytest.mark.parametrize("name", ["../up1", "", ".hidden", "/etc/shadow", "a\nb"])
def test_a_name_that_leads_elsewhere_is_refused(config, name):
    with pytest.raises(Refused, match="can't be an upload's name"):
        uploads.take(config, name, 3, target(config))


def test_a_spool_that_is_a_link_is_refused(config, tmp_path):
    Path(config.uploads).rename(tmp_path / "elsewhere")
    Path(config.uploads).symlink_to(tmp_path / "elsewhere")
    refused(config, "is no folder of this host")


def test_what_lies_there_for_a_day_goes_and_what_is_new_stays(config):
    old, new = put(config, b"abc", "old"), put(config, b"abc", "new")
    os.utime(old, (time.time() - 90_000,) * 2)
    uploads.sweep(config)
    assert (old.exists(), new.exists()) == (False, True)
