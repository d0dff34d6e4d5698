"""dom0 after a restart: everything a zone needs comes back from dom0's own files, asked of nobody."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from dom0 import boot, closed, files, loading, network, trial
from dom0.host import HostConfig, Nic
from firewall import render
from firewall.specs import Address, Site, Zone
from tests.host import bare
from tests.host.wire import answer, connect, echoes, inside
from tests.host.zone_world import MAC, alive, lease, look, make, plug_in, run, tell, zone
from zones import plan
from zones.specs import ZoneSpec

pytestmark = pytest.mark.host
NAME = "1-0f3a77c1d2e4"
SITE = Site(
    addresses=(Address(ip="91.121.65.140", nic="eth0"),),
    zones=(
        Zone(number=1, name="zFulup", bridge="xen-br1", gateway="10.10.1.1", network="10.10.1.0/24", external=None),
    ),
)


def lay_down(config: HostConfig, name: str = NAME) -> trial.Pending:
    """The revision's files, and the pointer a trial of it has."""
    for file, text in render.files(SITE).by_name.items():
        files.write_atomic(str(loading.folder(config, name) / file), text)
    digest = loading.digest_of(loading.revision(config, name))
    return trial.Pending(revision=name, token=f"{name}-j1", deadline=0, boot="", seconds=60, digest=digest)


def point(config: HostConfig, which: str, to: trial.Pending) -> None:
    files.write_atomic(f"{config.state}/firewall/{which}", json.dumps(asdict(to)))


@pytest.fixture
def restarted(dom0: HostConfig) -> tuple[ZoneSpec, HostConfig]:
    """A dom0 whose zone was made and whose kernel has forgotten it all since."""
    spec = zone(dom0)
    make(spec, dom0)
    point(dom0, "confirmed", lay_down(dom0))
    pid = Path(spec.files.pid).read_text().strip()
    os.kill(int(pid), signal.SIGKILL)
    deadline = time.monotonic() + 60
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    run("ip", "link", "delete", "xen-br1")
    run("ipset", "destroy")
    run("nft", "flush", "ruleset")
    Path(spec.files.pid).unlink()
    return spec, dom0


def closed_but_ssh(config: HostConfig) -> bool:
    """Whether revision 0 is what is loaded; the packets are below."""
    return f"-A fr-in {closed.ANSWERS}" in run("iptables-save") and "fridu closed" in run("nft", "list", "ruleset")


def test_the_zone_is_back_as_its_job_left_it(restarted: tuple[ZoneSpec, HostConfig]) -> None:
    spec, config = restarted
    said: list[str] = []
    assert plan.present(spec, look(spec, config)).steps != ()
    assert boot.boot(config, said.append), said
    assert plan.present(spec, look(spec, config)).steps == ()


def test_forwarding_comes_with_the_policy(restarted: tuple[ZoneSpec, HostConfig]) -> None:
    _, config = restarted
    run("sysctl", "-w", "net.ipv4.ip_forward=0")
    assert boot.boot(config, lambda _: None)
    assert network.sysctls({"net.ipv4.ip_forward"}) == {"net.ipv4.ip_forward": "1"}
    assert "-P FORWARD DROP" in run("iptables", "-S", "FORWARD")
    assert not closed_but_ssh(config)


def test_where_the_confirmed_files_are_broken_the_host_stays_closed(restarted: tuple[ZoneSpec, HostConfig]) -> None:
    spec, config = restarted
    files.write_atomic(f"{config.state}/firewall/revisions/{NAME}/v4.rules", "*filter\n-A nonsense\nCOMMIT\n")
    said: list[str] = []
    assert not boot.boot(config, said.append)
    assert any("stays closed but for SSH" in sentence for sentence in said)
    assert closed_but_ssh(config)
    assert network.sysctls({"net.ipv4.ip_forward"}) == {"net.ipv4.ip_forward": "0"}
    assert plan.present(spec, look(spec, config)).steps == ()


def test_a_trial_the_host_went_down_in_is_taken_back(restarted: tuple[ZoneSpec, HostConfig]) -> None:
    _, config = restarted
    on_trial = replace(lay_down(config, "2-0f3a77c1d2e4"), deadline=trial.boot_time() + 500, boot="the one before")
    point(config, "pending", on_trial)
    assert boot.boot(config, lambda _: None)
    standing = trial.read(config)
    assert (standing.confirmed, standing.pending, standing.returning) == (NAME, None, False)
    assert standing.outcomes[on_trial.token].by == "boot"


def test_with_nothing_confirmed_machines_keep_their_leases(restarted: tuple[ZoneSpec, HostConfig]) -> None:
    spec, config = restarted
    Path(config.state, "firewall", "confirmed").unlink()
    tell(spec, "Common", MAC, "10.10.1.2")
    assert boot.boot(config, lambda _: None)
    assert closed_but_ssh(config)
    plug_in(spec)
    run("nft", "add", "element", "bridge", "fridu", "members", f'{{ "fr1" . {MAC} . 0.0.0.0 }}')
    assert lease(config).startswith("10.10.1.2 ")


