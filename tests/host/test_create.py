# ruff: noqa: E501 - lines of snippets
"""A creation's stages for real: ext3, a log volume of its own, left out, alone, forced, and killed while forced."""

from __future__ import annotations

import pytest

from tests.host.test_machine_life import Box, box, mail, nothing_left  # noqa: F401

pytestmark = pytest.mark.host


def test_an_ext3_root_and_a_log_volume_of_its_own_boot_and_last(box: Box):  # noqa: F811
    found = box.do("""
made = create("Mail", "10.10.2.4", filesystem="ext3", log_mib=16)
up = answers("10.10.2.4", 22, b"SSH")
inside = ssh("10.10.2.4", "grep -E ' / | /var/log ' /proc/mounts | cut -d' ' -f2,3; echo kept > /var/log/note; ls -ldn /var/log | cut -c1-10; sync")
kinds = [volumes.look(config, f"Mail-{kind}").content for kind in ("root", "log")]
m = machine("Mail")
carried(services.machine_stop(actor(), m))
idle = [str(p) for p in Path(config.run, "machines").glob("*")]
checked = [subprocess.run(("e2fsck", "-fn", volumes.path_of(config, f"Mail-{kind}")), capture_output=True).returncode for kind in ("root", "log")]
carried(services.machine_start(actor(), m))
answers("10.10.2.4", 22, b"SSH")
after = ssh("10.10.2.4", "cat /var/log/note; mount | grep -c ' /var/log '")
again = carried(services.machine_start(actor(), m))["state"]
out = made, up, inside, kinds, idle, checked, after, again
""")
    made, up, inside, kinds, idle, checked, after, again = found
    assert made["state"] == "done", made
    assert up
    assert sorted(inside.split()) == sorted(["/", "ext4", "/var/log", "ext4", "drwxr-xr-x"])
    assert kinds == ["ext3", "ext4"]
    assert (idle, checked) == ([], [0, 0])
    assert after.split() == ["kept", "1"]
    assert again == "nothing"


def test_stages_left_out_are_left_out_and_done_when_they_are_asked_for(box: Box):  # noqa: F811
    found = box.do("""
from machines.create_services import machine_stages
first = create("Mail", "10.10.2.4", stages={"lvmcreate": "only"})
one = machine("Mail")
there = [volumes.look(config, "Mail-root") is not None, "Mail" in domains.look(config, ["Mail"]), one.built_at is None]
refused = carried(machine_stages(actor(), one, {"tuneroot": "only"}, approved=True))
second = carried(machine_stages(actor(), one, {"start": "no"}, approved=True))
two = machine("Mail")
stopped = [two.observed, two.wanted, two.built_at is not None]
third = carried(machine_stages(actor(), two, {}, approved=True))
fourth = carried(machine_stages(actor(), machine("Mail"), {}, approved=True))
out = first, there, refused, second, stopped, third, fourth["state"], answers("10.10.2.4", 22, b"SSH")
""")
    first, there, refused, second, stopped, third, fourth, up = found
    assert first["state"] == "done", first
    assert there == [True, False, True]
    assert refused["state"] == "refused"
    assert refused["message"].startswith(
        "tuneroot needs tiny on Mail-root, which is not there, and installroot is left"
    )
    assert refused["done"] == []
    assert second["state"] == "done", second
    assert stopped == ["stopped", "stopped", True]
    assert (third["state"], fourth, up) == ("done", "nothing", True)


def test_what_is_forced_is_refused_while_it_runs_and_done_once_when_it_is_off(box: Box, mail: str):  # noqa: F811
    found = box.do("""
from machines.create_services import machine_stages
answers("10.10.2.4", 22, b"SSH")
ssh("10.10.2.4", "echo old > /root/note; sync")
m = machine("Mail")
running = carried(machine_stages(actor(), m, {"installroot": "force"}, approved=True))
before = machine("Mail").root_generation
still = ssh("10.10.2.4", "cat /root/note")
carried(services.machine_stop(actor(), m, force=True))  # it may be too busy to power off in time
forced = carried(machine_stages(actor(), m, {"installroot": "force"}, approved=True))
answers("10.10.2.4", 22, b"SSH")
out = running, before, still, forced, ssh("10.10.2.4", "ls /root/note 2>/dev/null | wc -l"), machine("Mail").root_generation
""")
    running, before, still, forced, left, generation = found
    assert running["state"] == "refused"
    assert running["message"].startswith("Mail runs; installing tiny on Mail-root would take it away under it")
    assert (before, still) == (1, "old")
    assert forced["state"] == "done", forced
    assert (left, generation) == ("0", 2)


@pytest.mark.parametrize(
    ("forced", "stage", "moment"),
    [
        ("lvmcreate", "lvmcreate", "after"),
        ("fscreate", "fscreate", "amid"),
        ("fscreate", "fscreate", "after"),
        ("installroot", "installroot", "amid"),
        ("installroot", "tuneroot", "after"),
        ("tuneroot", "tuneroot", "after"),
        ("updateether", "updateether", "after"),
        ("createvmconf", "createvmconf", "after"),
        ("start", "start", "after"),
    ],
)
def test_a_worker_killed_while_it_forces_never_forces_twice(box: Box, forced: str, stage: str, moment: str):  # noqa: F811
    found = box.do(f"""
from machines.create_services import machine_stages
made = create("Mail", "10.10.2.4", log_mib=16)
m = machine("Mail")
carried(services.machine_stop(actor(), m, force=True))  # its init may not hear a signal yet
job = machine_stages(actor(), m, {{{forced!r}: "force"}}, approved=True)
died = killed(job, {stage!r}, {moment!r})
ended = gone_on(job)
again = carried(services.machine_start(actor(), machine("Mail")))
out = made["state"], died, ended, again["state"], answers("10.10.2.4", 22, b"SSH"), volumes.look(config, "Mail-log").content
""")
    made, died, ended, again, up, log = found
    assert (made, died) == ("done", 9)
    assert ended["state"] in ("done", "nothing"), ended
    assert (again, up, log) == ("nothing", True, "ext4")


def test_the_memory_of_two_creations_asked_for_at_once_is_counted_together(box: Box):  # noqa: F811
    found = box.do("""
from django.core.exceptions import ValidationError
watch.look(config)
half = probe.free_memory_mib(config) * 6 // 10
first = asked("Mail", "10.10.2.4", memory_mib=half)
try:
    asked("Late", "10.10.2.5", memory_mib=half)
    said = ""
except ValidationError as error:
    said = str(error)
Host.objects.update(figures={})  # the host has not said yet what is free: its own plan knows
refused = carried(asked("Late", "10.10.2.5", memory_mib=half))
out = said, refused, carried(first)["state"]
""")
    said, refused, first = found
    assert "being promised to machines about to start" in said
    assert refused["state"] == "refused"
    assert "for machines about to start" in refused["message"]
    assert refused["done"] == []
    assert first == "done"
