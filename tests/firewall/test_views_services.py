"""The list of published services, changing one in place, undoing a wish, and the ports of an address."""

from __future__ import annotations

import re

import pytest
from django.urls import reverse

from firewall import services
from firewall.models import PublishedService, Revision
from tests.firewall.pressed import held
from tests.firewall.says import in_force, publish
from tests.firewall.test_views import panel as panel
from tests.firewall.test_views import text

pytestmark = pytest.mark.django_db

LIST = "firewall:services"


@pytest.fixture
def live(me, host, web) -> Revision:
    return in_force(me, host, why="begin")


def many(web: PublishedService, count: int) -> None:
    """`count` services more, made past the services: the list is about reading."""
    rows = []
    for n in range(count):
        port = 10_000 + n
        rows.append(
            PublishedService(
                host=web.host, name=f"S{port}", zone=web.zone, external=web.external, proto="tcp", port=port,
                port_last=port, target=f"10.10.2.{3 + n % 200}", target_port=port,
            )
        )  # fmt: skip
    PublishedService.objects.bulk_create(rows)


def state_of(page: str, name: str) -> str:
    """The state shown on a service's line."""
    line = page[page.index(f'<td class="key">{name}<') :]
    return re.search(r'<td class="hide-s"><span class="st \w+">([^<]+)</span>', line)[1]


def test_each_line_says_what_the_next_apply_does_to_it(panel, me, host, zones, web_dom, live, web) -> None:
    gone = publish(me, host, zones, web_dom, name="Gone", port=81)
    moves = publish(me, host, zones, web_dom, name="Moves", port=82)
    in_force(me, host)
    services.service_unpublish(me, gone)
    moves.refresh_from_db()
    services.service_change(
        me, moves, name="Moves", proto="tcp", port=82, external=moves.external, target=moves.target, target_port=99
    )
    publish(me, host, zones, web_dom, name="New", port=83)
    page = text(panel.get(reverse(LIST)))
    assert {name: state_of(page, name) for name in ("DomiWEB", "Gone", "Moves", "New")} == {
        "DomiWEB": "open",
        "Gone": "closes when you apply",
        "Moves": "changes when you apply",
        "New": "opens when you apply",
    }
    assert "now tcp 82 of 87.98.130.56 to WEB-Dom, port 8080" in page
    assert "Take out New" in page
    assert "Unpublish DomiWEB" in page


@pytest.mark.parametrize("how", ["taken out", "changed"])
def test_a_wish_is_undone_from_its_line(panel, me, host, live, web, how) -> None:
    if how == "taken out":
        services.service_unpublish(me, web)
    else:
        wish = {"name": "DomiWEB", "external": web.external_id, "proto": "tcp", "port": "80", "target": "10.10.2.2"}
        panel.post(reverse("firewall:change", args=(web.pk,)), {**wish, "target_port": "99"})
    assert services.pending(host).changes
    page = text(panel.get(reverse(LIST)))
    assert ("Keep DomiWEB" if how == "taken out" else "Leave DomiWEB as it is in force") in page
    form = held(panel, reverse(LIST), reverse("firewall:restore"), name="DomiWEB")
    response = panel.post(reverse("firewall:restore"), form, follow=True)
    assert "DomiWEB stays as it is in force." in text(response)
    assert services.pending(host).changes == ()


def test_what_cannot_be_undone_is_said(panel, me, host, zones, web_dom, live, web) -> None:
    assert "publishes no Nobody" in text(panel.post(reverse("firewall:restore"), {"name": "Nobody"}, follow=True))
    services.service_unpublish(me, web)
    publish(me, host, zones, web_dom, name="Other")
    form = held(panel, reverse(LIST), reverse("firewall:restore"), name="DomiWEB")
    said = text(panel.post(reverse("firewall:restore"), form, follow=True))
    assert "already leads to WEB-Dom (Other)" in said
    assert panel.get(reverse("firewall:restore")).status_code == 405


def test_while_one_is_on_trial_the_lines_speak_of_it(panel, me, host, zones, web_dom, live) -> None:
    from firewall import trials
    from tests.firewall.says import tried

    publish(me, host, zones, web_dom, name="New", port=83)
    trials.revision_apply(me, host)
    tried(Revision.objects.get(number=2))
    assert state_of(text(panel.get(reverse(LIST))), "New") == "open"


