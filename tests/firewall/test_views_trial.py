"""A trial in the browser: its page from apply to end, the banner on every page, drift, closing all but SSH."""

from __future__ import annotations

import re
from dataclasses import asdict
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from firewall import services, trials, waiting
from firewall.drift import Line
from firewall.models import CustomRule, Revision, Watched
from hosts.models import Job
from tests.firewall import says
from tests.firewall.says import publish
from tests.firewall.test_views import panel as panel
from tests.firewall.test_views import text

pytestmark = pytest.mark.django_db

TRIAL = "firewall:trial"


@pytest.fixture
def live(me, host, web) -> Revision:
    return says.in_force(me, host, why="begin")


@pytest.fixture
def asked(me, host, live, zones, web_dom) -> Revision:
    """Revision 2 is asked for; its job is on its way."""
    publish(me, host, zones, web_dom, name="DomiTLS", port=443, target_port=8443)
    trials.revision_apply(me, host, why="TLS")
    return Revision.objects.get(number=2)


@pytest.fixture
def trial(asked) -> Revision:
    Job.objects.update(state="done")
    says.tried(asked)
    asked.refresh_from_db()
    return asked


def part(panel, name: str) -> str:
    return text(panel.get(reverse(TRIAL), headers={"HX-Request": "true", "HX-Target": name}))


def test_nothing_on_trial_is_said(panel, host) -> None:
    assert "Nothing is on trial" in text(panel.get(reverse(TRIAL)))


def test_while_it_is_applied_the_page_says_where_it_is(panel, asked) -> None:
    page = text(panel.get(reverse(TRIAL)))
    assert "Apply firewall revision 2" in page
    assert 'hx-trigger="every 1s, over"' in page
    assert '<noscript><meta http-equiv="refresh" content="1"></noscript>' in page
    assert "Keep revision 2" not in page


def test_on_trial_it_counts_down_and_says_what_to_test(panel, trial) -> None:
    page = text(panel.get(reverse(TRIAL)))
    assert re.search(r'data-until="(59|60)" data-bar="left">(59|60) s<', page)
    assert "revision 1 is back</b>" in page or "revision 1 is back" in page
    assert f'value="{says.NONCE}"' in page
    assert "ssh fulup@91.121.65.140" in page
    assert "curl -I https://87.98.130.56/" in page
    assert "<b>tcp 443 of 87.98.130.56</b> to WEB-Dom, port 8443" in page
    assert '<noscript><meta http-equiv="refresh" content="5"></noscript>' in page
    fragment = part(panel, "trial")
    assert fragment.startswith('<section id="trial"')
    assert "curl -I" not in fragment


def test_keeping_needs_the_nonce_made_after_the_rules_were_loaded(panel, trial) -> None:
    url = reverse("firewall:keep")
    for nonce in ("", "0" * 32):
        refused = panel.post(url, {"revision": trial.pk, "nonce": nonce})
        assert refused.status_code == 409
        assert "made before the new rules were loaded" in text(refused)
    assert not Job.objects.filter(kind="firewall.confirm").exists()
    response = panel.post(url, {"revision": trial.pk, "nonce": says.NONCE}, follow=True)
    assert response.redirect_chain[-1][0].startswith(reverse(TRIAL))
    assert "The host notes it as the one in force" in text(response)
    Job.objects.update(state="done")
    says.kept(trial)
    assert "Kept by fulup." in text(panel.get(reverse(TRIAL)))


def test_returning_brings_the_former_back(panel, trial) -> None:
    response = panel.post(reverse("firewall:return"), {"revision": trial.pk}, follow=True)
    assert "Revision 1 comes back." in text(response)
    Job.objects.update(state="done")
    says.taken_back(trial, by="operator", confirmed=Revision.objects.get(number=1).name)
    page = text(panel.get(reverse(TRIAL)))
    assert "Revision 2 was taken back" in page
    assert "Taken back by fulup." in page
    assert "Revision 1 is live." in page


def test_when_time_ran_out_the_page_says_which_revision_is_live(panel, trial) -> None:
    Revision.objects.filter(pk=trial.pk).update(until=timezone.now() - timedelta(seconds=1))
    page = text(panel.get(reverse(TRIAL)))
    assert "Time is up" in page
    assert "dom0 puts revision 1 back" in page
    late = panel.post(reverse("firewall:keep"), {"revision": trial.pk, "nonce": says.NONCE})
    assert late.status_code == 409
    says.taken_back(trial, confirmed=Revision.objects.get(number=1).name)
    page = text(panel.get(reverse(TRIAL)))
    assert "Nobody kept it within 60 s." in page
    assert "Revision 1 is live." in page
    assert "Your wishes are kept, not applied." in page
    assert "hx-trigger" not in page[page.index('id="trial"') :]


