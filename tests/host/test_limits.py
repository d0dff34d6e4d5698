# ruff: noqa: E501 - lines of snippets
"""What a machine may take of its host, measured: by the shaper's, the scheduler's and the disk's own counters."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from demo import shutdown
from tests.host.test_machine_life import Box, box  # noqa: F401

pytestmark = pytest.mark.host
SAID = "net to 8000 from 4000; share 2000; cpu 512 50; disk 2048 200"
#: All of them, as the service takes them.
NET = "net_in_kbit=8000, net_out_kbit=4000, net_share_kbit=2000"
ALL = f"{NET}, cpu_weight=512, cpu_cap=50, disk_kib_s=2048, disk_iops=200"

#: What every snippet here uses.
TOOLS = """
import contextlib
from dom0 import limits, limits_file, shaping
from machines import limits_services
from machines.kinds import spec_of
from zones.services import zone_change

def limit(name, **wish):
    return carried(limits_services.machine_limits(actor(), machine(name), approved=True, **wish))

def in_force(name):
    uuid = str(machine(name).uuid)
    return limits.found(config, [uuid]).get(uuid)

def zone_rates(**rates):
    return carried(zone_change(actor(), Zone.objects.get(name="zDominig"), approved=True, **rates))["state"]

@contextlib.contextmanager
def flows(*those):
    # As fast as the line takes it: ("to", ADDRESS) towards the machine, ("from", ADDRESS) from it.
    running = [pour(address) if way == "to" else draw(address) for way, address in those]
    try:
        time.sleep(1.5)
        yield
    finally:
        for each in running:
            os.kill(each, signal.SIGKILL)
            os.waitpid(each, 0)

def pour(address):
    # Datagrams; the little buffer has it wait for the shaper, and leaves room for others in its queue.
    child = os.fork()
    if child == 0:
        line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 20_000)
        while True:
            with contextlib.suppress(OSError):
                line.sendto(bytes(1400), (address, 9))
    return child

def draw(address):
    argv = ("ssh", "-i", "/root/life-key", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null")
    nowhere = subprocess.DEVNULL
    return subprocess.Popen((*argv, f"root@{address}", "cat /dev/zero"), stdin=nowhere, stdout=nowhere, stderr=nowhere).pid

def sent(device):
    # Bytes each class has let through.
    text = subprocess.run(("tc", "-s", "class", "show", "dev", device), capture_output=True, text=True).stdout
    parts = text.split("class htb ")[1:]
    return {part.split()[0]: int(part.split("Sent ")[1].split()[0]) for part in parts}

def kbit(*devices, seconds=3):
    # What each class let through, in kbit/s, of each device in the same time.
    began, before = time.monotonic(), [sent(device) for device in devices]
    time.sleep(seconds)
    after, took = [sent(device) for device in devices], time.monotonic() - began
    return [{name: (new[name] - old.get(name, 0)) * 8 / took / 1000 for name in new} for old, new in zip(before, after)]

def cgroup(name, controller):
    number = domains.running(config, [str(machine(name).uuid)])[str(machine(name).uuid)]
    return limits._group(number, controller)[0]
"""


def near(found: float, wanted: float) -> bool:
    return 0.85 * wanted <= found <= 1.15 * wanted


@pytest.fixture
def two(box: Box) -> Iterator[None]:  # noqa: F811
    """Mail and Web run without limits, in a zone that carries 8 Mbit/s each way; they stay from test to test."""
    made = box.do(f"""{TOOLS}
there = set(Machine.objects.values_list("name", flat=True))
made = {{create(name, address)["state"] for name, address in (("Mail", "10.10.2.4"), ("Web", "10.10.2.5")) if name not in there}}
rates = zone_rates(in_kbit=8000, out_kbit=8000)
out = sorted(made - {{"done"}}), rates, answers("10.10.2.4", 22, b"SSH"), answers("10.10.2.5", 22, b"SSH")
""")
    assert made in ([[], "done", True, True], [[], "nothing", True, True])
    yield
    lifted = box.do(f"""{TOOLS}
Job.objects.filter(target_kind="machine", state__in=Job.OPEN).update(state="failed")
none = dict.fromkeys(limits_services.FIELDS, 0)
out = {{limit(name, **none)["state"] for name in Machine.objects.values_list("name", flat=True)}} - {{"done", "nothing"}}
""")
    assert lifted == "set()"


def test_what_comes_and_goes_keeps_to_its_ceiling_and_another_takes_hold_at_once(box: Box, two: None):  # noqa: F811
    first, second, state = box.do(f"""{TOOLS}
zone_rates(in_kbit=None, out_kbit=None)
state = limit("Mail", net_in_kbit=6000, net_out_kbit=3000)["state"]
vif = machine("Mail").vif
with flows(("to", "10.10.2.4"), ("from", "10.10.2.4")):
    first = kbit(vif, shaping.ifb_of(vif))
    limit("Mail", net_in_kbit=2000, net_out_kbit=5000)
    time.sleep(1)
    second = kbit(vif, shaping.ifb_of(vif))
out = [each["1:1"] for each in first], [each["1:1"] for each in second], state
""")
    print(f"to and from it, asked for 6000 and 3000: {first}; then 2000 and 5000: {second}")
    assert state == "done"
    assert near(first[0], 6000), first
    assert near(first[1], 3000), first
    assert near(second[0], 2000), second
    assert near(second[1], 5000), second


def test_each_gets_what_it_was_promised_of_its_zone_however_busy_the_other_is(box: Box, two: None):  # noqa: F811
    free, promised, both = box.do(f"""{TOOLS}
bridge = Zone.objects.get(name="zDominig").bridge
lines = (bridge, shaping.ifb_of(bridge))
busy = [(way, address) for way in ("to", "from") for address in ("10.10.2.4", "10.10.2.5", "10.10.2.5", "10.10.2.5")]
with flows(*busy):
    limit("Mail", net_share_kbit=6000)
    time.sleep(1)
    one = kbit(*lines)
    limit("Web", net_share_kbit=1500)
    time.sleep(1)
    both = kbit(*lines)
    limit("Mail", net_share_kbit=0)
    limit("Web", net_share_kbit=0)
    free = [list(sent(line)) for line in lines]
out = free, one, both
""")
    print(f"Mail is promised 6000 of 8000: {promised}; then Web 1500 too: {both}")
    for line in promised:
        assert near(line["1:1"], 8000), line
        assert line["1:214"] >= 0.85 * 6000, line
        assert near(line["1:2"], 8000 - line["1:214"]), line
    for line in both:
        assert near(line["1:1"], 8000), line
        assert line["1:214"] >= 0.85 * 6000, line
        assert line["1:215"] >= 0.85 * 1500, line
    assert free == [["1:1", "1:2"]] * 2


def test_a_processors_cap_holds_and_weights_are_the_schedulers(box: Box, two: None):  # noqa: F811
    used_us, periods, throttled, shares = box.do(f"""{TOOLS}
limit("Mail", cpu_cap=20, cpu_weight=512)
ssh("10.10.2.4", "(while :; do :; done) > /dev/null 2>&1 & (while :; do :; done) > /dev/null 2>&1 & sleep 0.3")
group, usage = cgroup("Mail", "cpu"), cgroup("Mail", "cpuacct") / "cpuacct.usage"
def now():
    stat = dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())
    return int(usage.read_text()) / 1000, int(stat["nr_periods"]), int(stat["nr_throttled"])
