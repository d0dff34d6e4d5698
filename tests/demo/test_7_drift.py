"""What root changes on dom0 by hand is found, told, and restored or adopted."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from tests.demo.conftest import NAME, ROOT, Demo, until
from tests.demo.test_2_operator import established
from tests.demo.test_5_killed import go_on

pytestmark = pytest.mark.demo
ROLLING_BACK = ROOT / "var" / NAME / "lib" / "state" / "firewall" / "rolling-back"
BY_HAND = "-p tcp -m tcp --dport 6379 -j ACCEPT"


def rules(demo: Demo, *words: str) -> None:
    done = demo.in_ns("dom0", "iptables", *words)
    assert done.returncode == 0, done.stderr


def told(demo: Demo) -> str:
    """What the watcher found to differ, in words."""
    [(drift,)] = demo.sql("select drift from firewall_watched")
    return "; ".join(line["words"] for line in json.loads(drift))


def loaded(demo: Demo) -> str:
    return demo.in_ns("dom0", "iptables-save").stdout


def test_a_rule_and_a_switch_changed_by_hand_are_told_and_restored(demo: Demo):
    rules(demo, "-I", "fr-zin", "1", *BY_HAND.split())
    demo.in_ns("dom0", "sysctl", "-w", "net.ipv4.conf.all.rp_filter=0")
    assert until(lambda: BY_HAND in told(demo) and "rp_filter is 0 instead of 1" in told(demo)), told(demo)
    shown = demo.fridu("firewall", "show").stdout
    assert f"somebody added a rule to what machines may ask of dom0: {BY_HAND}" in shown
    done = demo.fridu("firewall", "apply", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert BY_HAND not in loaded(demo)
    assert demo.in_ns("dom0", "sysctl", "-n", "net.ipv4.conf.all.rp_filter").stdout.strip() == "1"
    assert told(demo) == ""
    assert "differs" not in demo.fridu("firewall", "show").stdout


def test_what_was_added_by_hand_is_adopted_as_an_own_rule(demo: Demo):
    rules(demo, "-A", "fr-before-forwarding", "-d", "10.10.1.99/32", "-j", "DROP")
    assert until(lambda: "10.10.1.99" in told(demo)), told(demo)
    demo.python(
        "from accounts.models import User; from audit.log import Actor; from firewall import trials;"
        "from hosts.models import Host; u = User.objects.get(username='fulup');"
        "out = len(trials.drift_adopt(Actor(id=u.pk, name='fulup'), Host.objects.get(), reason='it was urgent'))"
    )
    assert demo.fridu("firewall", "apply", "--yes").returncode == 0
    assert demo.fridu("firewall", "confirm").returncode == 0
    assert "-A fr-before-forwarding -d 10.10.1.99/32 -j DROP" in loaded(demo)
    assert "-d 10.10.1.99/32 -j DROP" in demo.fridu("firewall", "export").stdout


def test_a_restoration_whose_worker_is_killed_is_finished_by_the_guard(
    demo: Demo, signed_in: Callable[[str], Page]
) -> None:
    """Nobody presses anything: the rules are the confirmed ones, what came in by the others is cut."""
    [mail] = [
        line for line in loaded(demo).splitlines() if line.startswith("-A fr-dn-91.121.65.140") and "25 " in line
    ][:1]
    to = mail.split("--to-destination ")[1].split()[0]
    opened = f"-p tcp -m tcp --dport 4526 -j DNAT --to-destination {to}"
    rules(demo, "-t", "nat", "-I", "fr-dn-91.121.65.140", "1", *opened.split())
    assert until(lambda: "4526" in told(demo), 20), told(demo)
    page = signed_in("operator")
    with established(demo, "91.121.65.140", 4526) as link:
        assert link.alive()
        page.goto("/firewall/drift/")
        killing = threading.Thread(target=_kill_once_begun, args=(demo.pid("worker-net"),))
        killing.start()
        page.get_by_role("button", name=re.compile("Restore revision")).click()
        killing.join()
        assert until(lambda: not link.alive(), 10), "the connection must be cut"
    assert until(lambda: not ROLLING_BACK.exists(), 5)
    assert "4526" not in loaded(demo)
    job = int(page.url.rstrip("/").rsplit("/", 1)[1])
    assert until(lambda: "The guard has finished it" in _read_again(page), 30, every=0.5), page.inner_text("main")
    [(why,)] = demo.sql("select why from audit_entry where action = 'firewall.restore' order by seq desc limit 1")
    assert "whoever began it ended on the way" in why
    assert demo.job_state(job) == "failed"
    go_on(demo, job)
    assert until(lambda: demo.job_state(job) == "done", 20), demo.job_state(job)
    assert told(demo) == ""


def _kill_once_begun(worker: int) -> None:
    deadline = time.monotonic() + 20
    while not ROLLING_BACK.exists() and time.monotonic() < deadline:
        time.sleep(0.0005)
    os.kill(worker, signal.SIGKILL)


def _read_again(page: Page) -> str:
    page.reload()
    return page.inner_text("main")
