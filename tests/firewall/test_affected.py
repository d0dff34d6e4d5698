"""Whom a change touches, and what to try while it is on trial."""

from __future__ import annotations

from dataclasses import replace

from firewall.affected import Touched, touched
from firewall.specs import Cell, Ports, Restriction, Service, Site
from firewall.tryouts import tryouts

NAMES = {"10.10.3.2": "WEB-Dom", "10.10.3.3": "Brendan"}


def web(site: Site, **changes) -> Service:
    zone = next(z for z in site.zones if z.name == "zDominig")
    return replace(
        Service(
            name="DomiTLS", proto="tcp", port_first=443, port_last=443, external=zone.external,
            target=zone.gateway[:-1] + "2", target_port=8443, zone=zone.number,
        ),
        **changes,
    )  # fmt: skip


def test_a_service_touches_its_target_and_a_move_touches_both(production) -> None:
    names = {web(production).target: "WEB-Dom", web(production).target[:-1] + "3": "Brendan"}
    there = replace(production, services=(*production.services, web(production)))
    moved = replace(
        production, services=(*production.services, web(production, target=web(production).target[:-1] + "3"))
    )
    says = (f"reachable from the Internet on tcp 443 of {web(production).external}",)
    assert touched(production, there, names) == (Touched(name="WEB-Dom", zone="zDominig", gains=says),)
    assert touched(there, moved, names) == (
        Touched(name="Brendan", zone="zDominig", gains=says),
        Touched(name="WEB-Dom", zone="zDominig", loses=says),
    )
    assert touched(there, there, names) == ()


def test_a_cell_touches_its_target_and_of_the_internet_its_source(production) -> None:
    site = replace(production, policy=())
    cells = (
        Cell(source="zFulup", target="zDominig", ports=(Ports(proto="tcp", first=80, last=80),)),
        Cell(source="zFulup", target="internet", everything=True),
    )
    found = touched(site, replace(site, policy=cells), {})
    assert found == (
        Touched(name="zDominig", gains=("reachable from zFulup on tcp 80",)),
        Touched(name="zFulup", gains=("opening everything to the Internet",)),
    )


def test_a_restriction_takes_away_and_gives_back_when_it_goes(production) -> None:
    site = replace(production, restrictions=())
    zone = site.zones[0]
    narrowed = replace(
        site,
        restrictions=(
            Restriction(
                name="NOSMTP", zone=zone.number, direction="out", action="DROP",
                ports=Ports(proto="tcp", first=25, last=25),
            ),
        ),
    )  # fmt: skip
    assert touched(site, narrowed, {}) == (Touched(name=zone.name, loses=("sending tcp 25",)),)
    assert touched(narrowed, site, {}) == (Touched(name=zone.name, gains=("sending tcp 25",)),)


def test_a_restriction_that_stops_less_gives_back_but_for_what_it_stops_still(production) -> None:
    rule = Restriction(
        name="NOSMTP", zone=production.zones[0].number, direction="out", action="DROP",
        ports=Ports(proto="tcp", first=25, last=25),
    )  # fmt: skip
    more = replace(rule, ports=Ports(proto="tcp", first=25, last=26))
    one, two, mute = (
        replace(production, restrictions=(each,)) for each in (rule, more, replace(rule, action="REJECT"))
    )
    zone = production.zones[0].name
    assert touched(one, two, {}) == (Touched(name=zone, loses=("sending tcp 25-26",)),)
    assert touched(two, one, {}) == (Touched(name=zone, gains=("sending tcp 25-26, but for tcp 25",)),)
    assert touched(one, mute, {}) == ()


def test_what_to_try_begins_with_the_way_in_and_names_what_opened_and_closed(production) -> None:
    there = replace(production, services=(*production.services, web(production)))
    ssh, opened = tryouts(production, there, "fulup")
    assert ssh.command.startswith("ssh ")
    assert ssh.command.endswith("fulup@" + next(a.ip for a in production.addresses))
    assert opened.command == f"curl -I https://{web(production).external}/"
    assert tryouts(there, production, "fulup")[1].says == f"No answer any more: tcp 443 of {web(production).external}"
    udp = replace(production, services=(web(production, proto="udp", port_first=5060, port_last=5060),))
    assert tryouts(replace(production, services=()), udp, "f")[1].command.startswith("nc -vzu -w 3 ")
