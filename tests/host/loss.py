"""Applies under load: a site of many services whose tested one moves each time, while connections keep coming."""

from __future__ import annotations

import contextlib
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from dom0 import loading
from dom0.runner import run
from firewall import render
from firewall.specs import INTERNET, Address, Cell, Service, Site, Zone
from tests.host import bare, wire
from tests.host.bare import HOST, INET, NEIGHBOUR, ONE, TWO, Card, Layout, Machine, World
from tests.host.wire import inside

LOAD = str(Path(__file__).parent / "load.py")
HERE = Machine("here", "fr1", "xen-br2", "10.10.2.2", "aa:bb:0a:0a:02:02")
THERE = Machine("there", "fr2", "xen-br2", "10.10.2.3", "aa:bb:0a:0a:02:03")
CLIENTS = (NEIGHBOUR, *(f"91.121.65.{n}" for n in (201, 202, 203, 204, 205)))
LAYOUT = Layout(
    zones={"xen-br1": "10.10.1", "xen-br2": "10.10.2"},
    machines=(HERE, THERE),
    cards=(Card("eth0", (f"{ONE}/24", f"{TWO}/32"), tuple(f"{client}/24" for client in CLIENTS)),),
)
OPEN, TRANSFER = 80, 443
#: A port of dom0's nobody may reach, a machine's own address, a port that is not published.
CLOSED = ((ONE, 6379), (HERE.address, 8081), (TWO, 8081))


@dataclass(frozen=True)
class Loss:
    """What came of it; times in ms, `seconds` for how long new connections were asked for."""

    applies: int
    apply_ms: float
    open: int
    lost: int
    late: int
    closed: int
    leaked: int
    slowest_ms: float
    seconds: float
    transferred: int
    transfer_gap_ms: float
    transfer_alive: bool


def site(services: int, target: Machine) -> Site:
    """Ten zones with an external address each, so many services spread over them; one leads to `target`."""
    addresses = (ONE, TWO, *(f"87.98.131.{n}" for n in range(1, 9)))
    zones = tuple(
        Zone(
            number=n, name=f"z{n}", bridge=f"xen-br{n}", gateway=f"10.10.{n}.1", network=f"10.10.{n}.0/24",
            external=addresses[n - 1], nic="eth0",
        )
        for n in range(1, 11)
    )  # fmt: skip
    many = tuple(
        Service(
            name=f"s{i}", proto="tcp", port_first=1000 + i, port_last=1000 + i, external=addresses[i % 10], nic="eth0",
            target=f"10.10.{i % 10 + 1}.{i % 200 + 20}", target_port=8080, zone=i % 10 + 1,
        )
        for i in range(services - 2)
    )  # fmt: skip
    tested = bare.service("tested", OPEN, target, zone=2, external=TWO, inner=8080)
    carried = bare.service("carried", TRANSFER, THERE, zone=2, external=TWO, inner=8443)
    return replace(
        HOST,
        addresses=tuple(Address(ip=ip, nic="eth0") for ip in addresses),
        zones=zones,
        services=(*many, tested, carried),
        policy=tuple(Cell(source=z.name, target=INTERNET, everything=True) for z in zones),
    )


def flush_and_add(wanted: Site, *, most: int = 10_000) -> None:
    """The seed's way: everything open and empty, then one `iptables` process a rule, at most so many of them."""

    def work() -> None:
        empty = "*{}\n" + "".join(f":{c} ACCEPT [0:0]\n" for c in ("PREROUTING", "OUTPUT")) + "COMMIT\n"
        for table in ("raw", "nat"):
            run(("iptables-restore",), stdin=empty.format(table))
        run(("iptables-restore",), stdin="*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\nCOMMIT\n")
        for line in render.commands(wanted)[:most]:
            words = tuple(shlex.split(line))
            if words[0] == "iptables":
                run(words, ok_codes=(0, 1))
        loading.load(render.files(wanted).by_name)

    inside(bare.DOM0, work)


@contextlib.contextmanager
def process(ns: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    """`load.py` in a namespace, once it says it is ready."""
    argv = ("ip", "netns", "exec", ns, sys.executable, "-S", "-E", LOAD, *words)
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as made:
        try:
            assert made.stdout is not None
            assert made.stdout.readline() == "ready\n"
            yield made
        finally:
            made.kill()


@contextlib.contextmanager
def scene(state: Path) -> Iterator[World]:
    """The world with servers behind the tested ports, the closed ones too: only rules keep them closed."""
    with bare.built(LAYOUT, state) as world, contextlib.ExitStack() as stack:
        ends = [(HERE, 8080), (THERE, 8080), (THERE, 8443), (HERE, 8081)]
        for machine, port in ends:
            stack.enter_context(process(machine.ns, "serve", machine.address, str(port)))
        stack.enter_context(process(bare.DOM0, "serve", ONE, "6379"))
        stack.enter_context(process(bare.DOM0, "serve", TWO, "8081"))
        yield world


def measured(world: World, apply: Callable[[Site], object], *, services: int, applies: int, rate: int) -> Loss:
    """Apply so often under that many new connections a second; the world has `site(services, HERE)` already."""
    wish = {"sources": CLIENTS, "open": (TWO, OPEN), "closed": CLOSED, "rate": rate, "transfer": (TWO, TRANSFER)}
    sites = [site(services, THERE), site(services, HERE)]
    took = 0.0
    with process(INET, "ask", json.dumps(wish)) as asker:
        for turn in range(applies):
            began = time.monotonic()
            apply(sites[turn % 2])
            took += time.monotonic() - began
            assert leads_to(sites[turn % 2])
            time.sleep(0.2)  # the load's own time between two applies
        said, _ = asker.communicate(timeout=120)
    return Loss(applies=applies, apply_ms=round(took / applies * 1000, 1), **json.loads(said))


def leads_to(wanted: Site) -> bool:
    """Whether a new connection to the tested port is answered: the site really moved it."""
    target = next(s.target for s in wanted.services if s.name == "tested")
    with wire.connect(INET, TWO, OPEN) as made:
        assert wire.echoes(made)
        shown = wire.command(bare.DOM0, "conntrack", "-L", "-p", "tcp", "--orig-port-src", str(made.getsockname()[1]))
    return f"src={target} " in shown
