"""`fridu limits`: seen, set, taken off."""

from __future__ import annotations

import pytest

from hosts.models import Job
from machines.models import Machine

pytestmark = pytest.mark.django_db


@pytest.fixture
def roomy(web_dom) -> Machine:
    web_dom.zone.in_kbit = 10_000
    web_dom.zone.save()
    web_dom.host.facts["libvirt"] = "lxc:///system"
    web_dom.host.save()
    return web_dom


def test_what_is_named_is_asked_for_and_none_takes_it_off(run, roomy) -> None:
    line = "limits WEB-Dom netin=8M netout=4M share=2M cpuweight=512 cpucap=50% diskbw=10M iops=200 --yes"
    code, said = run(f"{line} --reason noisy")
    assert code == 0, said
    job = Job.objects.get()
    assert job.reason == "noisy"
    assert job.args["change"] == {
        "net_in_kbit": 8000, "net_out_kbit": 4000, "net_share_kbit": 2000, "cpu_weight": 512,
        "cpu_cap": 50, "disk_kib_s": 10_240, "disk_iops": 200,
    }  # fmt: skip


def test_alone_it_says_what_is_set(run, roomy) -> None:
    assert "has no limits" in run("limits WEB-Dom")[1]
    Machine.objects.filter(pk=roomy.pk).update(net_in_kbit=8000, cpu_cap=50)
    code, said = run("limits WEB-Dom")
    assert code == 0
    assert "netin      8 Mbit/s" in said
    assert "50 % of one processor" in said
    assert not Job.objects.exists()


def test_what_it_can_not_have_is_said_by_the_name_it_was_typed_by(run, roomy) -> None:
    code, said = run("limits WEB-Dom share=20M iops=1")
    assert code == 1
    assert "share: Of zDominig" in said
    assert "iops: Operations" in said
    assert not Job.objects.exists()


@pytest.mark.parametrize("words", ["speed=1", "netin=fast", "diskbw=10Mbit", "iops=many"])
def test_what_it_does_not_understand_is_said(run, roomy, words) -> None:
    code, said = run(f"limits WEB-Dom {words}")
    assert code == 2, said
