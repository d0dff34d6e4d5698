"""From the form to the wish: the worker's whole job on this machine, the real programs in a namespace of their own."""

from __future__ import annotations

import pytest
from django.urls import reverse
from django.utils import timezone

from audit.log import Actor
from firewall import own_rules
from firewall.models import CustomRule
from hosts import work
from hosts.models import Job

pytestmark = [pytest.mark.host, pytest.mark.django_db]


@pytest.fixture
def box(host, zones, tmp_path, monkeypatch):
    """A host file for the host of the tests, with folders of this test's own."""
    toml = tmp_path / "host.toml"
    toml.write_text(
        f'name = "{host.name}"\nlibvirt = "lxc:///system"\nvolumes = "{tmp_path}/v"\n'
        f'state = "{tmp_path}/state"\nrun = "{tmp_path}/run"\n'
    )
    monkeypatch.setenv("FRIDU_HOST_TOML", str(toml))
    host.seen_at = timezone.now()
    host.save()
    return host


@pytest.fixture
def panel(client, fulup):
    client.force_login(fulup)
    return client


def post(panel, rule: str):
    wish = {"place": "before-input", "rule": rule, "reason": "node exporter", "expires": ""}
    answer = panel.post(reverse("firewall:custom"), wish)
    assert answer.status_code == 302, answer.content.decode()
    job = Job.objects.latest("pk")
    work.run(job.pk)
    job.refresh_from_db()
    return job, panel.get(answer["Location"], follow=True)


def test_a_rule_that_loads_is_saved_and_shown_with_its_author(panel, box) -> None:
    job, answer = post(panel, "-i eth0 -p tcp --dport 9100 -j ACCEPT")
    assert job.state == Job.State.DONE, job.message
    row = CustomRule.objects.get()
    assert (row.place, row.author.username, row.reason) == ("before-input", "fulup", "node exporter")
    page = answer.content.decode()
    assert "Your rule loads and is saved" in page
    assert "node exporter" in page


def test_a_rule_that_does_not_load_is_not_saved_and_the_hosts_words_stand_at_the_form(panel, box) -> None:
    job, answer = post(panel, "-m conntrack --ctstate BOGUS -j DROP")
    assert job.state == Job.State.REFUSED
    assert not CustomRule.objects.exists()
    page = answer.content.decode()
    assert "v4.rules does not load" in page
    assert 'value="-m conntrack --ctstate BOGUS -j DROP"' in page


def test_a_job_told_twice_saves_one_rule(panel, box, fulup) -> None:
    job, _ = post(panel, "-s 198.51.100.7 -j DROP")
    work.run(job.pk)
    again = own_rules.rules_try(
        Actor(id=fulup.pk, name="fulup"),
        box,
        [own_rules.Wanted(place="after-input", rule="-s 198.51.100.7/32 -j DROP", reason="r")],
    )
    work.run(again.pk)
    assert sorted(CustomRule.objects.values_list("place", flat=True)) == ["after-input", "before-input"]