def test_the_first_revision_returns_to_closed_but_ssh(panel, me, host, web) -> None:
    trials.revision_apply(me, host)
    Job.objects.update(state="done")
    first = Revision.objects.get()
    says.tried(first)
    assert "everything but SSH is closed" in text(panel.get(reverse(TRIAL)))
    says.taken_back(first)
    assert "The host is closed but for SSH." in text(panel.get(reverse(TRIAL)))


def test_an_apply_that_failed_says_why(panel, asked) -> None:
    Job.objects.update(state="failed", message="iptables-restore: line 7 failed.")
    Revision.objects.filter(pk=asked.pk).update(state="failed")
    page = text(panel.get(reverse(TRIAL)))
    assert "iptables-restore: line 7 failed." in page
    assert "Revision 1 is live." in page


EVERYWHERE = ("overview", "machines:list", "zones:list", "firewall:services", "hosts:jobs", "accounts:people", "help")


def test_every_page_of_an_operator_says_what_is_on_trial(panel, trial) -> None:
    for name in EVERYWHERE:
        page = text(panel.get(reverse(name)))
        assert "Firewall revision 2 is on trial." in page, name
        assert f'value="{says.NONCE}"' in page, name
        assert 'http-equiv="refresh" content="5"' in page, name
    assert "on-trial" not in text(panel.get(reverse(TRIAL)))  # it has its own


def test_a_form_that_is_being_typed_into_is_not_fetched_anew(panel, trial) -> None:
    for name in ("firewall:publish", "machines:create"):
        page = text(panel.get(reverse(name)))
        assert "is on trial." in page, name
        assert 'http-equiv="refresh"' not in page, name


def test_the_banner_says_how_it_ended(panel, trial) -> None:
    assert 'hx-trigger="every 5s, over"' in part(panel, "on-trial")
    says.taken_back(trial, confirmed=Revision.objects.get(number=1).name)
    over = part(panel, "on-trial")
    assert over.startswith('<section id="on-trial"')
    assert "Revision 1 is live." in over
    assert "hx-trigger" not in over


def test_an_owner_hears_nothing_of_trials_and_changes(client, dominig, agnes, trial) -> None:
    for other, name in ((dominig, "machines:mine"), (agnes, "audit:log")):
        client.force_login(other)
        page = text(client.get(reverse(name)))
        assert "is on trial" not in page  # the log itself speaks of the trial
        assert "not applied</a>" not in page


def test_every_page_says_how_many_changes_wait(panel, me, host, zones, web_dom, live) -> None:
    assert "not applied" not in text(panel.get(reverse("machines:list")))
    publish(me, host, zones, web_dom, name="One", port=81)
    assert "1 firewall change not applied" in text(panel.get(reverse("machines:list")))
    publish(me, host, zones, web_dom, name="Two", port=82)
    assert "2 firewall changes not applied" in text(panel.get(reverse("machines:list")))
    says.in_force(me, host)
    assert "not applied" not in text(panel.get(reverse("machines:list")))


def test_while_one_is_on_trial_only_the_trial_is_spoken_of(panel, trial) -> None:
    assert "not applied</a>" not in text(panel.get(reverse("machines:list")))


def test_counting_what_waits_is_one_query_until_somebody_changes_a_wish(
    me, host, zones, web_dom, live, django_assert_num_queries
) -> None:
    from audit import log

    publish(me, host, zones, web_dom, name="One", port=81)
    assert waiting.waiting(host, live.pk).count == 1
    with django_assert_num_queries(1):
        assert waiting.waiting(host, live.pk).first.startswith("opens tcp 81")
    log.record(me, "machine.start", log.Thing(kind="machine", id="1", text="WEB-Dom"))
    with django_assert_num_queries(2):  # somebody did something else: the entries since are read, the site is not
        assert waiting.waiting(host, live.pk).count == 1
    publish(me, host, zones, web_dom, name="Two", port=82)
    assert waiting.waiting(host, live.pk).count == 2
    assert waiting.waiting(host, None).count > 2


def test_a_restored_log_is_not_taken_for_the_one_that_was_counted(me, host, zones, web_dom, live) -> None:
    from audit.models import Head

    assert waiting.waiting(host, live.pk).count == 0
    publish(me, host, zones, web_dom, name="One", port=81)
    head = Head.objects.get()
    Head.objects.update(seq=head.seq - 1, digest="0" * 64)
    assert waiting.waiting(host, live.pk).count == 1


# closing all but SSH