ONE = bare.Machine("one", "fr1", "xen-br1", "10.10.1.2", "aa:bb:0a:0a:01:02")
NEAR = bare.Machine("near", "fr2", "xen-br1", "10.10.1.3", "aa:bb:0a:0a:01:03")
FAR = bare.Machine("far", "fr3", "xen-br2", "10.10.2.2", "aa:bb:0a:0a:02:02")
LAYOUT = bare.Layout({"xen-br1": "10.10.1", "xen-br2": "10.10.2"}, (ONE, NEAR, FAR))
#: Who asks, whom, on which port.
ALWAYS = [(bare.INET, bare.ONE, 22), (bare.VPN, bare.VPN_ADDRESS, 22), (bare.VPN, bare.VPN_ADDRESS, 8000)]
ALWAYS += [(bare.DOM0, bare.NEIGHBOUR, 80)]
SHUT = [(bare.INET, bare.ONE, 80), (bare.INET, bare.ONE, 8000), (bare.VPN, bare.VPN_ADDRESS, 80)]
SHUT += [(ONE.ns, "10.10.1.1", 22), (ONE.ns, "10.10.1.1", 80), (ONE.ns, bare.ONE, 22)]
SHUT += [(ONE.ns, NEAR.address, 80), (ONE.ns, FAR.address, 80), (ONE.ns, bare.NEIGHBOUR, 80)]
SHUT += [(bare.INET, ONE.address, 80), (bare.VPN, ONE.address, 80)]


@pytest.fixture
def bare_dom0(tmp_path: Path) -> Iterator[HostConfig]:
    """A dom0 that never had a policy, and forwards."""
    with bare.built(LAYOUT, tmp_path) as world:
        dom0 = [("ssh", bare.DOM0, 22, False), ("web", bare.DOM0, 80, False), ("panel", bare.DOM0, 8000, False)]
        world.serve([*dom0, ("far", bare.INET, 80, False), *((m.name, m.ns, 80, False) for m in LAYOUT.machines)])
        inside(bare.DOM0, lambda: run("sysctl", "-w", "net.ipv4.ip_forward=1"))
        card = Nic(name="eth0", addresses=(bare.ONE, bare.TWO))
        yield replace(world.config, nics=(card,), vpn_interface="tun0", vpn_network=bare.VPN_NETWORK)


def test_with_nothing_confirmed_the_host_is_closed_but_ssh(bare_dom0: HostConfig) -> None:
    """Every way shut here was open before: what is measured is the rules, not the cables."""
    assert {ask for ask in (*ALWAYS, *SHUT) if not answer(*ask)} == set()
    shell, page = connect(bare.INET, bare.ONE, 22), connect(bare.INET, bare.ONE, 80)
    assert echoes(shell)
    assert echoes(page)
    assert inside(bare.DOM0, lambda: boot.boot(bare_dom0, print))
    assert {ask for ask in ALWAYS if not answer(*ask)} == set()
    assert {ask for ask in SHUT if answer(*ask, timeout_s=0.5)} == set()
    assert echoes(shell), "an administrator's session lives on"
    assert not echoes(page, timeout_s=0.5), "a connection somebody once opened is no answer to dom0"
    shell.close()
    page.close()


def test_a_host_whose_file_names_cards_that_are_not_there_is_not_closed(bare_dom0: HostConfig) -> None:
    """The closed rules hold SSH open by the cards' names: with wrong ones, nobody would get in to mend them."""
    said: list[str] = []
    wrong = replace(bare_dom0, nics=(Nic(name="enp1s0", addresses=(bare.ONE,)),))
    assert not inside(bare.DOM0, lambda: boot.boot(wrong, said.append))
    assert "names the card enp1s0, and there is none" in said[0]
    assert len(said) == 1
    assert answer(bare.INET, bare.ONE, 22)


def test_a_broken_file_of_one_zone_does_not_stop_the_others(restarted: tuple[ZoneSpec, HostConfig]) -> None:
    spec, config = restarted
    files.write_atomic(f"{config.state}/zones/aBroken.json", "not json")
    said: list[str] = []
    assert not boot.boot(config, said.append)
    assert any("aBroken" in sentence for sentence in said)
    assert plan.present(spec, look(spec, config)).steps == ()


def test_running_it_again_changes_nothing(restarted: tuple[ZoneSpec, HostConfig]) -> None:
    spec, config = restarted
    assert boot.boot(config, lambda _: None)
    before = (run("ip", "-o", "address"), run("iptables-save").count("\n"), Path(spec.files.pid).read_text())
    assert boot.boot(config, lambda _: None)
    assert (run("ip", "-o", "address"), run("iptables-save").count("\n"), Path(spec.files.pid).read_text()) == before


def test_a_host_without_its_file_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRIDU_HOST_TOML", str(tmp_path / "none.toml"))
    done = subprocess.run(
        ("/usr/bin/python3", "-m", "dom0.boot"),
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 1
    assert "is missing" in done.stderr
    assert "Traceback" not in done.stderr
