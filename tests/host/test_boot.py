"""dom0 after a restart: everything a zone needs comes back from dom0's own files, asked of nobody."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from dom0 import boot, files, network
from dom0.host import HostConfig
from firewall import render
from firewall.specs import Address, Site, Zone
from tests.host.test_zones import alive, dom0, look, make, run, zone  # noqa: F401
from zones import plan
from zones.specs import ZoneSpec

pytestmark = pytest.mark.host
SITE = Site(
    addresses=(Address(ip="91.121.65.140", nic="eth0"),),
    zones=(
        Zone(number=1, name="zFulup", bridge="xen-br1", gateway="10.10.1.1", network="10.10.1.0/24", external=None),
    ),
)


@pytest.fixture
def restarted(dom0: HostConfig) -> tuple[ZoneSpec, HostConfig]:  # noqa: F811
    """A dom0 whose zone was made and whose kernel has forgotten it all since."""
    spec = zone(dom0)
    make(spec, dom0)
    for name, text in render.files(SITE).by_name.items():
        files.write_atomic(f"{dom0.state}/firewall/confirmed/{name}", text)
    pid = Path(spec.files.pid).read_text().strip()
    os.kill(int(pid), signal.SIGKILL)
    deadline = time.monotonic() + 10
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    run("ip", "link", "delete", "xen-br1")
    run("ipset", "destroy")
    run("nft", "flush", "ruleset")
    Path(spec.files.pid).unlink()
    return spec, dom0


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
    assert "fr-fwd" in run("iptables-save")


def test_without_its_policy_nothing_is_forwarded(restarted: tuple[ZoneSpec, HostConfig]) -> None:
    spec, config = restarted
    run("sysctl", "-w", "net.ipv4.ip_forward=0")
    files.write_atomic(f"{config.state}/firewall/confirmed/v4.rules", "*filter\n-A nonsense -j ACCEPT\nCOMMIT\n")
    said: list[str] = []
    assert not boot.boot(config, said.append)
    assert any("policy failed" in sentence for sentence in said)
    assert network.sysctls({"net.ipv4.ip_forward"}) == {"net.ipv4.ip_forward": "0"}
    assert plan.present(spec, look(spec, config)).steps == ()


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
