"""Applying a firewall of any size: Fridu against bare files and other managers, in one run.

    python -m bench.bench_firewall [--sizes 10,100,1000,5000] [--rounds 5] [--ways …]

Root needed; works in a room of its own (bench/room.py). Each apply changes the target of every service, except
"one service", which moves one, part by part. Times are medians, ways interleaved, ratios of the same run.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from bench import peers, room, sites
from bench.peers import BARE, PEERS, Argv, Way
from dom0 import chains, members, policy, runner, writer
from dom0.host import HostConfig
from firewall import render
from firewall.specs import Site

FRIDU = "Fridu"
FAMILIES = ("v4", "v6", "bridge")
NO_LEGACY_RULES = "*filter\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\nCOMMIT\n*nat\nCOMMIT\n"


# Fridu's own way: what the worker does from the objects on


def fridu(config: HostConfig, site: Site) -> None:
    """Compile, look at what is loaded, load what differs."""
    files, live = render.files(site), policy.live(config, FAMILIES)
    if not render.bridge_loaded(files.bridge, live.get("bridge", "")):
        runner.run(("ipset", "restore"), stdin=files.sets)
        runner.run(("nft", "-f", "-"), stdin=files.bridge)
    for program, text, family in (("ip6tables", files.v6, "v6"), ("iptables", files.v4, "v4")):
        if chains.ours(live.get(family, "")) != chains.wanted(text):
            spliced = chains.splice(text, live.get(family, ""))
            load(config, (f"{program}-restore", "--noflush"), spliced)


def load(config: HostConfig, argv: Argv, text: str) -> None:
    """As a step does it: as the one writer of rules."""
    with writer.writing(config):
        runner.run(argv, stdin=text, timeout_s=120)


def looked(config: HostConfig) -> None:
    """The look at the host that every apply ends with, and the watcher takes; what it saw is kept until a load."""
    policy.live(config, FAMILIES)


def dry_run(config: HostConfig, site: Site, folder: Path) -> None:
    """The trial in a scratch namespace that comes before."""
    for name, text in render.files(site).by_name.items():
        (folder / name).write_text(text)
    policy.try_out(config, {"folder": str(folder)})


# the rounds


def timed(do: Callable[[], object]) -> float:
    began = time.perf_counter()
    do()
    return (time.perf_counter() - began) * 1000


def run(argv: Argv) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{argv[0]} failed: {done.stderr[-2000:]}")


def clean() -> None:
    """Nothing loaded, as on a fresh box."""
    run(("nft", "flush", "ruleset"))
    runner.run(("iptables-legacy-restore",), stdin=NO_LEGACY_RULES)  # ferm's
    run(("ipset", "destroy"))


def join() -> None:
    """Membership, as the jobs of zones and machines put it in."""
    everybody = [*members.host_members("10.10.95.0/24")]
    for zone in range(1, sites.ZONES + 1):
        everybody += members.zone_members(f"xen-br{zone}", f"10.10.{zone}.0/24")
        for number in range(200):
            address = sites.machine(zone, number % 100, moved=number >= 100)
            everybody += members.machine_member(f"fr{zone}", mac(zone), address)
    ipset, nft = members.boot_files(everybody)
    runner.run(("ipset", "-exist", "restore"), stdin=ipset)
    runner.run(("nft", "-f", "-"), stdin=nft)


def mac(zone: int) -> str:
    return f"aa:bb:0a:0a:{zone:02x}:01"


def sample(size: int, moved: bool) -> Site:
    return sites.site(size, moved=range(size) if moved else range(0))


def apply_peer(way: Way, size: int, rounds: int, folder: Path) -> list[float]:
    """Milliseconds of each apply, the first one (from nothing) left out."""
    taken = []
    for number in range(rounds + 1):
        wished = sample(size, moved=number % 2 == 1)
        argv = way.write(wished, folder)
        taken.append(timed(lambda argv=argv: run(argv)))  # type: ignore[misc]
        demand(way.name, wished)
    return taken[1:]


def apply_fridu(config: HostConfig, size: int, rounds: int) -> list[float]:
    taken = []
    for number in range(rounds + 1):
        wished = sample(size, moved=number % 2 == 1)
        looked(config)
        taken.append(timed(lambda wished=wished: fridu(config, wished)))  # type: ignore[misc]
        demand(FRIDU, wished)
    return taken[1:]


def demand(way: str, wished: Site) -> None:
    """End the benchmark where what is loaded is not what was wished: nobody is fast by doing nothing."""
    shows = (("nft", "list", "ruleset"), ("iptables-save",), ("iptables-legacy-save",))
    loaded = "".join(subprocess.run(argv, capture_output=True, text=True, check=False).stdout for argv in shows)
    missing = [s.name for s in wished.services if f"{s.target}:{s.target_port}" not in loaded.replace(" . ", ":")]
    if missing:
        sys.exit(f"{way} did not load {len(missing)} of {len(wished.services)} services, such as {missing[0]}")


PARTS = ("compile", "look, nothing loaded since", "look, a foreign rule since", "look at everything", "compare")
LOAD, SAME, EXPERT = "load", "the same chain by hand", "an expert's chain by hand"


def one_service(config: HostConfig, size: int, rounds: int, folder: Path) -> dict[str, float]:
    """Median ms of each part of moving one service more, and of doing it by hand, interleaved.

    By hand is the very text that Fridu found to be needed, and the chain of a hand-written file in a network of its
    own.
    """
    taken: dict[str, list[float]] = {}
    ours, hand = Path("/proc/thread-self/ns/net").open(), Path("/run/netns/hand")  # noqa: SIM115
    run(("ip", "netns", "add", hand.name))
    with ours, hand.open() as theirs:
        enter(theirs)
        run(BARE.write(sites.site(size), folder))
        enter(ours)
        for number in range(1, min(rounds, 2 * size) + 1):
            moved = range(number) if number <= size else range(number - size, size)
            found = _one_more(config, sites.site(size, moved=moved), folder)
            enter(theirs)
            changed = sites.site(size, moved=moved).services[(number - 1) % size]
            path = folder / "chain.rules"
            path.write_text(peers.one_chain(sites.site(size, moved=moved), changed.zone or 1))
            found[EXPERT] = timed(lambda path=path: run(("iptables-restore", "--noflush", str(path))))  # type: ignore[misc]
            enter(ours)
            for part, ms in found.items():
                taken.setdefault(part, []).append(ms)
    run(("ip", "netns", "delete", hand.name))
    return {part: statistics.median(ms) for part, ms in taken.items()}


def _one_more(config: HostConfig, wished: Site, folder: Path) -> dict[str, float]:
    found = {PARTS[3]: timed(lambda: [policy._live(family) for family in FAMILIES])}
    looked(config)
    run(("iptables", "-A", "OUTPUT", "-d", "192.0.2.1", "-j", "ACCEPT"))
    found[PARTS[2]] = timed(lambda: looked(config))
    live = policy.live(config, FAMILIES)
    chains.ours(live["v4"])  # as the look at the end of the job before did
    began = time.perf_counter()
    files = render.files(wished)
    found[PARTS[0]] = (time.perf_counter() - began) * 1000
    found[PARTS[1]] = timed(lambda: looked(config))
    began = time.perf_counter()
    same = render.bridge_loaded(files.bridge, live["bridge"]) and chains.ours(live["v6"]) == chains.wanted(files.v6)
    differs = chains.ours(live["v4"]) != chains.wanted(files.v4)
    spliced = chains.splice(files.v4, live["v4"])
    found[PARTS[4]] = (time.perf_counter() - began) * 1000
    if not (same and differs):
        sys.exit("one moved service has to change the IPv4 rules and nothing else")
    argv = ("iptables-restore", "--noflush")
    found[LOAD] = timed(lambda: load(config, argv, spliced))
    demand(FRIDU, wished)
    path = folder / "same.rules"
    path.write_text(spliced)
    found[SAME] = timed(lambda: run((*argv, str(path))))
    return found


def enter(network: TextIO) -> None:
    """Go into a network namespace, with all that is started from now on."""
    if ctypes.CDLL(None, use_errno=True).setns(network.fileno(), 0):
        raise OSError(ctypes.get_errno(), "setns")


def one_service_rows(found: dict[str, float]) -> dict[str, str]:
    warm = sum(found[part] for part in (PARTS[0], PARTS[1], PARTS[4], LOAD))
    wholes = {
        "whole, nothing loaded since": warm,
        "whole, a foreign rule since": warm - found[PARTS[1]] + found[PARTS[2]],
        "whole, everything looked at": warm - found[PARTS[1]] + found[PARTS[3]],
    }
    rows = {part: f"{ms:.1f} ms" for part, ms in found.items()}
    for name, ms in wholes.items():
        rows[name] = f"{ms:.1f} ms ({ms / found[SAME]:.2f}×; {ms / found[EXPERT]:.2f}× the expert's)"
    return rows


# the first packet of a connection


def connect_us(address: str, port: int, times: int = 400) -> float:
    """The tenth percentile of opening a TCP connection, in µs."""
    taken = []
    for _ in range(times):
        with socket.socket() as made:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # no TIME_WAIT left behind
            began = time.perf_counter()
            made.connect((address, port))
            taken.append((time.perf_counter() - began) * 1e6)
    return statistics.quantiles(taken, n=10)[0]


def serve() -> None:
    """In the machines' namespace of a zone: accept on every port a service leads to, for ever."""
    watch = selectors.DefaultSelector()
    for port in range(8000, 8060):
        watch.register(socket.create_server(("", port), backlog=500), selectors.EVENT_READ)
    print("ready", flush=True)
    while True:
        for key, _ in watch.select():
            key.fileobj.accept()[0].close()  # type: ignore[union-attr]


