"""The page that says why, or why not; and the one that says it for the whole site."""

from __future__ import annotations

import pytest
from django.urls import reverse

from firewall import probes
from firewall.models import PublishedService, Revision
from firewall.render import files
from firewall.rows import site_of
from firewall.specs import as_dict
from hosts.models import Job, JobStep

pytestmark = pytest.mark.django_db

WEB = {"source": "Internet", "target": "87.98.130.56", "proto": "tcp", "port": "80"}


@pytest.fixture
def published(host, zones, web_dom):
    return PublishedService.objects.create(
        host=host,
        name="DomiWEB",
        zone=zones["zDominig"],
        external=zones["zDominig"].external,
        proto="tcp",
        port=80,
        port_last=80,
        target=web_dom.address,
        target_port=8080,
    )


@pytest.fixture
def in_force(host, published, fulup):
    site = site_of(host)
    return Revision.objects.create(
        host=host, number=1, site=as_dict(site), files=files(site).by_name, digest="d", author=fulup, state="live"
    )


@pytest.fixture
def page(client, fulup):
    client.force_login(fulup)

    def look(name: str = "explain", **asked: str) -> str:
        response = client.get(reverse(f"firewall:{name}"), asked)
        return response.content.decode()

    return look


def test_it_names_the_service_and_leads_to_it(page, in_force) -> None:
    shown = page(**WEB)
    assert "tcp 80 of 87.98.130.56 is published as DomiWEB: it goes to WEB-Dom (10.10.2.2), port 8080." in shown
    assert "services/?q=DomiWEB" in shown
    assert "gets through" in shown


def test_a_closed_cell_leads_to_its_editor(page, in_force) -> None:
    shown = page(source="WEB-Dom", target="10.10.1.9", proto="udp", port="53")
    assert "The policy does not let zDominig open udp 53 to zFulup." in shown
    assert "source=zDominig&amp;target=zFulup#cell" in shown


def test_it_says_what_the_next_apply_makes_of_it(page, in_force, published) -> None:
    published.delete()
    shown = page(**WEB)
    assert "gets through" in shown
    assert "After the next apply it does not get through." in shown


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"source": ""}, "Say from where, for example Internet."),
        ({"source": "Nobody"}, "No machine is called Nobody, and it is no address such as 10.10.1.2."),
        ({"source": "10.99.9.9"}, "10.99.9.9 is in no zone."),
        ({"target": "Internet"}, "Say which address there"),
        ({"port": ""}, "Say which port, for example 443."),
        ({"port": "70000"}, "Ports go from 1 to 65535."),
    ],
)
def test_bad_input_is_said_beside_its_field(page, in_force, wrong, sentence) -> None:
    assert sentence.replace("'", "&#x27;") in page(**{**WEB, **wrong})


def test_a_probe_is_a_job_whose_words_the_page_shows(client, page, in_force) -> None:
    page()
    response = client.post(f"{reverse('firewall:probe')}?source=Internet&target=87.98.130.56&proto=tcp&port=80")
    job = Job.objects.get(kind=probes.KIND)
    assert job.args == {
        "source": "internet",
        "target": "87.98.130.56",
        "proto": "tcp",
        "port": "80",
        "lands": "10.10.2.2:8080",
    }
    assert "being tried" in client.get(response.url).content.decode()
    Job.objects.filter(pk=job.pk).update(state=Job.State.DONE)
    JobStep.objects.create(
        job=job,
        number=1,
        stage="probe",
        title="x",
        state="done",
        output="It arrived at tcp 10.10.2.2:8080, from 1.2.3.4.",
    )
    assert "tried: it arrives" in client.get(response.url).content.decode()
    JobStep.objects.update(output="Nothing arrived at tcp 10.10.2.2:8080 within 1 s.")
    assert "the probe says otherwise" in client.get(response.url).content.decode()


def test_a_probe_that_could_not_run_says_why(client, page, in_force) -> None:
    page()
    response = client.post(f"{reverse('firewall:probe')}?source=Internet&target=87.98.130.56&proto=tcp&port=80")
    Job.objects.update(state=Job.State.REFUSED, message="No machine of this host has 10.10.2.2.")
    assert "No machine of this host has 10.10.2.2." in client.get(response.url).content.decode()


def test_a_probe_of_nonsense_makes_no_job(client, page, in_force) -> None:
    page()
    assert client.post(f"{reverse('firewall:probe')}?source=Nobody&target=x").status_code == 422
    assert not Job.objects.exists()


def test_during_a_trial_the_rules_that_are_loaded_answer(page, in_force, published, host, fulup) -> None:
    published.delete()
    site = site_of(host)
    Revision.objects.create(
        host=host, number=2, site=as_dict(site), files=files(site).by_name, digest="e", author=fulup, state="trial"
    )
    shown = page(**WEB)
    assert "does not get through" in shown
    assert "revision 2, which is on trial" in shown


def test_the_matrix_says_what_all_objects_make_together(page, in_force) -> None:
    shown = page("reach")
    assert "1 published" in shown
    assert "of revision 1, which is in force" in shown


def test_without_a_host_both_say_so(page) -> None:
    assert "No host yet" in page()
    assert "No host yet" in page("reach")
