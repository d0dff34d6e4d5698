"""`fridu change`: before and after, what follows, the plan, and a sentence for each thing that can't be."""

from __future__ import annotations

import pytest

from audit.models import Entry
from firewall.models import PublishedService
from hosts.models import Job
from machines.models import Machine

pytestmark = pytest.mark.django_db


def test_what_is_named_is_changed_and_told_before(run, web_dom):
    code, said = run("change WEB-Dom vmram=96 vmroot=1G vcpus=2 vmswap=64 vmlog=32 autostart=no order=7 --yes")
    assert code == 0, said
    assert "Memory         64 MB -> 96 MB" in said
    assert "Root volume    128 MB -> 1024 MB" in said
    assert Job.objects.get().args["change"] == {
        **{"memory_mib": 96, "root_mib": 1024, "vcpus": 2, "swap_mib": 64, "log_mib": 32},
        **{"autostart": False, "start_order": 7},
    }


def test_the_plan_is_asked_about(run, web_dom):
    code, said = run("change WEB-Dom vmname=Post", answer="")
    assert code == 1
    assert "Job " in said
    assert "Rename WEB-Dom to Post. The plan:" in said
    assert Machine.objects.get().name == "WEB-Dom"


def test_a_move_names_what_moves_along(run, web_dom, zones):
    PublishedService.objects.create(
        host=web_dom.host, name="DomiWEB", zone=zones["zDominig"], external=zones["zDominig"].external, proto="tcp",
        port=80, port_last=80, target="10.10.2.2", target_port=8080, live=True,
    )  # fmt: skip
    code, said = run("change WEB-Dom zone=zFulup --yes")
    assert code == 0, said
    assert "published service DomiWEB: 10.10.2.2:8080 -> 10.10.1.2:8080" in said
    assert Job.objects.get().args["change"] == {"zone": zones["zFulup"].pk, "address": "10.10.1.2"}


def test_another_owner(run, web_dom, brendan):
    code, said = run("change WEB-Dom owner=brendan --yes")
    assert code == 0, said
    assert "Owner          dominig -> brendan" in said
    assert Job.objects.get().args["change"] == {"owner": brendan.own.pk}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("change WEB-Dom", "for example: fridu change WEB-Dom vmram=256"),
        ("change WEB-Dom colour=blue", "change knows no colour"),
        ("change WEB-Dom vmram=much", "vmram=much is no size"),
        ("change WEB-Dom vcpus=two", "vcpus=two is no number"),
        ("change WEB-Dom autostart=perhaps", "neither yes nor no"),
        ("change WEB-Dom zone=zNone", "There is no zone called zNone"),
        ("change WEB-Dom owner=nobody", "There is no owner called nobody"),
        ("change WEB-Dom vmroot=64", "vmroot: Its root volume has 128 MB and only grows"),
        ("change WEB-Dom vmlog=8", "vmlog: A volume has at least 16 MB"),
        ("change WEB-Dom order=1000", "order: Use 0 to 999"),
        ("change WEB-Dom vmname=dom0", "vmname: dom0 already means something else"),
        ("change Nothing vmram=64", "There is no machine called Nothing"),
    ],
)
def test_what_makes_no_sense_or_can_not_be_is_said(run, web_dom, line, says):
    code, said = run(f"{line} --yes")
    assert code != 0
    assert says in said
    assert not Job.objects.exists()


def test_owners_are_refused_and_that_is_in_the_log(run, web_dom, dominig):
    code, said = run("change WEB-Dom vmram=96 --yes --as dominig")
    assert code == 1
    assert "not change it" in said
    assert Entry.objects.filter(action="machine.change", outcome="refused", actor_name="dominig").exists()
    assert not Job.objects.exists()
