"""Points 2 and 4: the operator draws, creates, publishes and unpublishes in a real browser; the log has it all."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.demo.conftest import Demo, until

pytestmark = pytest.mark.demo
NEW, ADDRESS = "Newbie", "10.10.2.9"
STAGES = ["lvmcreate", "fscreate", "installroot", "tuneroot", "updateether", "createvmconf", "start"]


def test_the_operator_sees_the_whole_isp_as_one_drawing(demo: Demo, signed_in: Callable[..., Page]):
    page = signed_in("operator")
    drawing = page.locator("svg.net:visible")
    for words in ("Internet", "Admin VPN", "91.121.65.140", "87.98.130.56", "zFulup", "zDominig", "dom0"):
        expect(drawing).to_contain_text(words)
    for machine in ("Common", "WEB-Ful", "WEB-Dom"):
        expect(drawing.get_by_role("link", name=f"{machine}, ")).to_have_accessible_name(
            # the state stands in the spoken name, so that it never depends on colour
            re.compile(rf"^{machine}, 10\.10\.\d\.\d, running")
        )


def test_a_machine_is_created_by_name_and_address_with_its_plan_shown_first(
    demo: Demo, signed_in: Callable[..., Page], operator_key: str
):
    page = signed_in("operator")
    page.goto("/account/")
    page.get_by_label("Name").fill("mine")
    page.get_by_label("Public key").fill(operator_key)
    page.get_by_role("button", name="Add this key").click()
    page.goto("/machines/new/")
    page.locator("#id_name").fill(NEW)
    page.locator("#id_address").fill(ADDRESS)
    page.get_by_role("checkbox", name="mine").check()
    page.get_by_label("Why").fill("to try it")
    page.get_by_role("button", name="Create machine").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(f"Create {NEW}")
    expect(page.get_by_text("waits for approval").first).to_be_visible()
    shown = page.locator("ol.steps code.name").all_inner_texts()
    assert [s for s in dict.fromkeys(shown) if s in STAGES] == STAGES
    commands = "\n".join(page.locator("ol.steps pre").all_text_contents())
    for part in (f"{NEW}-root.img", ADDRESS, "<domain"):
        assert part in commands
    assert not demo.sql(
        "select id from hosts_jobstep where state = 'done' and job_id = (select max(id) from hosts_job)"
    )
    page.get_by_role("button", name=f"Approve and create {NEW}").click()
    expect(page.locator("ol.steps li.done")).to_have_count(len(shown))
    expect(page.get_by_text("Done.", exact=True)).to_be_visible()


def test_the_new_machine_lets_its_key_in_by_ssh(demo: Demo):
    key = demo.state["operator_ssh_key"]
    assert until(lambda: demo.ssh(ADDRESS, "hostname", place="vpn", key=key).stdout.strip() == NEW)


def test_a_published_service_answers_and_an_unpublished_one_is_cut(demo: Demo, signed_in: Callable[..., Page]):
    page = signed_in("operator")
    page.goto("/firewall/services/publish/")
    page.locator("#id_name").fill("NewMail")
    chosen = page.locator("#id_external option", has_text="91.121.65.140").inner_text()
    page.locator("#id_external").select_option(label=chosen)
    page.locator("#id_port").fill("2525")
    page.locator("#id_target").fill(NEW)
    page.locator("#id_target_port").fill("2525")
    page.get_by_role("button", name="Publish", exact=True).click()
    expect(page.get_by_text("Opens").first).to_be_visible()
    expect(page.locator("ul.diff")).to_contain_text("tcp 2525 of 91.121.65.140")
    assert not demo.opens("91.121.65.140", 2525), "shown, not yet applied"
    apply(demo, page)
    assert demo.greeting("91.121.65.140", 2525) == f"220 {NEW} ESMTP"
    with established(demo, "91.121.65.140", 2525) as link:
        assert link.alive()
        page.goto("/firewall/services/")
        page.get_by_role("link", name="Unpublish NewMail").click()
        page.get_by_role("button", name="Unpublish NewMail").click()
        page.goto("/firewall/")
        expect(page.locator("ul.diff")).to_contain_text("Closes")
        apply(demo, page)
        assert not link.alive(), "the established connection must be cut"
    assert not demo.opens("91.121.65.140", 2525)


def apply(demo: Demo, page: Page) -> None:
    """Apply exactly the changes on show, and keep them on the page of the trial."""
    if "/firewall/" not in page.url or "services" in page.url:
        page.goto("/firewall/")
    page.get_by_role("button", name="Apply on trial").click()
    page.wait_for_url("**/firewall/trial/**")
    keep = page.locator("#keep")
    expect(keep).to_have_text(re.compile(r"Keep revision \d+"))
    number = int(keep.inner_text().split()[-1])
    keep.click()
    live = ("select state from firewall_revision where number = ?", number)
    assert until(lambda: demo.sql(*live) == [("live",)])


def test_every_action_stands_in_the_log_with_who_what_why_and_commands(demo: Demo):
    found = demo.sql(
        "select actor_name, object_text, why, outcome, data from audit_entry where action = 'machine.create' and"
        " object_text = ? and outcome = 'done' order by seq",
        NEW,
    )
    actor, text, why, _, data = found[-1]
    assert (actor, text, why) == (demo.state["logins"]["operator"]["user"], NEW, "to try it")
    assert f"{NEW}-root.img" in data
    assert '"code"' in data
    actions = {a for (a,) in demo.sql("select distinct action from audit_entry")}
    assert {
        "machine.create",
        "service.publish",
        "service.unpublish",
        "firewall.apply",
        "firewall.confirm",
        "job.approve",
    } <= actions
    assert demo.fridu("audit", "verify").returncode == 0


def test_the_auditor_reads_the_log_in_the_admin_and_can_change_nothing(demo: Demo, signed_in: Callable[..., Page]):
    page = signed_in("auditor")
    page.goto("/admin/audit/entry/")
    expect(page.locator("#result_list")).to_contain_text("machine.create")
    page.locator("#result_list tbody a").first.click()
    expect(page.get_by_role("button", name="Save")).to_have_count(0)
    expect(page.get_by_role("link", name="Delete")).to_have_count(0)
    page.goto("/admin/machines/machine/")
    expect(page.locator("#result_list")).to_contain_text("WEB-Dom")
    assert page.request.get("/admin/audit/entry/add/").status == 403
    for path in ("/machines/", "/firewall/", "/zones/", "/hosts/"):
        assert page.request.get(path).status == 404


class established:
    """A TCP connection held open on the Internet's side; `alive` sends a line and waits for an answer."""

    CODE = (
        "import socket,sys\ns=socket.create_connection((sys.argv[1],int(sys.argv[2])),timeout=15)\ns.recv(200)\n"
        "for line in sys.stdin:\n"
        "    try:\n        s.settimeout(3);s.sendall(b'NOOP\\r\\n');print('yes' if s.recv(200) else 'no',flush=True)\n"
        "    except OSError:\n        print('no',flush=True)\n"
    )

    def __init__(self, demo: Demo, address: str, port: int) -> None:
        argv = ("ip", "netns", "exec", demo.state["netns"]["internet"], "python3", "-c", self.CODE, address, str(port))
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> established:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def alive(self) -> bool:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip() == "yes"
