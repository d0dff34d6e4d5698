"""A dom0 of bare namespaces: cards with a neighbour each, an admin VPN, machines on the zones' bridges.

Nothing of libvirt, dnsmasq or the panel, but the same rendered files, loaded by the same steps, and membership
joined as the jobs do it. Names carry the process id: runs don't meet.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_interface
from pathlib import Path

from dom0 import chains, flows, loading, members, network, policy
from dom0.bridge import Bridge
from dom0.host import HostConfig
from dom0.runner import run
from firewall import flows as changes
from firewall import render
from firewall.specs import Service, Site, Vpn
from tests.host.wire import Server, command, inside

NAME = f"frx{os.getpid()}"
DOM0, INET, VPN = f"{NAME}-dom0", f"{NAME}-eth0", f"{NAME}-vpn"
ONE, TWO = "91.121.65.140", "87.98.130.56"
NEIGHBOUR, ADMIN_PC, VPN_ADDRESS = "91.121.65.254", "10.10.95.2", "10.10.95.38"
VPN_NETWORK = "10.10.95.0/24"
#: What no rule file says of a host.
HOST = Site(vpn=Vpn(interface="tun0", network=VPN_NETWORK), panel_port=8000)


@dataclass(frozen=True)
class Machine:
    """A machine's place: its vif on dom0 and what membership says of it. Not `known`: nobody joined it."""

    name: str
    vif: str
    bridge: str
    address: str
    mac: str
    known: bool = True

    @property
    def ns(self) -> str:
        return f"{NAME}-{self.name}"

    @property
    def gateway(self) -> str:
        return self.address.rsplit(".", 1)[0] + ".1"


@dataclass(frozen=True)
class Card:
    """A card of dom0's: its addresses ("a.b.c.d/24" first, then single ones) and who is next to it on the link."""

    name: str
    addresses: tuple[str, ...]
    neighbours: tuple[str, ...]

    @property
    def ns(self) -> str:
        """The namespace beyond it."""
        return f"{NAME}-{self.name}"


ETH0 = Card("eth0", (f"{ONE}/24", f"{TWO}/32"), (f"{NEIGHBOUR}/24",))


@dataclass(frozen=True)
class Layout:
    """What is built: bridges by name with their "10.10.1", machines on them, cards; the VPN is always there."""

    zones: Mapping[str, str]
    machines: tuple[Machine, ...]
    cards: tuple[Card, ...] = (ETH0,)


def ip_batch(ns: str, lines: Iterable[str]) -> None:
    """Many `ip` commands in one process; a namespace takes a dozen."""
    done = subprocess.run(("ip", "-n", ns, "-batch", "-"), input="\n".join(lines), capture_output=True, text=True)
    assert done.returncode == 0, (ns, done.stderr)


def up(layout: Layout) -> None:
    """Make the namespaces, cables, addresses and routes; no rule, no set."""
    subprocess.run(
        ("ip", "-batch", "-"), input="\n".join(f"netns add {ns}" for ns in names(layout)), text=True, check=True
    )
    for ns in names(layout):
        inside(ns, _quick_to_answer)
    ip_batch(DOM0, _dom0(layout))
    for card in layout.cards:
        ip_batch(card.ns, _neighbour(card, layout))
    ip_batch(VPN, _ends("eth0", f"{ADMIN_PC}/24", VPN_ADDRESS))
    for machine in layout.machines:
        mac = f"link set eth0 address {machine.mac}"
        ip_batch(machine.ns, (mac, *_ends("eth0", f"{machine.address}/24", machine.gateway)))


def _quick_to_answer() -> None:
    """No second's wait before an IPv6 address counts, or before a neighbour's MAC may change."""
    Path("/proc/sys/net/ipv6/conf/default/accept_dad").write_text("0")
    Path("/proc/sys/net/ipv6/conf/all/accept_dad").write_text("0")


def _dom0(layout: Layout) -> Iterator[str]:
    yield "link set lo up"
    for card in layout.cards:
        yield f"link add {card.name} type veth peer name eth0 netns {card.ns}"
        yield from (f"addr add {address} dev {card.name}" for address in card.addresses)
        yield f"link set {card.name} up"
    yield f"link add tun0 type veth peer name eth0 netns {VPN}"
    yield f"addr add {VPN_ADDRESS}/24 dev tun0"
    yield "link set tun0 up"
    yield f"route add default via {ip_interface(layout.cards[0].neighbours[0]).ip}"
    for number, (bridge, net) in enumerate(layout.zones.items(), start=1):
        made = Bridge(name=bridge, mac=f"02:00:00:00:00:{number:02x}", address=f"{net}.1/24", sysctls=())
        yield " ".join(made.add[1:])
        yield f"addr add {net}.1/24 dev {bridge}"
        yield f"link set {bridge} up"
    for machine in layout.machines:
        yield f"link add {machine.vif} type veth peer name eth0 netns {machine.ns}"
        yield f"link set {machine.vif} master {machine.bridge} up"


