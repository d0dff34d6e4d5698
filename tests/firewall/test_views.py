"""The firewall in the browser: what each page says, and that only services change anything."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.urls import reverse
from django.utils import timezone

from audit.models import Entry
from firewall import own_rule_kinds, services, trials
from firewall.models import PolicyCell, PublishedService, Revision
from firewall.specs import Cell
from hosts.models import Job
from tests.firewall.conftest import sample
from tests.firewall.says import in_force

pytestmark = pytest.mark.django_db


@pytest.fixture
def panel(client, fulup, host):
    client.force_login(fulup)
    return client


@pytest.fixture
def applied(me, host, web) -> Revision:
    return in_force(me, host, why="begin")


def text(response) -> str:
    return response.content.decode()


PUBLISH = {"name": "DomiTLS", "proto": "tcp", "port": "443", "target": "WEB-Dom", "target_port": "8443"}


@pytest.mark.parametrize(
    "name",
    [
        "changes",
        "trial",
        "drift",
        "revisions",
        "compare",
        "stop",
        "services",
        "publish",
        "ports",
        "policy",
        "restrictions",
        "restriction",
        "customs",
        "custom",
        "import",
        "dump",
    ],
)
def test_every_page_answers_an_operator_and_nobody_else(client, panel, dominig, agnes, zones, name) -> None:
    assert panel.get(reverse(f"firewall:{name}")).status_code == 200
    for other in (dominig, agnes):
        client.force_login(other)
        assert client.get(reverse(f"firewall:{name}")).status_code == 404


def test_every_page_answers_before_the_first_host(client, fulup) -> None:
    client.force_login(fulup)
    for name in ["changes", "trial", "drift", "revisions", "services", "ports", "policy", "restrictions", "customs"]:
        assert client.get(reverse(f"firewall:{name}")).status_code == 200
    assert client.get(reverse("firewall:publish")).status_code == 404


def test_publishing_leads_to_the_difference(panel, zones, web_dom) -> None:
    wish = {**PUBLISH, "external": zones["zDominig"].external.pk}
    response = panel.post(reverse("firewall:publish"), wish, follow=True)
    assert response.redirect_chain == [(reverse("firewall:changes"), 302)]
    assert "<b>tcp 443 of 87.98.130.56</b> to WEB-Dom, port 8443" in text(response)
    assert "--dport 443" not in text(response)  # the rules come when they are asked for
    raw = text(panel.get(reverse("firewall:changes"), {"raw": "1"}))
    assert "+-A fr-dn-87.98.130.56 -p tcp -m tcp --dport 443" in raw
    part = panel.get(reverse("firewall:changes"), headers={"HX-Request": "true", "HX-Target": "raw"})
    assert text(part).startswith('<pre id="raw"')
    assert "--dport 443" in text(part)
    assert Entry.objects.filter(action="service.publish").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"port": "80"}, "already leads to WEB-Dom (DomiWEB). Free: 8000."),
        ({"port": "0"}, "Ports go from 1 to 65535"),
        ({"port": "99999"}, "Ports go from 1 to 65535."),
        ({"target_port": "99999"}, "Ports go from 1 to 65535."),
        ({"target_port": "x"}, "Write a port such as 8443, or leave it empty."),
        ({"port": "90-80"}, "the lower one first"),
        ({"port": "http"}, "Write a port such as 443"),
        ({"target": "WEB-Gone"}, "There is no machine “WEB-Gone” here"),
        ({"target": "10.10.12.5"}, "is in no zone"),
        ({"name": "two words"}, "Use 1 to 31 letters"),
        ({"name": "x" * 300}, "at most 31 characters; this one has 300"),
        ({"name": "a'b"}, "Use 1 to 31 letters"),
        ({"name": "DomiWEB"}, "exists already"),
        ({"external": ""}, "Choose the external address"),
    ],
)
def test_what_cannot_be_published_is_said_beside_its_field(panel, zones, web, changes, sentence) -> None:
    wish = {**PUBLISH, "external": zones["zDominig"].external.pk, **changes}
    response = panel.post(reverse("firewall:publish"), wish)
    assert response.status_code == 422
    assert sentence in text(response).replace("&#x27;", "'")
    assert 'aria-invalid="true"' in text(response)
    assert PublishedService.objects.count() == 1


def test_from_a_machines_page_its_zones_address_is_chosen(panel, zones, web_dom) -> None:
    shown = text(panel.get(reverse("machines:detail", args=(web_dom.pk,))))
    link = re.search(rf'{reverse("firewall:publish")}\?[^"]+', shown)
    form = text(panel.get(unescape(link[0])))
    assert f'<option value="{zones["zDominig"].external.pk}" selected>' in form
    assert 'value="WEB-Dom"' in form
    assert 'External address <span class="opt">' not in form  # a machine needs one


def test_after_a_mistake_the_first_wrong_field_takes_the_focus(panel, zones, web_dom) -> None:
    url = reverse("firewall:publish")
    assert re.search(r'<input[^>]+name="name"[^>]+autofocus', text(panel.get(url)))
    wrong = text(panel.post(url, {**PUBLISH, "external": zones["zDominig"].external.pk, "port": "99999"}))
    assert re.findall(r'name="(\w+)"[^>]+ autofocus', wrong) == ["port"]


def test_a_port_of_dom0_itself_can_be_published_on_every_address(panel, zones) -> None:
    wish = {**PUBLISH, "name": "DOM0_VPN", "proto": "udp", "port": "44096", "target": "dom0", "target_port": ""}
    assert panel.post(reverse("firewall:publish"), wish).status_code == 302
    assert services.rows.service_of(PublishedService.objects.get()).where == "udp 44096 of every external address"


def test_unpublishing_says_what_is_cut_and_then_shows_the_difference(panel, applied, web) -> None:
    url = reverse("firewall:unpublish", args=(web.pk,))
    asked = text(panel.get(url))
    assert "<b>tcp 80 of 87.98.130.56</b> to WEB-Dom, port 8080" in asked
    assert "Connections that are open through it are cut" in asked
    assert PublishedService.objects.exists()
    response = panel.post(url, {"reason": "moved away"}, follow=True)
    assert Entry.objects.get(action="service.unpublish").why == "moved away"
    assert "<b>tcp 80 of 87.98.130.56</b> to WEB-Dom, port 8080" in text(response)
    assert "Closes" in text(response)


def test_applying_asks_for_one_approved_job(panel, host, fulup, web) -> None:
    seen = services.pending(host).digest
    response = panel.post(reverse("firewall:apply"), {"why": "go", "seen": seen})
    job = Job.objects.get(kind="firewall.apply")
    assert response.url == reverse("firewall:trial")
    assert (job.approver, job.reason, job.args["seconds"]) == (fulup, "go", 60)


def test_how_long_it_is_tried_is_chosen(panel, host, web) -> None:
    seen = services.pending(host).digest
    assert panel.post(reverse("firewall:apply"), {"confirm_within": "7", "seen": seen}).status_code == 422
    panel.post(reverse("firewall:apply"), {"confirm_within": "300", "seen": seen})
    assert Job.objects.get(kind="firewall.apply").args["seconds"] == 300


def test_what_changed_meanwhile_is_shown_instead_of_applied(panel, host, web) -> None:
    response = panel.post(reverse("firewall:apply"), {"why": "go", "seen": "0" * 64})
    assert response.status_code == 409
    assert "since you looked" in text(response)
    assert not Job.objects.filter(kind="firewall.apply").exists()


@pytest.mark.parametrize(
    ("typed", "status"),
    [({}, 409), ({"seen": ""}, 409), ({"seen": "0" * 65}, 409), ({"why": "x" * 201}, 422), ({"why": "a\0b"}, 422)],
)
def test_a_form_that_is_not_whole_applies_nothing(panel, host, web, typed, status) -> None:
    if "why" in typed:
        typed = {"seen": services.pending(host).digest, **typed}
    assert panel.post(reverse("firewall:apply"), typed).status_code == status
    assert not Job.objects.filter(kind="firewall.apply").exists()


def test_while_one_apply_is_open_no_other_is_offered(panel, me, host, web) -> None:
    trials.revision_apply(me, host)
    page = text(panel.get(reverse("firewall:changes")))
    assert "is on its way" in page
    assert reverse("firewall:apply") not in page


def test_after_an_apply_the_service_is_shown_open(panel, applied) -> None:
    page = text(panel.get(reverse("firewall:services")))
    assert '<span class="st run">open</span>' in page
    assert "nothing to apply" in text(panel.get(reverse("firewall:changes")))


def test_a_former_revision_can_be_applied_again(panel, me, host, applied, web) -> None:
    services.service_unpublish(me, web)
    in_force(me, host)
    url = reverse("firewall:again", args=(applied.pk,))
    shown = text(panel.get(url))
    assert (
        "<b>tcp 80 of 87.98.130.56</b> to WEB-Dom, port 8080" in shown
    )  # what comes back, before anything is asked for
    assert "+-A fr-dn-87.98.130.56" in shown
    response = panel.post(url)
    assert response.url == reverse("firewall:trial")
    assert Job.objects.latest("pk").args == {"revision": applied.pk, "number": 1, "seconds": 60}


def test_a_revision_shows_its_words_files_and_commands(panel, applied) -> None:
    page = text(panel.get(reverse("firewall:revision", args=(applied.pk,))))
    assert "Opens tcp 80 of 87.98.130.56" in page
    assert "v4.rules" in page
    assert "iptables -t nat -N fr-dnat" in page


@pytest.mark.parametrize(
    ("sought", "there"),
    [("DomiWEB", True), ("80", True), ("8080", True), ("WEB-Dom", True), ("87.98", True), ("443", False)],
)
def test_a_service_is_found_by_name_port_address_and_machine(panel, web, sought, there) -> None:
    page = text(panel.get(reverse("firewall:services"), {"q": sought}))
    assert ("DomiWEB</td>" in page or "DomiWEB<span" in page) is there


def test_the_grid_says_what_the_site_says(panel, zones, web) -> None:
    page = text(panel.get(reverse("firewall:policy")))
    assert 'aria-label="Internet to zDominig: published, 1"' in page
    assert 'aria-label="zFulup to Internet: everything"' in page
    assert 'aria-label="zFulup to dom0: DHCP, DNS, ping"' in page
    assert 'aria-label="zFulup to zDominig: closed"' in page


def test_a_cell_is_saved_with_its_other_way(panel, zones) -> None:
    url = reverse("firewall:cell") + "?source=zFulup&target=zDominig"
    panel.post(url, {"may": "only", "ports": "tcp:80, udp:514-520", "both": "on"})
    assert {(c.source, c.target, c.ports) for c in PolicyCell.objects.all()} == {
        ("zone:1", "zone:2", "tcp:80,udp:514-520"),
        ("zone:2", "zone:1", "tcp:80,udp:514-520"),
    }
    page = text(panel.get(reverse("firewall:policy")))
    assert 'aria-label="zFulup to zDominig: tcp 80, udp 514-520"' in page


@pytest.mark.parametrize(
    ("pair", "wish", "sentence"),
    [
        (("zFulup", "zDominig"), {"may": "only", "ports": "tcp:99999"}, "is no port"),
        (("zFulup", "zDominig"), {"may": "only", "ports": ""}, "Which ports?"),
        (("zFulup", "dom0"), {"may": "all"}, "never reaches everything on dom0"),
        (("zFulup", "dom0"), {"may": "only", "ports": "tcp:22"}, "out of any machine"),
    ],
)
def test_a_wrong_cell_is_said_beside_its_field(panel, zones, pair, wish, sentence) -> None:
    response = panel.post(f"{reverse('firewall:cell')}?source={pair[0]}&target={pair[1]}", wish)
    assert response.status_code == 422
    assert sentence in text(response)
    assert not PolicyCell.objects.exists()


@pytest.mark.parametrize("pair", [("internet", "zFulup"), ("dom0", "zFulup"), ("internet", "vpn")])
def test_a_cell_that_is_no_wish_is_explained_and_cannot_be_saved(panel, zones, pair) -> None:
    query = f"?source={pair[0]}&target={pair[1]}"
    page = text(panel.get(reverse("firewall:policy") + query))
    assert reverse("firewall:cell") not in page
    assert re.search("by published services only|may open everything|never reaches", page)
    assert panel.post(reverse("firewall:cell") + query, {"may": "all"}).status_code == 404


@pytest.mark.parametrize("pair", [("zGone", "zFulup"), ("zFulup", "zFulup"), ("zFulup", ""), ("", "zFulup")])
def test_a_cell_that_is_not_in_the_grid_is_a_wrong_address(panel, zones, pair) -> None:
    query = f"?source={pair[0]}&target={pair[1]}"
    assert panel.get(reverse("firewall:policy") + query).status_code == 404
    assert panel.post(reverse("firewall:cell") + query, {"may": "all"}).status_code == 404


def test_a_restriction_about_one_address_narrows_only_the_cells_it_is_about(panel, me, zones) -> None:
    services.restriction_add(
        me, zone=zones["zFulup"], name="NOSIP", direction="in", action="DROP", proto="udp", port=5060,
        address="10.10.2.7",
    )  # fmt: skip
    services.policy_set(
        me, zones["zFulup"].host, [Cell(source=s, target="zFulup", everything=True) for s in ("vpn", "zDominig")]
    )
    page = text(panel.get(reverse("firewall:policy")))
    assert 'aria-label="zDominig to zFulup: everything but udp 5060 of 10.10.2.7"' in page
    assert 'aria-label="Admin VPN to zFulup: everything"' in page


def test_what_another_room_says_of_a_cell_stands_beside_its_editor(panel, zones, monkeypatch) -> None:
    from ui import registry

    told = lambda request, pair: f"<p>{pair.host}: {pair.source} to {pair.target}, {len(pair.site.zones)} zones</p>"  # noqa: E731
    monkeypatch.setitem(registry._fragments, "policy.cell", [told])
    page = text(panel.get(reverse("firewall:policy") + "?source=zFulup&target=zDominig"))
    assert "<p>ns3100421: zFulup to zDominig, 2 zones</p>" in page
    assert "2 zones</p>" not in text(panel.get(reverse("firewall:policy")))


def test_a_rule_file_is_explained_before_it_is_taken_over(panel, host) -> None:
    from zones.services import address_sync

    address_sync(host)
    url = reverse("firewall:import")
    page = text(panel.post(url, {"text": sample("production"), "do": "look"}))
    assert "every zone to every other" in page
    assert "zone zFulup, 10.10.1.0/24 on xen-br1" in page
    assert not PublishedService.objects.exists()
    response = panel.post(url, {"text": sample("production"), "do": "import"}, follow=True)
    assert "each waits for your approval" in text(response)
    assert PublishedService.objects.count() == 8
    assert Entry.objects.filter(action="firewall.import").count() == 1


def test_a_placeholder_is_asked_for_and_answered(panel, host) -> None:
    from zones.services import address_sync

    address_sync(host)
    url = reverse("firewall:import")
    page = text(panel.post(url, {"text": sample("simple")}))
    assert "MyExternalIP is which address?" in page
    answered = {"text": sample("simple"), "answer_MyExternalIP": "91.121.65.140"}
    assert "service VM1_SSH: tcp 23 of 91.121.65.140" in text(panel.post(url, answered))


def test_an_empty_or_hostile_file_is_answered_with_words(panel, zones) -> None:
    assert panel.post(reverse("firewall:import"), {"text": ""}).status_code == 422
    page = text(panel.post(reverse("firewall:import"), {"text": "<script>alert(1)</script>\n$(reboot)"}))
    assert "<script>alert" not in page
    assert "never run" in page


@pytest.mark.parametrize("do", ["look", "import"])
@pytest.mark.parametrize(
    "bundle",
    [
        "[" * 100_000,
        '[["a.rules", "\\ud800 CreateZone"]]',
        '[["\\ud800", "CreateZone"]]',
        '[["a", "\\u0000CreateZone"]]',
    ],
    ids=["without an end", "half a character", "in a name", "NUL"],
)
def test_files_nobody_could_have_chosen_are_read_or_refused_like_others(panel, zones, bundle: str, do: str) -> None:
    answer = panel.post(reverse("firewall:import"), {"bundle": bundle, "do": do})
    assert answer.status_code in (200, 302, 409, 422)
    assert "\0" not in answer.content.decode()


def test_a_machines_page_and_the_search_know_what_is_published(panel, web, web_dom) -> None:
    page = text(panel.get(reverse("machines:detail", args=(web_dom.pk,))))
    assert "87.98.130.56" in page
    assert "DomiWEB" in text(panel.get(reverse("search"), {"q": "DomiWEB"}, follow=True))


def test_the_overview_says_what_waits_for_an_apply(panel, web) -> None:
    assert "not applied" in text(panel.get(reverse("overview")))


def test_a_placeholder_is_something_to_look_at_and_nothing_left_out(panel) -> None:
    line = "CreateZone NAME=ZA NIC=eth0 EXT=MyExternalIP BR=xen-br1 INT=10.10.12.1 MASK=255.255.255.0"
    page = text(panel.post(reverse("firewall:import"), {"text": line, "do": "look"}))
    assert '<span class="st wait">look at it</span> EXT=MyExternalIP' in page
    assert "left out" not in page
    assert "zone ZA, 10.10.12.0/24 on xen-br1, isolated" in page


def test_the_wishes_are_checked_on_the_host_and_the_answer_is_said(panel, host, web) -> None:
    url = reverse("firewall:changes")
    assert "not tried on the host yet" in text(panel.get(url))
    assert panel.post(reverse("firewall:check")).status_code == 302
    [job] = Job.objects.all()
    assert (job.kind, job.args) == ("firewall.try", {"rules": []})

    def part() -> str:
        return text(panel.get(url, headers={"HX-Request": "true", "HX-Target": "check"}))

    assert "being checked" in part()
    assert 'hx-trigger="every 1s"' in part()
    job.steps.create(number=1, stage="guard", title="Both guards beat", state="already")
    Job.objects.update(state="done", ended=timezone.now())
    assert "the wishes loaded on the host" in part()
    assert "both guards beat" in part()
    assert "hx-trigger" not in part()
    job.steps.update(stage="no guard", title="Guard b does not beat; the other does. Start it: systemctl start x")
    assert "a guard is missing" in part()
    Job.objects.update(state="failed", message="iptables-restore: line 7 failed.")
    assert "iptables-restore: line 7 failed." in part()


@pytest.mark.parametrize(
    ("beating", "stage", "words"),
    [
        (("a", "b"), "guard", "Both guards beat"),
        (("a",), "no guard", "Guard b does not beat; the other does. Start it: systemctl start fridu-guard@b"),
        ((), "no guard", "No guard beats, so no apply begins. Start it: systemctl start fridu-guard@a fridu-guard@b"),
    ],
)
def test_a_check_says_whether_the_guards_beat(beating, stage, words) -> None:
    said = own_rule_kinds.guards(beating)
    assert (said.stage, said.title) == (stage, words)
