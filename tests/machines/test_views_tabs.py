"""The tabs of a machine's pages: few, each page behind one of them, and no door that would be refused."""

from __future__ import annotations

import re

import pytest

from machines.models import Machine
from machines.tabs import TABS

pytestmark = pytest.mark.django_db
LIST = re.compile(r'<ul class="sift[^"]*" aria-label="([^"]+)">(.*?)</ul>')


def rows(client, user, machine: Machine, page: str) -> list[list[str]]:
    """What is written on each row of tabs, the chosen one in brackets."""
    client.force_login(user)
    answer = client.get(f"/machines/{machine.pk}/{page}")
    assert answer.status_code == 200
    found = []
    for _, row in LIST.findall(answer.content.decode()):
        tabs = re.findall(r"<a href=[^>]+?( aria-current=[^>]+)?>([^<]+)</a>", row)
        found.append([f"[{label}]" if here else label for here, label in tabs])
    return found


def test_an_operator_has_five_and_what_belongs_together_stands_below_one(client, fulup, web_dom):
    five = ["Overview", "Settings and limits", "Snapshots", "Reinstall", "Diagnose and rescue"]
    assert rows(client, fulup, web_dom, "") == [["[Overview]", *five[1:]]]
    assert rows(client, fulup, web_dom, "limits/") == [
        ["Overview", "[Settings and limits]", *five[2:]],
        ["Settings", "[Limits]"],
    ]
    assert rows(client, fulup, web_dom, "stages/")[1] == ["Reinstall", "[Single stages]"]
    assert rows(client, fulup, web_dom, "drift/")[1] == ["Diagnose", "Rescue", "[Differences]"]


def test_an_owner_has_four_and_reads_the_limits_from_the_overview(client, dominig, web_dom):
    four = ["Overview", "Snapshots", "Reinstall", "Diagnose and rescue"]
    assert rows(client, dominig, web_dom, "") == [["[Overview]", *four[1:]]]
    assert rows(client, dominig, web_dom, "limits/") == [["[Overview]", *four[1:]]]
    Machine.objects.filter(pk=web_dom.pk).update(net_in_kbit=5000)
    page = client.get(f"/machines/{web_dom.pk}/").content.decode()
    assert f'<a href="/machines/{web_dom.pk}/limits/" aria-label="Limits of WEB-Dom">To it 5 Mbit/s</a>' in page


def test_every_page_names_its_machine_in_its_heading_and_is_reached_from_another(client, fulup, web_dom):
    client.force_login(fulup)
    pages = {tab.page: f"/machines/{web_dom.pk}/{'' if tab.page == 'detail' else tab.page + '/'}" for tab in TABS}
    reached = set()
    for path in pages.values():
        page = client.get(path).content.decode()
        assert re.search(r"<h1>[^<]*WEB-Dom</h1>", page), path
        reached |= set(re.findall(r'href="([^"]+)"', page))
    assert set(pages.values()) <= reached
