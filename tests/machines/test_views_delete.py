"""Deleting: what is lost, the name once more, then the plan."""

from __future__ import annotations

import pytest

from hosts.models import Job
from machines import published
from machines.models import Machine


@pytest.fixture
def operator(client, fulup):
    client.force_login(fulup)
    return client


def url(machine: Machine) -> str:
    return f"/machines/{machine.pk}/delete/"


def test_it_says_what_is_lost_and_does_nothing_yet(operator, web_dom):
    text = operator.get(url(web_dom)).content.decode()
    assert "This destroys data" in text
    assert "128 MB" in text
    assert not Job.objects.exists()


def test_while_ports_lead_to_it_they_are_named_and_nothing_can_be_typed(monkeypatch, operator, web_dom):
    web = published.Published(
        name="DomiWEB", address="87.98.130.56", proto="tcp", port=80, port_last=80, target_port=8080
    )
    monkeypatch.setattr(published, "_providers", [lambda machines: {web_dom.pk: [web]}])
    text = operator.get(url(web_dom)).content.decode()
    assert "<b>DomiWEB</b>: tcp 80 of 87.98.130.56" in text
    assert 'name="name"' not in text
    answer = operator.post(url(web_dom), {"name": "WEB-Dom"})
    assert answer.status_code == 409
    assert "Unpublish that and apply the firewall first" in answer.content.decode()
    assert not Job.objects.exists()


def test_the_name_typed_once_more_leads_to_the_plan(operator, web_dom):
    answer = operator.post(url(web_dom), {"name": "WEB-Dom", "reason": "moved away"})
    job = Job.objects.get()
    assert answer["Location"] == f"/jobs/{job.pk}/"
    assert (job.kind, job.reason, job.approver) == ("machine.delete", "moved away", None)
    assert Machine.objects.get().deleting


@pytest.mark.parametrize("typed", ["", "web-dom", "WEB-Dom2", "<b>"])
def test_another_name_changes_nothing(operator, web_dom, typed):
    answer = operator.post(url(web_dom), {"name": typed, "reason": "kept"})
    assert answer.status_code == 422
    assert "Type WEB-Dom" in answer.content.decode()
    assert 'value="kept"' in answer.content.decode()
    assert "<b></p>" not in answer.content.decode()
    assert not Job.objects.exists()
    assert not Machine.objects.get().deleting


def test_while_a_job_is_open_it_says_which(operator, web_dom):
    operator.post(f"/machines/{web_dom.pk}/stop/")
    assert f"Job {Job.objects.get().pk}" in operator.get(url(web_dom)).content.decode()
    answer = operator.post(url(web_dom), {"name": "WEB-Dom"})
    assert answer.status_code == 409
    assert "is still open for WEB-Dom" in answer.content.decode()
    assert not Machine.objects.get().deleting


def test_it_is_not_for_the_owner(client, dominig, web_dom):
    client.force_login(dominig)
    assert client.get(url(web_dom)).status_code == 404
    assert client.post(url(web_dom), {"name": "WEB-Dom"}).status_code == 404
    assert not Job.objects.exists()
