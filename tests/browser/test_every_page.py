"""Every page one can open, found by walking the routes: no serious axe finding, nothing sideways, a quiet console."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.urls import URLPattern, get_resolver, reverse

from accounts.access import may_somewhere
from audit import log
from audit.log import Actor, Thing
from tests.browser.faces import every_face
from tests.test_access_matrix import STRANGER

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

# Fragments and downloads are no pages; the invitation needs a link of its own (tests/accounts).
NO_PAGES = {"machines:history", "machines:console_line", "firewall:dump", "accounts:invitation", "account_logout"}


def routes(patterns, space=""):
    """Name and view of every route outside the admin."""
    for entry in patterns:
        if isinstance(entry, URLPattern):
            if entry.name:
                yield space + entry.name, entry.callback, entry.pattern.converters
        elif entry.namespace != "admin":
            yield from routes(entry.url_patterns, f"{entry.namespace}:" if entry.namespace else space)


@pytest.fixture
def things(fulup, isp, web_dom, zones):
    """What a route's number may stand for."""
    from firewall.models import CustomRule, PublishedService, Revision, ZoneRestriction
    from hosts.models import Job
    from zones.models import VpnPeer

    isp.figures["unknown"] = [STRANGER]
    isp.save()
    entry = log.record(Actor(id=fulup.pk, name="fulup"), "machine.start", Thing(kind="machine", id="1", text="WEB-Dom"))
    job = Job.objects.create(
        kind="machine.create", host=isp, title="Create X", target_kind="machine", target_id=0, target_text="X",
        actor=fulup, state="done",
    )  # fmt: skip
    tried = Job.objects.create(
        kind="firewall.try", host=isp, title="Try an own rule in before-input", target_kind="own rules",
        target_id=isp.pk, target_text="own rules", actor=fulup, state="approved",
        args={"rules": [{"place": "before-input", "rule": "-j ACCEPT", "reason": "r", "expires": None}]},
    )  # fmt: skip
    return {
        "hosts:job": job.pk,
        "hosts:doctor": isp.pk,
        "accounts:person": fulup.pk,
        "accounts:owner": fulup.own.pk,
        "audit:entry": entry.seq,
        "zones": zones["zDominig"].pk,
        "zones:address_remove": zones["zDominig"].external_id,
        "zones:vpn_revoke": VpnPeer.objects.create(host=isp, user=fulup, name="fulup-laptop", address="10.10.95.2").pk,
        "machines": web_dom.pk,
        "machines:adopt": (isp.pk, STRANGER["uuid"]),
        "firewall:revision": Revision.objects.get().pk,
        "firewall:again": Revision.objects.get().pk,
        "firewall:change": PublishedService.objects.first().pk,
        "firewall:unpublish": PublishedService.objects.first().pk,
        "firewall:restriction_change": ZoneRestriction.objects.get().pk,
        "firewall:custom_change": CustomRule.objects.create(
            host=isp, place="before-input", rule="-s 198.51.100.9 -j DROP", reason="r", author=fulup
        ).pk,
        "firewall:custom_tried": tried.pk,
    }


def paths(user, things):
    """Every page `user` may open, by name."""
    for name, view, converters in routes(get_resolver().url_patterns):
        if name in NO_PAGES or "GET" not in getattr(view, "methods", ()):
            continue
        action = getattr(view, "access", None)
        if action and not may_somewhere(user, action):
            continue
        thing = (things.get(name) or things[name.partition(":")[0]]) if converters else ()
        args = (thing if isinstance(thing, tuple) else (thing,)) if converters else ()
        yield name, reverse(name, args=args)


@pytest.mark.parametrize("who", ["fulup", "dominig", "agnes"])
def test_it_is_accessible_and_fits(page_as, request, things, who):
    user = request.getfixturevalue(who)
    page = page_as(user)
    wrong, seen = {}, 0
    for name, path in paths(user, things):
        answer = page.goto(path)
        assert answer.status in (200, 404 if user.role != "operator" else 200), (name, answer.status)
        seen += answer.status == 200
        if found := every_face(page, f"{who}-{name.replace(':', '-')}"):
            wrong[name] = found
        assert page.locator("h1").count() == 1, name
    assert wrong == {}
    assert seen >= {"fulup": 25, "dominig": 5, "agnes": 3}[who]


@pytest.mark.parametrize("name", ["account_login"])
def test_the_door_is_accessible_and_fits(page_as, db, name):
    page = page_as(None)
    page.goto(reverse(name))
    assert every_face(page, name) == []


def test_no_script_of_ours_asks_how_wide_the_window_is_or_which_colours_it_has():
    """So one visit shows every face of a page."""
    asking = re.compile(r"matchMedia|innerWidth|clientWidth|offsetWidth|screen\.width|ResizeObserver|color-scheme")
    scripts = [path for path in ROOT.glob("*/static/**/*.js") if not path.name.endswith(".min.js")]
    assert scripts
    assert [path.name for path in scripts if asking.search(path.read_text())] == []


def test_the_admin_has_a_quiet_console_under_the_same_policy(page_as, agnes, things):
    page = page_as(agnes)
    page.goto("/admin/")
    listed = [link.get_attribute("href") for link in page.locator("#content-main th a").all()]
    assert any("audit/entry" in href for href in listed)
    for href in listed:
        page.goto(href)
        assert page.locator("h1").count() >= 1
