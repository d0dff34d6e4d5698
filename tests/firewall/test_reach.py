"""Who reaches what, for the whole site at once."""

from __future__ import annotations

from dataclasses import replace

from firewall.reach import Reach, matrix
from firewall.specs import Cell, CustomRule, Ports, Restriction, Site, Zone


def cell(site: Site, source: str, target: str) -> Reach:
    found = matrix(site, vpn_address="10.10.95.38")
    return next(r for r in found if (r.source, r.target) == (source, target))


def tcp(port: int) -> Ports:
    return Ports(proto="tcp", first=port, last=port)


def test_every_pair_of_parties_is_answered_once(production: Site) -> None:
    pairs = [(r.source, r.target) for r in matrix(production)]
    parties = list(production.parties())
    assert pairs == [(s, t) for s in parties for t in parties]


def test_the_internet_reaches_dom0s_own_services_and_what_is_published(production: Site) -> None:
    assert cell(production, "internet", "dom0").words == "tcp 22, tcp 563, udp 44096"
    into = cell(production, "internet", "zDominig")
    assert into.words == "nothing"
    assert [s.name for s in into.published] == [s.name for s in production.services if s.target == "10.10.2.2"]


def test_the_panel_is_among_what_the_vpn_may_open(production: Site) -> None:
    closed = replace(production, policy=tuple(c for c in production.policy if c.source != "vpn"))
    assert cell(closed, "vpn", "dom0").words == "tcp 22, tcp 8000"


def test_single_ports_of_a_cell_are_named(production: Site) -> None:
    site = replace(production, policy=(Cell(source="zFulup", target="zDominig", ports=(tcp(5432), tcp(80))),))
    found = cell(site, "zFulup", "zDominig")
    assert (found.words, found.look) == ("tcp 80, tcp 5432", "some")
    assert cell(site, "zDominig", "zFulup").words == "nothing"


def test_a_restriction_is_taken_from_everything(production: Site) -> None:
    mail = Restriction(name="NoMail", zone=2, direction="out", action="DROP", ports=tcp(25))
    site = replace(production, restrictions=(mail,))
    assert cell(site, "zDominig", "internet").words == "everything but tcp 25"
    # Nor by a neighbour's published port.
    smtp = {s.name for s in site.services if s.port_first == 25 and s.target}
    assert smtp
    assert not smtp & {s.name for s in cell(site, "zDominig", "zFulup").published}
    assert smtp <= {s.name for s in cell(site, "zFulup", "zFulup").published} | {
        s.name for s in cell(site, "internet", "zFulup").published
    }


def test_a_port_that_an_own_rule_opens_is_named(production: Site) -> None:
    rule = CustomRule(place="before-input", rule="-i eth0 -p tcp -m multiport --dports 9100,9200:9210 -j ACCEPT")
    site = replace(production, custom=(rule,))
    assert cell(site, "internet", "dom0").words == "tcp 22, tcp 563, tcp 9100, tcp 9200-9210, udp 44096"
    assert cell(site, "zFulup", "dom0").words == "tcp 53, udp 53"


def test_an_isolated_zone_gets_nowhere_but_to_its_gateways_dhcp_and_names(production: Site) -> None:
    safe = Zone(number=9, name="zSafe", bridge="xen-br9", gateway="10.10.9.1", network="10.10.9.0/24")
    site = replace(production, zones=(*production.zones, safe))
    assert cell(site, "zSafe", "internet").words == "nothing"
    assert cell(site, "zSafe", "zFulup").published == ()
    assert cell(site, "zSafe", "dom0").words == "tcp 53, udp 53"
