"""Sites of any size for the firewall's benchmarks: ten zones on ten external addresses, services spread evenly."""

from __future__ import annotations

from firewall.specs import INTERNET, Address, Cell, Restriction, Service, Site, Vpn, Zone
from firewall.specs import Ports as PortRange

ZONES = 10
NIC = "eth0"


def external(zone: int) -> str:
    """The external address of zone 1 … 10 (RFC 5737: nobody has them)."""
    return f"198.51.100.{zone}"


def machine(zone: int, number: int, *, moved: bool = False) -> str:
    """A machine's address in a zone; `moved` gives another one."""
    return f"10.10.{zone}.{(110 if moved else 10) + number % 100}"


def site(count: int, *, moved: range = range(0)) -> Site:
    """A site with `count` published TCP services; those whose index is in `moved` lead to another machine."""
    zones = tuple(
        Zone(
            number=n,
            name=f"z{n}",
            bridge=f"xen-br{n}",
            gateway=f"10.10.{n}.1",
            network=f"10.10.{n}.0/24",
            external=external(n),
            nic=NIC,
        )
        for n in range(1, ZONES + 1)
    )
    return Site(
        addresses=tuple(Address(ip=external(z.number), nic=NIC) for z in zones),
        zones=zones,
        services=tuple(_service(i, count, moved=i in moved) for i in range(count)),
        restrictions=(Restriction(name="NoMail", zone=ZONES, direction="out", action="DROP", ports=_ports(25)),),
        policy=tuple(Cell(source=z.name, target=INTERNET, everything=True) for z in zones),
        vpn=Vpn(interface="tun0", network="10.10.95.0/24"),
        panel_port=8000,
    )


def _service(index: int, count: int, *, moved: bool) -> Service:
    zone = index * ZONES // count + 1
    place = index - (zone - 1) * count // ZONES
    return Service(
        name=f"app{index}",
        proto="tcp",
        port_first=10000 + place,
        port_last=10000 + place,
        external=external(zone),
        nic=NIC,
        target=machine(zone, place, moved=moved),
        target_port=8000 + place // 100,
        zone=zone,
    )


def _ports(port: int) -> PortRange:
    return PortRange(proto="tcp", first=port, last=port)
