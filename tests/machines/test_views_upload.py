"""An image's archive uploaded through the panel: what is kept in the spool, and what leaves nothing there."""

from __future__ import annotations

import gzip

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart

from hosts.models import Job
from machines.models import Image

URL = "/machines/images/upload/"
GZ = gzip.compress(b"a tree")


@pytest.fixture
def spool(tmp_path, settings, host, monkeypatch):
    monkeypatch.setattr("hosts.tasks.run.apply_async", lambda args, **_: None)
    settings.FRIDU_UPLOADS = str(tmp_path)
    host.figures["uploads"] = True
    host.save()
    return tmp_path


@pytest.fixture
def operator(client, fulup):
    client.force_login(fulup)
    return client


def sent(client, content=GZ, name="debian-12", file="x.tar.gz"):
    fields = {"upload-name": name, "upload-file": SimpleUploadedFile(file, content), "upload-whole": "yes"}
    return client.post(URL, fields)


def test_an_archive_waits_in_the_spool_for_the_job_that_takes_it(operator, spool):
    answer = sent(operator)
    job = Job.objects.get()
    assert answer.headers["Location"].endswith(f"/{job.pk}/")
    (kept,) = spool.iterdir()
    assert (kept.read_bytes(), kept.stat().st_mode & 0o777) == (GZ, 0o600)
    assert job.args == {"upload": kept.name, "size": str(len(GZ))}
    assert Image.objects.get().archive.endswith(".tar.gz")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"content": b"MZ no archive"}, "That is no archive."),
        ({"content": b""}, "That is no archive."),
        ({"name": "<b>"}, "Use 1 to 31 letters"),
        ({"name": "tiny"}, "There is an image tiny already."),
    ],
)
def test_what_is_wrong_stands_beside_its_field_and_leaves_nothing(operator, spool, image, given, said):
    answer = sent(operator, **given)
    assert (answer.status_code, said in answer.content.decode()) == (422, True)
    assert (list(spool.iterdir()), Job.objects.count(), Image.objects.count()) == ([], 0, 1)


def test_too_large_a_one_is_refused_before_it_is_read(operator, spool, settings):
    settings.FRIDU_UPLOAD_GIB = 0
    answer = sent(operator)
    assert (answer.status_code, "at most 0 GB" in answer.content.decode()) == (422, True)
    assert list(spool.iterdir()) == []


def test_a_full_disk_is_said_and_leaves_nothing(operator, spool, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("machines.upload_spool.open", lambda *_: type("Full", (), {"write": full})(), raising=False)
    answer = sent(operator)
    assert (answer.status_code, "No space left on device" in answer.content.decode()) == (422, True)
    assert list(spool.iterdir()) == []


@pytest.mark.parametrize("missing", [80, 120, 200, 220])
def test_a_request_that_broke_off_is_no_shorter_archive(operator, spool, missing):
    whole = encode_multipart(
        BOUNDARY, {"upload-name": "n", "upload-file": SimpleUploadedFile("x.tar.gz", GZ * 20), "upload-whole": "yes"}
    )
    answer = operator.generic("POST", URL, whole[:-missing], MULTIPART_CONTENT)
    assert (answer.status_code, "It broke off" in answer.content.decode()) == (422, True)
    assert (list(spool.iterdir()), Job.objects.count()) == ([], 0)


def test_without_the_forms_token_nothing_stays(fulup, spool):
    client = Client(enforce_csrf_checks=True)
    client.force_login(fulup)
    assert sent(client).status_code == 403
    assert (list(spool.iterdir()), Job.objects.count()) == ([], 0)


@pytest.mark.parametrize("who", ["dominig", "agnes"])
def test_nobody_else_gets_a_byte_into_the_spool(client, request, who, spool, monkeypatch):
    monkeypatch.setattr("machines.upload_spool.Spool.new_file", lambda *_, **__: pytest.fail("it was written"))
    client.force_login(request.getfixturevalue(who))
    assert sent(client).status_code == 404


def test_a_panel_away_from_its_host_names_the_imports_folder(operator, spool, host):
    host.figures["uploads"] = False
    host.save()
    assert "share no folder for uploads" in operator.get("/machines/images/").content.decode()
    sent(operator)
    assert list(spool.iterdir()) == []
