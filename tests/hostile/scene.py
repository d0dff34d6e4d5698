"""Where the attacks are played: two zones with a public address each, an isolated one, an Internet neighbour.

An attack is a function that plays it and says whether it bit. Nothing is waited for blindly: after the crafted
frame goes an honest one by the same way; once that has come, the other will not come any more.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from firewall.specs import DOM0 as TO_DOM0
from firewall.specs import INTERNET, Address, Cell, Ports, Restriction, Service, Site, Zone
from firewall.specs import VPN as FROM_VPN
from tests.host import bare, wire
from tests.host.bare import DOM0, HOST, INET, NEIGHBOUR, ONE, TWO, VPN, VPN_ADDRESS, Machine, World
from tests.host.packets import sample
from tests.host.packets.sample import ADMIN, COMMON, EVIL, WEBDOM, WEBFUL
from tests.host.packets.sample import FOREIGN as FOREIGN
from tests.host.packets.sample import REDIS as REDIS
from tests.host.wire import Probe, ether, inside
from tests.hostile import craft

#: An interface nobody put on the list, of a name like ours; FOREIGN is one of a foreign name.
STRAY = Machine("stray", "fr99", "xen-br1", "10.10.1.78", "aa:bb:0a:0a:01:4e", known=False)
LAYOUT = replace(sample.LAYOUT, machines=(*sample.LAYOUT.machines, STRAY))
GATEWAYS = ("10.10.1.1", "10.10.2.1", "10.10.3.1")
FAR = "198.51.100.7"
SSH, PANEL, OTHER = 22, 8000, 9999

SERVERS = (*sample.SERVERS, ("webdom-smtp", WEBDOM.ns, 2525, False), ("common-dhcp", COMMON.ns, 68, True))


def site() -> Site:
    """Nobody of zFulup may open anything in zDominig, nor send mail; zAdmin is there for the VPN alone."""
    zones = (
        Zone(number=1, name="zFulup", bridge="xen-br1", gateway="10.10.1.1", network="10.10.1.0/24", external=ONE,
             nic="eth0"),
        Zone(number=2, name="zDominig", bridge="xen-br2", gateway="10.10.2.1", network="10.10.2.0/24", external=TWO,
             nic="eth0"),
        Zone(number=3, name="zAdmin", bridge="xen-br3", gateway="10.10.3.1", network="10.10.3.0/24"),
    )  # fmt: skip
    services = (
        bare.service("FulupSMTP", 25, COMMON, zone=1, external=ONE, inner=2525),
        bare.service("FulupWEB", 80, WEBFUL, zone=1, external=ONE, inner=8080),
        bare.service("DomiSMTP", 25, WEBDOM, zone=2, external=TWO, inner=2525),
        bare.service("DomiWEB", 80, WEBDOM, zone=2, external=TWO, inner=8080),
        Service(name="DOM0_VPNu", proto="udp", port_first=44096, port_last=44096, nic="eth0"),
    )
    cells = (
        *(Cell(source=name, target=INTERNET, everything=True) for name in ("zFulup", "zDominig")),
        *(Cell(source=FROM_VPN, target=name, everything=True) for name in ("zFulup", "zDominig", "zAdmin", TO_DOM0)),
        Cell(source="zDominig", target="zFulup", ports=(Ports(proto="tcp", first=8080, last=8080),)),
    )
    mail = Ports(proto="tcp", first=25, last=25)
    return replace(
        HOST,
        addresses=(Address(ip=ONE, nic="eth0"), Address(ip=TWO, nic="eth0")),
        zones=zones,
        services=services,
        restrictions=(Restriction(name="NOSMTP", zone=1, direction="out", action="DROP", ports=mail),),
        policy=cells,
    )


#: Who reaches what, whatever goes on; with the line the server says.
WANTED = {
    Probe(INET, ONE, 80): f"webful-web {NEIGHBOUR}",
    Probe(INET, ONE, 25): f"common-smtp {NEIGHBOUR}",
    Probe(INET, TWO, 80): f"webdom-web {NEIGHBOUR}",
    Probe(INET, TWO, 25): f"webdom-smtp {NEIGHBOUR}",
    Probe(INET, ONE, SSH): f"dom0-ssh {NEIGHBOUR}",
    Probe(INET, ONE, 44096, udp=True): f"dom0-vpnu {NEIGHBOUR}",
    Probe(EVIL.ns, NEIGHBOUR, 80): f"inet-web {ONE}",
    Probe(EVIL.ns, NEIGHBOUR, 5353, udp=True): f"inet-udp {ONE}",
    Probe(WEBDOM.ns, NEIGHBOUR, 80): f"inet-web {TWO}",
    Probe(WEBDOM.ns, NEIGHBOUR, 25): f"inet-smtp {TWO}",
    Probe(WEBDOM.ns, WEBFUL.address, 8080): f"webful-web {WEBDOM.address}",
    Probe(COMMON.ns, WEBFUL.address, 8080): f"webful-web {COMMON.address}",
    Probe(COMMON.ns, "10.10.1.1", 53, udp=True): f"dom0-dns {COMMON.address}",
    Probe(ADMIN.ns, "10.10.3.1", 53, udp=True): f"dom0-dns {ADMIN.address}",
    Probe(EVIL.ns, TWO, 80): f"webdom-web {EVIL.address}",
    Probe(WEBDOM.ns, ONE, 80): f"webful-web {WEBDOM.address}",
    Probe(VPN, ADMIN.address, 8080): "admin-web 10.10.95.2",
    Probe(VPN, VPN_ADDRESS, PANEL): "dom0-panel 10.10.95.2",
}
#: The one thing bridge-nf-call-iptables breaks: the bridge would have to send a frame out where it came in.
HAIRPIN = {Probe(WEBFUL.ns, ONE, 80): "webful-web 10.10.1.1", Probe(EVIL.ns, ONE, 80): "webful-web 10.10.1.1"}


def wanted_flows(*, hairpin: bool = True, but: str = "") -> None:
    """All of the wanted traffic flows, from everywhere `but` there; what a busy machine lost is asked once more."""
    wished = {probe: line for probe, line in {**WANTED, **(HAIRPIN if hairpin else {})}.items() if probe.ns != but}
    told = wire.answers(wished)
    late = [probe for probe in wished if told[probe] != wished[probe]]
    if late:
        told |= wire.answers(late, quiet_s=5.0)
    assert told == wished


@dataclass(frozen=True)
class Attack:
    """What it is called, how it is played, and whether a host without a policy is hurt by it."""

    name: str
    play: Callable[[World], bool]
    bites: bool


ATTACKS: list[Attack] = []


def attack(*, bites: bool = True) -> Callable[[Callable[[World], bool]], Callable[[World], bool]]:
    """Put it on the list. `bites` False: Linux shrugs at it without any policy, and goes on doing so."""

    def add(play: Callable[[World], bool]) -> Callable[[World], bool]:
        ATTACKS.append(Attack(name=play.__name__, play=play, bites=bites))
        return play

    return add


def word() -> bytes:
    """Bytes that occur nowhere else."""
    return f"<{os.urandom(6).hex()}>".encode()


def send(machine_ns: str, *frames: bytes, mark: int = 0) -> None:
    """Raw frames out of a namespace's eth0, in this order."""
    with inside(machine_ns, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)) as made:
        made.bind(("eth0", 0))
        if mark:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        for frame in frames:
            # A card fills a frame up to 60 bytes; a veth does not.
            made.send(frame.ljust(60, b"\0"))


