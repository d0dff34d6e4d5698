# ruff: noqa: E501, F811 - lines of snippets; fixtures are named like what they are imported as
"""A machine that exists is changed for real: grown while it writes, given memory, renamed, moved, in a private dom0."""

from __future__ import annotations

import pytest

from tests.host.test_machine_life import Box, box, mail, nothing_left  # noqa: F401

pytestmark = pytest.mark.host

CHANGE = """
from machines.change_services import machine_change
from dom0 import growing
def change(name, **wish):
    return carried(machine_change(actor(), machine(name), approved=True, **wish))
def df(address):
    return int(ssh(address, "df -m / | tail -1").split()[1])
"""


def done(box: Box, code: str):
    return box.do(CHANGE + code)


def test_a_root_grows_while_the_machine_writes_and_all_it_wrote_is_there(box: Box, mail: str):
    found = done(
        box,
        """
answers("10.10.2.4", 22, b"SSH")
before = df("10.10.2.4")
ssh("10.10.2.4", "(i=0; while [ $i -lt 400 ]; do echo line $i >> /root/written; i=$((i+1)); [ -e /root/end ] && break; sleep 0.05; done) >/dev/null 2>&1 &")
grown = change("Mail", root_mib=384)
live = df("10.10.2.4")
at = int(ssh("10.10.2.4", "wc -l < /root/written"))
until(lambda: int(ssh("10.10.2.4", "wc -l < /root/written")) > at)
ssh("10.10.2.4", "touch /root/end; sync")
again = change("Mail", root_mib=384)["state"]
stopped = carried(services.machine_stop(actor(), machine("Mail")))
carried(services.machine_start(actor(), machine("Mail")))
answers("10.10.2.4", 22, b"SSH")
lines = ssh("10.10.2.4", "cat /root/written").splitlines()
whole = lines == [f"line {n}" for n in range(len(lines))]
carried(services.machine_stop(actor(), machine("Mail")))
sound = subprocess.run(("e2fsck", "-fn", volumes.path_of(config, "Mail-root")), capture_output=True).returncode
out = grown, before, live, growing.may_online(), again, stopped["stages"], df_after if False else len(lines) > at, whole, sound, machine("Mail").root_mib
""",
    )
    grown, before, live, online, again, _, went_on, whole, sound, row = found
    assert grown["state"] == "done", grown
    assert before < 130
    assert (live > 300) == online, "mounted where dom0's root may do that, else when it stops"
    assert again == "nothing"
    assert (went_on, whole, sound, row) == (True, True, 0, 384)


def test_what_could_not_grow_while_mounted_grows_when_it_stops(box: Box, mail: str):
    found = done(
        box,
        """
answers("10.10.2.4", 22, b"SSH")
change("Mail", root_mib=256)
off = carried(services.machine_reboot(actor(), machine("Mail")))
answers("10.10.2.4", 22, b"SSH")
out = off["state"], df("10.10.2.4")
""",
    )
    state, size = found
    assert state == "done"
    assert size > 200


def test_memory_changes_while_it_runs_and_its_control_group_says_so(box: Box, mail: str):
    found = done(
        box,
        """
answers("10.10.2.4", 22, b"SSH")
def seen():
    d = domains.look(config, ["Mail"])["Mail"]
    inside = ssh("10.10.2.4", "grep MemTotal /proc/meminfo").split()[1]
    return d.memory_mib, int(inside) // 1024
boot = ssh("10.10.2.4", "cat /proc/uptime").split()[0]
was = seen()
up = change("Mail", memory_mib=160)
more = seen()
down = change("Mail", memory_mib=48)
less = seen()
same = float(ssh("10.10.2.4", "cat /proc/uptime").split()[0]) > float(boot)
out = was, up, more, down, less, same, change("Mail", memory_mib=48)["state"]
""",
    )
    was, up, more, down, less, same, again = found
    assert (up["state"], down["state"], again) == ("done", "done", "nothing"), (up, down)
    assert (was, more, less) == ([64, 64], [160, 160], [48, 48])
    assert same, "it ran on"
