"""Who gets an address and a name in a zone, and what a card gets and loses: by packets, on a real dnsmasq."""

from __future__ import annotations

import os
import socket
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from audit.log import Actor
from dom0 import boot, dnsmasq, network, probe
from dom0.errors import Refused
from dom0.host import HostConfig, Nic
from hosts import work
from hosts.models import Job
from tests.host import wire
from tests.host.zone_world import CLIENT, MAC, lease, make, plug_in, run, tell, until, zone
from zones import addresses, render, seen
from zones.models import ExternalAddress, NetworkSeen
from zones.specs import ZoneSpec

pytestmark = pytest.mark.host
STRANGER = "aa:bb:cc:dd:ee:ff"


def ranged(config: HostConfig) -> ZoneSpec:
    return replace(zone(config), lease_first="10.10.1.100", lease_last="10.10.1.110")


# leases


def test_with_a_range_a_stranger_gets_an_address_of_it_and_no_name(dom0: HostConfig) -> None:
    spec = ranged(dom0)
    make(spec, dom0)
    plug_in(spec, mac=STRANGER)
    said = lease(dom0).split()  # dnsmasq pings an address of a range first, for three seconds
    assert 100 <= int(said[0].rpartition(".")[2]) <= 110
    asked = (
        "busybox",
        "udhcpc",
        "-i",
        "eth0",
        "-n",
        "-q",
        "-f",
        "-t",
        "10",
        "-T",
        "1",
        "-x",
        "hostname:Common",
        "-s",
        "/bin/true",
    )
    run("ip", "netns", "exec", CLIENT, *asked)
    (found,) = dnsmasq.leases(Path(spec.files.leases).read_text())
    assert (found.mac, found.address, found.name) == (STRANGER, said[0], "")
    assert ask("common.fulup.internal", kind=A)[0] == NXDOMAIN


def test_with_a_range_a_known_machine_still_gets_its_own(dom0: HostConfig) -> None:
    spec = ranged(dom0)
    make(spec, dom0)
    tell(spec, "Common", MAC, "10.10.1.2")
    plug_in(spec)
    assert lease(dom0).split() == ["10.10.1.2", "10.10.1.1", "10.10.1.1", "fulup.internal", "common"]


def test_the_watcher_reads_who_has_which_address(dom0: HostConfig) -> None:
    spec = ranged(dom0)
    make(spec, dom0)
    tell(spec, "Common", MAC, "10.10.1.2")
    plug_in(spec)
    lease(dom0)
    texts = network.told(dom0)
    assert set(texts) == {spec.files.leases}
    (found,) = dnsmasq.leases(texts[spec.files.leases])
    assert (found.mac, found.address, found.name) == (MAC, "10.10.1.2", "common")


# names: a query by hand, so that its kind and its bits are what the test says

A, TXT, MX, PTR, ANY = 1, 16, 15, 12, 255
NOERROR, NXDOMAIN, REFUSED = 0, 3, 5


def ask(name: str, *, kind: int, tcp: bool = False) -> tuple[int, int]:
    """The answer's code and number of answers; (-1, 0) for silence. Asked by the machine, recursion desired."""
    run("ip", "-n", CLIENT, "address", "replace", "10.10.1.2/24", "dev", "eth0")
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"
    query = struct.pack("!6H", 7, 0x0100, 1, 0, 0, 0) + labels + struct.pack("!2H", kind, 1)
    how = socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM
    with wire.inside(CLIENT, lambda: socket.socket(socket.AF_INET, how)) as made:
        made.settimeout(2)
        try:
            made.connect(("10.10.1.1", 53))
            made.sendall(struct.pack("!H", len(query)) + query if tcp else query)
            answer = made.recv(2000)[2 if tcp else 0 :]
        except OSError:
            return -1, 0
    return struct.unpack("!H", answer[2:4])[0] & 0xF, struct.unpack("!H", answer[6:8])[0]


