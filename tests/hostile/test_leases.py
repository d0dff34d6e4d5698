"""A neighbour's lease and the real dnsmasq: it believes the hardware address a question names, so dom0 must not."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host import bare
from tests.host.bare import DOM0, Machine, World
from tests.host.wire import PATIENCE_S, command, ether, inside, mac
from tests.hostile import craft
from tests.hostile.scene import COMMON, EVIL, LAYOUT, bridge_mac, site
from tests.hostile.test_dns import start, zone_spec

pytestmark = pytest.mark.host
DISCOVER, REQUEST, DECLINE, RELEASE = 1, 3, 4, 7
OFFER, ACK = 2, 5


def question(kind: int, chaddr: str, *, wanted: str = "", has: str = "0.0.0.0", client_id: bytes = b"") -> bytes:
    """A DHCP message that asks for the answer by broadcast."""
    options = b"\x35\x01" + bytes((kind,))
    options += b"\x32\x04" + socket.inet_aton(wanted) if wanted else b""
    options += b"\x36\x04" + socket.inet_aton(EVIL.gateway) if kind != DISCOVER else b""
    options += b"\x3d" + bytes((len(client_id),)) + client_id if client_id else b""
    head = b"\x01\x01\x06\0abcd\0\0\x80\0" + socket.inet_aton(has) + bytes(12) + mac(chaddr) + bytes(202)
    return head + b"\x63\x82\x53\x63" + options + b"\xff"


def asked(
    machine: Machine, message: bytes, *, source: str = "0.0.0.0", to: str = "", wait_s: float = 0.4
) -> tuple[str, int]:
    """The address and kind of answer a machine gets; ("", 0) for none."""
    packet = craft.ipv4(source, to or "255.255.255.255", 17, craft.udp(68, 67, message))
    frame = ether(bridge_mac(machine) if to else craft.EVERYBODY, machine.mac, 0x0800, packet)
    with inside(machine.ns, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))) as made:
        made.bind(("eth0", 3))
        made.send(frame)
        end = time.monotonic() + wait_s
        while (left := end - time.monotonic()) > 0:
            made.settimeout(left)
            with contextlib.suppress(OSError):
                data, source_of = made.recvfrom(2000)
                if source_of[2] != socket.PACKET_OUTGOING and data[23:24] == b"\x11" and data[36:38] == b"\0\x44":
                    return socket.inet_ntoa(data[58:62]), data[284]
    return "", 0


def has_its_lease(wait_s: float = PATIENCE_S) -> bool:
    """Whether COMMON, just started, is offered its address."""
    return asked(COMMON, question(DISCOVER, COMMON.mac), wait_s=wait_s) == (COMMON.address, OFFER)


def declined_by_a_neighbour() -> None:
    """EVIL says in COMMON's name that its address is taken, in every way it may speak to dom0."""
    no = question(DECLINE, COMMON.mac, wanted=COMMON.address)
    asked(EVIL, no, wait_s=0.05)
    asked(EVIL, no, source=EVIL.address, wait_s=0.05)
    asked(EVIL, no, source=EVIL.address, to=EVIL.gateway, wait_s=0.05)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with bare.built(LAYOUT, tmp_path_factory.mktemp("leases")) as made:
        yield made


@pytest.fixture
def leases(world: World) -> Iterator[Path]:
    """zFulup's dnsmasq, which knows both machines; its file of leases."""
    with tempfile.TemporaryDirectory(prefix="frx-leases-") as folder:
        Path(folder).chmod(0o755)  # dnsmasq reads as nobody
        Path(folder, "resolv.conf").write_text("")
        spec = zone_spec(Path(folder), "zFulup", 1, isolated=False)
        Path(spec.files.ethers).mkdir(parents=True)
        for machine in (COMMON, EVIL):
            line = f"{machine.mac},{machine.address},{machine.name}\n"
            Path(spec.files.ethers, machine.name).write_text(line)
        process: subprocess.Popen[bytes] = start(spec, Path(folder, "resolv.conf"))
        try:
            assert bare.until(lambda: "xen-br1:67" in command(DOM0, "ss", "-lnu"))
            yield Path(spec.files.leases)
        finally:
            process.terminate()
            process.wait()


def test_without_a_policy_a_machine_keeps_its_neighbour_from_starting(world: World, leases: Path) -> None:
    world.careless(site())
    assert has_its_lease()
    declined_by_a_neighbour()
    assert not has_its_lease(wait_s=1.5)


def test_a_machine_can_neither_decline_nor_return_nor_ask_for_its_neighbours_lease(world: World, leases: Path) -> None:
    world.apply(site())
    assert has_its_lease()
    asked(COMMON, question(REQUEST, COMMON.mac, wanted=COMMON.address), wait_s=PATIENCE_S)
    assert COMMON.address in leases.read_text()
    declined_by_a_neighbour()
    back = question(RELEASE, COMMON.mac, has=COMMON.address)
    asked(EVIL, back, source=EVIL.address, to=EVIL.gateway, wait_s=0.05)
    assert asked(EVIL, question(DISCOVER, COMMON.mac)) == ("", 0)
    assert has_its_lease()
    assert COMMON.address in leases.read_text()


def test_each_asks_for_its_own_renews_and_returns_it(world: World, leases: Path) -> None:
    world.apply(site())
    assert asked(EVIL, question(DISCOVER, EVIL.mac), wait_s=PATIENCE_S) == (EVIL.address, OFFER)
    assert asked(EVIL, question(REQUEST, EVIL.mac, wanted=EVIL.address), wait_s=PATIENCE_S) == (EVIL.address, ACK)
    renewed = question(REQUEST, EVIL.mac, has=EVIL.address).replace(b"\x36\x04" + socket.inet_aton(EVIL.gateway), b"")
    assert asked(EVIL, renewed, source=EVIL.address, to=EVIL.gateway, wait_s=PATIENCE_S) == (EVIL.address, ACK)
    asked(EVIL, question(RELEASE, EVIL.mac, has=EVIL.address), source=EVIL.address, to=EVIL.gateway, wait_s=0.05)
    assert bare.until(lambda: EVIL.address not in leases.read_text())
