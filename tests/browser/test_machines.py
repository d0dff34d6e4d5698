"""The machine pages in Chromium: every state on two widths, in two colour schemes, and what one does there.

FRIDU_SHOTS=folder keeps a picture of each.
"""

from __future__ import annotations

import os
import re
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from accounts.models import SSHKey
from audit import log
from hosts.models import Host, Job, JobStep
from machines.models import Grant, Machine
from tests.browser.faces import every_face, findings, overflow

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

LAPTOP = "SHA256:3pQ9f2kLm8s7d6f5g4h3j2k1l0z9x8c7v6b5n4m3x9k"


def machine(like: Machine, number: int, name: str, owner, **more) -> Machine:
    """One more machine in WEB-Dom's zone."""
    now = timezone.now()
    known = {
        "observed": "running",
        "observed_at": now,
        "since": now - timedelta(hours=5),
        "built_at": now,
        "memory_mib": 256,
        "root_mib": 512,
    }
    return Machine.objects.create(
        host=like.host,
        zone=like.zone,
        image=like.image,
        owner=owner.own,
        name=name,
        address=f"10.10.2.{number}",
        mac=f"aa:bb:00:00:00:{number:02x}",
        vif=f"fr{number}",
        uid_base=65536 * number,
        **known | more,
    )


def job(target: Machine, user, kind: str, state: str, **more) -> Job:
    title = f"{kind.partition('.')[2].capitalize()} {target.name}"
    return Job.objects.create(
        kind=kind,
        host=target.host,
        title=title,
        target_kind="machine",
        target_id=target.pk,
        target_text=target.name,
        actor=user,
        state=state,
        **more,
    )


@pytest.fixture
def isp(web_dom, fulup, dominig, brendan, host) -> dict[str, Machine]:
    """A machine in every state a page can show."""
    from firewall.models import PublishedService

    Host.objects.update(seen_at=timezone.now() + timedelta(seconds=300))  # stays fresh however slow this box is
    now, zone = timezone.now(), web_dom.zone
    Machine.objects.filter(pk=web_dom.pk).update(since=now - timedelta(days=41))
    laptop = SSHKey.objects.create(user=dominig, name="laptop", line="ssh-ed25519 AAAA", fingerprint=LAPTOP)
    desk = SSHKey.objects.create(user=fulup, name="desk", line="ssh-ed25519 AAAB", fingerprint=LAPTOP[::-1])
    web_dom.ssh_keys.set([laptop, desk])
    for name, port, inside in (("DomiWEB", 80, 8080), ("DomiSSH", 22, 22), ("DomiTLS", 443, 8443)):
        PublishedService.objects.create(
            host=host,
            name=name,
            zone=zone,
            external=zone.external,
            proto="tcp",
            port=port,
            port_last=port,
            target="10.10.2.2",
            target_port=inside,
            live=name != "DomiTLS",
        )
    lent = machine(web_dom, 3, "Brendan", brendan, observed="stopped", wanted="stopped")
    Grant.objects.create(machine=lent, user=dominig, verbs=",view,power,", expires=now + timedelta(days=9))
    made = {
        "up": web_dom,
        "lent": lent,
        "missing": machine(web_dom, 4, "radio-old", fulup, observed="missing"),
        "fell": machine(web_dom, 5, "wiki-school", brendan, observed="stopped"),
        "failed": machine(web_dom, 6, "Choir", fulup, built_at=None, observed="unknown"),
        "waits": machine(web_dom, 7, "SIP", fulup, built_at=None, observed="unknown"),
        "busy": machine(web_dom, 8, "Mail", fulup),
    }
    said = "tar ended with code 2: Unexpected EOF in archive."
    job(made["failed"], fulup, "machine.create", "failed", ended=now - timedelta(hours=2), attempt=1, message=said)
    job(made["waits"], fulup, "machine.create", "planned", reason="telephones")
    working = job(made["busy"], fulup, "machine.reboot", "running")
    for number, state in enumerate(("done", "now", "todo"), start=1):
        JobStep.objects.create(job=working, number=number, stage="stop", title="Stop", state=state)
    thing = log.Thing(kind="machine", id=str(web_dom.pk), text="WEB-Dom")
    for who, kind, outcome, why in (
        (fulup, "machine.create", "done", "for the regatta"),
        (dominig, "machine.reboot", "done", ""),
        (dominig, "machine.key", "refused", ""),
    ):
        done = job(web_dom, who, kind, "done", ended=now)
        actor = log.Actor(id=who.pk, name=who.username)
        log.record(actor, kind, thing, outcome=outcome, why=why, job=done.pk, data={"state": outcome})
    return made


