"""A zone's whole life in the running demo: made, filled, shaped, moved with its machine, emptied, deleted."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.demo.conftest import Demo, until

pytestmark = pytest.mark.demo


def told(demo: Demo, *words: str) -> str:
    """What `fridu …` says, approved beforehand; it must end well."""
    done = demo.fridu(*words, "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def leases(demo: Demo) -> str:
    return str(demo.sql("select leases from zones_networkseen"))


@pytest.fixture(scope="module")
def mover(demo: Demo) -> Iterator[str]:
    """zMove with one machine in it, as an operator makes them; gone afterwards."""
    told(demo, "zone", "create", "name=zMove", "net=10.10.40.0/24", "domain=move.internal", "in=50M", "out=50M")
    told(demo, "create", "vmname=Mover", "vmip=10.10.40.5")
    assert until(lambda: demo.greeting("10.10.40.5", 22, "dom0")), "it never answered"
    yield "Mover"
    told(demo, "delete", "Mover")
    told(demo, "zone", "delete", "zMove")
    assert "xen-br" in demo.in_ns("dom0", "ip", "-br", "link").stdout
    assert not demo.sql("select 1 from zones_zone where name = 'zMove'")
    assert "10.10.4" not in demo.in_ns("dom0", "ipset", "save").stdout
    assert "ifb-" not in demo.in_ns("dom0", "ip", "-br", "link").stdout


def test_who_is_expected_and_who_has_a_lease_stand_side_by_side(demo: Demo, mover: str, signed_in) -> None:
    assert until(lambda: "10.10.40.5" in leases(demo)), leases(demo)
    page = signed_in("operator")
    page.goto("/zones/")
    page.get_by_role("link", name="zMove", exact=True).click()
    row = page.get_by_role("row").filter(has_text="Mover")
    expect(row).to_contain_text("10.10.40.5")
    expect(row).to_contain_text("has it")
    expect(page.locator("main")).to_contain_text("50 Mbit/s to its machines")


def test_a_zone_with_a_machine_is_not_deleted(demo: Demo, mover: str) -> None:
    done = demo.fridu("zone", "delete", "zMove", "--yes")
    assert done.returncode == 1
    assert "machine Mover" in done.stderr


def test_the_zone_moves_with_its_machine_and_other_zones_feel_nothing(demo: Demo, mover: str) -> None:
    said = told(demo, "zone", "change", "zMove", "net=10.10.41.0/24", "in=none")
    assert "10.10.40.5 -> 10.10.41.5" in said
    assert "within the hour" in said
    addresses = demo.in_ns("dom0", "ip", "-br", "-4", "address").stdout
    assert "10.10.41.1/24" in addresses
    assert "10.10.40.1" not in addresses
    members = demo.in_ns("dom0", "nft", "list", "set", "bridge", "fridu", "members").stdout
    assert "10.10.41.5" in members
    assert "10.10.40.5" not in members
    told(demo, "reboot", "Mover")
    assert until(lambda: demo.greeting("10.10.41.5", 22, "dom0")), "it did not hear of its new address"
    assert until(lambda: "10.10.41.5" in leases(demo)), leases(demo)
    other = demo.state["machines"]["WEB-Dom"]["ip"]
    assert demo.greeting(other, 22, "dom0")


def test_the_move_is_still_so_after_a_boot_from_dom0s_own_files(demo: Demo, mover: str) -> None:
    kept = demo.in_ns("dom0", "ip", "-br", "-4", "address").stdout
    names = demo.python(
        "from pathlib import Path\nfrom dom0 import host\nc = host.load()\n"
        "out = {str(p.name): p.read_text() for r in ('zones', 'members') for p in Path(c.state, r).glob('*M*ove*')}"
    )
    assert "10.10.41.1/24" in names["zMove.json"]
    assert "10.10.40." not in json.dumps(names)
    assert "10.10.41.1/24" in kept


def test_an_address_that_left_its_card_is_told_and_put_back(demo: Demo, signed_in) -> None:
    failover = "87.98.130.56"
    demo.in_ns("dom0", "ip", "address", "del", f"{failover}/32", "dev", "eth0")
    try:
        page = signed_in("operator")

        def says_so() -> bool:
            page.reload()  # the watcher's next round sees it; what needs somebody is not asked for again by the page
            return f"{failover} is not on eth0" in page.locator("main").inner_text()

        assert until(says_so, 20)
    finally:
        told(demo, "address", "add", failover, "nic=eth0")
    assert f"{failover}/32" in demo.in_ns("dom0", "ip", "-br", "-4", "address", "show", "eth0").stdout
