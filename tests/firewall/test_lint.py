"""What does not fit together is said before anything is compiled."""

from __future__ import annotations

from dataclasses import replace

import pytest

from firewall import lint, lint_site
from firewall.specs import PING, Address, Cell, CustomRule, Ports, Restriction, Service, Site, Vpn
from tests.firewall.conftest import site_of

WEB = Service(
    name="New",
    proto="tcp",
    port_first=8443,
    port_last=8443,
    external="87.98.130.56",
    nic="eth0",
    target="10.10.2.2",
    target_port=8443,
    zone=2,
)


def blocked(site: Site) -> str:
    return "\n".join(p.sentence for p in lint.blocking(site))


def with_service(**changes: object) -> Site:
    base = site_of("production")
    return replace(base, services=(*base.services, replace(WEB, **changes)))


def with_cell(source: str, target: str, *ports: Ports, everything: bool = False) -> Site:
    base = site_of("production")
    return replace(base, policy=(*base.policy, Cell(source=source, target=target, everything=everything, ports=ports)))


@pytest.mark.parametrize("name", ["simple", "production", "guru"])
def test_nothing_stops_a_sample_once_read(name: str) -> None:
    assert lint.blocking(site_of(name)) == ()


def test_a_machine_shared_by_two_zones_is_said_but_does_not_stop(production: Site) -> None:
    assert [p.about for p in lint.problems(production)] == ["service DomiSMTP", "service DOM0_SSH"]


def test_a_port_of_dom0_that_a_machine_took_on_one_address_is_said_with_where_it_is_left(production: Site) -> None:
    said = next(p for p in lint.problems(production) if p.about == "service DOM0_SSH")
    assert (
        said.sentence
        == "tcp 22 of 87.98.130.56 leads to 10.10.2.2 (DomiSSH), so DOM0_SSH is dom0's on 91.121.65.140 only."
    )


def test_it_refuses_a_port_published_twice_and_names_a_free_one() -> None:
    said = blocked(with_service(port_first=80, port_last=80))
    assert "tcp 80 of 87.98.130.56 already leads to 10.10.2.2 (DomiWEB). Free: 8000." in said


def test_it_refuses_overlapping_ranges() -> None:
    assert "already leads" in blocked(with_service(port_first=20, port_last=30))


@pytest.mark.parametrize(
    ("mine", "other", "clash"),
    [
        ("both", "tcp", True),
        ("tcp", "both", True),
        ("both", "both", True),
        ("udp", "both", True),
        ("tcp", "udp", False),
    ],
)
def test_a_service_of_both_protocols_is_in_the_way_of_either(mine: str, other: str, clash: bool) -> None:
    base = site_of("production")
    there = replace(WEB, name="There", proto=other, port_first=7000, port_last=7010, target_port=7000)
    here = replace(WEB, name="Here", proto=mine, port_first=7010, port_last=7012, target_port=7010)
    said = blocked(replace(base, services=(*base.services, there, here)))
    # The whole range is free where it is offered.
    assert said == (f"{there.where} already leads to 10.10.2.2 (There). Free: 7011-7013." if clash else "")
    assert (lint.conflict(here, (*base.services, there)) != "") is clash


def test_a_port_inside_a_wide_range_that_began_long_before_is_found() -> None:
    base = site_of("production")
    wide = replace(WEB, name="Wide", port_first=20_000, port_last=30_000, target_port=20_000)
    short = replace(WEB, name="Short", port_first=20_500, port_last=20_501, target_port=20_500)
    late = replace(WEB, name="Late", port_first=29_000, port_last=29_000, target_port=29_000)
    found = lint.blocking(replace(base, services=(*base.services, wide, short, late)))
    assert [p.about for p in found] == ["service Short", "service Late"]
    # Of two the later wish is told, whichever comes first by port.
    found = lint.blocking(replace(base, services=(*base.services, short, wide)))
    assert [p.about for p in found] == ["service Wide"]


def test_five_thousand_services_are_judged() -> None:
    """How long it takes: bench.bench_compile."""
    base = site_of("production")
    many = tuple(replace(WEB, name=f"S{p}", port_first=p, port_last=p, target_port=p) for p in range(10_000, 15_000))
    assert lint.blocking(replace(base, services=(*base.services, *many))) == ()
    clashing = tuple(replace(s, name=f"T{s.name}", port_last=s.port_last + 3) for s in many)
    assert len(lint.blocking(replace(base, services=(*many, *clashing)))) >= 5000