def test_closing_everything_says_what_it_cuts_and_needs_a_reason(panel, host, live) -> None:
    url = reverse("firewall:stop")
    page = text(panel.get(url))
    assert "every published service" in page
    assert "ssh to dom0 on tcp 22" in page
    assert panel.post(url, {"why": ""}).status_code == 422
    assert not Job.objects.filter(kind="firewall.stop").exists()
    panel.post(url, {"why": "break-in"})
    assert Job.objects.get(kind="firewall.stop").reason == "break-in"


# drift


ADDED = Line(
    family="v4", gone=False, where="filter fr-in", text="-A fr-in -s 203.0.113.9/32 -p tcp -m tcp --dport 9 -j ACCEPT",
    words="somebody added a rule to what comes to dom0",
)  # fmt: skip
GONE = Line(
    family="v4",
    gone=True,
    where="filter fr-ro-2",
    text="-A fr-ro-2 -p tcp -j DROP",
    words="a rule of DomiNoSPAM is gone",
)


def differs(host, *lines: Line) -> None:
    now = timezone.now()
    Watched.objects.update_or_create(
        host=host, defaults={"drift": [asdict(x) for x in lines], "drift_since": now, "seen_at": now}
    )


def test_a_host_as_wished_is_said_to_be_so(panel, host, live) -> None:
    page = text(panel.get(reverse("firewall:drift")))
    assert "Nothing differs" in page
    assert "exactly the rules of revision 1" in page
    Watched.objects.all().delete()
    assert "Not looked at yet" in text(panel.get(reverse("firewall:drift")))


def test_what_is_wished_and_what_is_found_stand_side_by_side(panel, host, live) -> None:
    differs(host, ADDED, GONE)
    page = text(panel.get(reverse("firewall:drift")))
    wished, found = page.index(GONE.text), page.index("--dport 9 -j ACCEPT")
    assert page.rindex("Wished, and gone", 0, wished) > 0
    assert page.rindex("Found, and not wished", 0, found) > 0
    assert "A rule of DomiNoSPAM is gone" in page
    assert reverse("firewall:adopt") not in page  # not all of it can be
    assert "the live rules differ" in text(panel.get(reverse("firewall:changes")))


def test_a_setting_is_shown_as_it_should_be_and_as_it_is(panel, host, live) -> None:
    key = "net.ipv4.ip_forward"
    differs(host, Line(family="kernel", gone=False, where="", text=f"{key} = 0", words=f"{key} is 0 instead of 1"))
    page = text(panel.get(reverse("firewall:drift")))
    assert f'<code class="del">{key} = 1</code>' in page
    assert f'<code class="ins">{key} = 0</code>' in page


def test_restoring_applies_the_revision_in_force_again(panel, host, live) -> None:
    differs(host, GONE)
    url = reverse("firewall:restore_live")
    assert panel.get(url).status_code == 405
    job = Job.objects.order_by("-pk").first
    response = panel.post(url)
    assert response.url == reverse("hosts:job", args=(job().pk,))
    assert (job().kind, job().args["revision"]) == ("firewall.apply", live.pk)


def test_while_the_revision_in_force_is_restored_nothing_speaks_of_a_trial(panel, host, live) -> None:
    differs(host, GONE)
    panel.post(reverse("firewall:restore_live"))
    job = Job.objects.latest("pk")
    page = text(panel.get(reverse("firewall:drift")))
    assert reverse("hosts:job", args=(job.pk,)) in page
    assert ">Restore revision 1<" not in page
    assert "being prepared" not in page
    trial = text(panel.get(reverse(TRIAL)))
    assert "needs no trial" in trial
    assert "time to decide" not in trial
    assert "What to try" not in trial


def test_adopting_makes_own_rules_that_the_next_apply_keeps(panel, host, live) -> None:
    differs(host, ADDED)
    assert "before-input" in text(panel.get(reverse("firewall:drift")))
    response = panel.post(reverse("firewall:adopt"), follow=True)
    assert "1 own rule saved" in text(response)
    assert CustomRule.objects.get().place == "before-input"
    assert "own rule in before-input comes" in text(response)
    differs(host, ADDED, GONE)
    refused = panel.post(reverse("firewall:adopt"))
    assert refused.status_code == 409
    assert "Not all of it can be adopted" in text(refused)


# revisions


def test_any_two_revisions_are_compared_in_words_and_as_rules(panel, me, host, trial) -> None:
    says.kept(trial)
    url = reverse("firewall:compare")
    page = text(panel.get(url, {"before": 1, "after": 2}))
    assert "From revision 1 to revision 2: 1 opens." in page
    assert "<b>tcp 443 of 87.98.130.56</b> to WEB-Dom, port 8443" in page
    assert "+-A fr-dn-87.98.130.56" in page
    back = text(panel.get(url, {"before": 2, "after": 1}))
    assert "1 closes" in back
    services.service_unpublish(me, host.services.get(name="DomiWEB"))
    assert "1 closes" in text(panel.get(url, {"before": 2, "after": 0}))
    assert "Both say the same." in text(panel.get(url, {"before": 1, "after": 1}))
    assert panel.get(url, {"before": 1, "after": 99}).status_code == 422


