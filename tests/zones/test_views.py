"""Zones in the browser."""

from __future__ import annotations

import re

import pytest
from django.urls import reverse
from django.utils import timezone

from hosts.models import Host, Job
from zones.models import NetworkSeen, Zone

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
    with django_assert_max_num_queries(16):  # five of the list, the rest of the frame around every page
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


@pytest.fixture
def moving(as_fulup, zones, web_dom, host):
    """zDominig on the host, with WEB-Dom running; `moving(gateway=…)` posts the change form."""
    from firewall.models import PublishedService

    zone = zones["zDominig"]
    Zone.objects.filter(pk=zone.pk).update(applied_at=timezone.now())
    PublishedService.objects.create(
        host=host, name="DomiWEB", zone=zone, external=zone.external, proto="tcp", port=80, port_last=80,
        target="10.10.2.2", target_port=8080,
    )  # fmt: skip

    def post(**typed):
        wish = {"gateway": "10.10.2.1", "bits": 24, "external": zone.external.pk, "domain": "", **typed}
        return as_fulup.post(reverse("zones:change", args=[zone.pk]), wish)

    return post


def test_another_subnet_first_shows_all_that_moves_and_saves_nothing(moving):
    answer = moving(gateway="10.10.7.1")
    page = text(answer)
    assert answer.status_code == 200
    for part in ("WEB-Dom", "10.10.7.2", "by itself within the hour", "DomiWEB", "10.10.7.2:8080", "Nothing is saved"):
        assert part in page
    assert not Job.objects.exists()
    assert Zone.objects.get(name="zDominig").gateway == "10.10.2.1"


def test_what_was_looked_at_is_what_is_asked_for(moving):
    seen = re.search(r'name="seen" value="([0-9a-f]+)"', text(moving(gateway="10.10.7.1")))[1]
    assert moving(gateway="10.10.7.1", seen=seen).status_code == 302
    job = Job.objects.get(kind="zone.change")
    assert (job.title, job.args["change"]["gateway"]) == ("Move zone zDominig to 10.10.7.0/24", "10.10.7.1")


def test_a_list_that_changed_meanwhile_is_shown_anew(moving, web_dom):
    seen = re.search(r'name="seen" value="([0-9a-f]+)"', text(moving(gateway="10.10.7.1")))[1]
    type(web_dom).objects.update(address="10.10.2.9")
    answer = moving(gateway="10.10.7.1", seen=seen)
    assert "has changed since you looked" in text(answer)
    assert "10.10.7.9" in text(answer)
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ({"gateway": "10.10.7.2"}, "10.10.7.2 would be the gateway"),
        ({"gateway": "10.10.2.14", "bits": 29}, "10.10.2.2 has no place in 10.10.2.8/29"),
    ],
)
def test_what_has_no_place_is_named_and_there_is_no_button(moving, typed, says):
    answer = moving(**typed)
    assert answer.status_code == 409
    assert says in text(answer)
    assert 'name="seen"' not in text(answer)


def test_a_subnet_that_overlaps_is_said_beside_the_field(moving):
    answer = moving(gateway="10.10.1.1")
    assert answer.status_code == 422
    assert "overlaps zFulup" in text(answer)


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ({"in_rate": "fast"}, "is no bandwidth"),
        ({"in_rate": "1k"}, "between 64 kbit/s"),
        ({"out_rate": "99G"}, "between 64 kbit/s"),
        ({"lease": "10.10.2.100"}, "two addresses with a hyphen"),
        ({"lease": "10.10.9.1-10.10.9.2"}, "no address a guest"),
        ({"lease": "a-b"}, "Enter a valid IPv4 address"),
    ],
)
def test_a_wrong_rate_or_range_is_said_beside_its_field(moving, typed, says):
    answer = moving(**typed)
    assert answer.status_code == 422
    assert says in text(answer)


def test_rates_and_range_are_asked_for_as_typed(moving):
    assert moving(in_rate="10M", out_rate="512k", lease="10.10.2.100-10.10.2.150").status_code == 302
    change = Job.objects.get().args["change"]
    assert (change["in_kbit"], change["out_kbit"]) == (10_000, 512)
    assert (change["lease_first"], change["lease_last"]) == ("10.10.2.100", "10.10.2.150")


def seen_leases(host, *rows):
    NetworkSeen.objects.create(host=host, leases={"zDominig": rows}, seen_at=timezone.now())


def test_leases_stand_beside_what_is_expected_and_strangers_apart(as_fulup, host, web_dom):
    end = int(timezone.now().timestamp()) + 600
    seen_leases(host, ["10.10.2.2", web_dom.mac, "web-dom", end], ["10.10.2.120", "02:00:00:00:00:01", "printer", end])
    page = text(as_fulup.get(reverse("zones:detail", args=[web_dom.zone.pk])))
    assert "has it" in page
    strangers = page[page.index("Leases of strangers") :]
    assert "10.10.2.120" in strangers
    assert "printer" in strangers
    assert web_dom.mac not in strangers


def test_a_machine_that_still_has_its_former_address_is_named(as_fulup, host, web_dom):
    seen_leases(host, ["10.10.9.2", web_dom.mac, "", 0])
    page = text(as_fulup.get(reverse("zones:detail", args=[web_dom.zone.pk])))
    assert "has another" in page
    assert "a restart changes it at once" in page


def test_a_machine_of_the_former_box_is_no_stranger(as_fulup, host, web_dom):
    from machines.models import Expected

    Expected.objects.create(
        host=host, zone=web_dom.zone, name="Old", address="10.10.2.9", mac="aa:bb:cc:dd:ee:09", vif="fr0a0a0209"
    )
    seen_leases(host, ["10.10.2.9", "aa:bb:cc:dd:ee:09", "old", 0])
    page = text(as_fulup.get(reverse("zones:detail", args=[web_dom.zone.pk])))
    assert "Leases of strangers" not in page
    assert "has it" in page[page.index("former box") :]


def test_a_hostile_name_in_a_lease_is_text(as_fulup, host, web_dom):
    """The grammar keeps such a name out; should it come in, the page escapes it."""
    seen_leases(host, ["10.10.2.120", "02:00:00:00:00:01", "<script>alert(1)</script>", 0])
    page = text(as_fulup.get(reverse("zones:detail", args=[web_dom.zone.pk])))
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page


def test_deleting_says_what_ends_with_the_zone(as_fulup, host, zones):
    from firewall.models import PolicyCell, ZoneRestriction

    ZoneRestriction.objects.create(
        zone=zones["zFulup"], name="nosmtp", direction="out", proto="tcp", port=25, port_last=25
    )
    PolicyCell.objects.create(host=host, source="vpn", target="zone:1", ports="all")
    page = text(as_fulup.get(reverse("zones:delete", args=[zones["zFulup"].pk])))
    for part in ("nosmtp", "way in from the admin VPN", "the admin VPN → zFulup: everything", 'class="kill"'):
        assert part in page


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
@pytest.mark.parametrize(
    "name", ["list", "detail", "create", "change", "apply", "delete", "addresses", "address_add", "address_remove"]
)
def test_nobody_but_an_operator_finds_them(client, zones, request, who, name):
    client.force_login(request.getfixturevalue(who))
    args = [zones["zFulup"].pk] if name in ("detail", "change", "apply", "delete", "address_remove") else []
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
