"""Zones in the browser."""

from __future__ import annotations

import pytest
from django.urls import reverse

from hosts.models import Host, Job
from zones.models import Zone

pytestmark = pytest.mark.django_db


@pytest.fixture
def as_fulup(client, fulup):
    client.force_login(fulup)
    return client


def text(answer) -> str:
    return answer.content.decode()


def test_the_list_shows_each_zone_with_subnet_way_out_and_state(as_fulup, web_dom):
    page = text(as_fulup.get(reverse("zones:list")))
    for part in ("zFulup", "10.10.2.0/24", "87.98.130.56", "xen-br2", "not on the host yet"):
        assert part in page


def test_the_list_takes_the_same_few_queries_for_many_zones(as_fulup, host, zones, django_assert_max_num_queries):
    for n in range(3, 43):
        Zone.objects.create(host=host, name=f"z{n}", number=n, bridge=f"xen-br{n}", gateway=f"10.11.{n}.1")
    with django_assert_max_num_queries(14):
        as_fulup.get(reverse("zones:list"))
    with django_assert_max_num_queries(6):
        answer = as_fulup.get(reverse("zones:list"), headers={"HX-Request": "true", "HX-Target": "rows"})
    assert "<html" not in text(answer)


def test_without_a_zone_the_list_says_what_one_is(as_fulup, host):
    assert "Create the first zone" in text(as_fulup.get(reverse("zones:list")))


def test_without_a_host_the_list_says_so(as_fulup):
    assert not Host.objects.exists()
    assert "No host yet" in text(as_fulup.get(reverse("zones:list")))


def test_a_zone_shows_who_lives_there(as_fulup, web_dom):
    page = text(as_fulup.get(reverse("zones:detail", args=[web_dom.zone.pk])))
    assert "WEB-Dom" in page
    assert "10.10.2.2" in page


def test_creating_one_leads_to_its_job(as_fulup, host, zones):
    url = reverse("zones:create")
    assert "10.10.3.1" in text(as_fulup.get(url))
    asked = {"host": host.pk, "name": "zBrendan", "gateway": "10.10.3.1", "bits": 24}
    answer = as_fulup.post(url, asked)
    job = Job.objects.get(kind="zone.create")
    assert answer.status_code == 302
    assert answer.url == reverse("hosts:job", args=[job.pk])


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"name": "z'B"}, "1 to 15 letters"),
        ({"name": "z" * 300}, "at most 15"),
        ({"gateway": "10.10.1.7"}, "overlaps zFulup"),
        ({"gateway": "10.10.3"}, "not an IPv4 address"),
        ({"bits": "99"}, "from 16 to 29"),
        ({"bits": ""}, "required"),
        ({"bridge": "xen-br1"}, "bridge of zFulup"),
        ({"external": "4711"}, "valid choice"),
        ({"host": "4711"}, "valid choice"),
    ],
)
def test_what_is_wrong_stands_beside_its_field_and_what_was_typed_stays(as_fulup, host, zones, asked, says):
    wish = {"host": host.pk, "name": "zBrendan", "gateway": "10.10.3.1", "bits": 24, **asked}
    answer = as_fulup.post(reverse("zones:create"), wish)
    assert answer.status_code == 422
    assert says in text(answer)
    assert Zone.objects.count() == 2


def test_changing_one_leads_to_its_job(as_fulup, zones):
    zone = zones["zFulup"]
    url = reverse("zones:change", args=[zone.pk])
    assert "xen-br1" in text(as_fulup.get(url))
    answer = as_fulup.post(url, {"gateway": "10.10.1.1", "bits": 24, "bridge": "xen-br1", "domain": "other.internal"})
    assert answer.status_code == 302, text(answer)
    zone.refresh_from_db()
    assert (zone.domain, zone.external) == ("other.internal", None)


def test_what_is_refused_is_said_on_the_page(as_fulup, zones):
    url = reverse("zones:apply", args=[zones["zFulup"].pk])
    assert as_fulup.post(url).status_code == 302
    answer = as_fulup.post(url)
    assert answer.status_code == 409
    assert "still open" in text(answer)


def test_deleting_names_what_stands_on_the_zone(as_fulup, web_dom):
    url = reverse("zones:delete", args=[web_dom.zone.pk])
    page = text(as_fulup.get(url))
    assert "WEB-Dom" in page
    assert 'class="kill"' not in page
    assert as_fulup.post(url).status_code == 409


def test_deleting_an_empty_one_leads_to_its_job(as_fulup, zones):
    url = reverse("zones:delete", args=[zones["zFulup"].pk])
    assert "xen-br1" in text(as_fulup.get(url))
    assert as_fulup.post(url, {"reason": "moved away"}).status_code == 302
    assert Job.objects.get(kind="zone.delete").reason == "moved away"


def test_external_addresses_show_who_goes_out_by_them(as_fulup, zones):
    page = text(as_fulup.get(reverse("zones:addresses")))
    assert "91.121.65.140" in page
    assert "zDominig" in page


@pytest.mark.parametrize("who", ["dominig", "agnes"])
@pytest.mark.parametrize("name", ["list", "detail", "create", "change", "apply", "delete", "addresses"])
def test_nobody_but_an_operator_finds_them(client, zones, request, who, name):
    client.force_login(request.getfixturevalue(who))
    args = [zones["zFulup"].pk] if name in ("detail", "change", "apply", "delete") else []
    url = reverse(f"zones:{name}", args=args)
    assert client.get(url).status_code == 404
    assert client.post(url).status_code == 404


@pytest.mark.parametrize("words", ["dominig", "xen-br2", "10.10.2.1", "87.98.130", "zDominig"])
def test_the_search_box_finds_a_zone(as_fulup, zones, words):
    page = text(as_fulup.get(reverse("search"), {"q": words}, follow=True))
    assert "10.10.2.0/24" in page


def test_the_search_box_shows_no_zone_to_an_owner(client, dominig, zones):
    client.force_login(dominig)
    page = text(client.get(reverse("search"), {"q": "xen-br2"}, follow=True))
    assert "10.10.2.0/24" not in page