def test_a_list_of_a_thousand_changes_is_folded(panel, web) -> None:
    from tests.firewall.test_views_services import many

    many(web, 1100)
    page = text(panel.get(reverse("firewall:changes")))
    assert "960 more like these" in page
    assert len(page) < 400_000


def needs(panel) -> str:
    page = text(panel.get(reverse("overview")))
    return page[page.index('<div id="needs"') : page.index('aria-labelledby="net"')]


def test_what_was_taken_back_is_one_need_and_not_two(panel, me, host, trial) -> None:
    first = Revision.objects.get(number=1)
    says.taken_back(trial, confirmed=first.name)
    assert "Revision 2 was taken back" in needs(panel)
    assert "not applied</" not in needs(panel)
    Job.objects.create(
        kind=trials.RETURN, host=host, title="Return", target_kind="firewall", target_id=str(host.pk),
        target_text="firewall", actor_id=me.id, args={"revision": trial.pk}, state="done",
    )  # fmt: skip
    assert "was taken back" not in needs(panel), "who returned from it knows"
    assert "1 firewall change not applied" in needs(panel)


def test_what_was_taken_back_is_no_need_any_more_once_another_is_in_force(panel, me, host, trial) -> None:
    first = Revision.objects.get(number=1)
    says.taken_back(trial, confirmed="0")
    assert "Revision 2 was taken back" in needs(panel)
    trials.revision_apply(me, host, again=first)
    Job.objects.update(state="done")
    says.kept(first)
    assert "was taken back" not in needs(panel)
    assert "1 firewall change not applied" in needs(panel)


def test_every_page_says_that_a_change_is_being_prepared_before_its_trial_begins(panel, asked) -> None:
    for name in EVERYWHERE:
        page = text(panel.get(reverse(name)))
        assert "A firewall change is being prepared." in page, name
        assert 'http-equiv="refresh"' in page, name
    assert "being prepared" not in text(panel.get(reverse(TRIAL)))  # it says more itself
    assert "being prepared" in part(panel, "on-trial")
    Job.objects.update(state="done")
    says.tried(asked)
    assert "Keep revision 2" in part(panel, "on-trial")


def test_a_change_that_failed_before_its_trial_is_said_where_it_was_being_prepared(panel, asked) -> None:
    Job.objects.update(state="failed")
    said = part(panel, "on-trial")
    assert "Apply firewall revision 2: failed." in said
    assert "Revision 1 is live." in said
    assert "hx-trigger" not in said
    assert "being prepared" not in text(panel.get(reverse("machines:list")))


def test_an_owner_hears_nothing_of_a_change_that_is_being_prepared(client, dominig, asked) -> None:
    client.force_login(dominig)
    assert "being prepared" not in text(client.get(reverse("machines:mine")))


def test_what_to_try_goes_with_the_trial(panel, trial) -> None:
    def further(stage: str) -> str:
        page = text(panel.get(reverse(TRIAL), {"stage": stage}, headers={"HX-Request": "true", "HX-Target": "trial"}))
        return page.partition('id="further"')[2]

    assert further("deciding") == ""
    assert "Try it from another window" in further("applying")
    says.taken_back(trial, confirmed=Revision.objects.get(number=1).name)
    over = further("deciding")
    assert "Try it from another window" not in over
    assert "How this is safe" not in over
    assert "What was different while it was tried" in over


def test_a_revision_keeps_what_became_of_it_each_time(panel, me, host, trial) -> None:
    first = Revision.objects.get(number=1)
    begun = Job.objects.filter(args__revision=first.pk).latest("pk")
    second = Job.objects.filter(args__revision=trial.pk).latest("pk")
    says.kept(trial)
    again = trials.revision_apply(me, host, why="the old site", again=first)
    Job.objects.update(state="done")
    first.refresh_from_db()
    says.tried(first, nonce="beef" * 8)
    first.refresh_from_db()
    says.taken_back(first, confirmed=trial.name)
    page = text(panel.get(reverse("firewall:revision", args=[first.pk])))
    history = page[page.index('id="his"') : page.index('id="fil"')]
    told = [f"Job {again.pk}", "the old site", "Taken back", "the guard on dom0", f"Job {begun.pk}"]
    assert [words for words in told if words not in history] == []
    assert history.index(f"Job {again.pk}") < history.index(f"Job {begun.pk}")
    assert f"Job {second.pk}<" not in history
    assert "Last put in force" in page