def _neighbour(card: Card, layout: Layout) -> Iterator[str]:
    yield from ("link set lo up", "link set eth0 up")
    yield from (f"addr add {address} dev eth0" for address in card.neighbours)
    first, *others = (str(ip_interface(address).ip) for address in card.addresses)
    yield from (f"route add {other} dev eth0" for other in others)
    # The neighbour on the link knows where the private networks are.
    yield from (f"route add {net}.0/24 via {first}" for net in (*layout.zones.values(), "10.10.95"))


def _ends(interface: str, address: str, gateway: str) -> tuple[str, ...]:
    up = ("link set lo up", f"link set {interface} up")
    return (*up, f"addr add {address} dev {interface}", f"route add default via {gateway}")


def names(layout: Layout) -> tuple[str, ...]:
    return (DOM0, VPN, *(c.ns for c in layout.cards), *(m.ns for m in layout.machines))


def down(layout: Layout) -> None:
    """Take the namespaces away; what is in them goes with them."""
    for ns in names(layout):
        if Path("/run/netns", ns).exists():
            subprocess.run(("ip", "netns", "del", ns), check=True)


def join(layout: Layout) -> None:
    """Membership, as the zone and machine jobs put it in; run inside dom0."""
    wished = [*members.host_members(VPN_NETWORK)]
    for bridge, net in layout.zones.items():
        wished += members.zone_members(bridge, f"{net}.0/24")
    for machine in layout.machines:
        if machine.known:
            wished += members.machine_member(machine.vif, machine.mac, machine.address)
    for argv in members.create_sets():
        run(argv)
    sets, elements = members.boot_files(wished)
    run(("ipset", "restore"), stdin=sets)
    run(("nft", "-f", "-"), stdin=elements)


@dataclass
class World:
    """The namespaces, and the way rules get into dom0: probe, plan, perform, as the worker does it."""

    layout: Layout
    config: HostConfig
    site: Site = field(default_factory=Site)
    servers: dict[str, Server] = field(default_factory=dict)
    live: Site = field(default_factory=Site)

    def apply(self, site: Site) -> tuple[str, ...]:
        """Load the site's files the way an apply does and cut what changed; the names of what had to be loaded.

        Afterwards the host shows exactly what was wanted.
        """
        done = inside(DOM0, lambda: self._load(site))
        self.live = site
        assert self.drift() == ()
        return done

    def drift(self) -> tuple[str, ...]:
        """Names of the files and settings that are not on the host as the site in force wants them."""
        return inside(DOM0, lambda: (*self._todo(self.live), *_wrong(self.live)))

    def _load(self, site: Site) -> tuple[str, ...]:
        files = render.files(site).by_name
        done = (*self._todo(site), *_wrong(site))
        if done:
            policy.try_files(files)
            loading.load(files)
        flows.forget(changes.cut(self.live, site))
        flows.forget_own()
        return done

    def _todo(self, site: Site) -> tuple[str, ...]:
        """Names of the files that are not loaded as the site wants them."""
        files = render.files(site).by_name
        live = policy.live(self.config, ("v4", "v6", "bridge"))
        todo = () if render.bridge_loaded(files[render.BRIDGE], live.get("bridge", "")) else (render.BRIDGE,)
        rules = ((render.V6, "v6"), (render.V4, "v4"))
        differ = (n for n, family in rules if chains.ours(live.get(family, "")) != chains.wanted(files[n]))
        return (*todo, *differ)

    def careless(self, site: Site) -> None:
        """Take every rule away but the translations, and leave the kernel's doors open: what attacks bite in."""
        inside(DOM0, lambda: _careless(site))

    def serve(self, table: Iterable[tuple[str, str, int, bool]]) -> None:
        """Start servers: name, namespace, port, whether udp."""
        for name, ns, port, udp in table:
            self.servers[name] = Server(ns, name, port, udp=udp)


