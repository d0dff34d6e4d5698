"""Point 1: what the Internet, an on-link neighbour, and the machines themselves can and cannot do."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.demo.conftest import Demo, until

pytestmark = pytest.mark.demo
SCANNER = """
import select, socket, sys, time
for first in range(1, 65536, 16384):
    links, watch = {}, select.epoll()
    for port in range(first, min(first + 16384, 65536)):
        link = socket.socket()
        link.setblocking(False)
        link.connect_ex((sys.argv[1], port))
        links[link.fileno()] = (port, link)
        watch.register(link, select.EPOLLOUT)
    end = time.monotonic() + 2
    while (left := end - time.monotonic()) > 0:
        for number, _ in watch.poll(left):
            port, link = links.pop(number)
            print(-port if link.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) else port)
            watch.unregister(number)
            link.close()
    for _, link in links.values():
        link.close()
"""
ONE, TWO = "91.121.65.140", "87.98.130.56"


def test_the_published_pages_and_mail_greetings_answer(demo: Demo):
    assert "WEB-Dom" in demo.curl(f"http://{TWO}/")
    assert "WEB-Ful" in demo.curl(f"http://{ONE}/")
    for address in (ONE, TWO):
        greeting = demo.greeting(address, 25)
        assert greeting.startswith("220 ")
        assert "Common" in greeting


def test_the_owner_is_root_inside_his_machine_by_ssh(demo: Demo):
    done = demo.ssh(TWO, "id -u; hostname; cat /proc/self/uid_map")
    assert done.stdout.split()[:2] == ["0", "WEB-Dom"], done.stderr
    assert done.stdout.split()[2:4] != ["0", "0"], "root inside must not be root outside"


@pytest.fixture(scope="module")
def scanned(demo: Demo) -> dict[str, set[int]]:
    """Both addresses at once, for a scan is waiting: the ports that say yes, and those that say no as less than 0."""

    def scan(address: str) -> set[int]:
        shell = ("prlimit", "--nofile=20000", sys.executable, "-c", SCANNER, address)
        done = demo.in_ns("internet", *shell, timeout=180)
        assert done.returncode == 0, done.stderr
        return {int(port) for port in done.stdout.split()}

    with ThreadPoolExecutor() as pool:
        return dict(zip((ONE, TWO), pool.map(scan, (ONE, TWO)), strict=True))


@pytest.mark.parametrize(
    ("address", "tcp"), [(ONE, {22, 25, 80}), (TWO, {22, 25, 80})], ids=["91.121.65.140", "87.98.130.56"]
)
def test_every_other_port_is_closed(scanned: dict[str, set[int]], address: str, tcp: set[int]):
    """All 65,535 ports, by who answers a SYN; 563 is open in the rules and nobody listens there, so it says no."""
    answers = scanned[address]
    assert {p for p in answers if p > 0} == tcp
    assert {-p for p in answers if p < 0} == {563}, "a port that says no is a port that is not dropped"


def test_private_addresses_are_unreachable_for_an_on_link_neighbour(demo: Demo):
    routes = ["10.10.0.0/16"]
    for route in routes:
        demo.in_ns("internet", "ip", "route", "add", route, "via", ONE)
    try:
        inside = [(m["ip"], port) for m in demo.state["machines"].values() for port in (22, 8080, 2525)]
        inside += [("10.10.95.38", 8000), ("10.10.1.1", 53)]
        with ThreadPoolExecutor() as pool:
            opened = dict(zip(inside, pool.map(lambda at: demo.opens(*at), inside), strict=True))
        assert len(opened) == 11
        assert not any(opened.values()), opened
    finally:
        for route in routes:
            demo.in_ns("internet", "ip", "route", "del", route)


@pytest.mark.parametrize(("machine", "source"), [("WEB-Dom", TWO)])
def test_a_machine_reaches_the_internet_with_its_zones_address(demo: Demo, machine: str, source: str):
    code = "import socket\ns=socket.create_server(('198.51.100.7',7777));s.settimeout(15);c,a=s.accept();print(a[0])"
    server = subprocess.Popen(
        ("ip", "netns", "exec", demo.state["netns"]["internet"], sys.executable, "-c", code),
        stdout=subprocess.PIPE,
        text=True,
    )
    until(lambda: "7777" in demo.in_ns("internet", "ss", "-ltn").stdout)
    demo.ssh(TWO, "echo | nc -w 3 198.51.100.7 7777")
    assert server.communicate(timeout=20)[0].strip() == source


def test_dom0s_redis_panel_and_ssh_are_out_of_a_machines_reach(demo: Demo):
    asks = "(echo | nc -w 2 $at $port >/dev/null 2>&1 && echo $at $port open || echo $at $port closed) &"
    own, others = "10.10.2.1", ("10.10.1.1", "10.10.95.38", ONE)
    said = demo.ssh(
        TWO, f"for at in {own} {' '.join(others)}; do for port in 22 53 6379 8000 16509; do {asks} done; done; wait"
    ).stdout
    answers = {(at, int(port)): word for at, port, word in map(str.split, said.splitlines())}
    assert len(answers) == 20, said
    assert {place for place, word in answers.items() if word == "open"} == {(own, 53)}, "its own zone's names alone"


def test_the_panel_answers_on_the_admin_network_and_not_on_the_internet(demo: Demo):
    assert "Fridu" in demo.curl("http://10.10.95.38:8000/sign-in/", "vpn")
    assert not demo.opens(ONE, 8000)


def test_machines_are_seen_running_with_the_addresses_of_the_sample(demo: Demo):
    assert {n: m["ip"] for n, m in demo.state["machines"].items()} == {
        "Common": "10.10.1.2", "WEB-Ful": "10.10.1.3", "WEB-Dom": "10.10.2.2"
    }  # fmt: skip
