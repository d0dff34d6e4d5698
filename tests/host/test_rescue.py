# ruff: noqa: E501 - lines of snippets
"""A machine started from a throw-away root with its own root beside it, for real; and back."""

from __future__ import annotations

from typing import Any

import pytest

from tests.host.test_machine_life import Box, box, mail, nothing_left  # noqa: F401

pytestmark = pytest.mark.host

ASK = """
from machines import rescue_services as rescue
from dom0 import volumes
m = machine("Mail")

def begun():
    password, job = rescue.machine_rescue(actor(), m, approved=True)
    return carried(job)

def ended():
    return carried(rescue.rescue_end(actor(), machine("Mail"), approved=True))
"""


def asked(box: Box, code: str) -> Any:  # noqa: F811
    return box.do(ASK + code)


def test_it_runs_from_the_rescue_image_with_its_own_root_beside_it_and_comes_back(box: Box, mail: str):  # noqa: F811
    found = asked(
        box,
        """
answers(m.address, 22, b"SSH")
ssh(m.address, "echo mine > /root/note; sync")
into = begun()
up = answers(m.address, 22, b"SSH")
inside = ssh(m.address, "cat /root/note 2>/dev/null; cat /mnt/root/root/note; stat -c %u /mnt/root/root/note; echo mended >> /mnt/root/root/note; sync; hostname")
again = carried(services.machine_start(actor(), machine("Mail")))["state"]
out_of = ended()
answers(m.address, 22, b"SSH")
after = ssh(m.address, "cat /root/note; ls /mnt/root 2>/dev/null; true")
left = volumes.look(config, "Mail-rescue")
row = machine("Mail")
out = into, up, inside.split(), again, out_of, after.split(), str(left), row.rescue_id, row.observed
""",
    )
    into, up, inside, again, out_of, after, left, rescue, observed = found
    assert into["state"] == "done", into
    assert up
    assert inside == ["mine", "0", "Mail"], inside
    assert again == "nothing"
    assert out_of["state"] == "done", out_of
    assert after == ["mine", "mended"]
    assert (left, rescue, observed) == ("None", None, "running")


@pytest.mark.parametrize("broken", [False, True])
def test_its_log_volume_is_beside_its_root_also_where_that_is_too_broken_to_mount(broken: bool, box: Box):  # noqa: F811
    found = box.do(
        "create('Mail', '10.10.2.4', log_mib=16)\n"
        + ASK
        + f"""
answers(m.address, 22, b"SSH")
ssh(m.address, "echo mine > /var/log/note; sync")
carried(services.machine_stop(actor(), m))
if {broken}:
    path = volumes.path_of(config, "Mail-root")
    with open(path, "r+b") as file:
        file.seek(1024); kept = file.read(1024); file.seek(1024); file.write(b"x" * 1024)
into = begun()
up = answers(m.address, 22, b"SSH")
inside = ssh(m.address, "cat /mnt/log/note; echo seen >> /mnt/log/note; ls /mnt/root | wc -l; ls /var/log/note 2>/dev/null; sync")
if {broken}:
    with open(path, "r+b") as file:
        file.seek(1024); file.write(kept)
ended(), answers(m.address, 22, b"SSH")
out = into, up, inside.split(), ssh(m.address, "cat /var/log/note; ls /mnt/log 2>/dev/null; true").split()
"""
    )
    into, up, inside, after = found
    assert into["state"] == "done", into
    assert up
    assert inside[0] == "mine", inside
    assert (inside[1:] == ["0"]) == broken, inside
    assert after == ["mine", "seen"]


WAY_OUT = [(s, m) for s in ("stop", "createvmconf", "lvmcreate", "start") for m in ("before", "amid", "after")]


@pytest.mark.parametrize(("stage", "moment"), WAY_OUT)
def test_killed_on_the_way_out_it_goes_on(stage: str, moment: str, box: Box, mail: str):  # noqa: F811
    found = asked(
        box,
        f"""
answers(m.address, 22, b"SSH")
ssh(m.address, "echo mine > /root/note; sync")
begun()
job = rescue.rescue_end(actor(), machine("Mail"), approved=True)
one = killed(job, {stage!r}, {moment!r}), gone_on(job)["state"]
up = answers(m.address, 22, b"SSH")
row = machine("Mail")
there = ssh(m.address, "cat /root/note; ls /mnt/root 2>/dev/null; true")
out = one, up, there, str(volumes.look(config, "Mail-rescue")), row.rescue_id, row.observed
""",
    )
    assert found == [[9, "done"], True, "mine", "None", None, "running"]


@pytest.mark.parametrize("stage", ["lvmcreate", "installroot", "stop", "createvmconf", "start"])
def test_killed_on_the_way_in_it_goes_on(stage: str, box: Box, mail: str):  # noqa: F811
    found = asked(
        box,
        f"""
password, job = rescue.machine_rescue(actor(), m, approved=True)
one = killed(job, {stage!r}, "after"), gone_on(job)["state"]
up = answers(m.address, 22, b"SSH")
there = ssh(m.address, "test -d /mnt/root/etc && echo there")
out = one, up, there, ended()["state"], str(volumes.look(config, "Mail-rescue"))
""",
    )
    assert found == [[9, "done"], True, "there", "done", "None"]


def test_a_root_too_broken_to_mount_does_not_keep_the_rescue_from_starting(box: Box, mail: str):  # noqa: F811
    found = asked(
        box,
        """
carried(services.machine_stop(actor(), m))
path = volumes.path_of(config, "Mail-root")
with open(path, "r+b") as file:
    file.seek(1024); kept = file.read(1024); file.seek(1024); file.write(b"x" * 1024)
into = begun()
up = answers(m.address, 22, b"SSH")
with open(path, "r+b") as file:
    file.seek(1024); file.write(kept)
out = into, up, ended()["state"]
""",
    )
    assert found[0]["state"] == "done", found
    assert found[1:] == [True, "done"]


def test_a_machine_deleted_while_it_is_rescued_leaves_nothing(box: Box, mail: str):  # noqa: F811
    assert asked(box, "begun()\ndelete('Mail')\nout = left()") == []