def test_it_takes_the_same_port_of_the_other_protocol_and_of_the_other_address() -> None:
    assert not blocked(with_service(proto="udp", port_first=80, port_last=80))
    assert not blocked(with_service(port_first=443, port_last=443))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"port_first": 0, "port_last": 0}, "is no port"),
        ({"port_first": 70000, "port_last": 70000}, "is no port"),
        ({"port_first": 90, "port_last": 80}, "is no port"),
        ({"port_last": 9000, "target_port": 65500}, "above port 65535"),
        ({"target": "10.10.12.5"}, "in no zone"),
        ({"external": "192.0.2.1"}, "no external address of this host"),
        ({"name": "two words"}, "begins with a letter"),
        ({"name": "DomiWEB"}, "Two services are called DomiWEB; give one of them another name, such as DomiWEB2."),
        ({"proto": "icmp", "port_first": 0, "port_last": 0}, "ping has no port to publish"),
        ({"target_port": 0}, "is no port"),
        ({"external": None, "nic": None}, "needs the external address it is published on, such as 91.121.65.140"),
        ({"target": "10.10.2.1"}, "dom0's own address in zDominig"),
        ({"target": "10.10.2.999"}, "in no zone"),
    ],
)
def test_it_refuses_a_service_that_cannot_work(changes: dict[str, object], sentence: str) -> None:
    assert sentence in blocked(with_service(**changes))


def test_it_refuses_a_target_in_an_isolated_zone() -> None:
    base = site_of("guru")
    service = replace(WEB, target="10.10.1.5", zone=3)
    assert "isolated from the Internet" in blocked(replace(base, services=(*base.services, service)))


def test_the_admins_ssh_cannot_be_published_away_on_every_address() -> None:
    assert "dom0's own ssh nowhere" in blocked(
        with_service(name="Take", external="91.121.65.140", port_first=22, port_last=22)
    )


def test_nor_by_a_range_nor_by_a_service_of_both_protocols() -> None:
    wide = {"name": "Take", "external": "91.121.65.140", "port_first": 20, "port_last": 24, "target_port": 20}
    assert "dom0's own ssh nowhere" in blocked(with_service(**wide))
    assert "dom0's own ssh nowhere" in blocked(with_service(**{**wide, "proto": "both"}))
    assert "ssh nowhere" not in blocked(with_service(**{**wide, "proto": "udp"}))


def test_a_port_of_dom0_that_machines_took_on_every_address_stops() -> None:
    base = site_of("production")
    takers = [
        replace(WEB, name=f"T{n}", external=a.ip, port_first=563, port_last=563) for n, a in enumerate(base.addresses)
    ]
    one = replace(base, services=(*base.services, takers[0]))
    assert "DOM0_VPNt" not in blocked(one)
    assert "DOM0_VPNt is nowhere dom0's" in blocked(replace(one, services=(*one.services, takers[1])))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"ssh_port": 0}, "0 is no port"),
        ({"panel_port": 70000}, "70000 is no port"),
        ({"panel_port": 22}, "ssh and the panel can't both have tcp 22"),
        ({"vpn": Vpn(interface="tun0", network="10.10.95.1/24")}, "10.10.95.1/24 is no network"),
        ({"vpn": Vpn(interface="eth0", network="10.10.95.0/24")}, "can't be the admin VPN and a card"),
        ({"vpn": Vpn(interface="eth+", network="10.10.95.0/24")}, "can't be the admin VPN and a card"),
        ({"vpn": Vpn(interface="xen-br9", network="10.10.95.0/24")}, "would be taken for a zone"),
        ({"cards": ("eth0", "xen-br0eth")}, "xen-br0eth begins with xen-br"),
        ({"vpn": Vpn(interface="tun0", network="91.121.65.0/24")}, "91.121.65.140 is in the admin VPN"),
    ],
)
def test_the_admins_ways_in_cannot_be_lost_to_a_wrong_host_file(
    production: Site, changes: dict[str, object], sentence: str
) -> None:
    assert sentence in blocked(replace(production, **changes))


