"""`fridu rules`: listed, added, changed, taken out."""

from __future__ import annotations

import pytest
from django.utils import timezone

from firewall import own_rules
from firewall.models import CustomRule
from hosts.kinds import kind_of
from hosts.models import Job

pytestmark = pytest.mark.django_db
RULE = "-i eth0 -p tcp -m tcp --dport 9100 -j ACCEPT"


@pytest.fixture
def row(bare_host, fulup) -> CustomRule:
    bare_host.seen_at = timezone.now()
    bare_host.save()
    return CustomRule.objects.create(host=bare_host, place="before-input", rule=RULE, reason="metrics", author=fulup)


def booked() -> None:
    """What the worker does at the end; the one of these tests leaves rows alone."""
    job = Job.objects.get(kind=own_rules.KIND)
    kind_of(job.kind).done(job)


def test_they_are_listed_with_number_reason_and_author(run, row):
    code, said = run("rules")
    assert code == 0
    assert f"{row.pk:>5}  before-input      {RULE}" in said
    assert "metrics (fulup)" in said


def test_one_is_added_by_its_trial(run, row):
    code, said = run("rules add place=after-input --reason spam", words=("rule=-s 198.51.100.9/32 -j DROP",))
    assert code == 0, said
    booked()
    assert CustomRule.objects.get(place="after-input").reason == "spam"


def test_what_is_not_named_stays_and_the_rule_holds_until_the_host_tried_the_new_one(run, row):
    code, said = run(f"rules change {row.pk} expires=2099-01-31", words=(f"rule={RULE.replace('9100', '9101')}",))
    assert code == 0, said
    assert "is changed" in said
    assert CustomRule.objects.get().rule == RULE
    booked()
    changed = CustomRule.objects.get()
    assert (changed.pk, changed.rule, changed.reason) == (row.pk, RULE.replace("9100", "9101"), "metrics")
    assert timezone.localtime(changed.expires).strftime("%Y-%m-%d") == "2099-01-31"


def test_one_that_does_not_load_is_not_changed_and_the_hosts_words_are_said(run, row, worker):
    worker.end, worker.message = Job.State.REFUSED, "v4.rules does not load"
    code, said = run(f"rules change {row.pk}", words=("rule=-s 198.51.100.9/32 -j DROP",))
    assert code == 1
    assert "v4.rules does not load" in said
    assert CustomRule.objects.get().rule == RULE


def test_one_is_taken_out(run, row):
    code, said = run(f"rules remove {row.pk}")
    assert code == 0, said
    assert not CustomRule.objects.exists()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("rules twist", "It takes add, change and remove"),
        ("rules add place=before-input", "needs place and rule"),
        ("rules add place=inside rule=x", "place=inside is none"),
        ("rules change 99999", "has no own rule 99999"),
        ("rules change", "a rule's number"),
        ("rules remove 1 rule=x", "rules remove knows no rule=…"),
        ("rules add place=before-input rule=-jLOG expires=soon", "expires=soon is no moment"),
    ],
)
def test_what_makes_no_sense_is_said_with_what_would(run, row, line, says):
    code, said = run(line)
    assert code in (1, 2)
    assert says in said
