"""What does not fit together is said before anything is compiled."""

from __future__ import annotations

from dataclasses import replace

import pytest

from firewall import lint
from firewall.specs import Cell, CustomRule, Ports, Service, Site
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
    assert [p.about for p in lint.problems(production)] == ["service DomiSMTP"]


def test_it_refuses_a_port_published_twice_and_names_a_free_one() -> None:
    said = blocked(with_service(port_first=80, port_last=80))
    assert "tcp 80 of 87.98.130.56 already leads to 10.10.2.2 (DomiWEB). Free: 8000." in said


def test_it_refuses_overlapping_ranges() -> None:
    assert "already leads" in blocked(with_service(port_first=20, port_last=30))


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
        ({"name": "DomiWEB"}, "Two services are called DomiWEB"),
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
    assert "br7 doesn't begin with xen-br" in said
    assert "overlaps 10.10.1.0/24 of zFulup" in said


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