def _careless(site: Site) -> None:
    for family in ("", "6"):
        empty = "".join(
            f"*{table}\n" + "".join(f":{chain} ACCEPT [0:0]\n" for chain in chains) + "COMMIT\n"
            for table, chains in (
                ("raw", ("PREROUTING", "OUTPUT")),
                ("filter", ("INPUT", "FORWARD", "OUTPUT")),
                ("nat", ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING")),
            )
        )
        run((f"ip{family}tables-restore",), stdin=empty)
    nat = render.v4(site)
    nat = nat[nat.index("*nat") :].replace(
        "COMMIT",
        "-A PREROUTING -m addrtype --dst-type LOCAL -j fr-dnat\n"
        "-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j fr-dnat\n"
        "-A POSTROUTING -j fr-snat\nCOMMIT",
    )
    run(("iptables-restore", "--noflush"), stdin=nat)
    listed = run(("nft", "list", "chains", "bridge"), ok_codes=(0, 1)).stdout
    for chain in ("in", "between", "port", "known"):
        if f"chain {chain} " in listed:
            run(("nft", "flush", "chain", "bridge", "fridu", chain))
    run(("sysctl", "-qw", *CARELESS))
    for interface in ("all", *sorted(_interfaces())):
        base = f"net.ipv4.conf.{interface}"
        bad = ("accept_redirects=1", "send_redirects=1", "accept_source_route=1", "rp_filter=0", "route_localnet=1")
        run(
            (
                "sysctl",
                "-qw",
                *(f"{base}.{setting}" for setting in (*bad, "bc_forwarding=1", "secure_redirects=0", "accept_local=1")),
            )
        )
        if interface != "all":
            six = f"net.ipv6.conf.{interface}"
            run(("sysctl", "-qw", f"{six}.disable_ipv6=0", f"{six}.accept_ra=2", f"{six}.accept_dad=0"))
    run(("conntrack", "-F"))


def _wrong(site: Site) -> tuple[str, ...]:
    """Kernel settings that are not as the site wants them, as `sysctl -w` takes them; what isn't there is fine."""
    wanted = render.sysctls(site)
    found = network.sysctls([key for key, _ in wanted])
    return tuple(f"{key}={value}" for key, value in wanted if found.get(key, value) != value)


CARELESS = (
    "net.ipv4.ip_forward=1",
    "net.netfilter.nf_conntrack_tcp_loose=1",
    *(f"net.bridge.bridge-nf-call-{what}tables=0" for what in ("ip", "ip6", "arp")),
)


def _interfaces() -> set[str]:
    shown = run(("ip", "-o", "link", "show")).stdout
    return {line.split()[1].rstrip(":").split("@")[0] for line in shown.splitlines()}


@contextlib.contextmanager
def built(layout: Layout, state: Path) -> Iterator[World]:
    """A world of this layout with membership joined and no policy loaded; gone afterwards, servers included."""
    assert os.geteuid() == 0, "these tests need root for network namespaces"
    config = HostConfig(name=NAME, libvirt="test:///default", volumes=str(state), state=str(state), run=str(state))
    world = World(layout=layout, config=config)
    try:
        down(layout)
        up(layout)
        inside(DOM0, lambda: join(layout))
        yield world
    finally:
        for server in world.servers.values():
            server.close()
        down(layout)


def until(so: Callable[[], bool], *, seconds: float = 30.0) -> bool:
    """Poll until it is so; whether it came to be."""
    end = time.monotonic() + seconds
    while not so():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def without(site: Site, name: str) -> Site:
    """The site without the service of that name."""
    return replace(site, services=tuple(s for s in site.services if s.name != name))


def link_local(ns: str, interface: str) -> str:
    """The interface's own fe80:: address."""
    return command(ns, "ip", "-6", "-o", "addr", "show", "dev", interface).split("inet6 ")[1].split("/")[0]


def mac_of(ns: str, interface: str) -> str:
    return command(ns, "cat", f"/sys/class/net/{interface}/address").strip()


def service(
    name: str,
    port: int,
    target: Machine,
    *,
    zone: int,
    external: str,
    proto: str = "tcp",
    inner: int = 0,
    last: int = 0,
) -> Service:
    """A published service; `inner` 0 is the same port."""
    return Service(
        name=name,
        proto="udp" if proto == "udp" else "tcp",
        port_first=port,
        port_last=last or port,
        external=external,
        nic="eth0",
        target=target.address,
        target_port=inner or port,
        zone=zone,
    )
