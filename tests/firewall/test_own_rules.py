"""An own rule: what it may say, its trial on the host before it is saved, its end."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.test import RequestFactory
from django.utils import timezone

from audit.log import Actor
from audit.models import Entry
from dom0 import chains
from dom0.errors import Refused
from dom0.state import State
from firewall import lint, own_rule_kinds, own_rules, rows, rules, services, shown
from firewall.models import CustomRule, Revision
from firewall.own_rules import Wanted
from firewall.specs import CustomRule as Spec
from firewall.specs import Place, Site, as_dict
from hosts.kinds import kind_of
from hosts.models import Job

RULE = "-i eth0 -p tcp --dport 9100 -s 198.51.100.7 -j ACCEPT"


def said(rule: str, place: Place = "before-input", site: Site | None = None, *, blocks: bool = True) -> str:
    found = lint.custom_problems(Spec(place=place, rule=rule), site)
    return "\n".join(p.sentence for p in found if p.blocks == blocks)


# --- what it may say --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ("-j nowhere", "jumps to no other chain"),
        ("-j fr-admin", "jumps to no other chain"),
        ("-j fr-before-input", "jumps to no other chain"),
        ("-j DOCKER", "jumps to no other chain"),
        ("-g fr-dom0", "jumps to no other chain"),
        ("-j SNAT --to-source 1.2.3.4", "translated by published services"),
        ("-j DNAT --to-destination 1.2.3.4", "translated by published services"),
        ("-j MARK --set-mark 0x40000000", "jumps to no other chain"),
        ("-j NFQUEUE", "jumps to no other chain"),
        ("-t nat -j ACCEPT", "leave them out"),
        ("--table=nat -j ACCEPT", "leave them out"),
        ("-A INPUT -j ACCEPT", "leave them out"),
        ("-I 1 -j ACCEPT", "leave them out"),
        ("-m comment --comment admin-ssh -j ACCEPT", "only the panel writes them"),
        ("-m set --match-set friends src -j ACCEPT", "no set friends"),
        ("-m bpf --object-pinned /sys/fs/bpf/x -j ACCEPT", "nobody can read back"),
        ("-m geoip --source-country FR -j ACCEPT", "none of the matches"),
        ("-m string --string GET --algo bm --from 1 -j DROP", "splitting the text"),
        ("-m physdev --physdev-in vif1 -j DROP", "bridge-nf-call-iptables"),
        ("-m hashlimit --hashlimit-upto 1/sec --hashlimit-name fr-new -j ACCEPT", "the panel's own"),
        ("--from-file /etc/shadow -j DROP", "none of the matches"),
        ("--modprobe=/bin/sh -j DROP", "leave them out"),
        ("-p tcp --dport 0 -j DROP", "from 1 to 65535"),
        ("-p tcp --dport 70000 -j DROP", "from 1 to 65535"),
        ("-p tcp --dport 90:80 -j DROP", "the lower one first"),
        ("--dport 80 -j DROP", "needs -p tcp before it"),
        ("-p tcp --dport -j DROP", "needs a value"),
        ("-p tcp -p udp -j DROP", "stands twice"),
        ("-s everywhere -j DROP", "no address or network"),
        ("-s 10.0.0.1,10.0.0.2 -j DROP", "no address or network"),
        ("-i eth0; -j DROP", "single spaces"),
        ("-i eth0  -j DROP", "single spaces"),
        ("-i eth0\n-j DROP", "single spaces"),
        ("-j DROP\nCOMMIT", "single spaces"),
        ("-s 10.0.0.1", "must end in -j"),
        ("-j DROP extra", "no option"),
        ("-p tcp !", "ends with"),
        ("-j LOG --reject-with tcp-reset", "another verdict"),
        ("-o eth0 -j DROP", "never matches"),
        ("-m owner --uid-owner 0 -j DROP", "what dom0 itself sends"),
    ],
)
def test_a_rule_that_is_more_than_a_rule_is_refused_with_why(rule: str, sentence: str) -> None:
    assert sentence in said(rule)


@pytest.mark.parametrize("rule", ["-o lo -m conntrack --ctstate NEW -j DROP", "-m conntrack --ctstate NEW -j DROP"])
def test_no_rule_cuts_the_panel_off_from_its_database(rule: str) -> None:
    """Both go over lo: named, it is refused; meant with all else, it is passed by."""
    wanted = Spec(place="before-output", rule=rule, reason="r")
    said = [p.sentence for p in lint.custom_problems(wanted) if p.blocks]
    assert bool(said) is ("-o lo" in rule)
    table = next(t for t in rules.tables(Site(custom=(wanted,))) if t.name == "filter")
    out = [r.args for r in table.rules if r.chain == "fr-out"]
    assert out.index("-o lo -j RETURN") < out.index("-j fr-before-output")


@pytest.mark.parametrize(
    ("place", "rule"),
    [
        ("before-input", RULE),
        ("before-input", "! -s 10.0.0.0/8 -i eth0 -p icmp -m icmp --icmp-type 8 -j DROP"),
        ("after-input", "-p tcp -m multiport --dports 80,443,8000:8010 -j REJECT --reject-with tcp-reset"),
        ("before-forwarding", "-i xen-br+ -o eth0 -m conntrack --ctstate NEW -m limit --limit 10/sec -j LOG"),
        ("before-forwarding", "-m set --match-set fr-inside dst -j RETURN"),
        ("after-forwarding", "-m time --timestart 22:00 --timestop 06:00 -s 10.10.1.0/24 -j DROP"),
        ("before-output", "-m owner --uid-owner 33 -m conntrack --ctstate NEW -j REJECT"),
        ("before-output", "-p tcp --dport 25 -j DROP"),
        ("after-output", "-d 198.51.100.0/24 -j LOG --log-prefix out: --log-level 6"),
        ("before-input", "-j DROP -i eth0 -p udp --dport 53"),
    ],
)
def test_an_ordinary_rule_is_taken(place: Place, rule: str) -> None:
    assert said(rule, place) == ""


@pytest.mark.parametrize(
    "rule",
    ["-j DROP", "-p tcp --sport 22 -j DROP", "-d 10.10.95.40 -j REJECT", "-m conntrack --ctstate INVALID -j DROP"],
)
def test_no_rule_stops_dom0s_answers_to_the_admin(rule: str) -> None:
    assert "dom0's answers to you" in said(rule, "before-output")
    assert "dom0's answers to you" in said(rule, "after-output")


@pytest.mark.parametrize(
    "rule", ["-j ACCEPT", "-i eth0 -j ACCEPT", "-i + -j ACCEPT", "-s 0.0.0.0/0 -j ACCEPT", "-p tcp -j ACCEPT"]
)
def test_no_rule_opens_everything_of_dom0_to_the_internet(production: Site, rule: str) -> None:
    assert "everything of dom0 to the Internet" in said(rule, "before-input", production)


def test_what_a_rule_opens_beyond_its_words_is_told(production: Site) -> None:
    assert "opens everything of dom0 to zFulup" in said(
        "-i xen-br1 -j ACCEPT", "before-input", production, blocks=False
    )
    assert "to zFulup, zDominig" in said("-i xen-br+ -j ACCEPT", "after-input", production, blocks=False)
    text = said("-i xen-br1 -o xen-br2 -j ACCEPT", "before-forwarding", production, blocks=False)
    assert "lets zFulup open everything to zDominig, whatever policy and restrictions say" in text
    assert "dom0's log" in said("-j LOG", "before-input", production, blocks=False)


def test_a_site_with_a_wrong_own_rule_is_not_applied(production: Site) -> None:
    site = replace(production, custom=(Spec(place="before-output", rule="-j DROP"),))
    assert any(p.about == "own rule in before-output" for p in lint.blocking(site))


# --- its trial --------------------------------------------------------------------------------------------------------


def ask(me, host, **changes) -> Job:
    return own_rules.custom_add(
        me, host, **{"place": "before-input", "rule": RULE, "reason": "node exporter", **changes}
    )


def end(job: Job) -> None:
    Job.objects.filter(pk=job.pk).update(state="done")
    kind_of(job.kind).done(job)


@pytest.mark.django_db
def test_asking_saves_nothing_but_a_job_that_needs_no_approval(me, host, zones) -> None:
    job = ask(me, host)
    assert (job.kind, job.state, kind_of(job.kind).approval) == ("firewall.try", "planning", "none")
    assert not CustomRule.objects.exists()
    assert rows.site_of(host).custom == ()


@pytest.mark.django_db
def test_a_rule_that_loaded_is_a_wish_with_its_author(me, host, zones) -> None:
    ends = timezone.now() + timedelta(days=1)
    end(ask(me, host, expires=ends))
    row = CustomRule.objects.get()
    assert (row.place, row.rule, row.reason, row.author.username, row.expires) == (
        "before-input",
        RULE,
        "node exporter",
        "fulup",
        ends,
    )
    assert Entry.objects.get(action="policy.change").why == "node exporter"
    assert [c.rule for c in rows.site_of(host).custom] == [RULE]


@pytest.mark.django_db
def test_it_is_saved_in_the_words_the_kernel_keeps_it_in(me, host, zones) -> None:
    job = ask(me, host)
    kept = "-s 198.51.100.7/32 -i eth0 -p tcp -m tcp --dport 9100 -j ACCEPT"
    head = "-A fr-before-input "
    job.steps.create(number=1, output=f"loads, 84 ms{chains.told({head + RULE: head + kept})}")
    end(job)
    assert [c.rule for c in rows.site_of(host).custom] == [kept]


@pytest.mark.django_db
def test_booked_twice_it_is_one_rule(me, host, zones) -> None:
    job = ask(me, host)
    end(job)
    end(job)
    assert CustomRule.objects.count() == 1


@pytest.mark.django_db
def test_without_a_worker_that_answers_it_is_said_and_nothing_saved(me, host, zones) -> None:
    host.seen_at = timezone.now() - timedelta(minutes=5)
    host.save()
    with pytest.raises(Refused, match="does not answer"):
        ask(me, host)
    assert not Job.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("changes", "field", "sentence"),
    [
        ({"rule": "-j nowhere"}, "rule", "jumps to no other chain"),
        ({"place": "PREROUTING"}, "place", "not a valid choice"),
        ({"reason": ""}, "reason", "cannot be blank"),
        ({"expires": timezone.now() - timedelta(hours=1)}, "expires", "over already"),
    ],
)
def test_what_can_be_said_without_the_host_is_said_beside_its_field(me, host, zones, changes, field, sentence) -> None:
    with pytest.raises(ValidationError) as refused:
        ask(me, host, **changes)
    assert sentence in " ".join(refused.value.message_dict[field])
    assert not Job.objects.exists()


@pytest.mark.django_db
def test_the_same_rule_again_is_refused(me, host, zones) -> None:
    end(ask(me, host))
    with pytest.raises(ValidationError, match="has this very rule already"):
        ask(me, host)


@pytest.mark.django_db
def test_only_an_operator_adds_and_removes_one(host, zones, dominig, fulup) -> None:
    him = Actor(id=dominig.pk, name="dominig")
    with pytest.raises(PermissionDenied):
        ask(him, host)
    row = CustomRule.objects.create(host=host, place="before-input", rule=RULE, reason="r", author=fulup)
    with pytest.raises(PermissionDenied):
        own_rules.custom_remove(him, row)
    assert CustomRule.objects.exists()


def test_the_trial_loads_the_whole_site_with_the_rule_and_is_done_once(production: Site) -> None:
    site = replace(production, custom=(Spec(place="before-input", rule=RULE),))
    plan = own_rule_kinds.plan(site, "/state/firewall-tried", State())
    first, second = plan.steps
    texts = json.loads(first.action.stdin)
    assert f"-A fr-before-input {RULE}" in texts["v4.rules"]
    assert set(texts) == {"sets.ipset", "bridge.nft", "v6.rules", "v4.rules"}
    after = second.after(first.after(State()))
    assert own_rule_kinds.plan(site, "/state/firewall-tried", after).steps == ()
    assert own_rule_kinds.plan(site, "/state/firewall-tried", after, job=2).steps  # whose output nobody has seen yet
    other = replace(site, custom=())
    assert own_rule_kinds.plan(other, "/state/firewall-tried", after).steps


# --- its end ----------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_an_expired_rule_is_no_wish_and_asks_for_an_apply_while_it_holds(me, host, zones, fulup) -> None:
    end(ask(me, host, expires=timezone.now() + timedelta(hours=1)))
    site = rows.site_of(host)
    Revision.objects.create(
        host=host, number=1, site=as_dict(site), files={}, digest="0" * 64, author=fulup, state="live"
    )
    assert services.pending(host).changes == ()
    CustomRule.objects.update(expires=timezone.now() - timedelta(seconds=1))
    assert rows.site_of(host).custom == ()
    assert "own rule in before-input goes" in [c.sentence for c in services.pending(host).changes]
    request = RequestFactory().get("/")
    request.user = fulup
    (told,) = shown.expired(request)
    assert told.title == "An own rule in before-input has expired"
    Revision.objects.update(site=as_dict(rows.site_of(host)), digest="1" * 64)
    assert list(shown.expired(request)) == []


@pytest.mark.django_db
def test_an_expired_rule_can_be_added_again(me, host, zones) -> None:
    end(ask(me, host, expires=timezone.now() + timedelta(hours=1)))
    CustomRule.objects.update(expires=timezone.now() - timedelta(seconds=1))
    end(ask(me, host, reason="once more"))
    row = CustomRule.objects.get()
    assert (row.expires, row.reason) == (None, "once more")


@pytest.mark.django_db
def test_several_rules_of_a_file_are_one_trial(me, host, zones) -> None:
    wanted = [Wanted(place="before-input", rule=f"-s 198.51.100.{n} -j DROP", reason="pest") for n in range(3)]
    job = own_rules.rules_try(me, host, wanted)
    assert [w.rule for w in own_rules.wanted_of(job)] == [w.rule for w in wanted]
    end(job)
    assert CustomRule.objects.count() == 3


# --- its change -------------------------------------------------------------------------------------------------------


@pytest.fixture
def held_rule(host, fulup) -> CustomRule:
    host.seen_at = timezone.now()
    host.save()
    CustomRule.objects.create(
        host=host, place="before-input", rule="-s 198.51.100.1/32 -j DROP", reason="a", author=fulup
    )
    row = CustomRule.objects.create(host=host, place="before-input", rule=RULE, reason="metrics", author=fulup)
    CustomRule.objects.create(
        host=host, place="before-input", rule="-s 198.51.100.3/32 -j DROP", reason="c", author=fulup
    )
    return row


@pytest.mark.django_db
def test_a_changed_rule_is_tried_where_the_former_one_is_and_replaces_it_with_the_jobs_end(
    me: Actor, host, held_rule: CustomRule
) -> None:
    new = RULE.replace("9100", "9101")
    job = own_rules.custom_change(me, held_rule, place="before-input", rule=new, reason="moved")
    wanted = own_rules.wanted_of(job)
    site = own_rules.site_with(host, wanted, own_rules.replaced_by(job))
    assert [each.rule for each in site.custom][1] == new
    assert len(site.custom) == 3
    assert CustomRule.objects.get(pk=held_rule.pk).rule == RULE
    kind_of(own_rules.KIND).done(job)
    held_rule.refresh_from_db()
    assert (held_rule.rule, held_rule.reason) == (new, "moved")
    assert CustomRule.objects.count() == 3
    entry = Entry.objects.filter(action="policy.change").latest("seq")
    assert entry.data["before"]["rule"] == RULE
    assert entry.data["before"]["reason"] == "metrics"
    assert entry.data["after"] == {"place": "before-input", "rule": new, "reason": "moved", "expires": None}


@pytest.mark.django_db
def test_another_reason_or_end_alone_is_a_change_too(me: Actor, held_rule: CustomRule) -> None:
    end = timezone.now() + timedelta(days=3)
    job = own_rules.custom_change(me, held_rule, place="before-input", rule=RULE, reason="metrics", expires=end)
    kind_of(own_rules.KIND).done(job)
    assert CustomRule.objects.get(pk=held_rule.pk).expires == end
    with pytest.raises(ValidationError, match="how it is already"):
        own_rules.custom_change(
            me, CustomRule.objects.get(pk=held_rule.pk), place="before-input", rule=RULE, reason="metrics", expires=end
        )


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("rule", "says"), [("-s 198.51.100.3/32 -j DROP", "very rule already"), ("-j DNAT", "translated by published")]
)
def test_a_rule_is_not_changed_into_what_could_not_be_added(
    me: Actor, held_rule: CustomRule, rule: str, says: str
) -> None:
    with pytest.raises(ValidationError, match=says):
        own_rules.custom_change(me, held_rule, place="before-input", rule=rule, reason="r")
    assert not Job.objects.exists()


@pytest.mark.django_db
def test_who_changed_it_meanwhile_is_not_overwritten(me: Actor, held_rule: CustomRule) -> None:
    job = own_rules.custom_change(me, held_rule, place="before-input", rule="-s 198.51.100.9/32 -j DROP", reason="r")
    CustomRule.objects.filter(pk=held_rule.pk).update(reason="another's")
    with pytest.raises(Refused, match="changed or taken out meanwhile"):
        own_rules.replaced_by(job)
    held_rule.delete()
    with pytest.raises(Refused, match="changed or taken out meanwhile"):
        own_rules.replaced_by(job)
