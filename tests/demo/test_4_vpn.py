"""The admin VPN for real: Debian's OpenVPN on dom0, a client across the Internet, through dom0's own rules."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.demo.conftest import NAME, ROOT, Demo, until

pytestmark = pytest.mark.demo
PANEL = "http://10.10.95.38:8000/sign-in/"
SHORT = ("-s", "-o", "/dev/null", "--max-time", "1")
# Counts packets of one source that arrive on tun0, while it is asked to; prints "ready" first.
LISTEN = """
import socket, sys, time
link = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
link.bind(("tun0", 0))
link.settimeout(0.1)
print("ready", flush=True)
end, wanted, seen = time.monotonic() + float(sys.argv[2]), socket.inet_aton(sys.argv[1]), 0
while time.monotonic() < end:
    try:
        seen += link.recv(2048)[12:16] == wanted
    except TimeoutError:
        pass
print(seen)
"""


def in_(demo: Demo) -> bool:
    """Whether the panel answers the vpn namespace right now."""
    return demo.in_ns("vpn", "curl", *SHORT, PANEL).returncode == 0


def become(demo: Demo, name: str) -> None:
    """Have the vpn namespace be that client."""
    command = (sys.executable, "-m", "demo.vpn", "--name", NAME, name)
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True, timeout=120)
    assert until(lambda: in_(demo)), f"{name} does not get in"


def added(demo: Demo, name: str, *more: str) -> None:
    done = demo.fridu("vpn", "add", name, *more)
    assert done.returncode == 0, done.stdout + done.stderr


def address(demo: Demo) -> str:
    """The address the vpn namespace has in the VPN; "" while it is out."""
    said = demo.in_ns("vpn", "ip", "-4", "-oneline", "address", "show", "dev", "tun0").stdout.split()
    return said[said.index("inet") + 1].partition("/")[0] if "inet" in said else ""


def stays_out(demo: Demo, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if in_(demo):
            return False
    return True


@contextmanager
def heard(demo: Demo, source: str, seconds: float) -> Iterator[Callable[[], int]]:
    """Packets of `source` that reach dom0's tun0 within so many seconds, counted from the first line of the block."""
    command = ("ip", "netns", "exec", demo.state["netns"]["dom0"], sys.executable, "-c", LISTEN, source, str(seconds))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as listener:
        assert listener.stdout is not None
        assert listener.stdout.readline() == "ready\n"
        yield lambda: int(listener.stdout.read())


@pytest.fixture(autouse=True)
def back_to_the_laptop(demo: Demo) -> Iterator[None]:
    """The vpn namespace is the operator's laptop again, as the other files find it."""
    yield
    become(demo, "fulup-laptop")


def test_the_panel_is_reached_through_the_tunnel_alone(demo: Demo) -> None:
    assert address(demo) == "10.10.95.2"
    assert in_(demo)
    assert not demo.opens("10.10.95.38", 8000, "internet")
    assert until(lambda: "in from 203.0.113.7" in demo.fridu("vpn").stdout), demo.fridu("vpn").stdout
    assert demo.pid("openvpn")
    assert demo.pid("openvpn-client")


def test_the_panel_stays_while_openvpn_starts_again(demo: Demo) -> None:
    panel, server = demo.pid("panel"), demo.pid("openvpn")
    os.kill(server, signal.SIGKILL)
    assert until(lambda: demo.pid("openvpn") not in (0, server))
    assert until(lambda: in_(demo))
    assert demo.pid("panel") == panel


def test_a_client_speaks_from_its_own_address_alone(demo: Demo) -> None:
    ours, others = "10.10.95.2", ("10.10.95.9", "10.10.95.38", "10.10.1.2", "198.51.100.77")
    for source in (ours, *others):
        demo.in_ns("vpn", "ip", "address", "add", f"{source}/32", "dev", "tun0")
        with heard(demo, source, 5 if source == ours else 1.2) as packets:
            demo.in_ns("vpn", "ping", "-c", "3", "-i", "0.2", "-W", "1", "-I", source, "10.10.95.38")
            assert (packets() > 0) == (source == ours), source


