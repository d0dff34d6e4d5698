"""Sites to draw: the seed's sample, one of the middle, one of 12 zones and 80 machines, and random ones."""

from __future__ import annotations

import random
from dataclasses import replace

from ui.drawing import Address, Machine, Reach, Service, Site, Vpn, Zone

VPN = Vpn(iface="tun0", ip="10.10.95.38", note="10.10.95.0/24")
ONE, TWO = Address(ip="91.121.65.140", nic="eth0"), Address(ip="87.98.130.56", nic="eth0")


def machine(name, ip, owner, state="run", note=""):
    return Machine(name=name, ip=ip, owner=owner, state=state, note=note, href=f"/machines/{ip}/", key=ip)


def service(addr, proto, port, to_machine, to=None):
    return Service(addr=addr, proto=proto, port=port, machine=to_machine, to=to or port)


def mutual(*names):
    return tuple(Reach(source=a, target=b) for a in names for b in names if a != b)


SMALL = Site(
    host="ns3100421",
    vpn=VPN,
    dom0_ports="22, 563, udp 44096",
    addresses=(ONE, TWO),
    zones=(
        Zone(
            name="zFulup",
            bridge="xen-br1",
            net="10.10.1.1/24",
            ext=ONE.ip,
            href="/zones/1/",
            machines=(machine("Common", "10.10.1.2", "fridu"), machine("WEB-Ful", "10.10.1.3", "fulup")),
        ),
        Zone(
            name="zDominig",
            bridge="xen-br2",
            net="10.10.2.1/24",
            ext=TWO.ip,
            href="/zones/2/",
            machines=(machine("WEB-Dom", "10.10.2.2", "dominig"),),
        ),
    ),
    services=(
        service(ONE.ip, "tcp", 25, "Common", 2525),
        service(ONE.ip, "tcp", 80, "WEB-Ful", 8080),
        service(TWO.ip, "tcp", 25, "Common", 2525),
        service(TWO.ip, "tcp", 80, "WEB-Dom", 8080),
        service(TWO.ip, "tcp", 22, "WEB-Dom"),
    ),
    policy=mutual("", "zFulup", "zDominig"),
)
MIDDLE = replace(
    SMALL,
    traffic="in 1.2 · out 8.4 Mbit/s",
    zones=(
        Zone(
            name="zAdmin",
            bridge="xen-br3",
            net="10.10.3.1/24",
            machines=(machine("VM-admin", "10.10.3.2", "fulup", "off"),),
        ),
        *SMALL.zones[:1],
        replace(
            SMALL.zones[1],
            limits=("sends no tcp 25",),
            machines=(
                machine("WEB-Dom", "10.10.2.2", "dominig", "busy", "reinstalling"),
                machine("Brendan", "10.10.2.3", "brendan", "miss"),
                Machine(name="10.10.2.9", ip="10.10.2.9", state="none"),
            ),
        ),
    ),
    services=(*SMALL.services, service(TWO.ip, "udp", 5060, "10.10.2.9")),
    policy=(*SMALL.policy, Reach(source="", target="zAdmin"), Reach(source="zFulup", target="zAdmin", what="udp 514")),
)


def many(zones: int, machines: int, addresses: int) -> Site:
    """`zones` zones with about `machines` machines in all states, on `addresses` addresses."""
    states = ["run"] * 12 + ["off", "bad", "miss", "busy", "old"]
    addrs = tuple(Address(ip=f"198.51.100.{10 + i}", nic="eth0" if i < 5 else "eth1") for i in range(addresses))
    made, services = [], []
    for i in range(zones):
        ext = "" if i in (0, 11) else addrs[min(i - 1, addresses - 1)].ip
        count = max(1, machines // zones + (i * 7) % 5 - 2)
        names = [f"web-{i}-{k}" for k in range(count)]
        own = tuple(
            machine(n, f"10.20.{i + 1}.{k + 2}", f"owner{i}", states[(i * 13 + k * 5) % 17])
            for k, n in enumerate(names)
        )
        services += [service(ext, "tcp", 80 + k, n, 80) for k, n in enumerate(names) if ext and k % 2 == 0]
        made.append(Zone(name=f"z{i}", bridge=f"fr-br{i}", net=f"10.20.{i + 1}.1/24", ext=ext, machines=own))
    policy = mutual("", *(z.name for z in made[:4])) + tuple(Reach(source="", target=z.name) for z in made[4:])
    return Site(
        host="ns3100421",
        vpn=VPN,
        dom0_ports="22",
        addresses=addrs,
        zones=tuple(made),
        services=tuple(services),
        policy=policy,
        policy_href="/firewall/policy/",
    )


LARGE = many(12, 80, 9)


def at_random(seed: int) -> Site:
    """A site nobody would make: hostile names, empty zones, too many of everything."""
    r = random.Random(seed)
    addresses = tuple(
        Address(ip=f"203.0.113.{i + 1}", nic=r.choice(["eth0", "eth1, failover"])) for i in range(r.randint(0, 6))
    )
    zones, services = [], []
    for i in range(r.randint(0, 16)):
        machines = tuple(
            Machine(
                name=r.choice(["a", "web-" * 9, "<script>\"&'", "ü" * 12, "\x00\x1b["]) + f"{i}-{j}",
                ip=f"10.{i}.0.{j + 2}",
                owner=r.choice(["x", "association-du-quartier", ""]),
                state=r.choice(["run", "off", "busy", "bad", "wait", "miss", "old", "none"]),
                href=r.choice(["", "/machines/1/?a=1&b=2"]),
                key=f"{i}-{j}",
            )
            for j in range(r.choice([0, 1, 2, 3, 5, 9, 40]))
        )
        if addresses:
            services += [
                service(r.choice(addresses).ip, r.choice(["tcp", "udp"]), r.randint(1, 65535), m.name, r.randint(1, 9))
                for m in machines
                for _ in range(r.choice([0, 0, 1, 2, 12]))
            ]
        zones.append(
            Zone(
                name=r.choice(["z", "zone-with-a-long-name"]) + str(i),
                bridge=f"fr-br{i}",
                net=f"10.{i}.0.1/24",
                ext=r.choice(["", "198.51.100.99", *(a.ip for a in addresses)]),
                machines=machines,
                limits=("sends no tcp 25",) * r.randint(0, 2),
                href="/zones/1/",
            )
        )
    names = [z.name for z in zones]
    policy = tuple(
        Reach(source=a, target=b, what=r.choice(["all", "all", "tcp 5"]))
        for a in [*names, "", "nobody"]
        for b in names
        if a != b and r.random() < 0.3
    )
    return Site(
        host=r.choice(["h", "a-host-with-quite-a-long-name-indeed"]),
        vpn=r.choice([VPN, Vpn()]),
        traffic="t",
        dom0_ports=r.choice(["", "22", "22, 25, 53, 80, 443, 993, 8080"]),
        addresses=addresses,
        zones=tuple(zones),
        services=tuple(services),
        policy=policy,
        policy_href="/firewall/policy/?a=1&b=2",
    )
