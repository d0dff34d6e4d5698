"""Any site: what the live rules do with packets is what the objects mean.

Random objects from a seed → compile → load → thousands of real questions at once, held against `reference`. The
sites follow each other on one dom0, so the change from each to the next is tried too: what was open before must be
cut or live on as the next site means it. FRIDU_SOAK=1 plays many more; FRIDU_SEED=n one again.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from dom0.flows import forget
from firewall import nat
from firewall.specs import Site
from tests.host import bare, wire
from tests.host.bare import DOM0, INET, NEIGHBOUR, ONE, TWO, VPN, VPN_ADDRESS, Card, Layout, Machine, World
from tests.host.board import Board
from tests.host.random_site import THREE, UNIVERSE, random_site
from tests.host.reference import REFUSED, SILENCE, Asker, Place, Question, expected
from tests.host.wire import Probe, command, inside

pytestmark = pytest.mark.host
OTHER_NEIGHBOUR = "203.0.113.254"
ETH1 = Card("eth1", (f"{THREE}/24",), (f"{OTHER_NEIGHBOUR}/24",))
MACHINES = tuple(
    Machine(f"m{zone}{n}", f"fr{zone}{n}", f"xen-br{zone}", f"10.10.{zone}.{n}", f"aa:bb:0a:0a:{zone:02x}:{n:02x}")
    for zone in (1, 2, 3, 4)
    for n in (2, 3)
)
LAYOUT = Layout(
    zones={f"xen-br{zone}": f"10.10.{zone}" for zone in (1, 2, 3, 4)}, machines=MACHINES, cards=(bare.ETH0, ETH1)
)
OWN = (ONE, TWO, THREE, VPN_ADDRESS, *(f"{net}.1" for net in LAYOUT.zones.values()))
PLACE = Place(own=frozenset(OWN), beyond={NEIGHBOUR: "eth0", OTHER_NEIGHBOUR: "eth1"}, vpn_client=bare.ADMIN_PC)
#: Where questions go; each asker has a few ports of each tried.
ENDS = (*OWN, NEIGHBOUR, OTHER_NEIGHBOUR, bare.ADMIN_PC, *(m.address for m in MACHINES))
ASKED_PORTS = 5
HELD_OPEN = 60
FEWEST = 5
SECONDS = 1200 if os.environ.get("FRIDU_SOAK") else 40


@dataclass(frozen=True)
class Seen:
    """One question, and what came back."""

    asker: Asker
    asked: Question
    wanted: str
    got: str


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with bare.built(LAYOUT, tmp_path_factory.mktemp("model")) as made, contextlib.closing(Board()) as board:
        for machine in MACHINES:
            board.add(machine.ns, machine.address, UNIVERSE)
        for address in OWN:
            board.add(DOM0, address, UNIVERSE)
        board.add(INET, NEIGHBOUR, UNIVERSE)
        board.add(ETH1.ns, OTHER_NEIGHBOUR, UNIVERSE)
        board.add(VPN, bare.ADMIN_PC, UNIVERSE)
        # Each REJECT is answered, however many come at once: the kernel would answer some of them only.
        command(DOM0, "sysctl", "-eqw", "net.ipv4.icmp_ratelimit=0", "net.ipv4.icmp_msgs_per_sec=100000")
        command(DOM0, "sysctl", "-eqw", "net.ipv4.icmp_msgs_burst=100000")
        yield made


def askers(site: Site) -> dict[str, Asker]:
    """By namespace."""
    out = {INET: Asker("internet", NEIGHBOUR), ETH1.ns: Asker("internet", OTHER_NEIGHBOUR)}
    out |= {VPN: Asker("vpn", bare.ADMIN_PC), DOM0: Asker("dom0", "")}
    for machine in MACHINES:
        zone = site.zone_of(machine.address)
        assert zone is not None
        out[machine.ns] = Asker(zone.name, machine.address)
    return out


def sensible(asker: Asker, address: str) -> bool:
    """Not to oneself; the Internet's hosts know their own card's addresses, and that private ones are behind it."""
    if asker.address == address or (asker.party == "vpn" and address == bare.ADMIN_PC):
        return False
    beyond = {NEIGHBOUR: (THREE, OTHER_NEIGHBOUR), OTHER_NEIGHBOUR: (ONE, TWO, NEIGHBOUR)}
    return asker.party != "internet" or address not in beyond[asker.address]


def questions(site: Site, chance: random.Random) -> list[Probe]:
    return [
        Probe(ns, address, port, udp=chance.random() < 0.4)
        for ns, asker in askers(site).items()
        for address in ENDS
        if sensible(asker, address)
        for port in chance.sample(UNIVERSE, ASKED_PORTS)
    ]


def compared(site: Site, probes: list[Probe], told: dict[Probe, str]) -> list[Seen]:
    """The questions answered otherwise than the objects mean."""
    who, out = askers(site), list[Seen]()
    for probe in probes:
        asker, asked = who[probe.ns], Question(probe.address, "udp" if probe.udp else "tcp", probe.port)
        wanted = expected(site, PLACE, asker, asked)
        # dom0 speaks from whichever of its addresses is nearest.
        alike = told[probe].split(" ")[0] == wanted.split(" ")[0] if asker.party == "dom0" else told[probe] == wanted
        if not alike:
            out.append(Seen(asker, asked, wanted, told[probe]))
    return out


def pings_compared(site: Site) -> list[Seen]:
    pairs = [(ns, at) for ns, asker in askers(site).items() for at in ENDS if sensible(asker, at)]
    wanted = {(ns, at) for ns, at in pairs if _answers_pings(site, askers(site)[ns], at)}
    answered = wire.pinged(pairs)
    answered |= wire.pinged(wanted - answered, wait_s=3.0)  # what a busy box lost is asked once more
    wrong = sorted(wanted ^ answered)
    return [Seen(askers(site)[ns], Question(at, "icmp"), str((ns, at) in wanted), "not so") for ns, at in wrong]


def _answers_pings(site: Site, asker: Asker, address: str) -> bool:
    return expected(site, PLACE, asker, Question(address, "icmp")) not in (SILENCE, REFUSED)


def held_open(site: Site, chance: random.Random, stack: contextlib.ExitStack) -> dict[Probe, socket.socket]:
    """Some connections the site allows, established."""
    probes = [p for p in questions(site, chance) if not p.udp and p.ns != DOM0]
    chance.shuffle(probes)
    out: dict[Probe, socket.socket] = {}
    for probe in probes:
        wanted = expected(site, PLACE, askers(site)[probe.ns], Question(probe.address, "tcp", probe.port))
        # What ends at dom0 is forgotten at every apply, on purpose.
        if len(out) < HELD_OPEN and wanted not in (SILENCE, REFUSED) and wanted.split(":")[0] not in OWN:
            out[probe] = stack.enter_context(wire.connect(probe.ns, probe.address, probe.port))
    return out


def flows_compared(before: Site, after: Site, connections: dict[Probe, socket.socket]) -> list[Seen]:
    """Connections that live though the new site means otherwise, or are dead though it means the same."""
    alive = wire.echoing(connections.values())
    late = [sock for probe, sock in connections.items() if sock not in alive and _means_the_same(before, after, probe)]
    alive |= wire.echoing(late, quiet_s=3.0)
    out = []
    for probe, sock in connections.items():
        asked = Question(probe.address, "tcp", probe.port)
        was, now = (expected(s, PLACE, askers(s)[probe.ns], asked) for s in (before, after))
        if (was == now) != (sock in alive):
            said = "lives" if sock in alive else "is dead"
            out.append(Seen(askers(before)[probe.ns], asked, f"{was} → {now}", said))
    return out


def _means_the_same(before: Site, after: Site, probe: Probe) -> bool:
    asked = Question(probe.address, "tcp", probe.port)
    was, now = (expected(site, PLACE, askers(site)[probe.ns], asked) for site in (before, after))
    return was == now


def play(world: World, seed: int, before: Site | None) -> Site:
    """One site after another; raises with all that differs."""
    chance = random.Random(seed)
    site = random_site(chance)
    with contextlib.ExitStack() as stack:
        connections = held_open(before, chance, stack) if before else {}
        world.apply(site)
        wrong = flows_compared(before, site, connections) if before else []
    inside(DOM0, lambda: forget(["--orig-src 0.0.0.0/0"]))
    probes = questions(site, chance)
    told = wire.answers(probes)
    again = [Probe(p.ns, p.address, p.port, p.udp) for p in probes if _differs(site, p, told)]
    if again:
        told |= wire.answers(again, quiet_s=3.0)
    wrong += compared(site, probes, told) + pings_compared(site)
    assert not wrong, f"FRIDU_SEED={seed}\n" + "\n".join(map(str, wrong[:20])) + f"\n{site}"
    return site


def _differs(site: Site, probe: Probe, told: dict[Probe, str]) -> bool:
    return bool(compared(site, [probe], told))


def test_live_rules_do_what_the_objects_mean(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    given = os.environ.get("FRIDU_SEED")
    first = int(given.split(",")[0]) if given else int(time.time()) % 1_000_000
    seeds = [int(seed) for seed in given.split(",")] if given else range(first, first + 100_000)
    end = time.monotonic() + SECONDS
    before, played = None, 0
    for seed in seeds:
        # Every third site has its services in chains of 64 ports each, as addresses with hundreds do.
        monkeypatch.setattr(nat, "BUCKET_ABOVE", 1 if seed % 3 == 0 else 300)
        print(f"seed {seed}")
        before = play(world, seed, before)
        played += 1
        if not given and played >= FEWEST and time.monotonic() > end:
            break
    assert played >= (1 if given else FEWEST)
