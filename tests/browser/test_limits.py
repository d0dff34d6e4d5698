"""The limits of a machine in the browser: typed with units, objected to beside the field, then the plan's page."""

from __future__ import annotations

import pytest

from hosts.models import Job
from machines.models import Machine
from tests.browser.faces import every_face

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def roomy(web_dom) -> Machine:
    web_dom.zone.in_kbit = 10_000
    web_dom.zone.save()
    web_dom.host.facts["libvirt"] = "lxc:///system"
    web_dom.host.save()
    Machine.objects.filter(pk=web_dom.pk).update(net_in_kbit=5000, cpu_cap=50, disk_kib_s=10_240)
    return web_dom


def test_an_operator_types_them_with_their_units_and_comes_to_the_plan(page_as, fulup, roomy):
    page = page_as(fulup)
    page.goto(f"/machines/{roomy.pk}/limits/")
    assert every_face(page, "limits-operator") == []
    assert page.get_by_label("To it, at most").input_value() == "5M"
    assert page.get_by_label("Bytes a second").input_value() == "10M"
    page.get_by_label("Of its zone's bandwidth, always").fill("20M")
    page.get_by_label("Operations a second").fill("1")
    page.get_by_role("button", name="Plan these limits").click()
    page.get_by_text("be sure of more than it may take").wait_for()
    assert every_face(page, "limits-wrong") == []
    page.get_by_label("Of its zone's bandwidth, always").fill("2M")
    page.get_by_label("Operations a second").fill("")
    page.get_by_role("button", name="Plan these limits").click()
    page.wait_for_url("**/jobs/*/")
    assert Job.objects.get().args["change"] == {"net_share_kbit": 2000}


def test_its_owner_reads_them(page_as, dominig, roomy):
    page = page_as(dominig)
    page.goto(f"/machines/{roomy.pk}/limits/")
    assert every_face(page, "limits-owner") == []
    assert page.get_by_text("50 % of one processor").is_visible()
    assert page.get_by_role("button", name="Plan these limits").count() == 0