PAGES = {
    "list": ("fulup", "/machines/"),
    "list-none": ("fulup", "/machines/?q=imap&state=stopped"),
    "create": ("fulup", "/machines/new/?owner={owner}"),
    "up": ("fulup", "/machines/{up}/"),
    "missing": ("fulup", "/machines/{missing}/"),
    "fell": ("fulup", "/machines/{fell}/"),
    "failed": ("fulup", "/machines/{failed}/"),
    "waits": ("fulup", "/machines/{waits}/"),
    "busy": ("fulup", "/machines/{busy}/"),
    "delete": ("fulup", "/machines/{up}/delete/"),
    "images": ("fulup", "/machines/images/"),
    "mine": ("dominig", "/machines/mine/"),
    "mine-up": ("dominig", "/machines/{up}/"),
    "mine-lent": ("dominig", "/machines/{lent}/"),
}


def test_no_page_overflows_or_shuts_anybody_out(page_as, request, isp, dominig):
    places = {name: each.pk for name, each in isp.items()} | {"owner": dominig.own.pk}
    pages = {who: page_as(request.getfixturevalue(who)) for who in ("fulup", "dominig")}
    wrong = []
    for name, (who, path) in PAGES.items():
        page = pages[who]
        page.goto(path.format(**places))
        expect(page.locator("h1")).to_have_count(1)
        wrong += [f"{name}: {each}" for each in every_face(page, f"machines-{name}")]
    assert wrong == []


def keep(page, name: str) -> None:
    if folder := os.environ.get("FRIDU_SHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)


def test_a_machine_is_created_by_keyboard_alone(page_as, isp, fulup):
    page = page_as(fulup)
    page.goto("/machines/new/")
    expect(page.get_by_label("Name", exact=True)).to_be_focused()
    page.keyboard.type("Regatta")
    page.keyboard.press("Tab")
    page.keyboard.type("10.10.2.40")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Owner")).to_be_focused()
    with page.expect_response(lambda answer: "owner=" in answer.url):
        page.keyboard.type("dom")
        page.keyboard.press("Tab")
    expect(page.get_by_label("dominig, laptop")).to_be_checked()
    expect(page.get_by_label("fulup, desk")).not_to_be_checked()
    page.get_by_label("Name", exact=True).focus()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/jobs/\d+/"))
    made = Machine.objects.get(name="Regatta")
    assert (made.address, made.owner.name) == ("10.10.2.40", "dominig")
    assert [key.name for key in made.ssh_keys.all()] == ["laptop"]


@pytest.mark.parametrize("script", [True, False])
def test_a_free_address_is_one_press_away(page_as, isp, fulup, script):
    page = page_as(fulup, script=script)
    page.goto("/machines/new/")
    page.get_by_label("Name", exact=True).fill("Regatta")
    free = page.get_by_role("region", name="Free addresses").get_by_role("link").last
    address = free.inner_text()
    free.click()
    expect(page.get_by_role("combobox", name="Address")).to_have_value(address)
    if script:
        expect(page.get_by_label("Name", exact=True)).to_have_value("Regatta")


def test_a_wrong_address_is_said_beside_its_field_on_a_phone(page_as, isp, fulup, dominig):
    page = page_as(fulup, width=390)
    page.goto(f"/machines/new/?owner={dominig.own.pk}")
    page.get_by_label("Name", exact=True).fill("Regatta")
    page.get_by_role("combobox", name="Address").fill("10.10.2.2")
    page.get_by_role("button", name="Create machine").click()
    field = page.get_by_role("combobox", name="Address")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_have_value("10.10.2.2")
    expect(field).to_be_focused()
    expect(field).to_have_accessible_description(re.compile(r"WEB-Dom"))
    keep(page, "machines-create-wrong-light-390")
    assert findings(page) == []
    assert overflow(page) == []
    assert not Machine.objects.filter(name="Regatta").exists()


def test_the_list_narrows_while_one_types_and_keeps_the_focus(page_as, isp, fulup):
    page = page_as(fulup)
    page.goto("/machines/")
    field = page.get_by_label("Search", exact=True)
    field.press_sequentially("sip")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.get_by_role("link", name="SIP")).to_be_visible()
    expect(field).to_be_focused()
    expect(page).to_have_url(re.compile("q=sip"))
    page.get_by_label("State", exact=True).select_option("running")
    expect(page.get_by_role("heading", name="Nothing matches “sip” under “Running”")).to_be_visible()