def first_packet(size: int) -> tuple[float, float]:
    """µs to the first and to the last service of the whole, from the Internet's side."""
    services = sites.site(size).services
    found = []
    for service in (services[0], services[-1]):
        ask = f"connect_us('{service.external}', {service.port_first})"
        code = f"from bench.bench_firewall import connect_us; print({ask})"
        out = subprocess.run(
            ("ip", "netns", "exec", "inet", sys.executable, "-c", code), stdout=subprocess.PIPE, text=True, check=True
        )
        found.append(float(out.stdout))
    return found[0], found[1]


# the room's network


def wire() -> list[subprocess.Popen[str]]:
    """eth0 with ten addresses towards namespace "inet"; a bridge a zone, its machines all in one namespace."""
    run(("ip", "link", "set", "lo", "up"))
    for ns in ("inet", *(f"m{z}" for z in range(1, sites.ZONES + 1))):
        run(("ip", "netns", "add", ns))
        run(("ip", "-n", ns, "link", "set", "lo", "up"))
    run(("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", "inet"))
    run(("ip", "link", "set", "eth0", "up"))
    run(("ip", "-n", "inet", "link", "set", "eth0", "up"))
    run(("ip", "addr", "add", "198.51.100.1/24", "dev", "eth0"))
    run(("ip", "-n", "inet", "addr", "add", "198.51.100.254/24", "dev", "eth0"))
    for zone in range(2, sites.ZONES + 1):
        run(("ip", "addr", "add", f"{sites.external(zone)}/32", "dev", "eth0"))
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    return [_zone(zone) for zone in range(1, sites.ZONES + 1)]


