"""An archive uploaded by an operator: the panel, who is nobody on the host, writes it; root's worker takes it over."""

from __future__ import annotations

import io
import socket
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from demo.layout import PANEL_UID
from tests.demo.conftest import NAME, ROOT, Demo, until

pytestmark = pytest.mark.demo
VAR = ROOT / "var" / NAME
SPOOL = VAR / "panel" / "uploads"
MARK = b"it came through the panel\n"
ADDRESS = "10.10.1.30"


@pytest.fixture(scope="module")
def archive(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny image with one file more, which tells a machine of it from all others."""
    path = tmp_path_factory.mktemp("archive") / "with-a-mark.tar.gz"
    with tarfile.open(VAR / "lib" / "images" / "tiny.tar.gz") as tiny, tarfile.open(path, "w:gz") as made:
        for member in tiny:
            made.addfile(member, tiny.extractfile(member) if member.isreg() else None)
        more = tarfile.TarInfo("etc/mark")
        more.size = len(MARK)
        made.addfile(more, io.BytesIO(MARK))
    return path


@pytest.fixture(scope="module")
def gone_afterwards(demo: Demo) -> Iterator[None]:
    yield
    for words in (("delete", "Uploaded"), ("image", "delete", "marked")):
        done = demo.fridu(*words, "--yes")
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_folder_is_the_panels_own_and_nobody_elses(demo: Demo) -> None:
    facts = SPOOL.stat()
    assert (facts.st_uid, facts.st_mode & 0o777) == (PANEL_UID, 0o700)
    status = Path(f"/proc/{demo.pid('panel')}/status").read_text().split("\n")
    assert f"Uid:\t{PANEL_UID}\t{PANEL_UID}\t{PANEL_UID}\t{PANEL_UID}" in status


@pytest.mark.usefixtures("gone_afterwards")
def test_an_uploaded_archive_becomes_an_image_and_a_machine_of_it_runs(
    demo: Demo, signed_in: Callable[..., Page], archive: Path
) -> None:
    page = signed_in("operator")
    page.goto("/machines/images/")
    form = page.locator("#upload")
    form.get_by_label("Name").fill("marked")
    form.get_by_label("Archive").set_input_files(archive)
    form.get_by_role("button", name="Upload and make the image").click()
    page.wait_for_url("**/jobs/*/")
    job = int(page.url.rstrip("/").rsplit("/", 1)[1])
    assert demo.ended(job) == "done"
    expect(page.get_by_text("Done.", exact=True)).to_be_visible()
    name = demo.sql("select archive from machines_image where name = 'marked'")[0][0]
    taken = VAR / "lib" / "images" / name
    assert taken.read_bytes() == archive.read_bytes()
    assert (taken.stat().st_uid, taken.stat().st_mode & 0o777) == (0, 0o644)
    assert list(SPOOL.iterdir()) == []
    made = demo.fridu("create", "vmname=Uploaded", f"vmip={ADDRESS}", "image=marked", "--yes")
    assert made.returncode == 0, made.stdout + made.stderr
    assert until(lambda: demo.greeting(ADDRESS, 2525, "dom0") == "220 Uploaded ESMTP")
    root = Path(f"/proc/{demo.pid('libvirtd')}/root/run/fridu/machines")
    assert until(lambda: any(found.read_bytes() == MARK for found in root.glob("*/etc/mark")))


def test_an_upload_that_ends_half_way_makes_nothing(demo: Demo, signed_in: Callable[..., Page], archive: Path) -> None:
    """As a proxy hands on a browser that went away: the line is closed in order, with less sent than announced."""
    page = signed_in("operator")
    page.goto("/machines/images/")
    token = page.locator("#upload [name=csrfmiddlewaretoken]").input_value()
    cookies = "; ".join(f"{c['name']}={c['value']}" for c in page.context.cookies())
    jobs = demo.sql("select count(*) from hosts_job")
    parts = "".join(
        f'--XX\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in (("csrfmiddlewaretoken", token), ("upload-name", "half"))
    )
    file = '--XX\r\nContent-Disposition: form-data; name="upload-file"; filename="x.tar.gz"\r\n\r\n'
    start, content = (parts + file).encode(), archive.read_bytes()
    where = urlsplit(demo.url)
    head = (
        f"POST /machines/images/upload/ HTTP/1.1\r\nHost: {where.netloc}\r\nOrigin: {demo.url.rstrip('/')}\r\n"
        f"Cookie: {cookies}\r\nContent-Type: multipart/form-data; boundary=XX\r\n"
        f"Content-Length: {len(start) + len(content) + 400}\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection((str(where.hostname), int(where.port or 80)), timeout=30) as line:
        line.sendall(head.encode() + start + content[: len(content) // 2])
        assert until(lambda: sum(path.stat().st_size for path in SPOOL.iterdir()) > 0), "nothing reached the spool"
        line.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: line.recv(65536), b""))
    assert b"It broke off before all of it was here." in answer, answer[:300]
    assert until(lambda: not list(SPOOL.iterdir()))
    assert demo.sql("select count(*) from hosts_job") == jobs
