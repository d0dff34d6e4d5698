"""The network drawing, as data in and SVG text out."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from tests.ui.drawn_sites import LARGE, MIDDLE, SMALL, at_random, many
from ui.drawing import PHONE, WIDE, Address, Machine, Site, Zone, draw
from ui.drawing.cards import Cards
from ui.drawing.parts import num, ports_short

SVG = "{http://www.w3.org/2000/svg}"


def kind(svg: str) -> str:
    return re.search(r"net-(\w+)", svg)[1]


def boxes(svg: str):
    for x, width in re.findall(r'<rect[^>]* x="([-\d.]+)"[^>]* width="([\d.]+)"', svg):
        yield float(x), float(x) + float(width)


@pytest.mark.parametrize("width", [WIDE, 980, PHONE])
def test_any_site_is_well_formed_stable_and_inside_its_box(width):
    kinds = set()
    for seed in range(600):
        site = at_random(seed)
        svg = draw(site, width)
        root = ElementTree.fromstring(svg)
        if seed % 10 == 0:
            assert svg == draw(at_random(seed), width)
        assert all(left >= -1 and right <= width + 1 for left, right in boxes(svg)), seed
        _, _, wide, high = map(float, root.get("viewBox").split())
        assert wide == width
        assert all(float(e.get("y", 0)) <= high + 1 for e in root.iter()), seed
        ids = [e.get("id") for e in root.iter() if e.get("id")]
        assert len(ids) == len(set(ids)), seed
        kinds.add(kind(svg))
    assert kinds == ({"stack"} if width < 600 else {"cards", "rows", "grid", "blank"})


def test_detail_falls_with_size():
    assert [kind(draw(site, WIDE)) for site in (SMALL, MIDDLE, many(5, 22, 4), LARGE)] == [
        "cards",
        "cards",
        "rows",
        "grid",
    ]


def test_every_machine_is_a_link_said_in_full():
    links = re.findall(r'<a href="([^"]+)" id="([^"]+)" aria-label="([^"]+)"', draw(SMALL, WIDE))
    assert (
        "/machines/10.10.2.2/",
        "w-m10.10.2.2",
        "WEB-Dom, 10.10.2.2, running, owner dominig, published: "
        "tcp 22 of 87.98.130.56 to WEB-Dom:22; tcp 80 of 87.98.130.56 to WEB-Dom:8080",
    ) in links
    assert ("/zones/1/", "w-zzFulup") in {
        (href, own) for href, own in re.findall(r'<a href="([^"]+)" id="([^"]+)"', draw(SMALL, WIDE))
    }


def test_the_two_drawings_of_one_page_share_no_id():
    ids = [re.findall(r' id="([^"]+)"', draw(SMALL, width)) for width in (WIDE, PHONE)]
    assert ids[0]
    assert not set(ids[0]) & set(ids[1])


def test_hostile_names_stay_text():
    bad = Machine(name='"><script>alert(1)</script>', ip="10.0.0.2", owner="<b>", href='/m/"onclick="x', key='"k')
    svg = draw(replace(SMALL, host="<h>", zones=(Zone(name="<z>", ext="91.121.65.140", machines=(bad,)),)), WIDE)
    root = ElementTree.fromstring(svg)
    assert not [e for e in root.iter() if e.tag in (f"{SVG}script", "script", "b", "z")]
    assert not [e for e in root.iter() if e.get("onclick")]


def test_a_port_from_another_zones_address_is_dashed():
    wires = Cards(SMALL, WIDE).lanes
    assert [(w.addr, w.machine) for w in wires] == [("87.98.130.56", "Common")]
    assert 'class="n-wire n-cross"' in draw(SMALL, WIDE)


def test_an_address_spans_exactly_its_zones():
    layout = Cards(SMALL, WIDE)
    for zone in SMALL.zones:
        left, width = layout.spans[zone.name]
        assert layout.bars[zone.ext] == (left, left + width)


def test_an_isolated_zone_says_so_and_stands_under_the_vpn():
    svg = draw(MIDDLE, WIDE)
    assert "no way in from the Internet" in svg
    assert "no way out" in svg
    assert MIDDLE.groups[0][1][0].name == "zAdmin"


def test_an_address_no_zone_uses_is_drawn_as_free():
    site = replace(SMALL, addresses=(*SMALL.addresses, Address(ip="192.0.2.7", nic="eth1")))
    assert "no zone uses it" in draw(site, WIDE)
    assert "192.0.2.7" in draw(site, PHONE)


def test_an_address_without_machine_that_services_point_to_is_drawn():
    svg = draw(MIDDLE, WIDE)
    assert "10.10.2.9, no machine, published: udp 5060 of 87.98.130.56 to 10.10.2.9:5060" in svg
    assert "5 machines" in svg  # that one is none


def test_who_reach_each_other_become_one_line():
    sets, single = MIDDLE.talk
    assert sets == (("", "zFulup", "zDominig"),)
    assert [(r.source, r.target, r.what) for r in single] == [("", "zAdmin", "all"), ("zFulup", "zAdmin", "udp 514")]
    svg = draw(MIDDLE, WIDE)
    assert "VPN, zFulup and zDominig reach each other" in svg
    assert "zFulup reaches zAdmin on udp 514" in svg


def test_states_are_shapes_and_words():
    svg = draw(MIDDLE, WIDE)
    for look in ("k-run", "k-off", "k-half", "k-miss"):
        assert f'class="{look}"' in svg
    for word in ("reinstalling", "stopped", "missing", "no machine"):
        assert word in svg


def test_trouble_comes_first_in_a_tile():
    marks = re.findall(r'aria-label="web-3-\d+, [\d.]+, (\w+)', draw(LARGE, WIDE))
    assert marks == sorted(marks, key=["failed", "missing", "working", "not", "running", "stopped"].index)


def test_a_host_without_anything_is_one_dashed_box():
    svg = draw(Site(host="ns3100421"), WIDE)
    assert kind(svg) == "blank"
    assert "No address and no zone yet." in svg


def test_ports_that_do_not_fit_are_counted():
    services = LARGE.services[:5]
    assert ports_short(services, 60) == "80 +2"
    assert ports_short(services, 90) == "80, 82, 84"
    assert ports_short(services[:1], 90) == "80"


@pytest.mark.parametrize(("value", "said"), [(1.0, "1"), (0.04, "0"), (-0.04, "0"), (12.25, "12.2"), (10, "10")])
def test_coordinates_have_one_decimal_at_most(value, said):
    assert num(value) == said
