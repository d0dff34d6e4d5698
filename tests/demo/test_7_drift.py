"""What root changes on dom0 by hand is found, told, and restored or adopted."""

from __future__ import annotations

import json

import pytest

from tests.demo.conftest import Demo, until

pytestmark = pytest.mark.demo
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
