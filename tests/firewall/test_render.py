"""The rendered files: golden for the samples, and the properties every site's files must have."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dom0 import chains
from firewall import render, rules
from firewall.specs import Cell, Ports, Restriction, Service, Site, as_dict, from_dict
from tests.firewall.conftest import check_golden, site_of

FOREIGN = """\
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [12:900]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
-A FORWARD -j DOCKER
-A DOCKER -s 172.17.0.0/16 -j ACCEPT
COMMIT
"""


@pytest.mark.parametrize("name", ["simple", "production", "guru"])
def test_the_samples_render_to_their_golden_files(name: str) -> None:
    for file, text in render.files(site_of(name)).by_name.items():
        check_golden(f"{name}/{file}", text)


def test_the_same_site_gives_the_same_bytes_whatever_order_its_services_came_in(production: Site) -> None:
    shuffled = replace(production, services=production.services[::-1])
    assert render.files(shuffled) == render.files(production)


def test_a_site_survives_json(production: Site) -> None:
    import json

    assert from_dict(json.loads(json.dumps(as_dict(production)))) == production


def test_the_tables_come_in_the_order_in_which_a_failure_can_only_close(production: Site) -> None:
    tables = [line for line in render.v4(production).splitlines() if line.startswith("*")]
    assert tables == ["*raw", "*mangle", "*filter", "*nat"] == [f"*{name}" for name in chains.TABLES]


def test_policy_names_the_membership_sets_and_never_fills_or_flushes_them(production: Site) -> None:
    files = render.files(production)
    assert "add fr-" not in files.sets
    assert "flush set" not in files.bridge
    assert "add element" not in files.bridge
    assert "--match-set fr-znet src,src" in files.v4


def test_the_admins_ways_stand_before_the_operators_own_rules(production: Site) -> None:
    lines = render.v4(production).splitlines()
    assert lines.index("-A fr-in -j fr-admin") < lines.index("-A fr-in -j fr-before-input")
    admin = [line for line in lines if line.startswith("-A fr-admin")]
    assert [line.split()[3] for line in admin] == ["eth0", "tun0", "tun0"]
    assert "--dport 8000" in admin[2]


def test_an_isolated_zone_gets_no_way_out_and_no_published_way_in(guru: Site) -> None:
    lines = render.v4(guru).splitlines()
    assert "-A fr-zo-1 -m conntrack --ctstate DNAT -j DROP" in lines
    assert "-A fr-zo-1 -o eth0 -j DROP" in lines
    assert "-A fr-zi-1 -m conntrack --ctstate DNAT -j ACCEPT" not in lines
    assert not [line for line in lines if line.startswith("-A fr-snat -s 10.10.1.0/24")]


def test_a_restriction_also_matches_the_port_a_packet_was_sent_to(guru: Site) -> None:
    lines = [line for line in render.v4(guru).splitlines() if "BR3_NOSMPT" in line]
    assert lines == [
        "-A fr-ro-3 -p tcp -m tcp --dport 25 -m comment --comment BR3_NOSMPT -j DROP",
        "-A fr-ro-3 -p tcp -m conntrack --ctorigdstport 25 -m comment --comment BR3_NOSMPT -j DROP",
    ]


@pytest.mark.parametrize(
    ("first", "last", "inner", "target"),
    [
        (80, 80, 8080, "10.10.1.3:8080"),
        (80, 80, 80, "10.10.1.3:80"),
        (5000, 5010, 5000, "10.10.1.3"),
        (5000, 5010, 7000, "10.10.1.3:7000-7010/5000"),
    ],
)
def test_a_range_of_ports_keeps_its_order_at_the_target(first: int, last: int, inner: int, target: str) -> None:
    service = Service(
        name="S",
        proto="udp",
        port_first=first,
        port_last=last,
        external="91.121.65.140",
        target="10.10.1.3",
        target_port=inner,
        zone=1,
    )
    text = render.v4(replace(site_of("production"), services=(service,)))
    assert f"-j DNAT --to-destination {target}\n" in text


def test_above_three_hundred_services_an_address_gets_buckets_of_64_ports() -> None:
    base = site_of("production")
    many = tuple(
        Service(
            name=f"S{port}",
            proto="tcp",
            port_first=port,
            port_last=port,
            external="91.121.65.140",
            target="10.10.1.3",
            target_port=8080,
            zone=1,
        )
        for port in range(10_000, 10_000 + rules.BUCKET_ABOVE + 1)
    )
    wide = replace(many[0], name="WIDE", port_first=20_000, port_last=20_200)
    very_wide = replace(many[0], name="VERYWIDE", port_first=30_000, port_last=31_000)
    nat = rules.tables(replace(base, services=(*many, wide, very_wide)))[-1]
    top = [r for r in nat.rules if r.chain == "fr-dn-91.121.65.140"]
    touched = {port // 64 for port in (*range(10_000, 10_000 + rules.BUCKET_ABOVE + 1), *range(20_000, 20_201))}
    # The very wide one stands before the buckets; the other is in each bucket it touches.
    assert len(top) == 1 + len(touched)
    assert "VERYWIDE" in top[0].args
    assert sum(" WIDE " in r.args for r in nat.rules) == len({port // 64 for port in range(20_000, 20_201)})
    assert sum("-j DNAT" in r.args for r in nat.rules if "WIDE" not in r.args) == len(many)
    assert all(len(name) <= 28 for table in rules.tables(base) for name in table.chains)
    assert len("fr-dn-255.255.255.255-t1023") <= 28


def test_a_zone_reaches_only_single_ports_of_dom0(production: Site) -> None:
    syslog = Cell(source="zFulup", target="dom0", ports=(Ports(proto="udp", first=514, last=514),))
    text = render.v4(replace(production, policy=(*production.policy, syslog)))
    zin = [line for line in text.splitlines() if line.startswith("-A fr-zin")]
    assert "-A fr-zin -i xen-br1 -p udp -m udp --dport 514 -j ACCEPT" in zin
    assert zin[-1] == "-A fr-zin -j DROP"


def test_an_accepting_restriction_exempts_but_opens_nothing(production: Site) -> None:
    rule = Restriction(
        name="BUT",
        zone=1,
        direction="out",
        action="ACCEPT",
        ports=Ports(proto="tcp", first=25, last=25),
        address="10.10.2.2",
    )
    text = render.v4(replace(production, restrictions=(rule,)))
    sent = "-p tcp -m conntrack --ctorigdstport 25"
    assert f"-A fr-ro-1 -d 10.10.2.2/32 {sent} -m comment --comment BUT -j RETURN" in text
    # Not by the port it arrives at: a neighbour's published port would be a way round what is restricted below.
    assert "--dport 25 -m comment --comment BUT" not in text


def test_our_jumps_go_in_front_once_and_foreign_chains_are_left_alone(production: Site) -> None:
    spliced = chains.splice(render.v4(production), FOREIGN)
    assert "-I FORWARD -j fr-fwd" in spliced
    assert "DOCKER" not in spliced
    placed = FOREIGN.replace("-A FORWARD -j DOCKER", "-A FORWARD -j fr-fwd\n-A FORWARD -j DOCKER")
    assert "-I FORWARD" not in chains.splice(render.v4(production), placed)


def test_a_jump_that_slid_behind_a_foreign_rule_is_put_in_front_again(production: Site) -> None:
    slid = FOREIGN.replace("-A FORWARD -j DOCKER", "-A FORWARD -j DOCKER\n-A FORWARD -j fr-fwd")
    spliced = chains.splice(render.v4(production), slid).splitlines()
    at = spliced.index("-I FORWARD -j fr-fwd")
    assert spliced[at - 1] == "-D FORWARD -j fr-fwd"
    assert chains.ours(slid) != chains.ours(placed_in_front(slid))


def placed_in_front(save: str) -> str:
    return save.replace("-A FORWARD -j DOCKER\n-A FORWARD -j fr-fwd", "-A FORWARD -j fr-fwd\n-A FORWARD -j DOCKER")


def test_chains_that_are_no_longer_wanted_are_thrown_out(production: Site) -> None:
    fewer = replace(production, services=production.services[:5])
    spliced = chains.splice(render.v4(fewer), render.v4(production))
    assert "-X fr-dn-87.98.130.56" in spliced
    assert spliced.index(":fr-dn-87.98.130.56 - [0:0]") < spliced.index("-X fr-dn-87.98.130.56")
    assert chains.wanted(render.v4(fewer)) != chains.wanted(render.v4(production))


def test_the_commands_to_type_name_every_chain_rule_and_jump(production: Site) -> None:
    typed = render.commands(production)
    assert "iptables -t nat -N fr-dnat" in typed
    assert "iptables -t filter -P FORWARD DROP" in typed
    assert "iptables -t filter -I INPUT -j fr-in" in typed
    assert sum(" -j DNAT " in line for line in typed) == 5
    assert typed[-1] == "sysctl -w net.ipv4.ip_forward=1"


def test_the_raw_difference_shows_only_what_changed(production: Site) -> None:
    before = render.files(production)
    fewer = tuple(s for s in production.services if s.name != "DomiWEB")
    after = render.files(replace(production, services=fewer))
    changed = [
        line
        for line in render.raw_difference(before, after, context=0)
        if line[:1] in "+-" and line[:3] not in ("+++", "---")
    ]
    assert changed == [
        "--A fr-dn-87.98.130.56 -p tcp -m tcp --dport 80 -m comment --comment DomiWEB"
        " -j DNAT --to-destination 10.10.2.2:8080"
    ]
    assert render.raw_difference(before, before) == ()
