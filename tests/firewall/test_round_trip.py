"""Written in the seed's language and read again, any site is the same site, whatever the seed has a word for."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from firewall import exporter, importer, lint
from firewall.specs import (
    BOTH,
    DOM0,
    INTERNET,
    PING,
    PLACES,
    VPN,
    Address,
    Cell,
    CustomRule,
    Ports,
    Proto,
    Restriction,
    Service,
    Site,
    Vpn,
    Zone,
)
from tests.firewall.conftest import HOST

ADDRESSES = tuple(Address(ip=f"203.0.113.{n}", nic="eth0" if n % 3 else "eth1") for n in range(1, 6))
PROTOS: tuple[Proto, ...] = ("tcp", "udp", BOTH)
OWN_RULES = (
    "-i eth0 -p tcp --dport 9100 -j ACCEPT",
    "-s 198.51.100.0/24 -j DROP",
    "! -s 10.0.0.0/8 -p udp -m udp --dport 123 -j LOG --log-prefix ntp:",
    "-i xen-br1 -o xen-br2 -j ACCEPT",
    "-i tun0 -j ACCEPT",
    "-m conntrack --ctstate NEW -m limit --limit 5/min -j RETURN",
    "-p tcp -m multiport --dports 80,443,8000:8010 -j REJECT --reject-with tcp-reset",
)
REASONS = ("node exporter", "! said the monitor", "pest # see the mail of May", "BOTH=yes #! OWN=yes", "é ; and so on")


def span(first: int, wide: int, proto: Proto) -> Ports:
    return Ports(proto=proto, first=first, last=min(first + wide, 65535))


ports = st.builds(span, st.integers(1, 65535), st.integers(0, 20), st.sampled_from(PROTOS))


@st.composite
def sites(draw: st.DrawFn) -> Site:
    """Anything the panel lets somebody wish for."""
    addresses = draw(st.permutations(ADDRESSES))[: draw(st.integers(0, 5))]
    zones = []
    for n in range(draw(st.integers(0, 4))):
        out = draw(st.sampled_from([None, *addresses]))
        zones.append(
            Zone(
                number=n + 1,
                name=f"z{'ABCD'[n]}-{n}",
                bridge=f"xen-br{n + 1}",
                gateway=f"10.10.{n + 1}.1",
                network=f"10.10.{n + 1}.0/{draw(st.sampled_from([24, 25, 29]))}",
                external=out.ip if out else None,
                nic=out.nic if out else None,
            )
        )
    site = Site(addresses=tuple(addresses), zones=tuple(zones), vpn=HOST.vpn, panel_port=HOST.panel_port)
    site = replace(site, services=draw(services(site)), restrictions=draw(restrictions(site)))
    return replace(site, policy=draw(policy(site)), custom=draw(st.lists(customs, max_size=4, unique=True).map(tuple)))


@st.composite
def services(draw: st.DrawFn, site: Site) -> tuple[Service, ...]:
    found = []
    open_zones = [z for z in site.zones if z.external]
    for n in range(draw(st.integers(0, 6)) if site.addresses else 0):
        proto, first, wide = draw(st.sampled_from(PROTOS)), 1000 + 100 * n, draw(st.integers(0, 9))
        made = Service(name=f"S{n}_tcp" if n == 3 else f"S{n}", proto=proto, port_first=first, port_last=first + wide)
        on = draw(st.sampled_from(site.addresses))
        if not open_zones or draw(st.booleans()):
            where = draw(st.sampled_from([(None, None), (None, on.nic), (on.ip, on.nic)]))
            found.append(replace(made, external=where[0], nic=where[1]))
            continue
        home, publisher = draw(st.sampled_from(open_zones)), draw(st.sampled_from([None, *open_zones]))
        there = publisher if publisher and draw(st.booleans()) else None
        found.append(
            replace(
                made,
                external=there.external if there else on.ip,
                nic=there.nic if there else on.nic,
                target=home.gateway[:-1] + str(draw(st.integers(2, 6))),
                target_port=draw(st.sampled_from([first, 80, 8080])),
                zone=publisher.number if publisher else None,
            )
        )
    return tuple(found)


@st.composite
def restrictions(draw: st.DrawFn, site: Site) -> tuple[Restriction, ...]:
    return tuple(
        Restriction(
            name=f"R{n}",
            zone=zone.number,
            direction=draw(st.sampled_from(("in", "out"))),
            action=draw(st.sampled_from(("DROP", "REJECT", "ACCEPT"))),
            ports=draw(ports),
            address=draw(st.sampled_from([None, "10.10.3.4", "10.10.3.0/24", "198.51.100.0/25"])),
        )
        for zone in site.zones
        for n in range(draw(st.integers(0, 2)))
    )


@st.composite
def policy(draw: st.DrawFn, site: Site) -> tuple[Cell, ...]:
    cells = []
    names = [z.name for z in site.zones]
    pairs = [(s, t) for s in (VPN, *names) for t in (VPN, DOM0, *names) if s != t]
    pairs += [(z.name, INTERNET) for z in site.zones if z.external] + [(VPN, INTERNET), (INTERNET, DOM0)]
    for source, target in pairs:
        kind = draw(st.sampled_from(("none", "all", "ports")))
        several = st.lists(st.one_of(ports, st.just(PING)), min_size=1, max_size=3, unique=True)
        only = _apart(draw(several)) if kind == "ports" else ()
        cells.append(Cell(source=source, target=target, everything=kind == "all", ports=only))
    return tuple(cells)


def _apart(several: list[Ports]) -> tuple[Ports, ...]:
    """Without those another one names too: the grid's editor takes them, but nobody writes tcp 80 beside both 80."""
    out: list[Ports] = []
    for each in several:
        if not any(each.overlaps(other) for other in out):
            out.append(each)
    return tuple(out)