before = now(); time.sleep(3); after = now()
shares = [int((cgroup(name, "cpu") / "cpu.shares").read_text()) for name in ("Mail", "Web")]
out = (*(new - old for old, new in zip(before, after)), shares)
""")
    print(f"capped at 20 %: {used_us / periods / 1000:.1f} % of a processor, held back in {throttled} of {periods}")
    assert near(used_us / periods, 20_000)
    assert throttled >= 0.8 * periods
    assert shares == [2048, 1024]


def test_disks_are_read_and_written_at_the_rate_that_was_set(box: Box, two: None):  # noqa: F811
    free, took = box.do(f"""{TOOLS}
def timed(command):
    began = time.monotonic()
    assert ssh("10.10.2.4", command) == ""
    return time.monotonic() - began
write = "dd if=/dev/zero of=/root/x bs=64k count=64 conv=fsync"
free = timed(write)
limit("Mail", disk_kib_s=2048, disk_iops=100)
idle = min(timed("true") for _ in range(3))
took = [timed(each) - idle for each in (
    write, "dd if=/root/x of=/dev/null bs=64k count=64 iflag=direct", "dd if=/root/x of=/dev/null bs=4k count=200 iflag=direct")]
out = free, took
""")
    print(f"4 MiB at 2 MiB/s and 200 reads at 100 a second took {took} s; written without a limit: {free:.2f} s")
    assert free < 1.5
    for seconds in took:
        assert 0.85 * 2.0 <= seconds <= 3.5, "as slow as set, and no slower than a busy box makes it"


def test_all_of_it_is_in_force_after_every_kind_of_start(box: Box, two: None):  # noqa: F811
    found = box.do(f"""{TOOLS}
from dom0 import boot
state = limit("Mail", {ALL})
again = limit("Mail", cpu_cap=50)
uuid = str(machine("Mail").uuid)
kept = limits_file.read(Path(limits_file.path(config.state, uuid)).read_text())
seen = [in_force("Mail")]
# By itself, from inside.
before = domains.running(config, [uuid])[uuid]
ssh("10.10.2.4", "reboot")
until(lambda: domains.running(config, [uuid]).get(uuid, before) != before)
until(lambda: in_force("Mail") == {SAID!r})
seen.append(in_force("Mail"))
# By libvirt, while nobody of ours is asked.
answers("10.10.2.4", 22, b"SSH")
domains.stop(config, uuid, how="usr2", grace_s=20)
off = in_force("Mail"), shaping.ifb_of(kept.vif) in os.listdir("/sys/class/net")
domains.start(config, uuid)
seen.append(in_force("Mail"))
# By the panel.
seen.append(carried(services.machine_reboot(actor(), machine("Mail")))["state"])
seen.append(in_force("Mail"))
# The zone's own ceilings change, go, and come with dom0's start.
zone_rates(in_kbit=10_000)
seen.append(in_force("Mail"))
bridge = Zone.objects.get(name="zDominig").bridge
subprocess.run(("tc", "qdisc", "del", "dev", bridge, "root"), check=True)
odd = in_force("Mail")
boot.boot(config, lambda said: None)
seen.append(in_force("Mail"))
out = state["state"], again["state"], seen, off, odd
""")
    state, again, seen, off, odd = found
    assert (state, again) == ("done", "nothing")
    assert seen == [SAID, SAID, SAID, "done", SAID, SAID, SAID]
    assert off == [None, False]
    assert "share ?" not in str(odd), "where a zone has no ceiling, a share of it is as wished"


def test_what_somebody_changed_by_hand_is_mended(box: Box, two: None):  # noqa: F811
    found = box.do(f"""{TOOLS}