def _zone(zone: int) -> subprocess.Popen[str]:
    bridge, ns = f"xen-br{zone}", f"m{zone}"
    run(("ip", "link", "add", bridge, "type", "bridge"))
    run(("ip", "addr", "add", f"10.10.{zone}.1/24", "dev", bridge))
    run(("ip", "link", "set", bridge, "up"))
    run(("ip", "link", "add", f"fr{zone}", "type", "veth", "peer", "name", "eth0", "netns", ns))
    run(("ip", "link", "set", f"fr{zone}", "up", "master", bridge))
    run(("ip", "-n", ns, "link", "set", "eth0", "up", "address", mac(zone)))
    for number in range(200):
        address = sites.machine(zone, number % 100, moved=number >= 100)
        run(("ip", "-n", ns, "addr", "add", f"{address}/24", "dev", "eth0"))
    run(("ip", "-n", ns, "route", "add", "default", "via", f"10.10.{zone}.1"))
    code = "from bench.bench_firewall import serve; serve()"
    made = subprocess.Popen(("ip", "netns", "exec", ns, sys.executable, "-c", code), stdout=subprocess.PIPE, text=True)
    assert made.stdout is not None
    made.stdout.readline()
    return made


def _kept(stack: contextlib.ExitStack, *argv: str) -> None:
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stack.callback(process.wait)
    stack.callback(process.kill)


