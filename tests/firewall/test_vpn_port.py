"""dom0's OpenVPN answers from its port and never begins: a port the rules have closed stays closed for who is in."""

from __future__ import annotations

from dataclasses import replace

from dom0 import closed
from dom0.host import HostConfig, Nic
from firewall import render
from firewall.specs import Site, Vpn

RULE = "fr-out -o eth0 -p udp -m udp --sport 44096 -m conntrack --ctstate NEW -j DROP"


def test_the_servers_own_pings_begin_no_flow(production: Site) -> None:
    site = replace(production, vpn=Vpn(interface="tun0", network="10.10.95.0/24", port=44096))
    text = render.files(site).v4
    assert RULE in text
    # Before the operator's own rules, none of which may let them out.
    assert text.index(RULE) < text.index("-A fr-out -j fr-before-output")


def test_a_server_elsewhere_needs_no_rule(production: Site) -> None:
    assert "--sport 44096" not in render.files(production).v4


def test_while_all_but_ssh_is_closed_the_vpn_is_too() -> None:
    config = HostConfig(
        name="h",
        libvirt="lxc:///system",
        volumes="/v",
        nics=(Nic(name="eth0", addresses=("91.121.65.140",)),),
        vpn_interface="tun0",
        vpn_network="10.10.95.0/24",
        vpn_port=44096,
    )
    assert RULE in "\n".join(closed.files(config).values())
    assert "--sport" not in "\n".join(closed.files(replace(config, vpn_port=0)).values()).replace("--sport 6", "")