def test_a_service_is_changed_in_place(panel, live, web) -> None:
    url = reverse("firewall:change", args=(web.pk,))
    form = text(panel.get(url))
    assert "It leads tcp 80 of 87.98.130.56 to WEB-Dom, port 8080." in form
    assert 'value="WEB-Dom"' in form
    assert re.search(r'name="port" value="80"', form)
    wish = {"name": "DomiHTTP", "external": web.external_id, "proto": "both", "port": "80-82", "target": "WEB-Dom"}
    wrong = panel.post(url, {**wish, "port": "65535-65536"})
    assert wrong.status_code == 422
    assert "Ports go from 1 to 65535." in text(wrong)
    response = panel.post(url, {**wish, "target_port": "8080"}, follow=True)
    assert "DomiHTTP is saved. It changes when you apply." in text(response)
    web.refresh_from_db()
    assert (web.name, web.proto, web.port, web.port_last, web.live) == ("DomiHTTP", "both", 80, 82, False)


def test_a_service_that_was_never_open_is_taken_out_without_closing_anything(panel, web) -> None:
    url = reverse("firewall:unpublish", args=(web.pk,))
    assert "Taking it out closes nothing." in text(panel.get(url))
    response = panel.post(url, follow=True)
    assert response.redirect_chain[-1][0] == reverse(LIST)
    assert "It was never open." in text(response)


def test_the_list_is_arranged_by_address_and_by_machine(panel, me, host, zones, web_dom, web) -> None:
    publish(me, host, zones, web_dom, name="Fulup", port=84, external=zones["zFulup"].external)
    by_address = text(panel.get(reverse(LIST)))
    assert re.findall(r'<h2 id="g\d+">([^<]+)</h2>', by_address) == ["91.121.65.140", "87.98.130.56"]
    by_machine = text(panel.get(reverse(LIST), {"by": "machine"}))
    assert re.findall(r'<h2 id="g\d+"><a href="[^"]+">([^<]+)</a></h2>', by_machine) == ["WEB-Dom"]
    assert by_machine.index("Fulup<") < by_machine.index("DomiWEB<")


@pytest.mark.parametrize(
    ("query", "there"),
    [
        ({"q": "domiweb"}, {"DomiWEB"}),
        ({"q": "WEB-Dom"}, {"DomiWEB", "Udp", "Gone"}),
        ({"q": "8080"}, {"DomiWEB", "Udp"}),
        ({"q": "82"}, {"Udp"}),
        ({"proto": "udp"}, {"Udp"}),
        ({"proto": "tcp"}, {"DomiWEB"}),
        ({"state": "open"}, {"DomiWEB"}),
        ({"state": "waiting"}, {"Udp", "Gone"}),
        ({"q": "gone"}, {"Gone"}),
        ({"q": "83"}, {"Gone"}),
        ({"zone": "zDominig"}, {"DomiWEB", "Udp", "Gone"}),
        ({"zone": "zFulup"}, set()),
        ({"q": "nothing like it"}, set()),
        ({"zone": "x", "proto": "x", "state": "x", "by": "x", "page": "x"}, {"DomiWEB", "Udp", "Gone"}),
    ],
)
def test_the_list_is_narrowed(panel, me, host, zones, web_dom, web, query, there) -> None:
    gone = publish(me, host, zones, web_dom, name="Gone", port=83, proto="udp", target_port=8083)
    in_force(me, host)
    services.service_unpublish(me, gone)
    publish(me, host, zones, web_dom, name="Udp", port=81, port_last=82, proto="udp")
    if query.get("zone") in zones:
        query = {"zone": zones[query["zone"]].pk}
    if query == {"proto": "udp"}:
        there = {"Udp", "Gone"}
    page = text(panel.get(reverse(LIST), query))
    assert {name for name in ("DomiWEB", "Udp", "Gone") if f'<td class="key">{name}<' in page} == there
    assert ("Clear the filter" in page) is (not there)