def test_a_revoked_peer_is_out_within_seconds_and_for_ever(demo: Demo) -> None:
    added(demo, "fulup-phone", "address=10.10.95.44")
    become(demo, "fulup-phone")
    assert address(demo) == "10.10.95.44"
    done = demo.fridu("vpn", "revoke", "fulup-phone", "--reason", "lost on a train")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not in_(demo)
    # Longer than OpenVPN's own patience: it has come again by then, with the same certificate, and was refused.
    assert stays_out(demo, 12)
    assert "AUTH_FAILED" in (ROOT / "var" / NAME / "log" / "openvpn-client.log").read_text()
    assert until(lambda: "still in" not in demo.fridu("vpn").stdout)


def test_it_is_out_even_where_openvpn_cannot_be_told(demo: Demo) -> None:
    added(demo, "fulup-tablet", "address=10.10.95.45")
    become(demo, "fulup-tablet")
    host = ROOT / "var" / NAME / "etc" / "host.toml"
    was = host.read_text()
    host.write_text("".join(line for line in was.splitlines(True) if not line.startswith("vpn_management")))
    try:
        done = demo.fridu("vpn", "revoke", "fulup-tablet")
        assert done.returncode == 0, done.stdout + done.stderr
        with heard(demo, "10.10.95.45", 4) as packets:
            assert not in_(demo)
            assert packets() > 0, "its session has ended: the test shows nothing"
        assert stays_out(demo, 3)
    finally:
        host.write_text(was)


def test_a_user_who_is_deactivated_is_cut_off(demo: Demo) -> None:
    demo.python(
        "from accounts.services import user_create; from audit.log import Actor; from accounts.models import User\n"
        "f = User.objects.get(username='fulup'); a = Actor(id=f.pk, name='fulup')\n"
        "out = user_create(a, username='yann', role='operator', password='correct horse battery').pk"
    )
    added(demo, "yann-laptop", "user=yann")
    become(demo, "yann-laptop")
    demo.python(
        "from accounts.services import user_deactivate; from audit.log import Actor; from accounts.models import User\n"
        "f = User.objects.get(username='fulup'); user_deactivate(Actor(id=f.pk, name='fulup'), "
        "User.objects.get(username='yann')); out = 1"
    )
    assert until(lambda: not in_(demo), 20)
    assert stays_out(demo, 8)
    reasons = demo.sql("select reason, state from hosts_job where target_kind = 'vpn revocation' order by id desc")
    assert reasons[0] == ("yann was deactivated", "done")


def test_a_name_that_is_no_peer_does_not_get_in(demo: Demo) -> None:
    command = (sys.executable, "-m", "demo.vpn", "--name", NAME, "stranger")
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True, timeout=120)
    log = Path(ROOT / "var" / NAME / "log" / "openvpn-client.log")
    assert until(lambda: log.read_text().count("AUTH_FAILED") > 1)
    assert not in_(demo)


def test_a_port_the_rules_close_is_closed_for_who_is_in(demo: Demo) -> None:
    rules = demo.in_ns("dom0", "iptables", "-S", "fr-dom0").stdout.splitlines()
    number = next(n for n, rule in enumerate(rules) if "--dport 44096" in rule)
    spec = rules[number].split()[2:]
    demo.in_ns("dom0", "iptables", "-D", "fr-dom0", *spec)
    try:
        demo.in_ns("dom0", "conntrack", "-D", "-p", "udp", "--dport", "44096")
        # The server pings its clients every second: what it begins by itself must not open the way for them again.
        assert stays_out(demo, 4)
    finally:
        demo.in_ns("dom0", "iptables", "-I", "fr-dom0", str(number), *spec)
    assert until(lambda: in_(demo))