def test_the_list_narrows_and_acts_on_many_without_script(page_as, isp, fulup):
    page = page_as(fulup, script=False)
    page.goto("/machines/")
    page.get_by_label("Search", exact=True).fill("web-dom")
    page.get_by_role("button", name="Filter").click()
    page.get_by_label("Choose WEB-Dom").check()
    page.get_by_role("button", name="Restart", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Restart 1 machine?")
    keep(page, "machines-bulk-light-1360")
    page.get_by_role("button", name="Restart 1 machine").click()
    expect(page.get_by_text("Restart asked for: WEB-Dom.")).to_be_visible()


def test_the_page_follows_the_machine_and_says_it_aloud(page_as, isp, dominig):
    page = page_as(dominig)
    page.goto(f"/machines/{isp['up'].pk}/")
    page.get_by_role("button", name="Stop WEB-Dom").focus()
    with page.expect_response(lambda answer: "seen=" in answer.url) as looked:
        pass
    assert looked.value.status == 204  # a look that finds nothing new leaves the page and the focus alone
    expect(page.get_by_role("button", name="Stop WEB-Dom")).to_be_focused()
    Machine.objects.filter(pk=isp["up"].pk).update(observed="stopped", wanted="stopped")
    expect(page.get_by_role("button", name="Start WEB-Dom")).to_be_visible()
    expect(page.locator("#said")).to_contain_text("WEB-Dom: stopped")


def test_keys_and_deletion_come_back_when_the_job_has_ended(page_as, isp, fulup):
    page = page_as(fulup)
    page.goto(f"/machines/{isp['up'].pk}/")
    page.get_by_label("dominig, laptop").uncheck()
    page.get_by_role("button", name="Put exactly these on").click()
    expect(page.get_by_text("Change of SSH keys of WEB-Dom asked for.")).to_be_visible()
    password = page.get_by_role("button", name="Set a one-time root password")
    expect(password).to_have_count(0)
    isp["up"].ssh_keys.set(SSHKey.objects.filter(name="desk"))
    Job.objects.filter(kind="machine.key").update(state="done", ended=timezone.now())
    expect(password).to_be_visible()
    expect(page.get_by_label("fulup, desk")).to_be_checked()
    expect(page.get_by_label("dominig, laptop")).not_to_be_checked()
    expect(page.get_by_role("region", name="Connect")).to_contain_text("Opens with the key “desk” of fulup.")
    expect(page.get_by_role("link", name="Delete machine")).to_be_visible()


def test_what_one_has_ticked_stays_while_only_time_passes(page_as, isp, fulup):
    page = page_as(fulup)
    page.goto(f"/machines/{isp['up'].pk}/")
    page.get_by_label("dominig, laptop").uncheck()
    Machine.objects.filter(pk=isp["up"].pk).update(since=timezone.now() - timedelta(days=42))
    expect(page.locator("#live")).to_contain_text("running for 42 days")
    expect(page.get_by_label("dominig, laptop")).not_to_be_checked()


def test_a_page_left_open_says_when_its_machine_is_gone(page_as, isp, dominig):
    page = page_as(dominig)
    page.goto(f"/machines/{isp['up'].pk}/")
    Machine.objects.filter(pk=isp["up"].pk).delete()
    expect(page.get_by_role("heading", level=1)).to_have_text("There is no such page")


def test_an_owner_stops_his_machine_from_his_own_page_without_script(page_as, isp, dominig):
    page = page_as(dominig, script=False)
    page.goto("/machines/mine/")
    page.get_by_role("button", name="Stop WEB-Dom").click()
    expect(page).to_have_url(re.compile("/machines/mine/$"))
    expect(page.get_by_text("Stop of WEB-Dom asked for.")).to_be_visible()
    expect(page.get_by_text("stop asked for", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Restart WEB-Dom")).to_have_count(0)


def test_an_owner_gets_a_root_password_once(page_as, isp, dominig):
    page = page_as(dominig, width=390)
    page.goto(f"/machines/{isp['up'].pk}/")
    page.get_by_role("button", name="Set a one-time root password").click()
    password = page.locator("#password").inner_text()
    assert len(password) >= 16
    assert password not in page.url
    assert findings(page) == []
    assert overflow(page) == []
    keep(page, "machines-password-light-390")
    put = page.locator("#job-word")
    expect(put).to_contain_text("asked for")
    Job.objects.filter(kind="machine.password").update(state="done", ended=timezone.now())
    expect(put).to_contain_text("done")
    expect(put).not_to_have_attribute("hx-get", re.compile(""))
    assert page.locator("#password").inner_text() == password
    page.get_by_role("link", name="I have noted it").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("WEB-Dom")
    assert password not in page.content()