def bridge_mac(machine: Machine = EVIL) -> str:
    return f"02:00:00:00:00:0{list(LAYOUT.zones).index(machine.bridge) + 1}"


def by_gateway(machine: Machine, packet: bytes) -> bytes:
    """The packet in a frame from the machine to dom0."""
    return ether(bridge_mac(machine), machine.mac, 0x0800, packet)


def datagram(source: str, target: str, dport: int, body: bytes, *, sport: int = 4000) -> bytes:
    return craft.ipv4(source, target, 17, craft.udp(sport, dport, body))


def heard(world: World, server: str, bad: Iterable[bytes], honest: Callable[[bytes], None]) -> bool:
    """Whether a server heard one of the `bad` words by the time an honest one came."""
    good, server_heard = word(), world.servers[server].heard
    honest(good)
    assert bare.until(lambda: any(good in data for data in server_heard)), "the honest packet did not come"
    return any(b in data for data in server_heard for b in bad)


def to_common(good: bytes) -> None:
    send(EVIL.ns, ether(COMMON.mac, EVIL.mac, 0x0800, datagram(EVIL.address, COMMON.address, 5353, good)))


def to_internet(good: bytes) -> None:
    send(EVIL.ns, by_gateway(EVIL, datagram(EVIL.address, NEIGHBOUR, 5353, good)))


def from_internet(good: bytes) -> None:
    """To dom0's VPN port, which is open."""
    frame = ether(bare.mac_of(DOM0, "eth0"), bare.mac_of(INET, "eth0"), 0x0800, datagram(NEIGHBOUR, ONE, 44096, good))
    send(INET, frame)


def in_zone_two(good: bytes) -> None:
    """From dom0 itself to zDominig."""
    with inside(DOM0, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as made:
        made.sendto(good, (WEBDOM.address, 5060))


@contextlib.contextmanager
def listening(ns: str, interface: str = "eth0") -> Iterator[Callable[[Callable[[bytes], None]], list[bytes]]]:
    """Gives `came(honest)`: every frame that came in by the time an honest packet did."""
    made = inside(ns, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003)))

    def came(honest: Callable[[bytes], None]) -> list[bytes]:
        good = word()
        honest(good)
        frames: list[bytes] = []
        end = time.monotonic() + wire.PATIENCE_S
        while not any(good in frame for frame in frames):
            made.settimeout(max(0.001, end - time.monotonic()))
            data, source = made.recvfrom(4000)
            if source[2] != socket.PACKET_OUTGOING:
                frames.append(data)
        return frames

    with made:
        made.bind((interface, 0x0003))
        yield came


def seen(ns: str, bad: bytes, play: Callable[[], None], honest: Callable[[bytes], None]) -> bool:
    """Whether the word comes out at a namespace's eth0 when the attack is played."""
    with listening(ns) as came:
        play()
        return any(bad in frame for frame in came(honest))
