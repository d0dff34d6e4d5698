"""Running a machine in Chromium: its figures, the pause, the force that is offered; on two widths, in two colours."""

from __future__ import annotations

from datetime import timedelta
from math import sin

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from hosts.models import Job
from machines.models import Figures, Machine
from machines.series import Sample, row
from tests.browser.faces import every_face
from tests.browser.test_machines import job

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def used(isp, web_dom) -> Machine:
    """A machine with an hour and a day behind it, and a pause in both; a minute ahead, however slow this box is."""
    isp.facts = {**isp.facts, "libvirt": "lxc:///system"}
    isp.figures |= {
        "load": {"processors": 2, "load": 0.7, "busy": 0.31, "up_s": 3_700_000, "memory_mib": 8000, "used_mib": 2900},
        "machines": {"at": 1, "running": 3, "cpu": 420, "memory_mib": 390, "net_in": 260_000, "net_out": 1_200_000,
                     "disk_read": 9000, "disk_written": 410_000},
    }  # fmt: skip
    isp.save()
    at = int(timezone.now().timestamp()) + 60

    def sample(when: int, n: int) -> list[int]:
        wave = 1 + sin(n / 7)
        return row(
            Sample(
                at=when, cpu=round(80 + 160 * wave + (n % 11) * 9), memory_mib=round(30 + 9 * wave), disk_read=n * 200,
                net_in=round(90_000 * wave), net_out=round(260_000 * wave * wave), disk_written=round(60_000 * wave),
            )
        )  # fmt: skip

    hour = [sample(at - 30 * n, n) for n in range(119, -1, -1) if not 40 < n < 55]
    day = [sample(at - 600 * n, n) for n in range(143, -1, -1) if not 60 < n < 80]
    now = {"sample": hour[-1], "day_at": at}
    Figures.objects.create(machine=web_dom, at=timezone.now(), counters={"run": 1}, now=now, hour=hour, day=day)
    Machine.objects.filter(pk=web_dom.pk).update(since=timezone.now() - timedelta(days=41))
    return web_dom


def test_figures_are_accessible_and_fit(page_as, fulup, dominig, used):
    page, wrong = page_as(dominig), {}
    places = {"detail": f"/machines/{used.pk}/", "figures": f"/machines/{used.pk}/figures/", "mine": "/machines/mine/"}
    for name, path in places.items():
        page.goto(path)
        wrong[name] = every_face(page, f"run-{name}")
    page = page_as(fulup)
    for name, path in {"list": "/machines/", "hosts": "/hosts/"}.items():
        page.goto(path)
        wrong[name] = every_face(page, f"run-{name}")
    assert not any(wrong.values()), wrong


def test_a_machine_without_figures_says_so_and_fits(page_as, dominig, isp, web_dom):
    page = page_as(dominig)
    page.goto(f"/machines/{web_dom.pk}/figures/")
    expect(page.get_by_text("No figures yet").first).to_be_visible()
    assert every_face(page, "run-no-figures") == []


def test_the_graphs_ask_again_and_show_what_is_new(page_as, dominig, used):
    page = page_as(dominig)
    page.goto(f"/machines/{used.pk}/")
    card = page.locator("#use")
    line = [int(timezone.now().timestamp()) + 60, 930, 77, 0, 0, 0, 0]
    Figures.objects.update(now={"sample": line})
    page.evaluate("htmx.ajax('GET', document.querySelector('#use').getAttribute('hx-get'), '#use')")
    expect(card.get_by_text("93 %")).to_be_visible()
    assert card.locator("svg.spark").count() == 4


def test_pausing_and_going_on_are_one_press_each(page_as, dominig, isp, web_dom):
    page = page_as(dominig)
    page.goto(f"/machines/{web_dom.pk}/")
    page.get_by_role("button", name="Pause WEB-Dom").click()
    expect(page.get_by_text("Pause of WEB-Dom asked for.")).to_be_visible()
    assert Job.objects.get(kind="machine.pause").target_id == web_dom.pk
    Job.objects.update(state="done")
    Machine.objects.update(observed="paused", wanted="paused", since=timezone.now() - timedelta(hours=5))
    page.goto(f"/machines/{web_dom.pk}/")
    expect(page.get_by_text("paused for 5 hours").first).to_be_visible()
    assert every_face(page, "run-paused") == []
    page.get_by_role("button", name="Resume WEB-Dom").click()
    expect(page.get_by_text("Resume of WEB-Dom asked for.")).to_be_visible()


@pytest.mark.parametrize("script", [True, False])
def test_force_is_offered_once_it_did_not_stop_and_not_before(script, page_as, dominig, isp, web_dom):
    page = page_as(dominig, script=script)
    page.goto(f"/machines/{web_dom.pk}/")
    expect(page.get_by_role("button", name="Force WEB-Dom off")).to_have_count(0)
    Machine.objects.filter(pk=web_dom.pk).update(wanted="stopped")
    job(
        web_dom, dominig, "machine.stop", "refused", attempt=1, ended=timezone.now(),
        message="WEB-Dom did not power off within 20 s. It still runs.",
        note="Go on asks it once more. Forced off it ends at once; what it has not written yet is lost.",
    )  # fmt: skip
    for name, path in (("detail", f"/machines/{web_dom.pk}/"), ("mine", "/machines/mine/")):
        page.goto(path)
        expect(page.get_by_text("did not power off within 20 s").first).to_be_visible()
        if script:
            assert every_face(page, f"run-force-{name}") == []
    page.get_by_role("button", name="Force WEB-Dom off").click()
    expect(page.get_by_text("Stop of WEB-Dom asked for.")).to_be_visible()
    assert Job.objects.latest("pk").args == {"force": True}