def test_a_host_of_which_no_card_is_known_gets_no_rules() -> None:
    assert "shut everybody out" in blocked(Site())
    assert not blocked(Site(cards=("eth0",)))
    assert not blocked(Site(vpn=Vpn(interface="tun0")))


SSH = Ports(proto="tcp", first=20, last=30)
PANEL = Ports(proto="tcp", first=8000, last=8000)


@pytest.mark.parametrize(
    ("site", "sentence"),
    [
        (with_cell("internet", "zFulup", everything=True), "published services only"),
        (with_cell("internet", "dom0", everything=True), "never allowed"),
        (with_cell("zFulup", "dom0", everything=True), "never reaches everything on dom0"),
        (with_cell("zFulup", "dom0", SSH), "out of any machine's reach"),
        (with_cell("zFulup", "dom0", PANEL), "out of any machine's reach"),
        (with_cell("zFulup", "zGone", everything=True), "There is no zGone"),
        (with_cell("zFulup", "zFulup", everything=True), "talk freely"),
        (with_cell("zFulup", "dom0", Ports(proto="both", first=22, last=22)), "out of any machine's reach"),
        (with_cell("internet", "vpn", PANEL), "published services only"),
        (with_cell("zFulup", "vpn", Ports(proto="tcp", first=0, last=0)), "0 is no port"),
        (with_cell("zFulup", "vpn", Ports(proto="udp", first=70000, last=70000)), "70000 is no port"),
    ],
)
def test_it_refuses_a_cell_that_would_open_what_stays_closed(site: Site, sentence: str) -> None:
    assert sentence in blocked(site)


def test_it_refuses_the_internet_for_an_isolated_zone() -> None:
    base = site_of("guru")
    cell = Cell(source="zAdmin", target="internet", everything=True)
    assert "no external address to leave with" in blocked(replace(base, policy=(*base.policy, cell)))


def test_it_refuses_a_bridge_without_the_hosts_prefix_and_overlapping_subnets(production: Site) -> None:
    zones = (production.zones[0], replace(production.zones[1], bridge="br7", network="10.10.0.0/16"))
    said = blocked(replace(production, zones=zones, services=(), policy=()))
    assert (
        "br7 doesn't begin with xen-br, the prefix of this host's bridges, so no rule would hold there. "
        "xen-br2 would do." in said
    )
    assert "overlaps 10.10.1.0/24 of zFulup" in said


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": "dom0"}, "already means something else here. zDom0 would do."),
        ({"name": "zFulup"}, "Two zones are called zFulup; give one of them another name, such as zFulup2."),
        ({"bridge": "xen-br1"}, "xen-br1 is the bridge of zFulup; each zone has its own. xen-br2 would do."),
        ({"bridge": "xen-brzDominig12"}, "at most 15. xen-br2 would do."),
        ({"bridge": "xen br2"}, "can't be a bridge's name"),
        ({"network": "10.10.1.128/25", "gateway": "10.10.1.129"}, "overlaps 10.10.1.0/24 of zFulup; each zone needs"),
        ({"network": "10.10.95.0/25", "gateway": "10.10.95.1"}, "overlaps 10.10.95.0/24 of the admin VPN"),
        ({"network": "127.0.1.0/24", "gateway": "127.0.1.1"}, "of dom0 itself"),
        ({"network": "91.121.65.0/24", "gateway": "91.121.65.1"}, "holds 91.121.65.140, dom0's own address on eth0"),
        ({"network": "10.10.2.5/24"}, "is no subnet"),
        ({"network": "10.10.300.0/24"}, "is no subnet"),
        ({"gateway": "10.10.7.1"}, "10.10.7.1 is not in 10.10.2.0/24. 10.10.2.1 would do."),
        (
            {"external": "192.0.2.7"},
            "192.0.2.7 is no external address of this host. It has 91.121.65.140, 87.98.130.56.",
        ),
        ({"nic": "eth1"}, "87.98.130.56 is on eth0, not on eth1"),
    ],
)
def test_it_refuses_a_zone_that_does_not_fit_and_names_what_would(
    production: Site, changes: dict[str, object], sentence: str
) -> None:
    zones = (production.zones[0], replace(production.zones[1], **changes))
    assert sentence in blocked(replace(production, zones=zones))