def _until(so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not so():
        if time.monotonic() > deadline:
            sys.exit("firewalld does not come up")
        time.sleep(0.05)


@contextlib.contextmanager
def firewalld() -> Iterator[None]:
    """firewalld with the message bus it wants; both live and die in this room."""
    Path("/run/dbus").mkdir(exist_ok=True)
    asked = Path("/usr/share/polkit-1/actions/org.fedoraproject.FirewallD1.policy")
    if not asked.exists():  # which of its two the package links when it is installed
        asked.symlink_to("org.fedoraproject.FirewallD1.server.policy.choice")
    bus = Path("/run/dbus/system_bus_socket")
    bus.unlink(missing_ok=True)
    with contextlib.ExitStack() as stack:
        _kept(stack, "dbus-daemon", "--system", "--nofork", "--nopidfile")
        _until(bus.is_socket)
        _kept(stack, "firewalld", "--nofork", "--nopid")
        _until(lambda: subprocess.run(("firewall-cmd", "--state"), capture_output=True, check=False).returncode == 0)
        yield


# the report


def inside(sizes: list[int], rounds: int, only: list[str]) -> None:
    """Everything, in the room."""
    servers = wire()
    folder = Path(tempfile.mkdtemp())
    config = HostConfig(name="bench", libvirt="test:///default", volumes=str(folder), state=str(folder))
    print(f"load of the box at the start: {os.getloadavg()[0]:.1f}\n")
    ways = [w for w in PEERS if w is BARE or not only or any(w.name.startswith(o) for o in only)]
    table = {size: apply_all(config, size, rounds, folder, ways) for size in sizes}
    print(f"every service changed, applied: median ms (ratio to the bare file by hand), n={rounds}\n")
    _table(["way", *(f"{n} services" for n in sizes)], [_row(n, table) for n in (FRIDU, *(w.name for w in ways))])
    rest = [_rest(config, size, rounds, folder) for size in sizes]
    print("\nbesides\n")
    _table(["services", *map(str, sizes)], [[name, *(row[name] for row in rest)] for name in rest[0]])
    for server in servers:
        server.kill()


def apply_all(config: HostConfig, size: int, rounds: int, folder: Path, ways: list[Way]) -> dict[str, float]:
    """Median ms by way."""
    clean()
    join()
    found = {FRIDU: statistics.median(apply_fridu(config, size, rounds))}
    for way in ways:
        if size > way.largest:
            continue
        clean()
        own = Path(tempfile.mkdtemp(dir=folder))
        times = 2 if way.slow and size >= 1000 else rounds
        with contextlib.ExitStack() as stack:
            if way.needs == "firewalld":
                way.write(sample(size, moved=False), own)
                stack.enter_context(firewalld())
            found[way.name] = statistics.median(apply_peer(way, size, times, own))
    return found


def _row(name: str, table: dict[int, dict[str, float]]) -> list[str]:
    cells = [name]
    for found in table.values():
        ms = found.get(name)
        cells.append("–" if ms is None else f"{ms:.0f} ({ms / found[BARE.name]:.2f}×)")
    return cells


def _rest(config: HostConfig, size: int, rounds: int, folder: Path) -> dict[str, str]:
    clean()
    join()
    fridu(config, sample(size, moved=False))
    one = one_service_rows(one_service(config, size, 4 * rounds, folder))
    clean()
    join()
    fridu(config, sample(size, moved=False))
    dry = statistics.median(timed(lambda: dry_run(config, sample(size, moved=False), folder)) for _ in range(3))
    first, last = first_packet(size)
    return {
        **{f"one service: {part}": said for part, said in one.items()},
        "dry run": f"{dry:.0f} ms",
        "first packet, first service": f"{first:.0f} µs",
        "last service": f"{last:.0f} µs ({last / first:.2f}×)",
    }


def _table(head: list[str], rows: list[list[str]]) -> None:
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10,100,1000,5000")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ways", default="", help="beginnings of peers' names, with commas; all without")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    wish = parser.parse_args()
    if wish.inside:
        return inside([int(n) for n in wish.sizes.split(",")], wish.rounds, [w for w in wish.ways.split(",") if w])
    room.download([way.needs for way in PEERS if way.needs] + ["dbus-daemon"])
    sys.exit(room.enter("bench.bench_firewall", *sys.argv[1:]))


if __name__ == "__main__":
    main()
