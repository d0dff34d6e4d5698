"""The difference in words, and the open connections it cuts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from firewall import words
from firewall.specs import PING, Cell, Ports, Restriction, Service, Site

NAMES = {"10.10.1.2": "Common", "10.10.1.3": "WEB-Ful", "10.10.2.2": "WEB-Dom"}
TLS = Service(
    name="DomiTLS",
    proto="tcp",
    port_first=443,
    port_last=443,
    external="87.98.130.56",
    nic="eth0",
    target="10.10.2.2",
    target_port=8443,
    zone=2,
)

TO_26 = Ports(proto="tcp", first=25, last=26)


def without(site: Site, name: str) -> Site:
    return replace(site, services=tuple(s for s in site.services if s.name != name))


def sentences(before: Site, after: Site) -> list[str]:
    return [c.sentence for c in words.difference(before, after, names=NAMES)]


def cell(source: str, target: str, *ports: Ports, everything: bool = False) -> Cell:
    return Cell(source=source, target=target, everything=everything, ports=ports)


def test_nothing_differs_from_itself(production: Site) -> None:
    assert words.difference(production, production) == ()
    assert words.counts(()) == "nothing changes"


def test_a_new_service_opens_its_port_and_forgets_its_flows(production: Site) -> None:
    after = replace(production, services=(*production.services, TLS))
    assert sentences(production, after) == ["opens tcp 443 of 87.98.130.56 to WEB-Dom, port 8443"]


def test_a_removed_service_closes_its_port_and_cuts_its_connections(production: Site) -> None:
    after = without(production, "DomiSSH")
    changes = words.difference(production, after, names=NAMES)
    assert [c.sentence for c in changes] == ["closes tcp 22 of 87.98.130.56 to WEB-Dom, port 22"]
    assert "are cut" in changes[0].detail
    assert words.counts(changes) == "1 closes"


def test_another_target_moves_the_port(production: Site) -> None:
    moved = tuple(
        replace(s, target="10.10.1.3", target_port=2525) if s.name == "FulupSMTP" else s for s in production.services
    )
    after = replace(production, services=moved)
    assert sentences(production, after) == [
        "moves tcp 25 of 91.121.65.140 from Common, port 2525 to WEB-Ful, port 2525"
    ]


def test_a_new_name_alone_cuts_nothing(production: Site) -> None:
    renamed = tuple(replace(s, name="Mail") if s.name == "FulupSMTP" else s for s in production.services)
    after = replace(production, services=renamed)
    assert sentences(production, after) == ["tcp 25 of 91.121.65.140 is called Mail instead of FulupSMTP"]


def test_dom0s_own_port_is_closed_on_every_address_of_its_card(production: Site) -> None:
    after = without(production, "DOM0_VPNt")
    assert sentences(production, after) == ["closes tcp 563 of every address of eth0 to dom0"]


def test_a_closed_cell_says_what_closes_and_cuts_it(production: Site) -> None:
    web = Ports(proto="tcp", first=80, last=80)
    kept = tuple(c for c in production.policy if (c.source, c.target) != ("zFulup", "zDominig"))
    gone = replace(production, policy=kept)
    narrowed = replace(production, policy=(*kept, cell("zFulup", "zDominig", web)))
    assert sentences(production, gone) == ["closes everything from zFulup to zDominig"]
    assert sentences(gone, production) == ["opens everything from zFulup to zDominig"]
    assert words.difference(production, narrowed)[0].detail == "only tcp 80 stays open"
    assert sentences(narrowed, gone) == ["closes tcp 80 from zFulup to zDominig"]


def test_a_restriction_closes_when_it_comes_and_opens_when_it_goes(production: Site) -> None:
    rule = Restriction(
        name="NOSMTP", zone=2, direction="out", action="DROP", ports=Ports(proto="tcp", first=25, last=25)
    )
    after = replace(production, restrictions=(rule,))
    assert sentences(production, after) == ["closes tcp 25 out of zDominig"]
    assert sentences(after, production) == ["opens tcp 25 out of zDominig"]


@pytest.mark.parametrize(
    ("now", "there", "back"),
    [
        ({"ports": TO_26}, "closes tcp 25-26 out of zDominig", "opens tcp 25-26 out of zDominig, but for tcp 25"),
        (
            {"address": "10.10.1.0/24"},
            "opens tcp 25 out of zDominig, but for tcp 25 (to 10.10.1.0/24 only)",
            "closes tcp 25 out of zDominig",
        ),
        (
            {"action": "REJECT"},
            "zone restriction NOSMTP of zDominig rejects tcp 25 instead of dropping it",
            "zone restriction NOSMTP of zDominig drops tcp 25 instead of rejecting it",
        ),
    ],
)
def test_a_restriction_that_is_changed_opens_nothing_it_stops_still(
    production: Site, now: dict, there: str, back: str
) -> None:
    ports = Ports(proto="tcp", first=25, last=25)
    rule = Restriction(name="NOSMTP", zone=2, direction="out", action="DROP", ports=ports)
    before, after = (replace(production, restrictions=(each,)) for each in (rule, replace(rule, **now)))
    assert sentences(before, after) == [there]
    assert sentences(after, before) == [back]


def test_a_restriction_that_becomes_another_opens_and_closes(production: Site) -> None:
    rule = Restriction(name="NOSMTP", zone=2, direction="out", action="DROP", ports=TO_26)
    other = replace(rule, ports=Ports(proto="tcp", first=26, last=27))
    before, after = (replace(production, restrictions=(each,)) for each in (rule, other))
    assert sentences(before, after) == ["opens tcp 25-26 out of zDominig", "closes tcp 26-27 out of zDominig"]


def test_what_stays_is_said_too(production: Site) -> None:
    said = words.stays(production, without(production, "DomiSSH"))
    assert said.what == "7 other services, the policy between zones, ssh to dom0 on tcp 22"
    assert "zFulup still reaches zDominig" in said.detail


def test_a_zone_that_comes_or_changes_is_named(production: Site, guru: Site) -> None:
    assert "zone zAdmin comes on xen-br1, isolated from the Internet" in sentences(Site(), guru)
    moved = replace(production, zones=(replace(production.zones[0], gateway="10.10.1.254"), production.zones[1]))
    assert sentences(production, moved) == ["zone zFulup changes its gateway from 10.10.1.1 to 10.10.1.254"]


def test_a_service_of_both_protocols_is_told_once_and_each_protocol_by_itself_where_only_it_changes(
    production: Site,
) -> None:
    both = replace(TLS, name="DNS", proto="both", port_first=53, port_last=53, target_port=53)
    with_both = replace(production, services=(*production.services, both))
    with_tcp = replace(production, services=(*production.services, replace(both, proto="tcp")))
    assert sentences(production, with_both) == ["opens tcp and udp 53 of 87.98.130.56 to WEB-Dom, port 53"]
    assert sentences(with_tcp, with_both) == ["opens udp 53 of 87.98.130.56 to WEB-Dom, port 53"]
    assert sentences(with_both, with_tcp) == ["closes udp 53 of 87.98.130.56 to WEB-Dom, port 53"]
    moved = replace(production, services=(*production.services, replace(both, target="10.10.1.3")))
    assert sentences(with_both, moved) == [
        "moves tcp and udp 53 of 87.98.130.56 from WEB-Dom, port 53 to WEB-Ful, port 53"
    ]


def test_ping_and_both_protocols_in_a_cell_are_told_as_such(production: Site) -> None:
    tcp, both = (Ports(proto=proto, first=53, last=53) for proto in ("tcp", "both"))
    others = tuple(c for c in production.policy if (c.source, c.target) != ("zFulup", "zDominig"))
    site = replace(production, policy=(*others, cell("zFulup", "zDominig", tcp)))
    after = replace(production, policy=(*others, cell("zFulup", "zDominig", both, PING)))
    assert sentences(site, after) == ["opens udp 53 from zFulup to zDominig", "opens ping from zFulup to zDominig"]
    assert sentences(after, site) == ["closes udp 53 from zFulup to zDominig", "closes ping from zFulup to zDominig"]


def test_what_the_admins_ssh_keeps_open_neither_opens_nor_closes(production: Site) -> None:
    ssh = next(s for s in production.services if s.target is None and s.port_first == production.ssh_port)
    without = replace(production, services=tuple(s for s in production.services if s != ssh))
    gone, come = words.difference(production, without), words.difference(without, production)
    assert [(c.kind, c.rest) for c in (*gone, *come)] == [
        ("changes", f"is no longer service {ssh.name}"),
        ("changes", f"becomes service {ssh.name}"),
    ]
    assert "always open" in gone[0].detail


def test_what_comes_for_the_first_time_does_not_move(production: Site) -> None:
    before, other = replace(production, vpn=None, panel_port=None), replace(production, panel_port=8443)
    assert "the panel's port on the admin VPN comes: 8000" in sentences(before, production)
    assert "the admin VPN's interface comes: tun0" in sentences(before, production)
    assert "the panel's port on the admin VPN goes: 8000 no more" in sentences(production, before)
    assert sentences(production, other) == ["the panel's port on the admin VPN moves from 8000 to 8443"]


def test_what_changes_of_a_zone_is_told_in_a_sentence(production: Site) -> None:
    zone = production.zones[0]
    moved = replace(zone, external=None, gateway="10.10.1.254")
    after = replace(production, zones=(moved, *production.zones[1:]))
    told = f"its gateway from {zone.gateway} to 10.10.1.254; its external address from {zone.external} to none"
    assert sentences(production, after) == [f"zone {zone.name} changes {told}"]