def test_the_filter_answers_htmx_with_the_rows_alone(panel, web) -> None:
    part = panel.get(reverse(LIST), {"q": "DomiWEB"}, headers={"HX-Request": "true", "HX-Target": "rows"})
    assert text(part).startswith('<div id="rows">')
    whole = text(panel.get(reverse(LIST)))
    assert re.search(r"<form[^>]+method=\"get\".+?<button>Filter</button>", whole, re.S)


def queries_of(panel, url: str, django_assert_max_num_queries) -> int:
    panel.get(url)
    with django_assert_max_num_queries(60) as seen:
        assert panel.get(url).status_code == 200
    return len(seen)


@pytest.mark.parametrize(
    "path",
    [
        *(f"/firewall/services/{query}" for query in ("", "?by=machine", "?q=S10", "?state=waiting")),
        *(f"/firewall/{name}/" for name in ("policy", "policy/restrictions", "policy/rules", "revisions", "trial")),
        "/firewall/",
        "/machines/",
    ],
)
def test_a_page_asks_the_same_at_ten_services_and_at_a_thousand(
    panel, live, web, path, django_assert_max_num_queries
) -> None:
    many(web, 10)
    few = queries_of(panel, path, django_assert_max_num_queries)
    PublishedService.objects.filter(name__startswith="S").delete()
    many(web, 1000)
    assert queries_of(panel, path, django_assert_max_num_queries) == few


def test_long_lists_come_in_pages(panel, web) -> None:
    many(web, 120)
    first = text(panel.get(reverse(LIST)))
    assert "1–50 of 121" in first
    assert "S10118<" in text(panel.get(reverse(LIST), {"page": 3}))


def test_the_ports_of_an_address_are_told_with_the_nearest_free_one(panel, me, host, zones, web_dom, web) -> None:
    url, external = reverse("firewall:ports"), web.external_id
    page = text(panel.get(url, {"external": external, "proto": "tcp", "port": "80"}))
    assert "leads to WEB-Dom already (DomiWEB)" in page
    assert "Publish on 8080" in page
    assert "the admin’s ssh" in page
    assert "is free." in text(panel.get(url, {"external": external, "proto": "udp", "port": "80"}))
    taken = text(panel.get(url, {"external": external, "proto": "both", "port": "79-81"}))
    assert "Publish on 8079-8081" in taken
    assert "Ports go from" in text(panel.get(url, {"external": external, "proto": "tcp", "port": "70000"}))
    assert panel.get(url, {"external": "999999", "proto": "x"}).status_code == 200


def test_the_form_is_told_while_one_types(panel, web) -> None:
    query = {"external": web.external_id, "proto": "tcp", "port": "80"}
    part = {"HX-Request": "true", "HX-Target": "ports-say"}
    said = text(panel.get(reverse("firewall:ports"), query, headers=part))
    assert said.startswith("<p><b>tcp 80 of 87.98.130.56</b>")
    assert 'data-fill="id_port">8080</a>' in said
    own = text(panel.get(reverse("firewall:ports"), {**query, "but": "DomiWEB"}, headers=part))
    assert "is free." in own


def test_the_address_most_probably_meant_is_chosen_first(panel, me, host, zones, web_dom) -> None:
    own, other = zones["zDominig"].external, zones["zFulup"].external

    def chosen(**query: str) -> tuple[str, str]:
        page = text(panel.get(reverse("firewall:publish"), query))
        options = re.search(r'<select name="external".*?</select>', page, re.S)[0]
        values = re.findall(r'<option value="(\d*)"( selected)?', options)
        return next(value for value, mark in values if mark), values[-1][0]

    assert chosen(target="WEB-Dom") == (str(own.pk), "")
    publish(me, host, zones, web_dom, name="First", port=81, external=other)
    assert chosen() == (str(other.pk), ""), "the one used last"
    publish(me, host, zones, web_dom, name="Second", port=82)
    assert chosen() == (str(own.pk), "")
    assert chosen(external=str(other.pk)) == (str(other.pk), "")


def test_a_port_of_dom0_on_every_address_stays_one_when_it_is_changed(panel, me, host, zones, web) -> None:
    row = services.service_publish(me, host=host, name="Vpn", proto="udp", port=1194)
    page = text(panel.get(reverse("firewall:change", args=[row.pk])))
    assert '<option value="" selected' in page
