"""An isolated zone and the real dnsmasq: a name asked for is a message, if it gets out."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dom0.dnsmasq import Files
from tests.host import bare
from tests.host.bare import DOM0, INET, NEIGHBOUR, VPN_ADDRESS, World
from tests.host.wire import PATIENCE_S, inside
from tests.hostile.scene import ADMIN, COMMON, GATEWAYS, LAYOUT, site
from zones import render
from zones.specs import ZoneSpec

pytestmark = pytest.mark.host
ANSWER = "192.0.2.77"


def question(name: str, kind: int = 1) -> bytes:
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name.split("."))
    return struct.pack("!HHHHHH", 0x4242, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", kind, 1)


class NameServer:
    """The provider's: knows every name, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.socket = inside(INET, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.socket.bind((NEIGHBOUR, 53))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                data, peer = self.socket.recvfrom(2000)
                if peer is None:
                    return
                self.asked.append(data)
                record = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + socket.inet_aton(ANSWER)
                end = data.index(b"\0", 12) + 5
                self.socket.sendto(data[:2] + struct.pack("!HHHHH", 0x8180, 1, 1, 0, 0) + data[12:end] + record, peer)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


def zone_spec(folder: Path, name: str, number: int, *, isolated: bool) -> ZoneSpec:
    """As the zone's job makes it of its row."""
    where = Files(state=str(folder), run=str(folder), zone=name)
    gateway = f"10.10.{number}.1"
    return ZoneSpec(
        host="bare", name=name, bridge=f"xen-br{number}", gateway=gateway, prefix=24, isolated=isolated,
        domain=f"{name.lower()}.internal", files=where,
    )  # fmt: skip


def start(spec: ZoneSpec, resolvers: Path) -> subprocess.Popen[bytes]:
    for path in (spec.files.ethers, spec.files.hosts):
        Path(path).mkdir(parents=True, exist_ok=True)
    for path in (spec.files.conf, spec.files.leases):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    # What dom0's own resolv.conf would say.
    conf = render.dnsmasq_conf(spec).replace("/etc/resolv.conf", str(resolvers))
    Path(spec.files.conf).write_text(conf)
    argv = ("ip", "netns", "exec", DOM0, "dnsmasq", f"--conf-file={spec.files.conf}", "--keep-in-foreground")
    return subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NameServer]:
    """Both zones' dnsmasq, and the provider's server beyond."""
    with contextlib.ExitStack() as stack:
        world: World = stack.enter_context(bare.built(LAYOUT, tmp_path_factory.mktemp("dns")))
        world.apply(site())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="frx-dns-")))
        folder.chmod(0o755)  # dnsmasq reads as nobody
        resolvers = folder / "resolv.conf"
        resolvers.write_text(f"nameserver {NEIGHBOUR}\n")
        server = NameServer()
        stack.callback(server.close)
        for name, number, isolated in (("zFulup", 1, False), ("zAdmin", 3, True)):
            process = start(zone_spec(folder, name, number, isolated=isolated), resolvers)
            stack.callback(process.wait)
            stack.callback(process.terminate)
        assert bare.until(lambda: asked(COMMON.ns, GATEWAYS[0], "up.example.org", wait_s=0.2) is not None)
        assert bare.until(lambda: asked(ADMIN.ns, GATEWAYS[2], "up.example.org", wait_s=0.2) is not None)
        yield server


def asked(ns: str, at: str, name: str, *, kind: int = 1, wait_s: float = PATIENCE_S) -> bytes | None:
    """The answer to a question by UDP; None where none comes."""
    with inside(ns, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as made:
        made.settimeout(wait_s)
        try:
            made.sendto(question(name, kind), (at, 53))
            return made.recv(2000)
        except OSError:
            return None


def asked_by_tcp(ns: str, at: str, name: str) -> bytes | None:
    with inside(ns, lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as made:
        made.settimeout(1)
        try:
            made.connect((at, 53))
            text = question(name)
            made.sendall(struct.pack("!H", len(text)) + text)
            return made.recv(2000)[2:]
        except OSError:
            return None


def secret() -> str:
    """A name that says something: what is to be carried out."""
    return f"{os.urandom(8).hex()}.example.org"


def test_another_zones_machine_asks_any_name_so_a_name_would_carry_it_out(names: NameServer) -> None:
    name = secret()
    told = asked(COMMON.ns, GATEWAYS[0], name)
    assert told is not None
    assert socket.inet_aton(ANSWER) in told
    assert any(name[:16].encode() in data for data in names.asked)


@pytest.mark.parametrize("kind", [1, 12, 15, 16, 28, 255], ids=["A", "PTR", "MX", "TXT", "AAAA", "ANY"])
def test_an_isolated_machines_question_leaves_dom0_in_no_form(names: NameServer, kind: int) -> None:
    name = secret()
    asked(ADMIN.ns, GATEWAYS[2], name, kind=kind)
    for at in (*GATEWAYS[:2], VPN_ADDRESS, NEIGHBOUR):
        assert asked(ADMIN.ns, at, name, kind=kind, wait_s=0.05) is None
    # Had it gone on, it would have come before this one.
    after = secret()
    assert asked(COMMON.ns, GATEWAYS[0], after) is not None
    assert any(after[:16].encode() in data for data in names.asked)
    assert not any(name[:16].encode() in data for data in names.asked)


def test_nor_by_tcp(names: NameServer) -> None:
    name = secret()
    told = asked_by_tcp(ADMIN.ns, GATEWAYS[2], name)
    assert told is None or socket.inet_aton(ANSWER) not in told
    assert asked_by_tcp(ADMIN.ns, GATEWAYS[0], name) is None
    after = secret()
    assert asked(COMMON.ns, GATEWAYS[0], after) is not None
    assert not any(name[:16].encode() in data for data in names.asked)


def test_its_own_names_are_answered_all_the_same(names: NameServer) -> None:
    told = asked(ADMIN.ns, GATEWAYS[2], "nobody.zadmin.internal")
    assert told is not None
    assert told[3] & 15 == 3, "not NXDOMAIN"
