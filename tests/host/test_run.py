# ruff: noqa: E501, F401, F811 - lines of snippets, and the fixtures of another file
"""Running machines for real: paused, asked to power off and not listening, started in order with the host."""

from __future__ import annotations

import pytest

from demo import shutdown
from tests.host.test_machine_life import Box, box, mail, nothing_left

pytestmark = pytest.mark.host

#: What the owner left running: it asks its gateway for an echo again and again, and counts.
TICKER = "n=0; while :; do n=$((n+1)); echo $n > /run/ticks; ping -c1 -W1 10.10.2.1 >/dev/null 2>&1; done"


def test_a_paused_machine_stands_still_and_goes_on_where_it_was(box: Box, mail: str):
    found = box.do(f"""
import libvirt
m = machine("Mail")
answers(m.address, 22, b"SSH")
ssh(m.address, {f"(trap '' HUP; {TICKER}) >/dev/null 2>&1 </dev/null & echo started"!r})
def sent():
    line = next(l for l in Path("/proc/net/dev").read_text().splitlines() if m.vif + ":" in l)
    return int(line.split(":")[1].split()[1])
first = sent()
ticks = until(lambda: sent() > first + 50, 20)
paused = carried(run_services.machine_pause(actor(), m))
again = carried(run_services.machine_pause(actor(), m))
watch.look(config)
m.refresh_from_db()
seen = m.observed, m.wanted
before = sent()
time.sleep(1.5)
still = sent() - before
silent = answers(m.address, 22, b"SSH", 1.0)
resumed = carried(run_services.machine_resume(actor(), m))
watch.look(config)
m.refresh_from_db()
on = until(lambda: sent() > before + 50, 20)
out = [ticks, paused["state"], again["state"], seen, still, silent, resumed["state"], (m.observed, m.wanted), on,
       answers(m.address, 22, b"SSH"), ssh(m.address, "test $(cat /run/ticks) -gt 50 && echo counting")]
""")
    ticks, paused, again, seen, still, silent, resumed, after, on, greets, counting = found
    assert ticks, "the ticker sends nothing: the test could not fail"
    assert (paused, again, seen) == ("done", "nothing", ["paused", "paused"])
    assert still <= 3, "a paused machine sent packets"  # its half of the kernel still answers who asks for its MAC
    assert not silent, "a paused machine answered"
    assert (resumed, after, on, greets) == ("done", ["running", "running"], True, True)
    assert counting == "counting", "it was started anew instead of going on"


def test_a_paused_machine_can_be_stopped_restarted_and_deleted(box: Box, mail: str):
    found = box.do("""
m = machine("Mail")
answers(m.address, 22, b"SSH")
out = []
for service in (services.machine_reboot, services.machine_stop):
    carried(run_services.machine_pause(actor(), m))
    ended = carried(service(actor(), m))
    out += [ended["state"], "by itself" in ended["output"]]
    carried(services.machine_start(actor(), m))
    answers(m.address, 22, b"SSH")
carried(run_services.machine_pause(actor(), m))
out.append(carried(services.machine_stop(actor(), m, force=True))["state"])
carried(services.machine_start(actor(), m))
carried(run_services.machine_pause(actor(), m))
out.append(delete("Mail")["state"])
""")
    assert found == ["done", True, "done", True, "done", "done"]


def test_a_machine_that_does_not_power_off_is_not_forced_unless_somebody_says_so(box: Box, mail: str):
    found = box.do("""
from machines import stages
from machines.scenes import scenes
stages.GRACE_S = 2
m = machine("Mail")
answers(m.address, 22, b"SSH")
ssh(m.address, "echo ::shutdown:/bin/sleep 1000 >> /etc/inittab; kill -HUP 1; sleep 1")
def offered():
    m.refresh_from_db()
    m.built_at
    (scene,) = scenes(User.objects.get(username="fulup"), [m])
    return scene.shown.word, scene.offers.force, scene.offers.stop
asked_ = carried(services.machine_stop(actor(), m))
runs = domains.look(config, ["Mail"])["Mail"].running
watch.look(config)
offer = offered()
job_go_on(actor(), Job.objects.order_by("-pk").first())
once_more = carried(Job.objects.order_by("-pk").first())
forced = carried(services.machine_stop(actor(), m, force=True))
off = domains.look(config, ["Mail"])["Mail"].running
watch.look(config)
out = asked_, runs, offer, once_more["state"], forced, off, offered(), Path(config.state, "autostart", str(m.uuid)).exists()
""")
    stopped, runs, offer, once_more, forced, off, done, starts = found
    assert (stopped["state"], runs) == ("refused", True)
    assert stopped["message"] == "Mail did not power off within 2 s. It still runs."
    assert "Forced off it ends at once; what it has not written yet is lost" in stopped["note"]
    assert offer == ["stop refused", True, True]
    assert once_more == "refused"
    assert (forced["state"], off) == ("done", False)
    assert "ended by force" in forced["output"]
    assert done == ["stopped", False, False]
    assert not starts


