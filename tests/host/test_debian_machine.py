# ruff: noqa: E501 - lines of snippets
"""Debian 12 and Debian 13 as machines for real: an archive as Fridu has it built, its image, DHCP, SSH, restart, stop."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from bench.bench_provision import debian
from tests.host.test_machine_life import Box, box, nothing_left  # noqa: F401

pytestmark = pytest.mark.host
DEBIANS = {"bookworm": ("12", "10.10.2.5"), "trixie": ("13", "10.10.2.6")}
#: The kernel's own, which no user namespace may mount; the units of both Debians try all the same.
FAILING = {"sys-kernel-debug.mount", "sys-kernel-tracing.mount"}


@pytest.fixture(scope="module")
def debians(box: Box) -> dict[str, Any]:  # noqa: F811
    """The jobs that made an image of each, from the imports folder."""
    imports = box.layout.var / "lib" / "imports"
    imports.mkdir()
    for suite in DEBIANS:
        os.link(debian(suite), imports / f"{suite}.tar.gz")
    return box.do(f"""
from dom0 import image_files
from machines import image_services
here, out = Host.objects.get(), {{}}
here.figures = {{"imports": image_files.offered(config)}}
here.save()
for suite in {list(DEBIANS)}:
    out[suite] = carried(image_services.image_import(actor(), host=here, name=suite, file=f"{{suite}}.tar.gz"))
    found = Image.objects.get(name=suite)
    out[suite] |= {{"family": found.family, "distribution": found.facts.get("distribution")}}
""")


def made(box: Box, suite: str) -> None:  # noqa: F811
    found = box.do(f"""
job = create({suite!r}, {DEBIANS[suite][1]!r}, image=Image.objects.get(name={suite!r}), memory_mib=256, root_mib=1024)
out = job, answers({DEBIANS[suite][1]!r}, 22, b"SSH")
""")
    assert found[0]["state"] == "done", found
    assert found[1], "no SSH"


@pytest.mark.parametrize("suite", DEBIANS)
def test_it_boots_is_reached_restarts_and_stops_when_asked(suite: str, box: Box, debians: dict[str, Any]):  # noqa: F811
    version, address = DEBIANS[suite]
    assert (debians[suite]["state"], debians[suite]["family"]) == ("done", "debian"), debians[suite]
    assert f"GNU/Linux {version} " in debians[suite]["distribution"]
    made(box, suite)
    found = box.do(f"""
def asked(command):
    return ssh({address!r}, command).split()
facts = {{
    "init": asked("cat /proc/1/comm"),
    "name": asked("hostname"),
    "uid": asked("id -u"),
    "address": asked("ip -4 -o addr show dev eth0 | tr -s ' ' | cut -d' ' -f4"),
    "gateway": asked("ip route show default | cut -d' ' -f3"),
    "resolver": asked("grep ^nameserver /etc/resolv.conf"),
    "itself": asked("getent -s dns hosts {suite}"),
    "password": asked("grep ^root: /etc/shadow | cut -d: -f2"),
    "identity": asked("cat /etc/machine-id"),
    "host keys": asked("find /etc/ssh -name 'ssh_host_*_key' -newer /etc/hostname"),
    "failed": asked("systemctl is-system-running --wait >/dev/null; systemctl --failed --no-legend --plain | cut -d' ' -f1"),
}}
m = machine({suite!r})
began = asked("echo kept > /root/note; stat -c %Y /proc/1")
again = carried(services.machine_reboot(actor(), m))["state"]
facts["reached again"] = answers({address!r}, 22, b"SSH")
facts["after"] = asked("cat /root/note")
facts["same identity"] = asked("cat /etc/machine-id") == facts["identity"]
facts["started anew"] = asked("stat -c %Y /proc/1") != began
asked("systemctl is-system-running --wait")  # one that still boots may not hear that it should stop
stopped = carried(services.machine_stop(actor(), m))
m.refresh_from_db()
check = subprocess.run(("e2fsck", "-fn", volumes.path_of(config, {suite + "-root"!r})), capture_output=True).returncode
out = facts, again, [stopped["state"], m.observed, check], stopped["output"]
""")
    facts, again, stopped, said = found
    assert (facts["init"], facts["name"], facts["uid"]) == (["systemd"], [suite], ["0"])
    assert (facts["address"], facts["gateway"]) == ([f"{address}/24"], ["10.10.2.1"])
    assert facts["resolver"] == ["nameserver", "10.10.2.1"]
    assert facts["itself"] == [address, suite]
    assert facts["password"] == ["*"]
    assert len(facts["identity"][0]) == 32
    assert len(facts["host keys"]) >= 2, "the image's host keys are still there"
    assert set(facts["failed"]) <= FAILING
    assert (again, facts["reached again"], facts["after"]) == ("done", True, ["kept"])
    assert facts["same identity"]
    assert facts["started anew"]
    assert stopped == ["done", "stopped", 0]
    assert "powered off by itself" in said


def test_root_in_one_can_write_to_no_other_control_groups_than_its_own(box: Box, debians: dict[str, Any]):  # noqa: F811
    """On control groups of version 1 all dom0's are seen from inside; without demo/own_cgroup.sh all were its own."""
    for suite in DEBIANS:
        made(box, suite)
    writable = box.do("""
look = "find /sys/fs/cgroup -writable -not -type l -not -path '*/proc/*'"
out = {m.name: [ssh(m.address, "systemctl is-active ssh"), *ssh(m.address, look).split()] for m in Machine.objects.all()}
""")
    for suite, other in zip(DEBIANS, reversed(DEBIANS), strict=True):
        active, *paths = writable[suite]
        assert active == "active"
        assert any(path.endswith("cgroup.procs") for path in paths), "its systemd has no group"
        assert [path for path in paths if other in path] == []
        if Path("/sys/fs/cgroup/systemd").is_dir():
            assert [path for path in paths if suite not in path] == []
