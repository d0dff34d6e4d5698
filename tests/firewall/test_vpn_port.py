"""dom0's OpenVPN answers from its port and never begins: a port the rules have closed stays closed for who is in."""

from __future__ import annotations

from dataclasses import replace

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