@pytest.fixture
def resolver(dom0: HostConfig, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """A resolver in dom0's own namespace that hears all dnsmasq forwards and answers nothing."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    run("ip", "address", "add", "192.0.2.53/32", "dev", "lo")
    made.bind(("192.0.2.53", 53))
    made.settimeout(0.4)
    path = Path(dom0.state).parent / "resolv.conf"
    path.write_text("nameserver 192.0.2.53\n")
    monkeypatch.setattr(render, "RESOLV", str(path))
    heard: list[bytes] = []

    class Heard(list[bytes]):
        def all(self) -> list[bytes]:
            while True:
                try:
                    heard.append(made.recv(2000))
                except TimeoutError:
                    return heard

    yield Heard()
    made.close()


OUTSIDE = [(A, "example.org"), (TXT, "c2.example.org"), (MX, "example.org"), (ANY, "example.org"), (A, "single")]
REVERSE = [(PTR, "1.2.0.192.in-addr.arpa"), (PTR, "9.9.10.10.in-addr.arpa")]


def test_an_isolated_zone_gets_no_name_from_outside_and_nothing_is_asked_there(dom0: HostConfig, resolver) -> None:
    spec = zone(dom0)
    make(spec, dom0)
    plug_in(spec)
    for kind, name in (*OUTSIDE, *REVERSE):
        for tcp in (False, True):
            code, count = ask(name, kind=kind, tcp=tcp)
            assert (code in (NXDOMAIN, REFUSED), count) == (True, 0), (name, kind, tcp, code)
    assert resolver.all() == []


def test_a_zone_with_a_way_out_does_ask(dom0: HostConfig, resolver) -> None:
    """What the test above relies on: the same question of a zone that is not isolated reaches the resolver."""
    spec = replace(zone(dom0), isolated=False)
    make(spec, dom0)
    plug_in(spec)
    ask("c2.example.org", kind=TXT)
    assert any(b"\x02c2\x07example\x03org" in packet for packet in resolver.all())


def test_what_becomes_isolated_stops_asking_at_once(dom0: HostConfig, resolver) -> None:
    make(replace(zone(dom0), isolated=False), dom0)
    make(zone(dom0), dom0)
    plug_in(zone(dom0))
    assert ask("c2.example.org", kind=TXT)[0] == REFUSED
    assert resolver.all() == []


# cards


@pytest.mark.django_db
def test_a_card_gets_an_address_keeps_it_at_boot_and_loses_it_and_is_otherwise_left_alone(
    host_file: HostConfig, host, fulup
) -> None:
    actor = Actor(id=fulup.pk, name="fulup")

    def ended(job: Job) -> str:
        work.run(job.pk)
        job.refresh_from_db()
        return f"{job.state} {job.message}".strip()

    def on_card() -> tuple[str, ...]:
        return network.links({"eth0"})["eth0"].addresses

    def watched() -> None:
        found = replace(probe.probe(host_file, probe.Scope(links=("*",))), files=network.told(host_file))
        seen.observe(host, found)

    run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "other")
    run("ip", "address", "add", "91.121.65.140/24", "dev", "eth0")
    before = run("ip", "-o", "link", "show", "dev", "eth0")
    host.facts = {**host.facts, "nics": [{"name": "eth0", "addresses": ["91.121.65.140"], "may_add": ["0.0.0.0/0"]}]}
    host.save()
    watched()
    assert ended(addresses.address_add(actor, host=host, nic="eth0", address="87.98.130.56", approved=True)) == "done"
    assert on_card() == ("91.121.65.140/24", "87.98.130.56/32")
    watched()
    row = ExternalAddress.objects.get(address="87.98.130.56")
    run("ip", "address", "del", "87.98.130.56/32", "dev", "eth0")
    watched()
    assert addresses.missing([row]) == {row.pk}
    boot.boot(host_file_with_nic(host_file), lambda said: None)
    assert on_card() == ("91.121.65.140/24", "87.98.130.56/32")
    watched()
    assert addresses.missing([row]) == set()
    assert ended(addresses.address_remove(actor, row, approved=True)) == "done"
    assert on_card() == ("91.121.65.140/24",)
    assert NetworkSeen.objects.get().added == {}
    assert not ExternalAddress.objects.filter(address="87.98.130.56").exists()
    assert run("ip", "-o", "link", "show", "dev", "eth0") == before


def host_file_with_nic(config: HostConfig) -> HostConfig:
    return replace(config, nics=(Nic(name="eth0", addresses=(), may_add=("0.0.0.0/0",)),))


def test_root_who_takes_the_leave_back_is_obeyed_at_boot_and_by_hand(dom0: HostConfig) -> None:
    run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "other")
    args = {"nic": "eth0", "address": "87.98.130.56"}
    network.VERBS["address-add"](host_file_with_nic(dom0), args, "")
    run("ip", "address", "flush", "dev", "eth0")
    said: list[str] = []
    boot.boot(dom0, said.append)
    assert network.links({"eth0"})["eth0"].addresses == ()
    assert any("does not allow it" in sentence for sentence in said)
    with pytest.raises(Refused, match="does not allow"):
        network.VERBS["address-add"](dom0, args, "")
    with pytest.raises(Refused, match="not put on eth0 by Fridu"):
        network.VERBS["address-remove"](dom0, {**args, "address": "91.121.65.140"}, "")


def test_what_ended_by_itself_is_looked_for_no_longer_than_it_must(dom0: HostConfig) -> None:
    """A dnsmasq somebody killed is found to be gone, and the zone's job starts it again with its leases."""
    spec = ranged(dom0)
    make(spec, dom0)
    plug_in(spec, mac=STRANGER)
    first = lease(dom0).split()[0]
    os.kill(int(Path(spec.files.pid).read_text()), 9)
    assert until(lambda: not network.services(dom0, (dnsmasq.service("zFulup"),)))
    make(spec, dom0)
    assert lease(dom0).split()[0] == first
