"""A look at the rules that is put together from what was seen before says what a look at everything says."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from bench import sites
from dom0 import chains, generation, members, nft_marks, policy, runner
from dom0.host import HostConfig
from firewall import render
from tests.host.wire import inside

pytestmark = pytest.mark.host

NS = f"frl{os.getpid()}"
CONFIG = HostConfig(name="looks", libvirt="test:///default", volumes="/nonexistent")
SITE = sites.site(40)
ADDRESS = "fr-dn-198.51.100.5"


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    subprocess.run(("ip", "netns", "add", NS), check=True)
    monkeypatch.setattr(policy, "_seen", generation.Seen())
    try:
        files = render.files(SITE)
        for argv, text in (
            (("ipset", "restore"), files.sets),
            (("nft", "-f", "-"), files.bridge),
            (("ip6tables-restore", "--noflush"), chains.splice(files.v6, "")),
            (("iptables-restore", "--noflush"), chains.splice(files.v4, "")),
            (("iptables-restore", "--noflush"), "*nat\n:DOCKER - [0:0]\n-A PREROUTING -j DOCKER\nCOMMIT\n"),
        ):
            done(*argv, stdin=text)
        yield
    finally:
        subprocess.run(("ip", "netns", "delete", NS), check=True)


def done(*argv: str, stdin: str = "") -> str:
    return inside(NS, lambda: runner.run(argv, stdin=stdin, keep=runner.ALL).stdout)


def look() -> dict[str, str]:
    return inside(NS, lambda: policy.live(CONFIG, ("v4", "v6", "bridge")))


def everything() -> dict[str, str]:
    """Printed anew, whatever was seen before."""
    return inside(NS, lambda: {family: policy._live(family) for family in ("v4", "v6", "bridge")})


def same(found: dict[str, str], whole: dict[str, str]) -> bool:
    """The rules of every chain, ours or not, policies and jumps; the order of chains says nothing."""
    rules = all(chains.read(found[family]) == chains.read(whole[family]) for family in ("v4", "v6"))
    return (
        rules and all(_lines(found[f]) == _lines(whole[f]) for f in ("v4", "v6")) and found["bridge"] == whole["bridge"]
    )


def _lines(save: str) -> dict[str, list[str]]:
    """Of each table its lines; sorted, for each chain's order is told by `chains.read`."""
    return {part.split("\n", 1)[0]: sorted(part.splitlines()) for part in save.split("*")[1:]}


CHANGES = (
    ("iptables", "-t", "nat", "-I", ADDRESS, "-p", "udp", "--dport", "53", "-j", "RETURN"),
    ("iptables", "-t", "nat", "-A", "DOCKER", "-p", "tcp", "-m", "comment", "--comment", "a b", "-j", "RETURN"),
    ("iptables", "-t", "nat", "-R", ADDRESS, "2", "-j", "RETURN"),
    ("iptables", "-t", "nat", "-D", ADDRESS, "1"),
    ("iptables", "-t", "nat", "-F", ADDRESS),
    ("iptables", "-t", "nat", "-I", "PREROUTING", "-j", "DOCKER"),
    ("iptables", "-P", "FORWARD", "ACCEPT"),
    ("iptables", "-A", "INPUT", "-s", "10.0.0.1", "-j", "ACCEPT"),
    ("iptables", "-N", "fr-new"),
    ("iptables", "-t", "nat", "-E", "DOCKER", "WHALE"),
    ("iptables", "-t", "security", "-A", "INPUT", "-j", "ACCEPT"),
    ("iptables", "-F"),
    ("ip6tables", "-P", "INPUT", "ACCEPT"),
    ("ip6tables", "-D", "fr-in", "1"),
    ("nft", "add", "rule", "bridge", "fridu", "port", "accept"),
    ("nft", "insert", "rule", "ip", "nat", ADDRESS, "tcp", "dport", "9", "drop"),
    ("nft", "add table ip foreign; add chain ip foreign c; add rule ip foreign c accept"),
    ("nft", "flush", "table", "ip", "nat"),
    ("nft", "delete", "table", "ip6", "filter"),
)


@pytest.mark.parametrize("change", CHANGES, ids=" ".join)
def test_after_any_change_the_look_says_what_a_look_at_everything_says(room: None, change: tuple[str, ...]) -> None:
    before = look()
    assert same(before, everything())
    done(*change)
    whole = everything()
    found = look()
    assert same({"v4": "", "v6": "", "bridge": "", **found}, whole)
    if "foreign" not in change[-1] and "security" not in change:
        assert not same({"v4": "", "v6": "", "bridge": "", **before}, whole)


def test_changes_on_top_of_each_other_are_all_seen(room: None) -> None:
    look()
    for number in range(6):
        for change in (CHANGES[0], CHANGES[1], CHANGES[3], CHANGES[5]):
            done(*change)
            if number % 2:
                assert same(look(), everything())
    assert same(look(), everything())


def test_one_changed_service_has_one_chain_printed_and_a_machine_that_comes_none(
    room: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = look()
    asked: list[tuple[str, ...]] = []
    real = runner.run

    def run(argv: tuple[str, ...], **how: object) -> runner.Result:
        asked.append(argv)
        return real(argv, **how)  # type: ignore[arg-type]

    _, member = members.boot_files([*members.machine_member("fr1", "aa:bb:0a:0a:01:01", "10.10.1.10")])
    done("nft", "-f", "-", stdin=member)
    monkeypatch.setattr(runner, "run", run)
    assert look() == before
    assert asked == []
    part = chains.splice(render.v4(sites.site(40, moved=range(20, 21))), before["v4"])
    done("iptables-restore", "--noflush", stdin=part)
    asked.clear()
    after = look()
    assert asked == [("iptables", "-t", "nat", "-S", next(x[1:].split()[0] for x in part.splitlines() if x[0] == ":"))]
    monkeypatch.undo()
    assert chains.ours(after["v4"]) == chains.wanted(render.v4(sites.site(40, moved=range(20, 21))))
    assert same(after, everything())


def test_traffic_leaves_every_mark_as_it_was(room: None) -> None:
    done("ip", "link", "set", "lo", "up")
    before = marks()
    for way in ("INPUT", "OUTPUT"):
        done("iptables", "-I", way, "-j", "ACCEPT")
    watched = marks()
    assert watched != before
    done("ping", "-c", "1", "-W", "1", "127.0.0.1")
    assert "[2:168] -A OUTPUT -j ACCEPT" in done("iptables-save", "-c")
    assert marks() == watched


def marks() -> dict[str, object]:
    return {family: inside(NS, lambda f=family: nft_marks.of(f)) for family in nft_marks.FAMILIES}
