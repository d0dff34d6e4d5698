"""An archive uploaded in Chromium: a bar while it is on its way, an end to it, and what was wrong with it."""

from __future__ import annotations

import gzip
import os
import random
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from hosts.models import Job
from machines.models import Image
from tests.browser.faces import every_face

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
SLOW, MIB = 200_000, 1 << 20
DO_IT = "Upload and make the image"


@pytest.fixture
def spool(tmp_path, settings, fresh, monkeypatch) -> Path:
    monkeypatch.setattr("hosts.tasks.run.apply_async", lambda args, **_: None)
    folder = tmp_path / "spool"
    folder.mkdir()
    settings.FRIDU_UPLOADS = str(folder)
    fresh.figures["uploads"] = True
    fresh.save()
    return folder


@pytest.fixture
def archive(tmp_path) -> Path:
    """Six megabytes that do not get smaller."""
    path = tmp_path / "debian-12-with-a-rather-long-name-2026-11-23.tar.gz"
    path.write_bytes(gzip.compress(random.Random(7).randbytes(6 * MIB), 1))
    return path


def throttled(page: Page) -> Callable[[int], None]:
    """How many bytes a second go up from now on; -1: as many as there can be."""
    line = page.context.new_cdp_session(page)
    line.send("Network.enable")

    def at(speed: int) -> None:
        rates = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": speed}
        line.send("Network.emulateNetworkConditions", rates)

    return at


def begun(page: Page, archive: Path, name: str = "debian-12") -> None:
    page.goto("/machines/images/")
    form = page.locator("#upload")
    form.get_by_label("Name").fill(name)
    form.get_by_label("Archive").set_input_files(archive)
    form.get_by_role("button", name=DO_IT).click()


def share(page: Page) -> int:
    return int(page.locator("#upload progress").evaluate("bar => bar.value"))


def until(what: Callable[[], object], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while not what() and time.monotonic() < end:
        time.sleep(0.02)
    return bool(what())


def under_way(page: Page, spool: Path) -> None:
    assert until(lambda: 0 < share(page) < 100), share(page)
    assert until(lambda: any(path.stat().st_size for path in spool.iterdir())), "nothing reached the panel"


def test_a_bar_says_how_much_is_through_until_the_jobs_page(page_as, fulup, spool, archive):
    page = page_as(fulup)
    page.goto("/machines/images/")
    speed = throttled(page)
    speed(SLOW)
    begun(page, archive)
    under_way(page, spool)
    expect(page.locator("#upload [data-much]")).to_contain_text("of 6.0 MB, ")
    expect(page.get_by_role("progressbar", name="Uploaded so far")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel the upload")).to_be_focused()
    expect(page.get_by_role("button", name=DO_IT)).to_be_hidden()
    expect(page.locator("#says")).to_contain_text("upload", ignore_case=True)
    assert every_face(page, "upload-under-way") == []
    assert (share(page) < 100, Job.objects.count()) == (True, 0)
    speed(-1)
    page.wait_for_url("**/jobs/*/")
    (kept,) = spool.iterdir()
    assert kept.read_bytes() == archive.read_bytes()
    assert Job.objects.get().args == {"upload": kept.name, "size": str(archive.stat().st_size)}


def test_a_cancelled_upload_leaves_nothing(page_as, fulup, spool, archive):
    page = page_as(fulup)
    page.goto("/machines/images/")
    throttled(page)(SLOW)
    begun(page, archive)
    under_way(page, spool)
    page.get_by_role("button", name="Cancel the upload").click()
    says = page.locator("#upload [data-says]")
    expect(says).to_contain_text("Cancelled at ")
    expect(page.get_by_role("button", name=DO_IT)).to_be_focused()
    assert until(lambda: not list(spool.iterdir())), "the spool keeps what was cancelled"
    assert (Job.objects.count(), Image.objects.filter(name="debian-12").count()) == (0, 0)
    assert every_face(page, "upload-cancelled") == []


def test_a_line_that_breaks_is_said_beside_the_field(page_as, fulup, spool, archive, troubles):
    page = page_as(fulup)
    page.route("**/images/upload/", lambda route: route.abort("connectionreset"))
    begun(page, archive)
    wrong = page.locator("#upload-wrong")
    expect(wrong).to_contain_text("The connection broke")
    field = page.locator("#upload").get_by_label("Archive")
    expect(field).to_be_focused()
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_have_accessible_description(re.compile("The connection broke at 0 %. No image was made"))
    assert every_face(page, "upload-broke") == []
    assert [trouble for trouble in troubles if "ERR_CONNECTION_RESET" not in trouble] == []
    troubles.clear()  # Chromium itself tells the console of the line that was broken above
    page.unroute("**/images/upload/")
    page.get_by_role("button", name=DO_IT).click()
    page.wait_for_url("**/jobs/*/")


@pytest.mark.parametrize(("status", "says"), [(413, "An archive has at most 4 GB here."), (502, "it answered 502")])
def test_what_the_proxy_refuses_is_said_beside_the_field(page_as, fulup, spool, archive, troubles, status, says):
    page = page_as(fulup)
    page.route("**/images/upload/", lambda route: route.fulfill(status=status, body="<h1>no</h1>"))
    begun(page, archive)
    expect(page.locator("#upload-wrong")).to_contain_text(says)
    assert [trouble for trouble in troubles if f"status of {status}" not in trouble] == []
    troubles.clear()  # and of the answer above


def test_what_is_no_archive_is_said_and_another_one_can_be_chosen(page_as, fulup, spool, archive, tmp_path):
    page = page_as(fulup)
    other = tmp_path / "picture.png"
    other.write_bytes(b"\x89PNG" + os.urandom(1000))
    begun(page, other)
    field = page.locator("#upload").get_by_label("Archive")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_be_focused()
    expect(page.locator("#upload")).to_contain_text("That is no archive.")
    expect(page.locator("#says")).to_contain_text("That is no archive.")
    assert list(spool.iterdir()) == []
    assert every_face(page, "upload-no-archive") == []
    field.set_input_files(archive)
    page.get_by_role("button", name=DO_IT).click()
    page.wait_for_url("**/jobs/*/")


def test_a_wrong_name_keeps_the_file_chosen(page_as, fulup, spool, archive, image):
    page = page_as(fulup)
    begun(page, archive, name=image.name)
    name = page.locator("#upload").get_by_label("Name")
    expect(name).to_be_focused()
    expect(page.locator("#upload")).to_contain_text(f"There is an image {image.name} already.")
    assert list(spool.iterdir()) == []
    name.fill("debian-12")
    page.get_by_role("button", name=DO_IT).click()
    page.wait_for_url("**/jobs/*/")
    assert len(list(spool.iterdir())) == 1


def test_too_large_a_file_is_not_even_sent(page_as, fulup, spool, archive, settings):
    settings.FRIDU_UPLOAD_GIB = 0
    page = page_as(fulup)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    begun(page, archive)
    expect(page.locator("#upload-wrong")).to_contain_text("An archive has at most 0 GB here.")
    assert sent == []


def test_without_script_it_is_a_plain_form(page_as, fulup, spool, archive):
    page = page_as(fulup, script=False)
    begun(page, archive)
    page.wait_for_url("**/jobs/*/")
    (kept,) = spool.iterdir()
    assert kept.read_bytes() == archive.read_bytes()
