"""Random sites, for properties that hold for every one."""

from __future__ import annotations

from hypothesis import strategies as st

from firewall.specs import (
    DOM0,
    INTERNET,
    PING,
    PLACES,
    VPN,
    Address,
    Cell,
    CustomRule,
    Ports,
    Restriction,
    Service,
    Site,
    Vpn,
    Zone,
)

IPS = ("91.121.65.140", "87.98.130.56", "203.0.113.9")
NICS = ("eth0", "eth0", "eth1")
protos = st.sampled_from(["tcp", "udp", "both"])


@st.composite
def ports(draw: st.DrawFn) -> Ports:
    first = draw(st.integers(1, 65535))
    last = min(65535, first + draw(st.sampled_from([0, 0, 0, 3, 70, 2000])))
    return Ports(proto=draw(protos), first=first, last=last)


@st.composite
def services(draw: st.DrawFn, zones: tuple[Zone, ...], name: str) -> Service:
    span = draw(ports())
    common = {"name": name, "proto": span.proto, "port_first": span.first, "port_last": span.last}
    if draw(st.booleans()) and any(z.external for z in zones):
        zone = draw(st.sampled_from([z for z in zones if z.external]))
        room = 65535 - (span.last - span.first)
        inner = draw(st.one_of(st.just(span.first), st.integers(1, room)))
        host = draw(st.integers(2, 250))
        return Service(
            **common,
            external=zone.external,
            nic=zone.nic,
            target=zone.network.replace(".0/24", f".{host}"),
            target_port=inner,
            zone=zone.number,
        )
    where = draw(st.sampled_from([(None, None), (None, "eth0"), (None, "eth3"), (None, "eth2"), (IPS[0], "eth0")]))
    return Service(**common, external=where[0], nic=where[1])


@st.composite
def restrictions(draw: st.DrawFn, zones: tuple[Zone, ...], name: str) -> Restriction:
    address = draw(st.sampled_from([None, "10.10.1.2", "10.10.2.0/24", IPS[1]]))
    return Restriction(
        name=name,
        zone=draw(st.sampled_from(zones)).number,
        direction=draw(st.sampled_from(["in", "out"])),
        action=draw(st.sampled_from(["DROP", "REJECT", "ACCEPT"])),
        ports=draw(ports()),
        address=address,
    )


@st.composite
def sites(draw: st.DrawFn, most_services: int = 12) -> Site:
    zones = tuple(
        Zone(
            number=n,
            name=f"z{n}",
            bridge=f"xen-br{n}",
            gateway=f"10.10.{n}.1",
            network=f"10.10.{n}.0/24",
            external=IPS[which] if which is not None else None,
            nic=NICS[which] if which is not None else None,
        )
        for n in range(1, draw(st.integers(1, 3)) + 1)
        for which in [draw(st.sampled_from([None, 0, 1, 2]))]
    )
    vpn = draw(st.sampled_from([None, Vpn(interface="tun0", network="10.10.95.0/24"), Vpn(interface="tun+")]))
    parties = [INTERNET, *([VPN] if vpn else []), DOM0, *(z.name for z in zones)]
    content = st.lists(st.one_of(ports(), st.just(PING)), max_size=3, unique=True).map(tuple)
    pairs = draw(st.lists(st.tuples(*[st.sampled_from(parties)] * 2), max_size=5, unique=True))
    policy = [Cell(source=a, target=b, everything=draw(st.booleans()), ports=draw(content)) for a, b in pairs if a != b]
    custom = draw(
        st.lists(
            st.sampled_from(PLACES).map(lambda p: CustomRule(place=p, rule="-s 198.51.100.7/32 -j DROP")), max_size=2
        )
    )
    return Site(
        addresses=tuple(Address(ip=ip, nic=nic) for ip, nic in zip(IPS, NICS, strict=True)),
        zones=zones,
        services=tuple(draw(services(zones, f"S{i}")) for i in range(draw(st.integers(0, most_services)))),
        restrictions=tuple(draw(restrictions(zones, f"R{i}")) for i in range(draw(st.integers(0, 4)))),
        policy=tuple(policy),
        custom=tuple(custom),
        vpn=vpn,
        panel_port=draw(st.sampled_from([None, 8000])),
        cards=draw(st.sampled_from([(), ("eth0", "eth2")])),
    )
