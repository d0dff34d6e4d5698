"""Points 3 and 4: the owner sees his machine and only his, works its power, key and password, and no door more."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.demo.conftest import Demo, until

pytestmark = pytest.mark.demo
TWO = "87.98.130.56"


def number(demo: Demo, name: str) -> int:
    return int(demo.sql("select id from machines_machine where name = ?", name)[0][0])


def running(demo: Demo) -> bool:
    return demo.sql("select observed from machines_machine where name = 'WEB-Dom'")[0][0] == "running"


def test_the_owner_sees_his_machine_and_only_his(demo: Demo, signed_in: Callable[..., Page]):
    page = signed_in("owner")
    expect(page.get_by_role("heading", level=1)).to_have_text("My machines")
    expect(page.locator("main")).to_contain_text("WEB-Dom")
    for other in ("Common", "WEB-Ful"):
        expect(page.locator("body")).not_to_contain_text(other)
    for word in ("Firewall", "Zones", "Hosts", "Policy", "People", "Audit"):
        expect(page.get_by_role("navigation").get_by_text(word, exact=True)).to_have_count(0)


def test_every_other_url_is_not_found(demo: Demo, signed_in: Callable[..., Page]):
    page = signed_in("owner")
    other = number(demo, "Common")
    paths = ["/firewall/", "/firewall/services/", "/firewall/policy/", "/firewall/import/", "/firewall/revisions/"]
    paths += [
        "/zones/",
        "/zones/1/",
        "/hosts/",
        "/people/",
        "/audit/",
        "/machines/new/",
        "/machines/images/",
        "/search/x",
    ]
    paths += [f"/machines/{other}/", f"/machines/{other}/history/", f"/machines/{other}/delete/"]
    paths += [f"/jobs/{demo.sql('select min(id) from hosts_job')[0][0]}/"]
    for path in paths:
        assert page.request.get(path).status == 404, path
    token = page.request.storage_state()["cookies"]
    csrf = next(c["value"] for c in token if c["name"] == "csrftoken")
    for verb in ("start", "stop", "restart", "keys", "password", "delete"):
        sent = page.request.post(f"/machines/{other}/{verb}/", headers={"X-CSRFToken": csrf, "Referer": demo.url})
        assert sent.status == 404, verb


def test_the_owner_stops_starts_and_restarts_it(demo: Demo, signed_in: Callable[..., Page]):
    page = signed_in("owner")
    page.goto(f"/machines/{number(demo, 'WEB-Dom')}/")
    page.get_by_role("button", name="Stop WEB-Dom").click()
    expect(page.locator("main")).to_contain_text("stopped")
    assert until(lambda: not demo.opens(TWO, 80))
    page.goto(f"/machines/{number(demo, 'WEB-Dom')}/")
    expect(page.get_by_role("button", name="Stop WEB-Dom")).to_have_count(0)
    page.get_by_role("button", name="Start WEB-Dom").click()
    assert until(lambda: "WEB-Dom" in demo.curl(f"http://{TWO}/"))
    assert until(lambda: running(demo))
    page.goto(f"/machines/{number(demo, 'WEB-Dom')}/")
    before = demo.ssh(TWO, "cat /proc/1/stat").stdout.split()[21]
    page.get_by_role("button", name="Restart WEB-Dom").click()
    assert until(lambda: demo.ssh(TWO, "cat /proc/1/stat").stdout.split()[21:22] not in ([], [before]))


def test_the_owner_puts_another_key_on_it(demo: Demo, signed_in: Callable[..., Page], tmp_path: Path):
    key = tmp_path / "laptop"
    subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)), check=True)
    page = signed_in("owner")
    page.goto("/account/")
    page.get_by_label("Name").fill("laptop")
    page.get_by_label("Public key").fill(key.with_suffix(".pub").read_text())
    page.get_by_role("button", name="Add this key").click()
    assert demo.ssh(TWO, "true", key=str(key)).returncode != 0
    page.goto(f"/machines/{number(demo, 'WEB-Dom')}/")
    page.get_by_role("checkbox", name="laptop").check()
    page.get_by_role("button", name="Put exactly these on").click()
    assert until(lambda: demo.ssh(TWO, "hostname", key=str(key)).stdout.strip() == "WEB-Dom")
    assert demo.ssh(TWO, "true").returncode == 0, "the former key stays"


def test_a_one_time_root_password_is_shown_once_and_stored_nowhere(demo: Demo, signed_in: Callable[..., Page]):
    page = signed_in("owner")
    page.goto(f"/machines/{number(demo, 'WEB-Dom')}/")
    page.get_by_role("button", name="Set a one-time root password").click()
    password = page.locator("#password").inner_text().strip()
    assert len(password) >= 12
    hashed = "grep ^root: /etc/shadow | cut -d: -f2"
    assert until(lambda: demo.ssh(TWO, hashed).stdout.startswith("$"))
    shadow = demo.ssh(TWO, hashed).stdout.strip()
    made = subprocess.run(
        ("openssl", "passwd", "-6", "-salt", shadow.split("$")[2], "-stdin"),
        input=password,
        capture_output=True,
        text=True,
    )
    assert made.stdout.strip() == shadow, "the password on the page is root's"
    page.goto(f"/machines/{number(demo, 'WEB-Dom')}/")
    expect(page.locator("body")).not_to_contain_text(password)
    kept = Path(demo.state["database"])
    for path in (kept, kept.with_name(kept.name + "-wal")):
        if path.exists():
            assert password.encode() not in path.read_bytes()
    assert until(lambda: not demo.sql("select id from hosts_jobsecret"))


def test_what_the_owner_did_and_was_refused_stands_in_the_log(demo: Demo):
    owner = demo.state["logins"]["owner"]["user"]
    done = {a for (a,) in demo.sql("select action from audit_entry where actor_name = ? and outcome = 'done'", owner)}
    assert {"machine.stop", "machine.start", "machine.reboot", "machine.key", "machine.password"} <= done
    assert demo.sql("select 1 from audit_entry where actor_name = ? and outcome = 'refused' limit 1", owner)
