"""The box a stranger has: systemd, cgroup v2, our demo from one command, and the main job's list."""

from __future__ import annotations

import json
import time

import pytest

from tests.lab.conftest import Lab
from tests.lab.list_inside import POINTS

pytestmark = pytest.mark.lab

DEMO_S = 900  # a start that takes 15 s on a real processor
LIST_S = 1500  # on a busy box; a quiet one takes a fifth


def test_it_runs_systemd_and_cgroup_v2(debian: Lab) -> None:
    assert debian.run("cat /proc/1/comm").stdout == "systemd\n"
    assert debian.run("stat -f -c %T /sys/fs/cgroup").stdout == "cgroup2fs\n"
    assert debian.run("systemctl --failed --no-legend --plain").stdout == ""


def test_it_has_no_way_out(debian: Lab) -> None:
    """Tests that pass only because something was fetched would fail at a stranger's."""
    tried = debian.run("curl -s -m 5 http://192.0.2.1/ || curl -s -m 5 http://10.0.2.2/", check=False)
    assert tried.code != 0


def test_the_main_jobs_list_holds_from_one_command_to_the_other(debian: Lab) -> None:
    """`bin/demo --detach`, every point of tests/lab/list_inside.py, `bin/demo --stop`, and nothing is left."""
    debian.bring_tree()
    before = _traces(debian)
    began = time.monotonic()
    said = debian.run("cd /opt/fridu && bin/demo --detach --yes", timeout_s=DEMO_S).stdout
    assert "http://" in said
    print(f"\nbin/demo --detach: {time.monotonic() - began:.0f} s")
    wrong = _list(debian)
    began = time.monotonic()
    said = debian.run("cd /opt/fridu && bin/demo --stop", timeout_s=300).stdout
    print(f"bin/demo --stop: {time.monotonic() - began:.0f} s")
    assert not wrong, "\n".join(wrong)
    assert said == "The demo has ended; its data stays.\n"
    assert _traces(debian) == before


def _list(lab: Lab) -> list[str]:
    """Have the list tried inside, say how long each point took; what does not hold."""
    said = lab.run("cd /opt/fridu && /usr/bin/python3 -B -m tests.lab.list_inside", timeout_s=LIST_S, check=False)
    wrong = [] if said.code == 0 else [f"the list ended with {said.code}: {said.stderr[-2000:]}"]
    tried = []
    for line in said.stdout.splitlines():
        if line.startswith("#"):
            print(line)
            continue
        point = json.loads(line)
        print(f"{point['point']}: {point['seconds']} s{', WRONG' if point['wrong'] else ''}")
        tried.append(point["point"])
        if point["wrong"]:
            wrong.append(f"{point['point']}: {point['wrong']}")
    if tried != [point.__name__ for point in POINTS]:
        wrong.append(f"tried were only {tried}")
    return wrong


def _traces(lab: Lab) -> str:
    """What a demo could leave: namespaces, mounts, loop devices, links, rules, processes of its own, control groups."""
    return lab.run(
        "ip netns; findmnt -rn -o TARGET | sort; losetup -a; ip -br link | sort; iptables-save | grep -v '^#'; "
        "pgrep -af '[l]ibvirtd|[d]nsmasq|[r]edis|[o]penvpn|[d]ropbear|[s]rv.fridu'; "
        "find /sys/fs/cgroup -iname '*fridu*'; cat /sys/fs/cgroup/cgroup.subtree_control; true"
    ).stdout