limit("Mail", {ALL})
m = machine("Mail")
bridge = m.zone.bridge
harms = {{
    "root": f"tc qdisc del dev {{m.vif}} root",
    "ifb": f"ip link delete {{shaping.ifb_of(m.vif)}}",
    "share": f"tc filter del dev {{bridge}} parent 1: prio 1",
    "cap": f"echo -1 > {{cgroup('Mail', 'cpu')}}/cpu.cfs_quota_us",
    "disk": f"for each in {{cgroup('Mail', 'blkio')}}/blkio.throttle.read_bps_device; do sed 's/ .*/ 0/' $each > /tmp/none; cat /tmp/none > $each; done",
}}
out = {{}}
for name, harm in harms.items():
    subprocess.run(harm, shell=True, check=True)
    odd = in_force("Mail") != {SAID!r}
    job = carried(services.machine_start(actor(), m))
    out[name] = odd, job["state"], in_force("Mail")
""")
    assert found == {name: [True, "done", SAID] for name in ("root", "ifb", "share", "cap", "disk")}


def test_none_are_left_when_they_are_lifted_or_the_machine_goes(box: Box, two: None):  # noqa: F811
    lifted, left, undone, gone = box.do(f"""{TOOLS}
from hosts.kinds import kind_of
from machines.models import Machine
m = machine("Mail")
job = limits_services.machine_limits(actor(), m, approved=True, {ALL})
carried(job)
back = kind_of("machine.limits").undo(actor(), Job.objects.get(pk=job.pk))
Job.objects.filter(pk=back.pk).update(approver=actor().id, approved_at=back.created)
undone = carried(back)["state"], in_force("Mail"), limits_services.limits_of(machine("Mail")) == limits_services.LimitsSpec()
def traces():
    links = [name for name in os.listdir("/sys/class/net") if name.startswith("ifb-fr")]
    return links + [p.name for p in Path(config.state, "limits").glob("*")] + sorted(set(sent(m.zone.bridge)) - {{"1:1", "1:2"}})
left = traces()
limit("Mail", {ALL})
there = len(traces())
lifted = delete("Mail")["state"]
out = lifted, left, undone, (there, traces())
""")
    assert (lifted, left) == ("done", [])
    assert undone == ["done", None, True]
    assert gone == [3, []]


def test_a_file_that_can_not_be_read_keeps_no_machine_off_and_is_mended_by_the_next_start(box: Box, two: None):  # noqa: F811
    seen, kept = box.do(f"""{TOOLS}
limit("Mail", {ALL})
m = machine("Mail")
path = Path(limits_file.path(config.state, str(m.uuid)))
path.write_text("no limits at all")
domains.stop(config, str(m.uuid), how="usr2", grace_s=20)
seen = [domains.start(config, str(m.uuid)), answers(m.address, 22, b"SSH"), in_force("Mail")]
seen += [carried(services.machine_start(actor(), m))["state"], in_force("Mail")]
out = seen, path.read_text().startswith("{{")
""")
    assert seen == ["Mail is started.", True, None, "done", SAID]
    assert kept


def test_after_dom0_restarts_they_hold_before_anybody_of_the_panel_is_there(box: Box, two: None):  # noqa: F811
    assert box.do(f"{TOOLS}\nout = limit('Mail', {ALL})['state']") == "done"
    shutdown.stop(box.layout)
    box.up()
    seen = box.do(f"""{TOOLS}
until(lambda: domains.running(config, [str(machine("Mail").uuid)]) and in_force("Mail") == {SAID!r})
out = in_force("Mail"), [list(sent(line)) for line in (machine("Mail").zone.bridge, machine("Mail").vif)]
""")
    assert seen == [SAID, [["1:1", "1:2", "1:214"], ["1:1", "1:2"]]]


def test_killed_between_its_steps_it_goes_on(box: Box, two: None):  # noqa: F811
    for moment in ("before", "after"):
        end, seen = box.do(f"""{TOOLS}
job = limits_services.machine_limits(actor(), machine("Mail"), approved=True, {ALL})
killed(job, "limits", {moment!r})
end = gone_on(job)["state"]
out = end, in_force("Mail")
limit("Mail", **dict.fromkeys(limits_services.FIELDS, 0))
""")
        assert (end, seen) == ("done", SAID), moment