customs = st.builds(
    CustomRule,
    place=st.sampled_from(PLACES),
    rule=st.sampled_from(OWN_RULES),
    reason=st.sampled_from(REASONS),
).filter(lambda rule: not [p for p in lint.custom_problems(rule) if p.blocks])


def plain(site: Site) -> Site:
    """Cells in one order and only those that allow something: an empty one is none."""
    cells = [c for c in site.policy if c.everything or c.ports]
    return replace(site, policy=tuple(sorted(cells, key=lambda c: (c.source, c.target))))


@settings(max_examples=300)
@given(sites())
def test_reading_what_was_written_gives_the_same_site(site: Site) -> None:
    text = exporter.rule_file(site)
    read = importer.read(text, host=HOST)
    assert not read.errors, text
    assert plain(read.site) == plain(site), text
    assert not read.review


@settings(max_examples=200)
@given(sites())
def test_writing_what_was_read_gives_the_same_text(site: Site) -> None:
    once = exporter.rule_file(plain(site))
    again = exporter.rule_file(plain(importer.read(once, host=HOST).site))
    assert exporter.rule_file(plain(importer.read(again, host=HOST).site)) == again == once


@settings(max_examples=200)
@given(sites())
def test_the_old_script_would_open_nothing_that_is_not_wished(site: Site) -> None:
    """What it passes over as comments may be missing; what it reads is no more than the wish."""
    text = exporter.rule_file(site)
    kept = [line.split(";#", 1)[0] for line in text.split("\n") if not line.startswith("#")]
    old = importer.read("\n".join(kept), host=HOST)
    assert not [f for f in old.errors if "already defined" in f.sentence], text
    wished = {
        (ip, half.proto, half.port_first, half.target)
        for s in site.services
        for half in s.each
        for ip in site.addresses_of(s)
    }
    opened = {(ip, s.proto, s.port_first, s.target) for s in old.site.services for ip in old.site.addresses_of(s)}
    assert opened <= wished


def test_what_an_import_left_for_review_comes_along_until_it_is_dealt_with() -> None:
    lines = ["rm -rf /var/lock/fridu", "CreateApp NAME=Odd ZONE=zGone EXT=tcp:1 INT=10.10.9.9:1"]
    text = exporter.rule_file(HOST, review=lines)
    read = importer.read(text, host=HOST)
    assert [u.text for u in read.review] == lines
    assert not read.errors
    assert exporter.rule_file(read.site, review=[u.text for u in read.review]) == text


def test_an_own_rules_end_is_written_and_read() -> None:
    rule = CustomRule(place="before-input", rule=OWN_RULES[0], reason="for the audit")
    site = replace(HOST, custom=(rule,))
    text = exporter.rule_file(site, until={rule: "2026-12-01T10:00:00+00:00"})
    assert "UNTIL=2026-12-01T10:00:00+00:00 # for the audit" in text
    assert importer.read(text, host=HOST).until == {rule: "2026-12-01T10:00:00+00:00"}


def test_a_vpn_by_another_name_is_known_by_the_host_file() -> None:
    host = replace(HOST, vpn=Vpn(interface="admin0", network="10.10.95.0/24"))
    site = replace(host, policy=(Cell(source=VPN, target=DOM0, everything=True),))
    text = exporter.rule_file(site)
    assert "-A after-input -i admin0 -j ACCEPT" in text
    assert importer.read(text, host=host).site == site
