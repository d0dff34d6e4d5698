"""Membership: single elements, in the words of the tools that own the sets."""

from __future__ import annotations

import json

import pytest

from dom0 import members


def test_a_zone_has_its_subnet_on_its_bridge_and_inside() -> None:
    assert [m.add for m in members.zone_members("xen-br1", "10.10.1.0/24")] == [
        ("ipset", "add", "fr-znet", "10.10.1.0/24,xen-br1", "-exist"),
        ("ipset", "add", "fr-inside", "10.10.1.0/24", "-exist"),
    ]


def test_a_machine_is_known_by_vif_mac_and_address_and_may_ask_for_a_lease() -> None:
    both = members.machine_member("fr12", "AA:BB:CC:DD:01:02", "10.10.1.2")
    assert [m.element for m in both] == [
        '"fr12" . aa:bb:cc:dd:01:02 . 10.10.1.2',
        '"fr12" . aa:bb:cc:dd:01:02 . 0.0.0.0',
    ]
    assert both[0].remove[:2] == ("nft", "delete")


@pytest.mark.parametrize(
    ("vif", "mac", "ip"),
    [
        ('fr1" ; flush ruleset', "aa:bb:cc:dd:01:02", "10.10.1.2"),
        ("fr1", "aa:bb:cc:dd:01", "10.10.1.2"),
        ("fr1", "aa:bb:cc:dd:01:02", "10.10.1.2 }"),
        ("averyverylongname", "aa:bb:cc:dd:01:02", "10.10.1.2"),
    ],
)
def test_it_refuses_what_is_no_name_mac_or_address(vif: str, mac: str, ip: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        members.machine_member(vif, mac, ip)


def test_what_is_found_is_named_as_what_was_wished() -> None:
    zone = members.zone_members("xen-br1", "10.10.1.0/24")
    save = """\
create fr-znet hash:net,iface family inet
add fr-znet 10.10.1.0/24,xen-br1
add fr-inside 10.10.1.0/24
add other 1.2.3.4
"""
    assert members.found_in_ipset(save) == tuple(m.key for m in zone)
    machine = members.machine_member("fr12", "aa:bb:cc:dd:01:02", "10.10.1.2")[:1]
    listed = {
        "nftables": [{"set": {"name": "members", "elem": [{"concat": ["fr12", "aa:bb:cc:dd:01:02", "10.10.1.2"]}]}}]
    }
    assert members.found_in_nft(json.dumps(listed)) == tuple(m.key for m in machine)
    assert members.found_in_nft("") == ()


def test_the_boot_files_make_and_fill_the_sets() -> None:
    wished = (
        *members.zone_members("xen-br1", "10.10.1.0/24"),
        *members.machine_member("fr1", "aa:bb:cc:dd:01:02", "10.10.1.2"),
    )
    ipset, nft = members.boot_files(wished)
    assert ipset.startswith("create fr-znet hash:net,iface -exist\n")
    assert "add fr-inside 10.10.1.0/24 -exist\n" in ipset
    assert nft.count("add element bridge fridu members") == 2
