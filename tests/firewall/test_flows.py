"""Which flows a change cuts: exactly those whose treatment changed, whatever object changed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dom0 import flows as table
from firewall import flows
from firewall.specs import INTERNET, PING, VPN, Address, Cell, CustomRule, Ports, Restriction, Service, Site, Vpn

ONE, TWO = "91.121.65.140", "87.98.130.56"
FULUP, DOMINIG, ADMINS = "10.10.1.0/24", "10.10.2.0/24", "10.10.95.0/24"
SMTP = Ports(proto="tcp", first=25, last=25)
TLS = Service(
    name="DomiTLS", proto="tcp", port_first=443, port_last=443, external=TWO, target="10.10.2.2", target_port=8443,
    zone=2,
)  # fmt: skip


def with_service(site: Site, service: Service) -> Site:
    return replace(site, services=(*site.services, service))


def with_cells(site: Site, *cells: Cell) -> Site:
    pairs = {(c.source, c.target) for c in cells}
    return replace(site, policy=(*(c for c in site.policy if (c.source, c.target) not in pairs), *cells))


def cell(source: str, target: str, *ports: Ports) -> Cell:
    return Cell(source=source, target=target, ports=ports)


def restrict(**words) -> Restriction:
    return Restriction(**{"name": "NOSMTP", "zone": 2, "direction": "out", "action": "DROP", "ports": SMTP, **words})


def test_nothing_is_cut_where_nothing_changed(production: Site) -> None:
    assert flows.cut(production, production) == ()


def test_a_service_that_comes_goes_or_moves_is_cut_once(production: Site) -> None:
    line = (f"-p tcp --orig-dst {TWO} --orig-port-dst 443",)
    after = with_service(production, TLS)
    assert flows.cut(production, after) == line
    assert flows.cut(after, production) == line
    assert flows.cut(after, with_service(production, replace(TLS, target="10.10.2.3"))) == line
    assert flows.cut(after, with_service(production, replace(TLS, target_port=444))) == line
    assert flows.cut(after, with_service(production, replace(TLS, name="Other"))) == ()


def test_a_port_taken_out_of_a_range_leaves_the_others_alone(production: Site) -> None:
    many = replace(TLS, port_first=440, port_last=449, target_port=8440)
    whole = with_service(production, many)
    shorter = with_service(production, replace(many, port_last=444))
    assert flows.cut(whole, shorter) == (f"-p tcp --orig-dst {TWO} --orig-port-dst 445-449",)
    assert flows.cut(shorter, whole) == (f"-p tcp --orig-dst {TWO} --orig-port-dst 445-449",)
    later = replace(many, port_first=442, target_port=8442)
    assert flows.cut(whole, with_service(production, later)) == (f"-p tcp --orig-dst {TWO} --orig-port-dst 440-441",)
    shifted = replace(later, target_port=8440)
    assert flows.cut(whole, with_service(production, shifted)) == (f"-p tcp --orig-dst {TWO} --orig-port-dst 440-449",)
    inner = with_service(shorter, replace(many, name="Rest", port_first=446, target="10.10.2.3"))
    assert flows.cut(whole, inner) == (f"-p tcp --orig-dst {TWO} --orig-port-dst 445-449",)


def test_dom0s_own_ports_under_a_machines_are_not_its(production: Site) -> None:
    own = replace(TLS, name="Own", port_first=400, port_last=500, target=None, target_port=None, zone=None)
    both = with_service(with_service(production, own), TLS)
    assert flows.cut(both, with_service(production, TLS)) == (
        f"-p tcp --orig-dst {TWO} --orig-port-dst 400-442",
        f"-p tcp --orig-dst {TWO} --orig-port-dst 444-500",
    )


def test_a_service_of_both_protocols_is_cut_in_both(production: Site) -> None:
    both = replace(TLS, proto="both", port_first=53, port_last=60)
    assert flows.cut(production, with_service(production, both)) == (
        f"-p tcp --orig-dst {TWO} --orig-port-dst 53-60",
        f"-p udp --orig-dst {TWO} --orig-port-dst 53-60",
    )
    assert flows.cut(with_service(production, both), with_service(production, replace(both, proto="tcp"))) == (
        f"-p udp --orig-dst {TWO} --orig-port-dst 53-60",
    )


def test_dom0s_own_port_is_cut_on_every_address_of_its_card(production: Site) -> None:
    after = replace(production, services=tuple(s for s in production.services if s.name != "DOM0_VPNt"))
    assert {line.split()[3] for line in flows.cut(production, after)} == {ONE, TWO}


def test_a_narrowed_cell_cuts_all_but_what_it_still_allows(production: Site) -> None:
    web, dns = Ports(proto="tcp", first=80, last=80), Ports(proto="both", first=53, last=53)
    between = f"--orig-src {FULUP} --orig-dst {DOMINIG}"
    gone = with_cells(production, cell("zFulup", "zDominig"))
    narrow = with_cells(production, cell("zFulup", "zDominig", web, dns, PING))
    assert flows.cut(production, gone) == (between,)
    assert flows.cut(production, narrow) == (
        f"{between} ! -p tcp --orig-port-dst 80 ! -p tcp --orig-port-dst 53 ! -p udp --orig-port-dst 53 ! -p icmp",
    )
    assert flows.cut(narrow, with_cells(production, cell("zFulup", "zDominig", web))) == (
        f"-p tcp --orig-port-dst 53 {between}",
        f"-p udp --orig-port-dst 53 {between}",
        f"-p icmp {between}",
    )
    assert flows.cut(gone, production) == flows.cut(narrow, production) == ()


def test_a_range_that_shrinks_spares_what_is_left_of_it(production: Site) -> None:
    def ports(first: int, last: int) -> Site:
        return with_cells(production, cell("zFulup", "zDominig", Ports(proto="tcp", first=first, last=last)))

    assert flows.cut(ports(80, 90), ports(80, 85)) == (
        f"-p tcp --orig-port-dst 80-90 --orig-src {FULUP} --orig-dst {DOMINIG} ! -p tcp --orig-port-dst 80-85",
    )
    assert flows.cut(ports(80, 85), ports(80, 90)) == ()


def test_a_zone_shut_off_from_the_internet_keeps_its_neighbours(production: Site) -> None:
    after = with_cells(production, cell("zFulup", INTERNET))
    assert flows.cut(production, after) == (f"--orig-src {FULUP} --reply-dst {ONE}",)


def test_a_zone_with_another_external_address_leaves_anew(production: Site) -> None:
    first, second = production.zones
    after = replace(production, zones=(replace(first, external=TWO), second))
    assert flows.cut(production, after) == (f"--orig-src {FULUP} --reply-dst {ONE}",)


def test_a_zone_that_becomes_isolated_has_no_way_left_in_or_out(production: Site) -> None:
    first, second = production.zones
    lines = flows.cut(production, replace(production, zones=(replace(first, external=None, nic=None), second)))
    assert f"--orig-src {FULUP} --reply-dst {ONE}" in lines
    for ip in (ONE, TWO):
        assert f"--orig-src {FULUP} --orig-dst {ip}" in lines
        assert f"--orig-dst {ip} --reply-src {FULUP}" in lines


def test_a_zone_that_goes_or_gets_another_subnet_loses_everything(production: Site) -> None:
    first, second = production.zones
    lines = (f"--orig-src {FULUP}", f"--reply-src {FULUP}")
    assert set(lines) <= set(flows.cut(production, replace(production, zones=(second,))))
    moved = replace(first, network="10.10.7.0/24", gateway="10.10.7.1")
    assert set(lines) <= set(flows.cut(production, replace(production, zones=(moved, second))))


def test_a_zone_with_a_new_name_alone_loses_nothing(production: Site) -> None:
    first, second = production.zones
    policy = tuple(
        replace(c, source=c.source.replace("zFulup", "zNew"), target=c.target.replace("zFulup", "zNew"))
        for c in production.policy
    )
    after = replace(production, zones=(replace(first, name="zNew"), second), policy=policy)
    assert flows.cut(production, after) == ()


def test_a_vpn_that_goes_or_changes_its_network_loses_its_flows(production: Site) -> None:
    lines = {f"--orig-src {ADMINS}", f"--reply-src {ADMINS}"}
    assert lines <= set(flows.cut(production, replace(production, vpn=None)))
    changed = replace(production, vpn=Vpn(interface="tun0", network="10.10.96.0/24"))
    assert lines <= set(flows.cut(production, changed))


def test_the_vpns_way_to_the_internet_is_cut_by_the_address_it_leaves_with(production: Site) -> None:
    open_ = with_cells(production, Cell(source=VPN, target=INTERNET, everything=True))
    assert flows.cut(open_, production) == (f"--orig-src {ADMINS} --reply-dst {ONE}",)


def test_a_restriction_is_cut_by_both_its_ports_and_only_to_its_address(production: Site) -> None:
    def after(*rules: Restriction) -> Site:
        return replace(production, restrictions=rules)

    assert flows.cut(production, after(restrict())) == (
        f"--orig-src {DOMINIG} -p tcp --orig-port-dst 25",
        f"--orig-src {DOMINIG} -p tcp --reply-port-src 25",
    )
    assert flows.cut(after(restrict()), production) == ()
    assert flows.cut(after(restrict()), after(restrict(name="Other", action="REJECT"))) == ()
    into = flows.cut(production, after(restrict(direction="in", address="198.51.100.0/24")))
    assert into[0] == f"--reply-src {DOMINIG} -p tcp --orig-src 198.51.100.0/24 --orig-port-dst 25"


def test_a_restriction_to_a_public_address_of_ours_is_cut_by_what_it_was_sent_to(production: Site) -> None:
    rule = restrict(address=ONE)
    assert set(flows.cut(production, replace(production, restrictions=(rule,)))) == {
        f"--orig-src {DOMINIG} -p tcp --reply-src {ONE} --orig-port-dst 25",
        f"--orig-src {DOMINIG} -p tcp --reply-src {ONE} --reply-port-src 25",
        f"--orig-src {DOMINIG} -p tcp --orig-dst {ONE} --orig-port-dst 25",
        f"--orig-src {DOMINIG} -p tcp --orig-dst {ONE} --reply-port-src 25",
    }


def test_an_exemption_spares_its_flows_and_its_end_cuts_them(production: Site) -> None:
    exempt = restrict(name="RELAY", action="ACCEPT", address="10.10.1.2")
    with_relay = replace(production, restrictions=(exempt, restrict()))
    spared = (
        " ! -p tcp --reply-src 10.10.1.2 --orig-port-dst 25 ! -p tcp --reply-src 10.10.1.2 --reply-port-src 25"
        " ! -p tcp --orig-dst 10.10.1.2 --orig-port-dst 25"
    )
    assert flows.cut(production, with_relay)[0].endswith(spared)
    without = replace(production, restrictions=(restrict(),))
    assert flows.cut(with_relay, without)[0] == f"--orig-src {DOMINIG} -p tcp --orig-port-dst 25"
    assert flows.cut(without, with_relay) == ()


@pytest.mark.parametrize(
    ("rule", "lines"),
    [
        ("-s 10.10.1.3/32 -p tcp -m tcp --dport 25 -j DROP", ("-p tcp --orig-src 10.10.1.3/32 --reply-port-src 25",)),
        ("-i xen-br1 -o xen-br2 -j REJECT", (f"--orig-src {FULUP} --reply-src {DOMINIG}",)),
        ("-d 10.10.2.2 -p udp --dport 53:60 -j DROP", ("-p udp --reply-src 10.10.2.2 --reply-port-src 53-60",)),
        ("-p tcp -m multiport --dports 25,465 -j DROP", ("-p tcp --reply-port-src 25", "-p tcp --reply-port-src 465")),
        ("-i xen-br1 -m limit --limit 1/sec -j DROP", (f"--orig-src {FULUP}",)),
        ("-j DROP", ("--orig-src 0.0.0.0/0",)),
        ("-m limit --limit 1/sec -j DROP", ()),
        ("! -s 10.10.1.3 -j DROP", ()),
        ("-i eth0 -j DROP", ()),
        ("-s 10.10.1.3 -j ACCEPT", ()),
        ("-s 10.10.1.3 -j LOG --log-prefix x", ()),
        ("-s '10.10.1.3 -j DROP", ()),
    ],
)
def test_an_own_rule_that_drops_cuts_what_its_words_name(production: Site, rule: str, lines: tuple[str, ...]) -> None:
    after = replace(production, custom=(CustomRule(place="before-forwarding", rule=rule),))
    assert flows.cut(production, after) == lines


def test_an_own_rule_that_let_through_is_cut_when_it_goes(production: Site) -> None:
    own = CustomRule(place="after-forwarding", rule="-s 10.10.1.3 -d 10.10.2.2 -j ACCEPT")
    before = replace(production, custom=(own,))
    assert flows.cut(before, production) == ("--orig-src 10.10.1.3 --reply-src 10.10.2.2",)
    assert flows.cut(production, before) == ()
    at_dom0 = replace(production, custom=(CustomRule(place="before-input", rule="-s 10.10.1.3 -j DROP"),))
    assert flows.cut(production, at_dom0) == (), "what ends at dom0 is forgotten at every apply"


def test_every_line_is_one_that_dom0_understands(production: Site) -> None:
    everything = replace(
        production, services=(), zones=(), policy=(), vpn=None, addresses=(Address(ip=ONE, nic="eth0"),),
        restrictions=(), custom=(CustomRule(place="before-forwarding", rule="-p tcp --dport 1: -j DROP"),),
    )  # fmt: skip
    for lines in (flows.cut(production, everything), flows.cut(everything, production)):
        assert all(table.parse(line) for line in lines)


def test_a_filter_takes_ranges_networks_and_exceptions() -> None:
    def flow(proto: int, src: str, dst: str, port: int) -> table.Flow:
        one, two = (int.from_bytes(bytes(map(int, ip.split("."))), "big") for ip in (src, dst))
        return table.Flow(proto, ((one, two, 40000, port), (two, one, port, 40000)))

    mail, web, dns = flow(6, "10.10.1.3", TWO, 25), flow(6, "10.10.1.3", TWO, 80), flow(17, "10.10.9.3", TWO, 53)

    def chosen(*lines: str) -> list[table.Flow]:
        return list(table.chosen((mail, web, dns), [table.parse(line) for line in lines]))

    assert chosen(f"-p tcp --orig-dst {TWO} --orig-port-dst 80") == [web]
    assert chosen(f"-p tcp --orig-dst {TWO} --orig-port-dst 20-80") == [mail, web]
    assert chosen(f"--orig-src {FULUP} ! -p tcp --orig-port-dst 25") == [web]
    assert chosen(f"--orig-src {FULUP} --orig-port-dst 25", f"--orig-src {FULUP} ! --orig-port-dst 25") == [mail, web]
    assert chosen("-p udp --reply-port-src 53") == [dns]
    assert chosen("--orig-src 0.0.0.0/0") == [mail, web, dns]
    assert chosen("--orig-dst 203.0.113.1") == []


@pytest.mark.parametrize(
    "line", ["-p sctp", "--orig-dst nowhere", "--colour red", "-p", "", "! -p tcp", "-p tcp !", "--orig-port-dst x"]
)
def test_a_filter_nobody_understands_is_refused_and_never_means_everything(line: str) -> None:
    with pytest.raises(table.Refused):
        table.parse(line)