def test_the_free_subnet_it_names_is_free(production: Site) -> None:
    zones = (production.zones[0], replace(production.zones[1], network="10.10.1.0/24", gateway="10.10.1.1"))
    clash = replace(production, zones=zones, services=(), policy=())
    said = blocked(clash)
    free = said.rpartition("Free: ")[2].removesuffix(".")
    assert free == "10.10.2.0/24"
    mended = replace(zones[1], network=free, gateway="10.10.2.1")
    assert not blocked(replace(clash, zones=(zones[0], mended)))


def test_a_card_the_host_does_not_have_is_said_with_those_it_has(production: Site) -> None:
    there = replace(production, cards=("eth0", "eth1"))
    assert not blocked(there)
    elsewhere = (*there.addresses, Address(ip="203.0.113.9", nic="eth7"))
    assert "This host has no card eth7. It has eth0, eth1." in blocked(replace(there, addresses=elsewhere))
    own = Service(name="OWN", proto="tcp", port_first=99, port_last=99, nic="eth7")
    assert "This host has no card eth7" in blocked(replace(there, services=(*there.services, own)))
    assert lint_site.nic_problem(there, "eth1") == ""


def test_an_address_stands_there_once(production: Site) -> None:
    twice = replace(production, addresses=(*production.addresses, production.addresses[0]))
    assert "stands here twice" in blocked(twice)
    assert "is no address" in blocked(replace(production, addresses=(Address(ip="nonsense", nic="eth0"),)))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"ports": Ports(proto="tcp", first=0, last=0)}, "0 is no port"),
        ({"ports": Ports(proto="tcp", first=1, last=70000)}, "1-70000 is no port"),
        ({"ports": Ports(proto="tcp", first=30, last=20)}, "write the lower one first, 20-30"),
        ({"ports": PING}, "ping has no port"),
        ({"zone": 9}, "for a zone that isn't there. Zones: zFulup, zDominig."),
        ({"name": "two words"}, "begins with a letter"),
        ({"address": "10.10.3.4/24"}, "is no address or network"),
    ],
)
def test_it_refuses_a_restriction_that_cannot_hold(production: Site, changes: dict[str, object], sentence: str) -> None:
    good = Restriction(name="R", zone=2, direction="out", action="DROP", ports=Ports(proto="both", first=25, last=25))
    assert not blocked(replace(production, restrictions=(good,)))
    assert sentence in blocked(replace(production, restrictions=(replace(good, **changes),)))
    assert "Two restrictions are called R" in blocked(replace(production, restrictions=(good, good)))


def test_a_restriction_from_an_address_nobody_comes_with_is_said(production: Site) -> None:
    ports = Ports(proto="tcp", first=25, last=25)
    never = Restriction(name="R", zone=1, direction="in", action="DROP", ports=ports, address="87.98.130.56")
    site = replace(production, restrictions=(never,))
    assert not blocked(site)
    assert any("Nobody comes from 87.98.130.56" in p.sentence for p in lint.problems(site))


def test_the_panel_opened_to_the_internet_is_said(production: Site) -> None:
    site = with_cell("internet", "dom0", PANEL, PING)
    assert not blocked(site)
    assert any("opens the panel to the whole Internet" in p.sentence for p in lint.problems(site))


@pytest.mark.parametrize(
    "rule",
    [
        "",
        "-t nat -j ACCEPT",
        "-A INPUT -j ACCEPT",
        "--append INPUT -j ACCEPT",
        "-i eth0\n-j ACCEPT",
        "-i eth0 -j ACCEPT\nCOMMIT",
        "-m comment --comment 'x y' -j ACCEPT",
        "-i eth0",
        "-i eth0 -j fr-admin",
    ],
)
def test_it_refuses_a_custom_rule_that_is_more_than_a_rule(rule: str) -> None:
    assert list(lint.custom_problems(CustomRule(place="before-input", rule=rule)))


def test_it_takes_an_ordinary_custom_rule() -> None:
    rule = CustomRule(place="after-input", rule="-i eth0 -p tcp --dport 9100 -s 198.51.100.7 -j ACCEPT")
    assert not list(lint.custom_problems(rule))


def test_a_free_port_is_free_for_the_whole_range(production: Site) -> None:
    service = replace(WEB, port_first=22, port_last=24)
    assert lint.free_port(service, [s for s in production.services if s.external == WEB.external]) == 8000
