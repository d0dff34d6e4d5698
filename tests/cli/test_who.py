"""Who acts: the login, --as, and never root."""

from __future__ import annotations

import pytest

from audit.models import Entry
from fridu_site.cli import main, who
from hosts.models import Job

pytestmark = pytest.mark.django_db


def test_root_is_not_a_person(run, web_dom, monkeypatch):
    monkeypatch.setattr(main, "login", lambda: "root")
    code, said = run("start WEB-Dom")
    assert code == 1
    assert "root is not a person" in said
    assert "--as USER" in said
    assert not Job.objects.exists()


def test_root_acts_as_somebody_and_the_log_says_so(run, web_dom, monkeypatch):
    monkeypatch.setattr(main, "login", lambda: "root")
    assert run("start WEB-Dom --as fulup")[0] == 0
    entry = Entry.objects.get(action="machine.start")
    assert (entry.actor_name, entry.address) == ("fulup", "command line, root")


def test_an_owner_starts_their_own_and_finds_no_others(run, web_dom, monkeypatch, dominig, brendan):
    monkeypatch.setattr(main, "login", lambda: "dominig")
    assert run("stop WEB-Dom")[0] == 0
    monkeypatch.setattr(main, "login", lambda: "brendan")
    code, said = run("stop WEB-Dom")
    nothing = run("stop No-Such")[1]
    assert code == 1
    assert said.replace("WEB-Dom", "X") == nothing.replace("No-Such", "X")
    refused = Entry.objects.filter(outcome="refused", actor_name="brendan").first()
    assert refused.action == "machine.stop"


@pytest.mark.parametrize(
    "line", ["create vmname=a vmip=10.10.2.9", "delete WEB-Dom", "firewall dump", "firewall apply", "import /etc/hosts"]
)
def test_an_owner_gets_nowhere_with_the_operators_verbs(run, web_dom, monkeypatch, dominig, line):
    monkeypatch.setattr(main, "login", lambda: "dominig")
    code, said = run(line + " --yes")
    assert code == 1
    assert "may" in said
    assert not Job.objects.exists()
    assert Entry.objects.filter(outcome="refused", actor_name="dominig").count() == 1


def test_an_owner_does_not_act_as_an_operator(run, web_dom, monkeypatch, dominig):
    monkeypatch.setattr(main, "login", lambda: "dominig")
    code, said = run("start WEB-Dom --as fulup")
    assert code == 1
    assert "dominig may not act as fulup" in said


def test_a_deactivated_operator_acts_no_more(run, web_dom, fulup):
    fulup.is_active = False
    fulup.save()
    assert run("start WEB-Dom")[0] == 1


def test_through_sudo_the_login_is_still_the_persons(monkeypatch):
    monkeypatch.setattr(who.os, "getuid", lambda: 0)
    assert who.login({"SUDO_USER": "fulup"}) == "fulup"
    assert who.login({}) == "root"
    monkeypatch.setattr(who.os, "getuid", lambda: 65534)
    assert who.login({"SUDO_USER": "fulup"}) == "nobody"
