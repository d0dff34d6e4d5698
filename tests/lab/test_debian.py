"""The box a stranger has: systemd, cgroup v2, and our demo from one command."""

from __future__ import annotations

import pytest

from tests.lab.conftest import Lab

pytestmark = pytest.mark.lab

DEMO_S = 900  # a start that takes 15 s on a real processor


def test_it_runs_systemd_and_cgroup_v2(debian: Lab) -> None:
    assert debian.run("cat /proc/1/comm").stdout == "systemd\n"
    assert debian.run("stat -f -c %T /sys/fs/cgroup").stdout == "cgroup2fs\n"
    assert debian.run("systemctl --failed --no-legend --plain").stdout == ""


def test_it_has_no_way_out(debian: Lab) -> None:
    """Tests that pass only because something was fetched would fail at a stranger's."""
    tried = debian.run("curl -s -m 5 http://192.0.2.1/ || curl -s -m 5 http://10.0.2.2/", check=False)
    assert tried.code != 0


def test_the_demo_comes_up_and_goes_without_a_trace(debian: Lab) -> None:
    debian.bring_tree()
    before = _traces(debian)
    said = debian.run("cd /opt/fridu && bin/demo --detach --yes", timeout_s=DEMO_S).stdout
    assert "http://" in said
    page = debian.run("curl -s -L -m 60 -c /tmp/jar http://localhost:8088/").stdout
    assert "<title>" in page
    assert 'name="password"' in page
    assert (
        debian.run("cd /opt/fridu && bin/demo --stop", timeout_s=300).stdout == "The demo has ended; its data stays.\n"
    )
    assert _traces(debian) == before


def _traces(lab: Lab) -> str:
    """What a demo could leave: namespaces, mounts, loop devices, links, rules, processes of its own, control groups."""
    return lab.run(
        "ip netns; findmnt -rn -o TARGET | sort; losetup -a; ip -br link | sort; iptables-save | grep -v '^#'; "
        "pgrep -af '[l]ibvirtd|[d]nsmasq|[r]edis|[o]penvpn|[d]ropbear|[s]rv.fridu'; "
        "find /sys/fs/cgroup -iname '*fridu*'; true"
    ).stdout
