"""Texts nobody may get into a rule file, by changing an own rule in place and by a job that says so itself."""

from __future__ import annotations

import pytest
from django.urls import reverse

from dom0.errors import Refused
from dom0.host import HostConfig
from dom0.state import State
from firewall import own_rules
from firewall.models import CustomRule
from hosts.kinds import kind_of
from hosts.models import Job
from tests.firewall.test_views import panel as panel

pytestmark = pytest.mark.django_db
RULE = {"place": "before-input", "rule": "-i eth0 -p tcp -m tcp --dport 9100 -j ACCEPT", "reason": "node exporter"}
TEXTS = (
    "-j ACCEPT\n-A fr-in -j ACCEPT",
    "-p tcp --dport 1 -j ACCEPT\nCOMMIT\n*nat",
    "-p tcp --dport 1 -j ACCEPT\u2028-A fr-in -j ACCEPT",
    "-p tcp --dport 1 -j ACCEPT\x85COMMIT",
    "-p tcp --dport 1 -j ACCEPT -A fr-in",
    "-p tcp --dport 1 -j ACCEPT -t nat",
    "-p tcp --dport 1 -j fr-admin",
    "-p tcp --dport 1 -g fr-dnat",
    "-p tcp --dport 1 -j DNAT --to-destination 10.10.1.2",
    "-p tcp --dport 1 -j NFQUEUE",
    '-m comment --comment "x\\" -j ACCEPT" -j DROP "',
    "-m comment --comment 'a' 'b' -j ACCEPT",
    '-m comment --comment "é\u202e" -j ACCEPT',
    "-p tcp --dport 1 -j ACCEPT # and so on",
    "-p tcp --dport 1 -j ACCEPT; reboot",
    "-p tcp --dport $(id) -j ACCEPT",
    "\uff0dp tcp -j ACCEPT",
    "-p tcp --dport \u0661 -j ACCEPT",
    "-j ACCEPT -j DROP",
    "-m set --match-set fr-inside src -j ACCEPT --modprobe=/tmp/x",
    "--modprobe=/tmp/x -j ACCEPT",
    "-m bpf --object-pinned /sys/fs/bpf/x -j ACCEPT",
    "\x00",
)


@pytest.fixture
def row(host, fulup) -> CustomRule:
    return CustomRule.objects.create(host=host, author=fulup, **RULE)


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_no_such_text_takes_the_place_of_a_rule(panel, row, text: str) -> None:
    answer = panel.post(reverse("firewall:custom_change", args=(row.pk,)), {**RULE, "rule": text})
    asked = [each for job in Job.objects.all() for each in own_rules.wanted_of(job)]
    assert all(each.rule.isprintable() and "\n" not in each.rule for each in asked)
    assert answer.status_code == 422, asked
    row.refresh_from_db()
    assert row.rule == RULE["rule"]


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_nor_by_a_job_somebody_wrote_into_the_database(me, host, row, text: str) -> None:
    config = HostConfig(name=host.name, libvirt="lxc:///system", volumes="/v")
    forged = {"rules": [{**RULE, "rule": text.replace("\x00", "\x01"), "expires": None}], "instead": row.pk}
    job = Job(kind=own_rules.KIND, host=host, args={**forged, "former": {**RULE, "expires": None}}, title="x")
    with pytest.raises(Refused):
        kind_of(own_rules.KIND).plan(job, State(host=host.name), config)


def test_a_rule_of_another_host_is_not_replaced_by_a_forged_job(me, host, row) -> None:
    other = type(host).objects.create(name="other")
    job = Job(kind=own_rules.KIND, host=other, args={"rules": [], "instead": row.pk, "former": {}}, title="x")
    with pytest.raises(Refused, match="changed or taken out meanwhile"):
        own_rules.replaced_by(job)
