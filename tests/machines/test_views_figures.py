"""What a machine uses, on its pages: in words, in small graphs, and before there is anything."""

from __future__ import annotations

import re

import pytest
from django.utils import timezone

from machines import graphs
from machines.models import Figures, Machine
from machines.series import Sample, row

pytestmark = pytest.mark.django_db


@pytest.fixture
def figures(web_dom) -> Figures:
    at = int(timezone.now().timestamp())
    hour = [
        row(
            Sample(
                at=at - 30 * n, cpu=100 + n, memory_mib=40, net_in=125_000, net_out=0, disk_read=0, disk_written=2048
            )
        )
        for n in range(60, -1, -1)
    ]
    day = [row(Sample(at=at - 600 * n, cpu=710 if n == 9 else 90, memory_mib=50)) for n in range(140, -1, -1)]
    host = web_dom.host
    host.facts = {**host.facts, "libvirt": "lxc:///system"}
    host.save()
    now = {"sample": hour[-1], "day_at": at}
    return Figures.objects.create(machine=web_dom, at=timezone.now(), counters={"run": 1}, now=now, hour=hour, day=day)


def test_the_first_page_says_what_it_uses_now_and_draws_the_hour(client, dominig, web_dom, figures):
    client.force_login(dominig)
    page = client.get(f"/machines/{web_dom.pk}/").content.decode()
    assert "What it uses" in page
    plain = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    assert "CPU 10 % average 13 %" in plain
    assert f"40 of {web_dom.memory_mib} MB" in page
    assert "Network in 1 Mbit/s out dashed 0 kbit/s" in plain
    assert "Disk read 0 B/s written dashed 2 kB/s" in plain
    assert page.count('<svg class="spark"') == 4
    assert re.search(r'aria-label="CPU over the last hour: now 10 %; highest 16 % at \d\d:\d\d"', page)


def test_its_page_draws_hour_and_day_and_has_the_same_in_numbers(client, dominig, web_dom, figures):
    client.force_login(dominig)
    page = client.get(f"/machines/{web_dom.pk}/figures/").content.decode()
    assert page.count('<svg class="spark"') == 4 + 2, "nobody counted network and disk that day"
    assert re.search(r'<th scope="row">CPU</th><td class="num">10 %</td>.*?71 % at', page, re.S)


@pytest.mark.parametrize("place", ["", "figures/"])
def test_before_the_first_minute_it_says_that_there_is_nothing_yet(place, client, dominig, web_dom):
    client.force_login(dominig)
    page = client.get(f"/machines/{web_dom.pk}/{place}").content.decode()
    assert "No figures yet" in page
    assert 'class="spark"' not in page


def test_what_is_off_has_a_past_and_no_present(client, dominig, web_dom, figures):
    Figures.objects.update(now={}, counters={})
    client.force_login(dominig)
    page = client.get(f"/machines/{web_dom.pk}/").content.decode()
    assert "it is off" in page
    assert "<b>not now</b>" in page


def test_figures_that_are_old_are_not_called_now(client, dominig, web_dom, figures):
    old = [figures.hour[0][0] - 3000, *figures.hour[0][1:]]
    Figures.objects.update(now={"sample": old})
    client.force_login(dominig)
    page = client.get(f"/machines/{web_dom.pk}/").content.decode()
    assert '<span class="st old">seen</span>' in page


def test_what_a_guest_uses_of_its_memory_only_it_knows(client, dominig, web_dom, figures):
    host = web_dom.host
    host.facts = {**host.facts, "libvirt": "xen:///system"}
    host.save()
    client.force_login(dominig)
    page = client.get(f"/machines/{web_dom.pk}/figures/").content.decode()
    assert "40 MB given" in page
    assert "only it knows" in page


@pytest.mark.parametrize("target", ["use", "figures"])
def test_the_parts_that_ask_again_are_parts_and_as_guarded_as_the_page(
    target, client, dominig, brendan, web_dom, figures
):
    client.force_login(dominig)
    asked = {"HX-Request": "true", "HX-Target": target}
    part = client.get(f"/machines/{web_dom.pk}/figures/", headers=asked).content.decode()
    assert "<html" not in part
    assert "svg" in part
    client.force_login(brendan)
    assert client.get(f"/machines/{web_dom.pk}/figures/", headers=asked).status_code == 404


def test_in_one_line_for_a_list(web_dom, figures):
    (machine,) = graphs.with_used(Machine.objects.all())
    assert graphs.short(machine) == ("10 %", f"40 of {web_dom.memory_mib} MB")
    Figures.objects.all().delete()
    (machine,) = graphs.with_used(Machine.objects.all())
    assert graphs.short(machine) is None


def test_lists_say_it_with_no_query_more(client, fulup, dominig, web_dom, figures):
    client.force_login(dominig)
    mine = client.get("/machines/mine/").content.decode()
    assert f"CPU 10 %, memory 40 of {web_dom.memory_mib} MB" in mine
    client.force_login(fulup)
    assert f'40 of {web_dom.memory_mib} MB<span class="sub">CPU 10 %' in client.get("/machines/").content.decode()


def test_new_figures_alone_are_sent_and_not_spoken(client, dominig, web_dom, figures):
    client.force_login(dominig)
    page = client.get("/machines/mine/").content.decode()
    seen = re.search(r'name="seen" value="([^"]+)"', page)[1]
    asked = {"HX-Request": "true", "HX-Target": "cards"}
    assert client.get("/machines/mine/", {"seen": seen}, headers=asked).status_code == 204
    Figures.objects.update(now={"sample": [figures.now["sample"][0], 990, *figures.now["sample"][2:]]})
    part = client.get("/machines/mine/", {"seen": seen}, headers=asked).content.decode()
    assert "CPU 99 %" in part
    assert 'id="said"' not in part
    Machine.objects.update(observed="stopped")
    assert 'id="said"' in client.get("/machines/mine/", {"seen": seen}, headers=asked).content.decode()


def test_percent_are_of_all_its_processors(web_dom, figures):
    web_dom.vcpus = 4
    assert graphs.use(web_dom, figures).graphs[0].now == "2 %"
