"""Every page of the firewall, in every state it can be in: two widths, two colour schemes, nothing wrong with any."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from firewall import rows, services
from firewall.drift import Line
from firewall.models import CustomRule, Revision, Watched, ZoneRestriction
from firewall.render import files
from firewall.specs import as_dict
from hosts.models import Job, JobStep
from tests.browser.faces import every_face, until_answered

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def revision(user, host, number, state, **more) -> Revision:
    site = rows.site_of(host)
    texts = files(site).by_name
    return Revision.objects.create(
        host=host, number=number, site=as_dict(site), files=texts, digest="ab12cd34" * 8, author=user, state=state,
        **more,
    )  # fmt: skip


@pytest.fixture
def site(fulup, isp, zones, web_dom):
    """Wishes of every kind, applied; then a service that opens, one that moves, one that is taken out."""
    from audit.log import Actor

    me = Actor(id=fulup.pk, name="fulup")
    soon = timezone.now() + timedelta(days=30)
    CustomRule.objects.create(
        host=isp, place="before-input", rule="-i eth0 -p tcp --dport 9100 -j ACCEPT", reason="node exporter",
        author=fulup, expires=soon,
    )  # fmt: skip
    Revision.objects.all().delete()
    revision(fulup, isp, 47, "live", live_at=timezone.now() - timedelta(days=4), why="the regatta's new site",
             words=["opens tcp 80 of 87.98.130.56 to WEB-Dom", "closes tcp 21 of 91.121.65.140"])  # fmt: skip
    isp.services.update(live=True)
    gone, moves = isp.services.get(name="DomiSSH"), isp.services.get(name="DomiWEB")
    services.service_unpublish(me, gone)
    moves.refresh_from_db()
    services.service_change(
        me, moves, name="DomiWEB", proto="tcp", port=80, external=moves.external, target="10.10.2.5", target_port=8080
    )
    services.service_publish(me, host=isp, name="DomiTLS", proto="tcp", port=443, external=moves.external,
                             target=web_dom, target_port=8443)  # fmt: skip
    services.restriction_add(me, zone=zones["zFulup"], name="FulupNOSIP", direction="in", action="REJECT",
                             proto="both", port=5060, port_last=5062, address="10.10.2.0/24")  # fmt: skip
    Watched.objects.create(host=isp, confirmed="47-ab12cd34ab12", seen_at=timezone.now())
    return isp


DRIFT = (
    Line(family="v4", gone=True, where="filter fr-ro-2", text="-A fr-ro-2 -p tcp -m tcp --dport 25 -j DROP",
         words="a rule of DomiNoSPAM is gone from what leaves zDominig: -p tcp -m tcp --dport 25 -j DROP"),
    Line(family="v4", gone=False, where="filter fr-in", text="-A fr-in -s 203.0.113.9/32 -p tcp -j ACCEPT",
         words="somebody added a rule to what comes to dom0: -s 203.0.113.9/32 -p tcp -j ACCEPT"),
    Line(family="kernel", gone=False, where="", text="net.bridge.bridge-nf-call-iptables = 1",
         words="net.bridge.bridge-nf-call-iptables is 1 instead of 0"),
)  # fmt: skip


def apply_job(user, host, state, number, *, revision, kind="firewall.apply", done=0, message="") -> Job:
    job = Job.objects.create(
        kind=kind, host=host, title=f"Apply firewall revision {number}", target_kind="firewall", target_id=host.pk,
        target_text=f"firewall of {host.name}", actor=user, state=state, digest="9f3c51a0" * 8, message=message,
        args={"revision": revision.pk, "number": number},
    )  # fmt: skip
    for n in range(1, 12):
        JobStep.objects.create(
            job=job, number=n, stage="files", title=f"Step {n}", state="done" if n <= done else "todo"
        )
    return job


def on_trial(user, host, **more) -> Revision:
    tried = revision(user, host, 48, "trial", why="TLS for WEB-Dom, request 57", nonce="5f" * 16,
                     until=timezone.now() + timedelta(seconds=more.pop("left", 3600)), seconds=3600,
                     words=["opens tcp 443 of 87.98.130.56 to WEB-Dom, port 8443"], **more)  # fmt: skip
    apply_job(user, host, "done", 48, revision=tried)
    return tried


PAGES = {
    "changes": lambda s: reverse("firewall:changes"),
    "changes-raw": lambda s: reverse("firewall:changes") + "?raw=1",
    "services": lambda s: reverse("firewall:services"),
    "services-by-machine": lambda s: reverse("firewall:services") + "?by=machine",
    "services-none": lambda s: reverse("firewall:services") + "?q=zzz",
    "publish": lambda s: reverse("firewall:publish") + "?port=443",
    "change": lambda s: reverse("firewall:change", args=(s.services.get(name="DomiWEB").pk,)),
    "unpublish": lambda s: reverse("firewall:unpublish", args=(s.services.get(name="FulupSMTP").pk,)),
    "ports": lambda s: reverse("firewall:ports") + f"?external={s.addresses.first().pk}&proto=tcp&port=25",
    "policy": lambda s: reverse("firewall:policy"),
    "policy-cell": lambda s: reverse("firewall:policy") + "?source=zFulup&target=zDominig",
    "policy-fixed": lambda s: reverse("firewall:policy") + "?source=internet&target=zDominig",
    "reach": lambda s: reverse("firewall:reach") + "?from=zDominig",
    "restrictions": lambda s: reverse("firewall:restrictions"),
    "restriction": lambda s: reverse("firewall:restriction_change", args=(ZoneRestriction.objects.first().pk,)),
    "customs": lambda s: reverse("firewall:customs"),
    "custom": lambda s: reverse("firewall:custom"),
    "revisions": lambda s: reverse("firewall:revisions"),
    "revision": lambda s: reverse("firewall:revision", args=(Revision.objects.first().pk,)),
    "again": lambda s: reverse("firewall:again", args=(Revision.objects.first().pk,)),
    "compare": lambda s: reverse("firewall:compare") + "?before=47&after=0",
    "stop": lambda s: reverse("firewall:stop"),
    "drift": lambda s: reverse("firewall:drift"),
    "nothing-tried": lambda s: reverse("firewall:trial"),
}


def look(page, name, path) -> list[str]:
    """What is wrong with this page."""
    answer = page.goto(path)
    assert answer.status == 200, (name, answer.status)
    assert page.locator("h1").count() == 1, name
    wrong = every_face(page, name)
    page.goto("about:blank")  # some of them look again by themselves
    until_answered()
    return wrong


def test_the_pages_of_a_firewall_with_wishes(page_as, fulup, site):
    page = page_as(fulup)
    wrong = {n: f for n, path in PAGES.items() if (f := look(page, n, path(site)))}
    Watched.objects.update(drift=[asdict(line) for line in DRIFT], drift_since=timezone.now() - timedelta(minutes=3))
    for name in ("drift", "changes"):
        if found := look(page, f"differs-{name}", reverse(f"firewall:{name}")):
            wrong[f"differs-{name}"] = found
    assert wrong == {}


def test_the_trial_in_each_of_its_states(page_as, fulup, site):
    page, url = page_as(fulup), reverse("firewall:trial")
    wrong = {}

    def see(name, path=url):
        if found := look(page, name, path):
            wrong[name] = found

    draft = revision(fulup, site, 48, "draft")
    job = apply_job(fulup, site, "running", 48, revision=draft, done=4)
    see("trial-applying")
    job.delete()
    draft.delete()
    tried = on_trial(fulup, site)
    see("trial-deciding")
    see("trial-banner", reverse("machines:list"))
    see("trial-changes", reverse("firewall:changes"))
    Revision.objects.filter(pk=tried.pk).update(until=timezone.now() - timedelta(seconds=2))
    see("trial-over")
    Revision.objects.filter(pk=tried.pk).update(state="returned", until=None, seconds=60)
    see("trial-returned")
    Job.objects.update(state="failed", message="iptables-restore: line 7 failed.")
    Revision.objects.filter(pk=tried.pk).update(state="failed")
    see("trial-failed")
    assert wrong == {}
