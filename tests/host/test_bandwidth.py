"""A zone's bandwidth, measured: real TCP through the bridge, both ways, with and without a ceiling."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from dom0 import boot, network, shaping
from dom0.bridge import SHAPING
from dom0.errors import Refused
from dom0.host import HostConfig
from tests.host.wire import inside
from tests.host.zone_world import CLIENT, carry_out, look, make, plug_in, run, zone
from zones import plan
from zones.specs import ZoneSpec

pytestmark = pytest.mark.host
OUTSIDE = f"frz-o{os.getpid() % 100000}"
MACHINE, PEER = "10.10.1.2", "203.0.113.9"
MBIT = 1_000_000
#: Mbit/s: more than any ceiling here lets through, less than the slowest box carries. A ceiling is not exceeded by
#: more than a quarter; half of it comes at least, however busy the box.
FREE = 40


@pytest.fixture
def wired(dom0: HostConfig) -> Iterator[ZoneSpec]:
    """A zone with one machine, and somebody on the other side of dom0."""
    spec = zone(dom0)
    make(spec, dom0)
    plug_in(spec)
    run("ip", "-n", CLIENT, "address", "add", f"{MACHINE}/24", "dev", "eth0")
    run("ip", "-n", CLIENT, "route", "add", "default", "via", "10.10.1.1")
    run("ip", "netns", "add", OUTSIDE)
    try:
        run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", OUTSIDE)
        run("ip", "address", "add", "203.0.113.1/24", "dev", "eth0")
        run("ip", "link", "set", "eth0", "up")
        run("ip", "-n", OUTSIDE, "address", "add", f"{PEER}/24", "dev", "eth0")
        run("ip", "-n", OUTSIDE, "link", "set", "eth0", "up")
        run("ip", "-n", OUTSIDE, "route", "add", "10.10.1.0/24", "via", "203.0.113.1")
        run("sysctl", "-w", "net.ipv4.ip_forward=1")
        yield spec
    finally:
        subprocess.run(("ip", "netns", "delete", OUTSIDE), capture_output=True, check=False)


@contextlib.contextmanager
def stream(source: str, target: str, address: str, port: int = 5001) -> Iterator[socket.socket]:
    """The receiving end of a connection through which namespace `source` sends as fast as it can."""
    listening = inside(target, lambda: socket.create_server((address, port)))
    stop = threading.Event()

    def pour() -> None:
        made = inside(source, lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        with made, contextlib.suppress(OSError):
            made.connect((address, port))
            while not stop.is_set():
                made.sendall(bytes(64_000))

    with listening:
        threading.Thread(target=pour, daemon=True).start()
        listening.settimeout(30)
        taken, _ = listening.accept()
        with taken:
            taken.settimeout(30)
            yield taken
            stop.set()


def mbit(taken: socket.socket, seconds: float = 2.0) -> float:
    """Mbit/s that arrive, after the first half second (slow start, the bucket's first fill)."""
    took_in(taken, 0.5)
    began = time.monotonic()
    count = took_in(taken, seconds)
    return count * 8 / (time.monotonic() - began) / MBIT


def took_in(taken: socket.socket, seconds: float) -> int:
    """Bytes read in that time, and whatever had gathered by its end while this box did something else."""
    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        got = len(taken.recv(256_000))
        assert got, "the connection ended"
        count += got
    with contextlib.suppress(BlockingIOError):
        while time.monotonic() < end + 0.5:
            count += len(taken.recv(256_000, socket.MSG_DONTWAIT))
    return count


def towards(seconds: float = 2.0) -> float:
    with stream(OUTSIDE, CLIENT, MACHINE) as taken:
        return mbit(taken, seconds)


def away(seconds: float = 2.0) -> float:
    with stream(CLIENT, OUTSIDE, PEER) as taken:
        return mbit(taken, seconds)


def test_each_way_keeps_to_its_ceiling_and_without_one_is_unlimited(wired: ZoneSpec, dom0: HostConfig) -> None:
    assert towards(0.5) > FREE
    assert away(0.5) > FREE
    make(replace(wired, in_kbit=16_000, out_kbit=8_000), dom0)
    figures = towards(), away()
    print(f"16 and 8 Mbit/s asked for, measured {figures[0]:.1f} and {figures[1]:.1f}")
    assert 8 < figures[0] < 20
    assert 4 < figures[1] < 10
    make(wired, dom0)
    assert towards(0.5) > FREE
    assert away(0.5) > FREE
    assert "htb" not in run("tc", "qdisc", "show", "dev", "xen-br1")
    assert set(network.links({network.ALL})) == {"lo", "eth0", "xen-br1", "fr1"}


def test_one_way_alone_is_limited(wired: ZoneSpec, dom0: HostConfig) -> None:
    make(replace(wired, out_kbit=8_000), dom0)
    assert towards(0.5) > FREE
    assert 4 < away() < 10


def test_another_ceiling_takes_hold_of_a_transfer_that_goes_on(wired: ZoneSpec, dom0: HostConfig) -> None:
    make(replace(wired, in_kbit=8_000), dom0)
    with stream(OUTSIDE, CLIENT, MACHINE) as taken:
        assert 4 < mbit(taken) < 10
        make(replace(wired, in_kbit=24_000), dom0)
        assert 12 < mbit(taken) < 30


def test_what_is_led_through_the_ifb_keeps_the_firewalls_mark(wired: ZoneSpec, dom0: HostConfig) -> None:
    """The policy drops what the bridge did not mark as a known machine's."""
    rule = "add table bridge t; add chain bridge t c { type filter hook prerouting priority -300; };"
    run("nft", f"{rule} add rule bridge t c meta mark set 0x40000000")
    unmarked = ("-i", "xen-br1", "-m", "mark", "!", "--mark", "0x40000000/0x40000000", "-j", "DROP")
    run("iptables", "-t", "raw", "-A", "PREROUTING", *unmarked)
    make(replace(wired, in_kbit=50_000, out_kbit=50_000), dom0)
    assert away(0.5) > 1


def test_planning_again_finds_nothing_to_do_and_what_somebody_changed_is_mended(
    wired: ZoneSpec, dom0: HostConfig
) -> None:
    spec = replace(wired, in_kbit=10_000, out_kbit=5_000)
    make(spec, dom0)
    for harm in (
        ("tc", "qdisc", "del", "dev", "xen-br1", "root"),
        ("tc", "filter", "del", "dev", "xen-br1", "parent", "ffff:"),
        ("tc", "class", "replace", "dev", "xen-br1", "parent", "1:", "classid", "1:1", "htb", "rate", "1mbit"),
        ("ip", "link", "delete", "ifb-xen-br1"),
        ("ip", "link", "set", "ifb-xen-br1", "down"),
    ):
        assert plan.present(spec, look(spec, dom0)).steps == ()
        run(*harm)
        assert [step.stage for step in plan.present(spec, look(spec, dom0)).steps] == ["bandwidth"], harm
        make(spec, dom0)
    state = look(spec, dom0)
    run("ip", "link", "set", "fr1", "nomaster")
    carry_out(plan.absent(spec, look(spec, dom0)), state, dom0)
    assert set(network.links({network.ALL})) == {"lo", "eth0", "fr1"}


def test_it_is_back_after_a_boot_from_dom0s_own_files(wired: ZoneSpec, dom0: HostConfig) -> None:
    make(replace(wired, in_kbit=10_000, out_kbit=5_000), dom0)
    before = shaping.found([f"{SHAPING}xen-br1"])
    assert before == {f"{SHAPING}xen-br1": "to 10000 from 5000"}
    run("ip", "link", "delete", "xen-br1")
    run("ip", "link", "delete", "ifb-xen-br1")
    said: list[str] = []
    boot.boot(dom0, said.append)
    assert shaping.found([f"{SHAPING}xen-br1"]) == before, said


@pytest.mark.parametrize("args", [{"bridge": "eth0"}, {"in_kbit": "much"}, {"out_kbit": "-1"}])
def test_nothing_but_a_zones_bridge_is_shaped(dom0: HostConfig, args: dict[str, str]) -> None:
    with pytest.raises(Refused):
        shaping.zone_shape(dom0, {"bridge": "xen-br1", "in_kbit": "0", "out_kbit": "0", **args}, "")
