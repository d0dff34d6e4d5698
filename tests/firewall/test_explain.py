"""Can X reach Y, and which object decides."""

from __future__ import annotations

from dataclasses import replace

import pytest

from firewall.explain import Answer, Explainer, Question
from firewall.specs import INTERNET, VPN, Cell, CustomRule, Ports, Restriction, Site, Zone

ONE, TWO = "91.121.65.140", "87.98.130.56"
COMMON, WEB = "10.10.1.2", "10.10.2.2"
SAFE = Zone(number=9, name="zSafe", bridge="xen-br9", gateway="10.10.9.1", network="10.10.9.0/24")


def port(proto: str, first: int, last: int = 0) -> Ports:
    return Ports(proto="udp" if proto == "udp" else "tcp", first=first, last=last or first)


def ask(site: Site, source: str, target: str, what: str) -> Answer:
    proto, _, number = what.partition(" ")
    explainer = Explainer(site, {COMMON: "Common", WEB: "WEB-Dom"}, vpn_address="10.10.95.38")
    return explainer.ask(Question(source=source, target=target, proto=proto, port=int(number or 0)))


def decided_by(answer: Answer) -> tuple[bool | None, str, str]:
    """Whether it gets through, and the kind and name of the object named last."""
    return answer.reaches, answer.reasons[-1].kind, answer.reasons[-1].name


def test_a_published_port_is_explained_by_its_service(production: Site) -> None:
    answer = ask(production, INTERNET, TWO, "tcp 80")
    assert decided_by(answer) == (True, "service", "DomiWEB")
    assert answer.arrives == (WEB, 8080)
    assert (
        answer.sentence == "tcp 80 of 87.98.130.56 is published as DomiWEB: it goes to WEB-Dom (10.10.2.2), port 8080."
    )


def test_a_port_nobody_publishes_is_closed(production: Site) -> None:
    answer = ask(production, INTERNET, TWO, "tcp 81")
    assert answer.reaches is False
    assert "Nothing is published on tcp 81 of 87.98.130.56" in answer.sentence


def test_a_private_address_is_closed_to_the_internet_before_anything_else(production: Site) -> None:
    answer = ask(production, INTERNET, COMMON, "tcp 2525")
    assert answer.reaches is False
    assert answer.rules[0].chain == "fr-antispoof"


@pytest.mark.parametrize("source", [INTERNET, VPN])
def test_the_admins_ssh_is_open_from_outside(production: Site, source: str) -> None:
    assert decided_by(ask(production, source, ONE, "tcp 22")) == (True, "layout", "admin-ssh")


def test_the_panel_is_open_from_the_vpn_only(production: Site) -> None:
    assert ask(production, VPN, "10.10.95.38", "tcp 8000").reaches is True
    assert ask(production, COMMON, "10.10.95.38", "tcp 8000").reaches is False


def test_a_cell_of_the_policy_decides_between_zones(production: Site) -> None:
    assert decided_by(ask(production, COMMON, WEB, "tcp 5432")) == (True, "policy", "policy zFulup → zDominig")
    closed = replace(production, policy=tuple(c for c in production.policy if c.source != "zFulup"))
    answer = ask(closed, COMMON, WEB, "tcp 5432")
    assert decided_by(answer) == (False, "policy", "policy zFulup → zDominig")
    assert answer.sentence == "The policy does not let zFulup open tcp 5432 to zDominig."


def test_a_machine_leaves_with_its_zones_address(production: Site) -> None:
    answer = ask(production, WEB, "203.0.113.5", "tcp 443")
    assert (answer.reaches, answer.as_source) == (True, TWO)


def test_a_restriction_is_named_on_the_port_and_on_the_neighbours_published_one(production: Site) -> None:
    mail = Restriction(name="NoMail", zone=2, direction="out", action="DROP", ports=port("tcp", 25))
    site = replace(production, restrictions=(mail,))
    assert decided_by(ask(site, WEB, "203.0.113.5", "tcp 25")) == (False, "restriction", "NoMail")
    assert decided_by(ask(site, WEB, ONE, "tcp 25")) == (False, "restriction", "NoMail")
    assert ask(site, COMMON, "203.0.113.5", "tcp 25").reaches is True


def test_an_isolated_zone_has_no_way_out_not_even_through_a_neighbours_port(production: Site) -> None:
    site = replace(production, zones=(*production.zones, SAFE))
    for target, what in (("203.0.113.5", "udp 53"), (TWO, "tcp 80")):
        assert decided_by(ask(site, "10.10.9.5", target, what)) == (False, "zone", "zSafe")
    assert ask(site, "10.10.9.5", "10.10.9.1", "udp 53").reaches is True


def test_machines_of_one_zone_need_no_rule(production: Site) -> None:
    assert decided_by(ask(production, COMMON, "10.10.1.3", "tcp 1")) == (True, "zone", "zFulup")


def test_hairpin_is_explained_by_the_service_and_seen_from_the_gateway(production: Site) -> None:
    answer = ask(production, WEB, TWO, "tcp 80")
    assert (answer.reaches, answer.arrives, answer.as_source) == (True, (WEB, 8080), "10.10.2.1")


def test_an_own_rule_is_quoted(production: Site) -> None:
    rule = CustomRule(place="before-forwarding", rule="-s 10.10.1.0/24 -p tcp -m tcp --dport 7 -j DROP", reason="noise")
    site = replace(production, custom=(rule,))
    answer = ask(site, COMMON, WEB, "tcp 7")
    assert decided_by(answer) == (False, "custom", rule.rule)
    assert "before-forwarding" in answer.sentence


def test_an_own_rule_nobody_can_judge_makes_the_answer_open(production: Site) -> None:
    rule = CustomRule(place="before-forwarding", rule="-m length --length 1000:1500 -j DROP", reason="odd")
    answer = ask(replace(production, custom=(rule,)), COMMON, WEB, "tcp 80")
    assert answer.reaches is None
    assert "Only a probe tells" in answer.sentence


def test_a_shifted_range_is_followed_to_the_very_port(production: Site) -> None:
    first = production.services[0]
    wide = replace(
        next(s for s in production.services if s.target), name="Wide", port_first=5000, port_last=5010, target_port=6000
    )
    site = replace(production, services=(first, wide))
    answer = ask(site, INTERNET, wide.external or "", f"{wide.proto} 5007")
    assert answer.arrives == (wide.target, 6007)


def test_ping_is_a_question_too(production: Site) -> None:
    assert ask(production, COMMON, "10.10.1.1", "icmp").reaches is True
    assert ask(production, INTERNET, ONE, "icmp").reaches is True


def test_who_is_nowhere_is_a_sentence(production: Site) -> None:
    with pytest.raises(ValueError, match=r"10\.99\.0\.1 is in no zone"):
        ask(production, "10.99.0.1", ONE, "tcp 80")


def test_a_cell_of_single_ports_opens_only_them(production: Site) -> None:
    cell = Cell(source="zFulup", target="zDominig", ports=(port("udp", 514, 520),))
    site = replace(production, policy=(cell,))
    assert ask(site, COMMON, WEB, "udp 517").reaches is True
    assert ask(site, COMMON, WEB, "tcp 517").reaches is False
