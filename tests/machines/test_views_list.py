"""The operator's list."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from hosts.models import Job
from machines.listing import Row
from machines.models import Machine
from machines.published import Published
from machines.states import Rank, Shown

URL = "/machines/"


def many(like: Machine, count: int) -> list[Machine]:
    """`count` more running machines in the same zone, which is made large enough."""
    zone = like.zone
    zone.prefix = 16
    zone.save()
    now = timezone.now()
    return Machine.objects.bulk_create(
        Machine(
            host=like.host,
            zone=zone,
            owner=like.owner,
            name=f"m{n}",
            address=f"10.10.{100 + n // 250}.{n % 250 + 1}",
            mac=f"aa:bb:cc:00:{n // 256:02x}:{n % 256:02x}",
            vif=f"frm{n}",
            uid_base=65536 * (100 + n),
            memory_mib=64,
            root_mib=128,
            image=like.image,
            observed="running",
            observed_at=now,
            since=now,
            built_at=now,
        )
        for n in range(count)
    )


def names(response) -> list[str]:
    return re.findall(r'class="key"><a href="[^"]+">([^<]+)</a>', response.content.decode())


@pytest.fixture
def operator(client, fulup):
    client.force_login(fulup)
    return client


def test_it_names_each_machine_with_state_address_and_owner(operator, web_dom):
    page = operator.get(URL).content.decode()
    for said in ("WEB-Dom", "10.10.2.2", "dominig", "zDominig", "running"):
        assert said in page


def test_it_says_what_a_machine_is_where_there_is_none(operator, host):
    page = operator.get(URL).content.decode()
    assert "No machine yet" in page
    assert "Create the first machine" in page


def test_trouble_comes_first(operator, web_dom, fulup):
    a, b, c, d = many(web_dom, 4)
    Machine.objects.filter(pk=b.pk).update(observed="missing")
    Machine.objects.filter(pk=c.pk).update(observed="stopped", wanted="stopped")
    Job.objects.create(
        kind="machine.start",
        host=d.host,
        title="Start",
        target_kind="machine",
        target_id=d.pk,
        target_text=d.name,
        actor=fulup,
        state="planned",
    )
    assert names(operator.get(URL)) == [b.name, d.name, c.name, "WEB-Dom", a.name]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=web-d", ["WEB-Dom"]),
        ("q=10.10.2.2", ["WEB-Dom"]),
        ("q=aa:bb:cc:dd", ["WEB-Dom"]),
        ("q=dominig", ["WEB-Dom"]),
        ("q=nosuch", []),
        ("state=running", ["WEB-Dom"]),
        ("state=stopped", []),
        ("state=nonsense", ["WEB-Dom"]),
        ("zone=abc&owner=-1", ["WEB-Dom"]),
        ("zone=999999999999999999999999", ["WEB-Dom"]),
        ("owner=99", []),
    ],
)
def test_it_narrows_by_text_zone_owner_and_state(operator, web_dom, query, found):
    assert names(operator.get(f"{URL}?{query}")) == found


def test_it_narrows_by_zone(operator, web_dom, zones):
    assert names(operator.get(f"{URL}?zone={zones['zDominig'].pk}")) == ["WEB-Dom"]
    assert names(operator.get(f"{URL}?zone={zones['zFulup'].pk}")) == []


def test_no_match_says_where_matches_are(operator, web_dom, zones):
    page = operator.get(f"{URL}?q=web&zone={zones['zFulup'].pk}").content.decode()
    assert "Nothing matches “web” in zFulup" in page
    assert "1 machine matches “web” elsewhere." in page
    assert "Clear the filter" in page


def test_what_was_typed_stays_and_is_escaped(operator, web_dom):
    page = operator.get(URL, {"q": "<script>alert(1)</script>"}).content.decode()
    assert "<script>alert" not in page
    assert 'value="&lt;script&gt;alert(1)&lt;/script&gt;"' in page


def test_htmx_gets_the_rows_alone(operator, web_dom):
    page = operator.get(URL, headers={"HX-Request": "true", "HX-Target": "rows"}).content.decode()
    assert page.lstrip().startswith('<div id="rows">')
    assert "WEB-Dom" in page
    assert "<html" not in page


def test_it_counts_by_state_and_cuts_into_pages(operator, web_dom):
    many(web_dom, 30)
    first = operator.get(URL)
    assert len(names(first)) == 25
    assert "1–25 of 31" in first.content.decode()
    assert len(names(operator.get(f"{URL}?page=2"))) == 6
    assert len(names(operator.get(f"{URL}?page=nonsense"))) == 25


def queries(client, url: str) -> list[str]:
    with CaptureQueriesContext(connection) as seen:
        assert client.get(url).status_code == 200
    return [q["sql"] for q in seen.captured_queries]


def test_it_takes_six_queries_of_its_own_at_10_and_at_1000_machines(operator, web_dom):
    many(web_dom, 9)
    operator.get(URL)  # counts what waits for an apply of the firewall, once
    ten = queries(operator, URL)
    Machine.objects.exclude(pk=web_dom.pk).delete()
    many(web_dom, 999)
    thousand = queries(operator, URL)
    assert len(ten) == len(thousand)
    # Session, user, the host with the counters of the navigation, the firewall's revisions, the head of the log.
    frame = 5
    assert len(thousand) - frame <= 6, "\n".join(thousand)


def test_an_old_look_is_marked_as_such(operator, web_dom, host):
    host.seen_at = timezone.now() - timedelta(minutes=4)
    host.save()
    assert '<span class="st old">seen</span>' in operator.get(URL).content.decode()


def test_an_owner_is_led_to_his_own_page(client, dominig, web_dom):
    client.force_login(dominig)
    assert client.get(URL)["Location"] == "/machines/mine/"


def test_it_rejects_post(operator, web_dom):
    assert operator.post(URL).status_code == 405


def test_ports_of_several_addresses_say_of_which(web_dom):
    def way(address: str, port: int) -> Published:
        return Published(name="x", address=address, proto="tcp", port=port, port_last=port, target_port=25)

    one, other = "87.98.130.56", "91.121.65.140"
    shown = Shown(mark="run", word="running", rank=Rank.RUNNING)
    assert Row(machine=web_dom, shown=shown, services=[way(one, 25), way(one, 80)]).ports == "25, 80"
    both = Row(machine=web_dom, shown=shown, services=[way(one, 25), way(other, 25)])
    assert both.ports == f"25 of {one}, 25 of {other}"