def test_machines_start_in_their_order_with_the_host_and_one_that_fails_stops_none(box: Box):
    box.do("""
for number, (name, order) in enumerate((("Third", 30), ("First", 5), ("Broken", 7), ("Second", 20), ("Off", 1))):
    create(name, f"10.10.2.{number + 10}")
    Machine.objects.filter(name=name).update(start_order=order)
    carried(services.machine_stop(actor(), machine(name)))
    if name != "Off":
        carried(services.machine_start(actor(), machine(name)))
Path(volumes.path_of(config, "Broken-root")).rename("/var/lib/fridu/aside")
""")
    shutdown.stop(box.layout)
    box.up()
    found = box.do("""
import libvirt
link = libvirt.open(config.libvirt)
runs = {d.name(): d.ID() for d in link.listAllDomains(0) if d.isActive()}
began = {name: int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]) for name, pid in runs.items()}
flags = [d.autostart() for d in link.listAllDomains(0)]
from dom0 import autostart
from dataclasses import replace
said = []
again = autostart.start_all(config, said.append)
domains.force_off(config, str(machine("First").uuid))
tight = []
autostart.start_all(replace(config, reserved_memory_mib=10**7), tight.append)
Path("/var/lib/fridu/aside").rename(volumes.path_of(config, "Broken-root"))
mended = []
now = autostart.start_all(config, mended.append)
out = sorted(began, key=began.get), flags, again, said, tight, now, mended
for m in list(Machine.objects.all()):
    delete(m.name)
""")
    order, flags, again, said, tight, now, mended = found
    assert order == ["First", "Second", "Third"]
    assert not any(flags)
    assert not again
    assert [line.split()[0] for line in said] == ["First", "Broken", "Second", "Third"]
    assert "Broken is not started: " in said[1]
    assert said[0] == "First runs already."
    assert "First is not started: it wants 64 MB of memory, 0 MB are free beside what the host keeps" in tight[0]
    assert now, mended
    assert mended[0] == "First is started."


def test_figures_say_what_a_load_inside_really_did(box: Box, mail: str):
    found = box.do("""
from machines.models import Figures
m = machine("Mail")
answers(m.address, 22, b"SSH")
def booked():
    box_ = Host.objects.get()
    box_.figures.setdefault("machines", {})["at"] = 1
    box_.save()
    watch.look(config)
    row = Figures.objects.get(machine=m)
    return row.now.get("sample"), row.at.timestamp()
booked()
time.sleep(1.5)
idle, began = booked()
spin = "t=$(($(date +%s) + 4)); while [ $(date +%s) -lt $t ]; do :; done"
ssh(m.address, "dd if=/dev/urandom of=/root/big bs=1M count=12 2>/dev/null; sync; " + spin)
blob = subprocess.run(("ssh", "-i", "/root/life-key", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
    "-o", "BatchMode=yes", "-o", "LogLevel=ERROR", f"root@{m.address}", "cat /root/big"), capture_output=True, timeout=60)
busy, ended = booked()
seconds = ended - began
out = [idle, [part * seconds for part in busy[1:2] + busy[3:]], busy[2], len(blob.stdout), seconds]
""")
    idle, (cpu, net_in, net_out, _, written), memory, sent, seconds = found
    mib = 1 << 20
    assert sent == 12 * mib
    assert 12 * mib <= net_out <= 14 * mib, "what it sent is neither lost nor counted twice"
    assert net_in < mib
    assert 12 * mib <= written <= 20 * mib, "what it wrote reached its disk once, with the filesystem's own"
    assert 1500 <= cpu <= 1000 * seconds + 500, "four seconds of counting, on a box with others"
    assert 0 < memory <= 64
    assert idle[1] < 500
    assert idle[3] < 100_000
