"""The firewall with hands on it: publish, apply, count down, keep; the host's part is said by the test."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from firewall.models import PolicyCell, PublishedService, Revision
from firewall.render import files
from firewall.rows import site_of
from hosts.models import Job
from tests.browser.faces import findings
from tests.firewall import says

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def site(isp):
    """The small network with its revision as the product makes one, its files included."""
    live = Revision.objects.get()
    PublishedService.objects.filter(name="FulupWEB").delete()
    made = files(site_of(isp)).by_name
    Revision.objects.filter(pk=live.pk).update(files=made, live_at=timezone.now())
    return isp


@pytest.fixture
def trial(fulup, site, zones) -> Revision:
    """Revision 2 on trial: it publishes one service more."""
    from audit.log import Actor
    from firewall import services, trials

    me = Actor(id=fulup.pk, name="fulup")
    services.service_publish(
        me, host=site, name="FulupWEB", proto="tcp", port=80, external=zones["zFulup"].external, target="10.10.1.4"
    )
    trials.revision_apply(me, site, why="the site")
    return loaded()


def loaded(*, left: float = 600) -> Revision:
    """The host says that the revision that was asked for is loaded, on trial."""
    Job.objects.filter(kind="firewall.apply").update(state="done")
    tried = Revision.objects.latest("number")
    says.tried(tried, left=left)
    tried.refresh_from_db()
    return tried


def ended(tried: Revision, *, kept: bool) -> None:
    """The host says how the trial ended."""
    Job.objects.filter(state__in=Job.OPEN).update(state="done")
    if kept:
        says.kept(tried)
    else:
        says.taken_back(tried, confirmed=Revision.objects.get(number=1).name)


def test_a_port_is_published_tried_and_kept(page_as, fulup, site):
    page = page_as(fulup)
    page.goto("/firewall/services/publish/")
    page.get_by_label("Name").fill("FulupWEB")
    page.get_by_label("External address").select_option(label="91.121.65.140, zFulup")
    page.get_by_label("External port").fill("25")
    expect(page.locator("#ports-say")).to_contain_text("leads to Common already")
    page.locator("#ports-say").get_by_role("link", name="8025").click()
    expect(page.get_by_label("External port")).to_have_value("8025")
    page.get_by_label("External port").fill("80")
    expect(page.locator("#ports-say")).to_contain_text("tcp 80 of 91.121.65.140 is free.")
    page.get_by_label("Leads to").fill("WEB-Ful")
    page.get_by_role("button", name="Publish").click()

    expect(page.locator("h1")).to_have_text("Firewall change")
    expect(page.locator(".unapplied")).to_have_text("1 firewall change not applied")
    expect(page.locator(".diff")).to_contain_text("tcp 80 of 91.121.65.140 to WEB-Ful, port 80")
    page.get_by_text("The same as rules").click()
    expect(page.locator("#raw ins").first).to_contain_text("--dport 80")
    page.get_by_role("textbox", name="Why").fill("the new site")
    page.get_by_label("Taken back by itself").select_option(label="5 minutes")
    page.get_by_role("button", name="Apply on trial").click()

    expect(page.locator("#trial")).to_contain_text("Apply firewall revision 2")
    loaded(left=300)
    keep = page.get_by_role("button", name="Keep revision 2")
    expect(keep).to_be_visible()
    expect(page.get_by_role("timer")).to_have_text(re.compile(r"4:5\d|5:00"))
    keep.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#trial")).to_contain_text("The host notes it as the one in force.")
    ended(Revision.objects.get(number=2), kept=True)
    expect(page.get_by_role("heading", name="Revision 2 is live")).to_be_visible()
    expect(page.locator("#trial")).to_contain_text("Kept by fulup.")


def test_the_countdown_runs_and_its_end_is_said(page_as, fulup, site, trial):
    Revision.objects.filter(pk=trial.pk).update(until=timezone.now() + timedelta(seconds=7))
    page = page_as(fulup)
    page.goto("/firewall/trial/")
    timer = page.get_by_role("timer")
    first = int(timer.inner_text().split()[0])
    expect(timer).to_have_text(f"{first - 2} s")
    assert page.locator("#left").evaluate("bar => bar.value") <= first - 2
    expect(page.get_by_role("heading", name="Time is up")).to_be_visible(timeout=12_000)
    ended(trial, kept=False)
    expect(page.get_by_role("heading", name="Revision 2 was taken back")).to_be_visible()
    expect(page.locator("#trial")).to_contain_text("Revision 1 is live.")


def test_a_screen_reader_hears_the_countdown_now_and_then(page_as, fulup, site, trial):
    Revision.objects.filter(pk=trial.pk).update(until=timezone.now() + timedelta(seconds=13))
    page = page_as(fulup)
    page.add_init_script("""
      window.heard = [];
      addEventListener("DOMContentLoaded", () => {
        const says = document.getElementById("says");
        if (says) new MutationObserver(() => heard.push(says.textContent)).observe(says, {childList: true});
      });
    """)
    page.goto("/firewall/trial/")
    expect(page.locator("#says")).to_have_text(re.compile("Time is up"), timeout=20_000)
    ended(trial, kept=False)
    expect(page.locator("#says")).to_have_text("Revision 2 was taken back")
    heard = page.evaluate("heard")
    assert re.fullmatch(r"Firewall revision 2 is on trial\. 1[0-3] seconds left to keep it\.", heard[0])
    assert len(heard) <= 5, heard
    expect(page.get_by_text("Try it from another window")).to_have_count(0)


@pytest.mark.parametrize("width", [1360, 390])
def test_the_banner_goes_along_counts_down_and_says_the_end(page_as, fulup, site, trial, width):
    page = page_as(fulup, width=width)
    for path in ("/machines/", "/zones/", "/firewall/policy/", "/help/"):
        page.goto(path)
        banner = page.get_by_role("region", name="Firewall on trial")
        expect(banner).to_be_in_viewport()
        expect(banner.get_by_role("timer")).to_have_text(re.compile(r"\d+ s|\d+:\d\d"))
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    expect(banner).to_be_in_viewport()
    assert findings(page) == []
    ended(trial, kept=False)
    expect(banner).to_contain_text("Revision 1 is live.", timeout=9_000)
    expect(banner.get_by_role("timer")).to_have_count(0)


def test_a_trial_is_kept_from_the_banner(page_as, fulup, site, trial):
    page = page_as(fulup)
    page.goto("/machines/")
    page.get_by_role("button", name="Keep revision 2").click()
    expect(page.locator("#trial")).to_contain_text("Keep firewall revision 2")
    assert Job.objects.filter(kind="firewall.confirm").count() == 1


def test_all_of_it_works_without_script(page_as, fulup, site, trial):
    page = page_as(fulup, script=False)
    page.goto("/machines/")
    page.get_by_role("link", name="What to test").click()
    expect(page.get_by_role("timer")).to_have_text(re.compile(r"\d"))
    page.get_by_role("button", name="Return to revision 1").click()
    expect(page.locator("#trial")).to_contain_text("Revision 1 comes back.")
    assert Job.objects.filter(kind="firewall.return").count() == 1
    ended(trial, kept=False)
    expect(page.get_by_role("heading", name="Revision 2 was taken back")).to_be_visible(timeout=9_000)  # fetched anew


def test_the_grid_is_walked_and_changed_by_keyboard(page_as, fulup, isp):
    page = page_as(fulup)
    page.goto("/firewall/policy/")
    page.get_by_role("link", name="zFulup to dom0").focus()
    page.keyboard.press("ArrowRight")  # over the diagonal, which is no cell to open
    page.keyboard.press("ArrowDown")  # no cell there: it stays
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("link", name="zFulup to zDominig")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#cell")).to_be_focused()
    expect(page.get_by_role("heading", name="zFulup → zDominig")).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Nothing")).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    page.keyboard.type("tcp:80, udp:514-520")
    page.keyboard.press("Enter")
    expect(page.locator(".note[role=status]")).to_contain_text("It takes effect when you apply.")
    assert PolicyCell.objects.get(source="zone:1", target="zone:2").ports == "tcp:80,udp:514-520"


def test_the_list_of_services_filters_as_one_types_and_undoes_a_wish(page_as, fulup, site):
    page = page_as(fulup)
    page.goto("/firewall/services/")
    page.get_by_role("link", name="Unpublish DomiWEB").click()
    page.get_by_role("button", name="Unpublish DomiWEB").click()
    expect(page.locator(".diff")).to_contain_text("tcp 80 of 87.98.130.56 to WEB-Dom")
    page.goto("/firewall/services/")
    page.get_by_label("Search", exact=True).fill("DomiW")
    expect(page.locator("#rows .key")).to_have_text([re.compile("DomiWEB")])
    page.get_by_role("button", name="Keep DomiWEB").click()
    expect(page.locator(".note[role=status]")).to_contain_text("DomiWEB stays as it is in force.")
    assert PublishedService.objects.filter(name="DomiWEB", live=True).exists()


def test_undoing_a_filtered_list_without_script(page_as, fulup, site):
    page = page_as(fulup, script=False)
    page.goto("/firewall/services/")
    page.get_by_label("Search", exact=True).fill("DomiW")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("#rows .key")).to_have_text([re.compile("DomiWEB")])


def test_an_own_rule_waits_for_the_host_and_its_refusal_stands_beside_it(page_as, fulup, isp):
    page = page_as(fulup)
    page.goto("/firewall/policy/rules/add/")
    page.get_by_role("textbox", name="Rule").fill("-i eth0 -p tcp --dport 9100 -j ACCEPT")
    page.get_by_role("textbox", name="Why").fill("node exporter")
    page.get_by_role("button", name="Try and add it").click()
    expect(page.locator("h1")).to_have_text("Trying your rule")
    Job.objects.filter(kind="firewall.try").update(state="failed", message="iptables-restore: line 9 failed.")
    expect(page.locator("#id_rule_err")).to_contain_text("iptables-restore: line 9 failed.")
    expect(page.get_by_role("textbox", name="Rule")).to_be_focused()
    expect(page.get_by_role("textbox", name="Why")).to_have_value("node exporter")
