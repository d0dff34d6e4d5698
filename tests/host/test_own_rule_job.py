"""From the form to the wish: the worker's whole job on this machine, the real programs in a namespace of their own."""

from __future__ import annotations

import pytest
from django.urls import reverse
from django.utils import timezone

from audit.log import Actor
from audit.models import Entry
from dom0 import hands
from firewall import own_rules, trials
from firewall.models import CustomRule, ZoneRestriction
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


def forged_rule(host, fulup) -> dict[str, object]:
    CustomRule.objects.create(host=host, place="before-input", rule="-j DROP\nCOMMIT", reason="r", author=fulup)
    return {"rules": []}


def forged_restriction(host, fulup) -> dict[str, object]:
    zone = host.zones.get(name="zFulup")
    ZoneRestriction.objects.create(
        zone=zone, name="NoMail", direction="out", proto="tcp", port=25, port_last=25, address="any -j ACCEPT"
    )
    return {"rules": []}


def forged_job(host, fulup) -> dict[str, object]:
    rule = {"place": "before-input", "rule": "-m bpf --object-pinned /sys/x -j ACCEPT", "reason": "r", "expires": None}
    return {"rules": [rule]}


def forged_place(host, fulup) -> dict[str, object]:
    return {"rules": [{"place": "in -j ACCEPT", "rule": "-j ACCEPT", "reason": "r", "expires": None}]}


@pytest.mark.parametrize("forge", [forged_rule, forged_restriction, forged_job, forged_place])
def test_what_no_page_would_have_saved_is_not_even_loaded_on_trial(box, fulup, monkeypatch, forge) -> None:
    """Whoever can write to the database past the panel gets none of his words to a program root runs."""
    loaded: list[str] = []
    monkeypatch.setitem(hands.VERBS, "firewall-try", lambda config, args, stdin: loaded.append(stdin) or "")
    job = trials.wishes_try(Actor(id=fulup.pk, name="fulup"), box)
    Job.objects.filter(pk=job.pk).update(args=forge(box, fulup))
    work.run(job.pk)
    job.refresh_from_db()
    assert (job.state, loaded) == (Job.State.REFUSED, [])
    assert job.message


def change(panel, row: CustomRule, rule: str):
    wish = {"place": row.place, "rule": rule, "reason": "another port", "expires": ""}
    answer = panel.post(reverse("firewall:custom_change", args=[row.pk]), wish)
    assert answer.status_code == 302, answer.content.decode()
    job = Job.objects.latest("pk")
    work.run(job.pk)
    job.refresh_from_db()
    row.refresh_from_db()
    return job, panel.get(answer["Location"], follow=True).content.decode()


def test_a_rule_is_changed_in_its_place_when_the_new_one_loads_and_not_before(panel, box) -> None:
    post(panel, "-i eth0 -p tcp --dport 9100 -j ACCEPT")
    row = CustomRule.objects.get()
    before = row.rule
    form = panel.get(reverse("firewall:custom_change", args=[row.pk])).content.decode()
    assert f'value="{before}"' in form
    job, page = change(panel, row, "-m conntrack --ctstate BOGUS -j DROP")
    assert (job.state, row.rule) == (Job.State.REFUSED, before)
    assert "v4.rules does not load" in page
    assert f'action="{reverse("firewall:custom_change", args=[row.pk])}"' in page
    job, page = change(panel, row, "-i eth0 -p tcp --dport 9101 -j ACCEPT")
    assert job.state == Job.State.DONE, job.message
    assert "Your rule loads and is changed" in page
    assert (row.rule, row.reason) == (before.replace("9100", "9101"), "another port")
    assert CustomRule.objects.count() == 1
    data = Entry.objects.filter(action="policy.change").latest("seq").data
    assert (data["before"]["rule"], data["after"]["rule"]) == (before, row.rule)


def test_a_rule_changed_meanwhile_is_left_and_the_trial_says_so(panel, box) -> None:
    post(panel, "-i eth0 -p tcp --dport 9100 -j ACCEPT")
    row = CustomRule.objects.get()
    wish = {"place": row.place, "rule": "-s 198.51.100.9 -j DROP", "reason": "r", "expires": ""}
    panel.post(reverse("firewall:custom_change", args=[row.pk]), wish)
    CustomRule.objects.update(reason="another's")
    job = Job.objects.latest("pk")
    work.run(job.pk)
    job.refresh_from_db()
    assert job.state == Job.State.REFUSED
    assert "changed or taken out meanwhile" in job.message
