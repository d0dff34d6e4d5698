"""`fridu image`: listed, added, deleted, and what is refused."""

from __future__ import annotations

import pytest

from audit.models import Entry
from fridu_site.cli import main
from hosts.models import Job
from machines.models import Image

pytestmark = pytest.mark.django_db


@pytest.fixture
def offering(host):
    host.figures = {
        "imports": [{"name": "debian-13.tar.zst", "size": 90 << 20}],
        "kernels": [{"name": "vmlinuz-6.1", "initrd": "", "size_bytes": 8, "initrd_bytes": 0}],
    }
    host.save()
    return host


def test_images_files_and_kernels_are_listed(run, offering, image):
    code, said = run("image")
    assert code == 0
    for line in ("tiny", "needs 32 MB", "debian-13.tar.zst, 90 MB", "vmlinuz-6.1, without an initrd"):
        assert line in said


def test_one_is_added_of_a_file_or_built(run, offering):
    assert run("image add debian-13 file=debian-13.tar.zst devices=yes")[0] == 0
    assert run("image add trixie suite=trixie --reason new")[0] == 0
    first, second = Job.objects.order_by("pk")
    assert (first.args, second.args, second.reason) == ({"file": "debian-13.tar.zst"}, {"suite": "trixie"}, "new")
    assert Image.objects.get(name="debian-13").devices


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("image add x", "file=… of the imports folder, or suite=…"),
        ("image add x file=a suite=b", "file=… of the imports folder, or suite=…"),
        ("image add x file=../../etc/shadow", "There is no ../../etc/shadow in the imports folder"),
        ("image add x suite=sid", "Fridu builds bookworm and trixie."),
        ("image add tiny suite=trixie", "There is an image tiny already."),
        ("image add x suite=trixie devices=maybe", "devices=maybe is neither yes nor no."),
        ("image add x colour=red", "image add knows no colour."),
        ("image delete tiny", "tiny is still needed by the defaults of new machines."),
        ("image delete none", "There is no image called none."),
        ("image kernel tiny vmlinuz", "tiny has no kernel vmlinuz."),
        ("image paint", "image does not know paint."),
        ("image file=x", "image takes no file=…"),
    ],
)
def test_what_can_not_be_is_said(run, offering, image, line: str, says: str):
    code, said = run(line)
    assert code != 0
    assert says in said
    assert not Job.objects.exists()


@pytest.mark.parametrize("line", ["image", "image add x suite=trixie", "image delete tiny", "image kernel tiny k"])
def test_an_owner_may_do_none_of_it_and_that_is_logged(run, monkeypatch, dominig, image, line: str):
    monkeypatch.setattr(main, "login", lambda: "dominig")
    assert run(line)[0] == 1
    assert Entry.objects.filter(action__startswith="image.", outcome="refused", actor_name="dominig").exists()
