"""The pages of snapshots and reinstalling in Chromium: every state on two widths, in two colour schemes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from hosts.models import Job
from machines.models import Machine, Snapshot
from tests.browser.faces import every_face

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def kept(web_dom, dominig) -> list[Snapshot]:
    """One that fills, one that ran full, one that stays."""
    Machine.objects.filter(pk=web_dom.pk).update(volume_group="vg0", swap_mib=64, log_mib=64)
    now = timezone.now()
    more = {"machine": web_dom, "image": web_dom.image, "taken_by": dominig, "taken_at": now - timedelta(hours=3)}
    return [
        Snapshot.objects.create(
            label="before-update", note="Debian 12.9, the kernel too", percent=83.4, size_mib=64,
            expires=now + timedelta(days=7), **more,
        ),
        Snapshot.objects.create(label="weekly-2026-47", percent=100, size_mib=64, **more),
        Snapshot.objects.create(label="clean", percent=1.2, size_mib=140, **more),
    ]  # fmt: skip


def test_the_snapshots_are_accessible_and_fit_with_and_without_any(page_as, dominig, web_dom, request):
    page = page_as(dominig)
    page.goto(f"/machines/{web_dom.pk}/snapshots/")
    assert page.locator("h1").inner_text() == "Snapshots of WEB-Dom"
    wrong = every_face(page, "snapshots-none")
    request.getfixturevalue("kept")
    page.goto(f"/machines/{web_dom.pk}/snapshots/")
    wrong += every_face(page, "snapshots")
    page.goto(f"/machines/{web_dom.pk}/reinstall/")
    wrong += every_face(page, "reinstall")
    assert wrong == []


def test_an_owner_takes_one_and_asks_for_another_back(page_as, dominig, web_dom, kept):
    page = page_as(dominig)
    page.goto(f"/machines/{web_dom.pk}/")
    page.get_by_role("link", name="Snapshots").click()
    page.get_by_label("Name").fill("Not A Name")
    page.get_by_role("button", name="Take the snapshot").click()
    expect(page.get_by_text("Use up to 20 small letters")).to_be_visible()
    page.get_by_label("Name").fill("evening")
    page.get_by_role("button", name="Take the snapshot").click()
    expect(page.get_by_role("heading", name="Take the snapshot evening of WEB-Dom")).to_be_visible()
    Job.objects.update(state=Job.State.DONE, ended=timezone.now())
    page.goto(f"/machines/{web_dom.pk}/snapshots/")
    expect(page.get_by_role("button", name="Restore WEB-Dom to weekly-2026-47")).to_have_count(0)
    page.get_by_role("button", name="Restore WEB-Dom to clean").click()
    expect(page.get_by_role("heading", name="Restore WEB-Dom to its snapshot clean")).to_be_visible()
    assert Job.objects.get(kind="snapshot.restore").approver is None


def test_a_reinstall_asks_for_the_name_and_shows_the_password_once(page_as, dominig, web_dom):
    page = page_as(dominig)
    page.goto(f"/machines/{web_dom.pk}/")
    page.get_by_role("link", name="Reinstall").click()
    page.get_by_label("Give root a one-time password").check()
    page.get_by_role("button", name="Plan the reinstallation").click()
    page.get_by_label("Type WEB-Dom to go on").fill("WEB-Dom")
    page.get_by_role("button", name="Plan the reinstallation").click()
    expect(page.get_by_role("heading", name="One-time root password")).to_be_visible()
    assert every_face(page, "reinstall-password") == []
    page.get_by_role("link", name="See the plan").click()
    expect(page.get_by_role("heading", name="Reinstall WEB-Dom")).to_be_visible()
