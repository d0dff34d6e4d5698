"""A machine's settings in Chromium: changed, moved after a look, and pleasant on every width.

FRIDU_SHOTS=folder keeps a picture of each.
"""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from accounts.models import SSHKey
from firewall.models import PublishedService
from hosts.models import Job, JobStep
from machines.models import Grant
from tests.browser.faces import every_face

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def lived_in(web_dom, zones, dominig, fulup):
    """WEB-Dom with a published port, an SSH key and a grant."""
    PublishedService.objects.create(
        host=web_dom.host, name="DomiWEB", zone=zones["zDominig"], external=zones["zDominig"].external, proto="tcp",
        port=80, port_last=80, target="10.10.2.2", target_port=8080, live=True,
    )  # fmt: skip
    web_dom.ssh_keys.add(SSHKey.objects.create(user=dominig, name="laptop", line="k", fingerprint="SHA256:a"))
    Grant.objects.create(machine=web_dom, user=fulup, verbs=",view,power,")
    return web_dom


def test_an_operator_grows_a_machine_and_sees_before_and_after_beside_the_plan(page_as, fulup, web_dom):
    page = page_as(fulup)
    page.goto(f"/machines/{web_dom.pk}/")
    page.get_by_role("link", name="Settings").click()
    page.get_by_label("Root volume, MB").fill("512")
    page.get_by_label("Memory, MB").fill("96")
    page.get_by_role("button", name="Plan this change").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Change WEB-Dom")
    job = Job.objects.get()
    assert job.args["change"] == {"memory_mib": 96, "root_mib": 512}
    JobStep.objects.create(
        job=job, number=1, stage="lvmcreate", title="Grow the volume WEB-Dom-root from 128 to 512 MB", about_s=0.2,
        shown="fridu-hand volume-grow name=WEB-Dom-root size_mib=512",
    )  # fmt: skip
    Job.objects.update(state=Job.State.PLANNED, digest="d" * 64)
    page.reload()
    expect(page.get_by_role("row", name="Root volume 128 MB 512 MB")).to_be_visible()
    assert every_face(page, "settings-plan") == []


def test_moving_it_shows_what_moves_along_before_anything_is_asked_for(page_as, fulup, lived_in, zones, brendan):
    page = page_as(fulup)
    page.goto(f"/machines/{lived_in.pk}/settings/")
    assert every_face(page, "settings") == []
    page.get_by_label("Zone").select_option(label="zFulup")
    page.get_by_label("Owner").select_option(label="brendan")
    page.get_by_role("button", name="Plan this change").click()
    expect(page.get_by_role("heading", name="What moves along")).to_be_visible()
    expect(page.get_by_text("10.10.1.2:8080")).to_be_visible()
    expect(page.get_by_text("These SSH keys of dominig stay on it")).to_be_visible()
    assert not Job.objects.exists()
    assert every_face(page, "settings-look") == []
    page.get_by_role("button", name="Plan this change").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Change WEB-Dom")
    assert set(Job.objects.get().args["change"]) == {"zone", "address", "owner"}


def test_without_script_a_mistake_stands_beside_its_field(page_as, fulup, web_dom):
    page = page_as(fulup, script=False)
    page.goto(f"/machines/{web_dom.pk}/settings/")
    page.get_by_label("Root volume, MB").fill("64")
    page.get_by_label("Why").fill("a mistake")
    page.get_by_role("button", name="Plan this change").click()
    expect(page.get_by_text("only grows: shrinking one risks what is on it")).to_be_visible()
    expect(page.get_by_label("Why")).to_have_value("a mistake")
    assert not Job.objects.exists()
