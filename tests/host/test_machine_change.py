# ruff: noqa: E501, F811 - lines of snippets; fixtures are named like what they are imported as
"""A machine that exists is changed for real: grown while it writes, given memory, renamed, moved, in a private dom0."""

from __future__ import annotations

import pytest

from tests.host.test_machine_life import Box, box, mail, nothing_left  # noqa: F401

pytestmark = pytest.mark.host

CHANGE = """
from machines.change_services import machine_change
from dom0 import growing
from dom0.errors import Refused
def change(who, /, **wish):
    return carried(machine_change(actor(), machine(who), approved=True, **wish))
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
carried(services.machine_stop(actor(), machine("Mail")))
carried(services.machine_start(actor(), machine("Mail")))
answers("10.10.2.4", 22, b"SSH")
lines = ssh("10.10.2.4", "cat /root/written").splitlines()
whole = lines == [f"line {n}" for n in range(len(lines))]
carried(services.machine_stop(actor(), machine("Mail")))
sound = subprocess.run(("e2fsck", "-fn", volumes.path_of(config, "Mail-root")), capture_output=True).returncode
out = grown, before, live, growing.may_online(), again, len(lines) > at, whole, sound, machine("Mail").root_mib
""",
    )
    grown, before, live, online, again, went_on, whole, sound, row = found
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


def test_a_renamed_machine_is_known_by_its_new_name_alone_and_keeps_all_it_had(box: Box, mail: str):
    found = done(
        box,
        """
answers("10.10.2.4", 22, b"SSH")
ssh("10.10.2.4", "echo kept > /root/note; sync")
before = machine("Mail")
renamed = change("Mail", name="Post")
up = answers("10.10.2.4", 22, b"SSH")
inside = ssh("10.10.2.4", "cat /root/note; hostname; grep 127.0.1.1 /etc/hosts").split()
names = [n for n in left() if "Mail" in n]
m = machine("Post")
same = (m.uuid, m.mac, m.vif, m.address, m.pk) == (before.uuid, before.mac, before.vif, before.address, before.pk)
files = sorted(Path(n).name for n in left() if "/" in n and "/machines/" not in n and "/autostart/" not in n)
kind = Job.objects.get(kind="machine.change", args__after={"Name": "Post"})
from machines.change_services import undo
back = undo(actor(), kind, m)
work.run(back.pk); 
from hosts.services import job_approve
back.refresh_from_db(); job_approve(actor(), back, back.digest); undone = carried(back)
again = answers("10.10.2.4", 22, b"SSH")
hostname = ssh("10.10.2.4", "hostname; cat /root/note").split()
out = renamed, up, inside, names, same, files, undone["state"], again, hostname, [n for n in left() if "Post" in n]
""",
    )
    renamed, up, inside, names, same, files, undone, again, hostname, post = found
    assert renamed["state"] == "done", renamed
    assert up
    assert inside[:2] == ["kept", "Post"]
    assert inside[-1] == "Post"
    assert names == []
    assert same, "uuid, MAC, interface, address and row stay"
    assert files == ["Post", "Post", "Post-root.img", "machine-Post.nft"]
    assert (undone, again, hostname, post) == ("done", True, ["Mail", "kept"], [])


ZONE = """
from zones.models import Zone
from zones.services import zone_create
if not Zone.objects.filter(name="zFulup").exists():
    box_ = Host.objects.get()
    carried(zone_create(actor(), host=box_, name="zFulup", gateway="10.10.1.1", prefix=24, approved=True))
zone = Zone.objects.get(name="zFulup")
"""


def test_a_machine_moves_to_another_zone_with_its_data_and_answers_there_alone(box: Box, mail: str):
    found = done(
        box,
        ZONE
        + """
answers("10.10.2.4", 22, b"SSH")
ssh("10.10.2.4", "echo kept > /root/note; sync")
moved = change("Mail", zone=zone)
m = machine("Mail")
up = answers(m.address, 22, b"SSH")
inside = ssh(m.address, "cat /root/note; ip -4 addr show eth0 | grep -o 'inet [0-9.]*'").split()
old = answers("10.10.2.4", 22, b"SSH", 2)
bridge = subprocess.run(("ip", "-o", "link", "show", m.vif), capture_output=True, text=True).stdout
elements = subprocess.run(("nft", "list", "set", "bridge", "fridu", "members"), capture_output=True, text=True).stdout
rest = [n for n in left() if "/zDominig/" in n]
again = change("Mail", zone=zone, address=m.address)["state"]
spoof = ssh(m.address, "ip addr add 10.10.1.200/24 dev eth0; ping -c1 -W1 -I 10.10.1.200 10.10.1.1 >/dev/null 2>&1 && echo through || echo dropped")
out = moved, m.address, m.zone.name, up, inside, old, zone.bridge in bridge, "10.10.2.4" in elements, m.address in elements, rest, again, spoof
""",
    )
    moved, address, zone, up, inside, old, on, stale, member, rest, again, spoof = found
    assert moved["state"] == "done", moved
    assert (address, zone, up, old) == ("10.10.1.2", "zFulup", True, False)
    assert inside == ["kept", "inet", "10.10.1.2"]
    assert (on, stale, member, rest, again) == (True, False, True, [], "nothing")
    assert spoof == "dropped", "its membership holds there: nobody but itself"


KILLS = [
    ("stop", "after"),
    ("createvmconf", "before"),
    ("createvmconf", "after"),
    ("lvmcreate", "before"),
    ("lvmcreate", "after"),
    ("updateether", "before"),
    ("updateether", "after"),
    ("tuneroot", "before"),
    ("tuneroot", "after"),
    ("start", "before"),
    ("start", "after"),
]


@pytest.mark.parametrize(("stage", "moment"), KILLS)
def test_a_worker_killed_while_it_renames_moves_and_grows_leaves_a_job_that_goes_on(
    stage: str, moment: str, box: Box, mail: str
):
    found = done(
        box,
        ZONE
        + f"""
answers("10.10.2.4", 22, b"SSH")
ssh("10.10.2.4", "echo kept > /root/note; sync")
job = machine_change(actor(), machine("Mail"), approved=True, name="Post", zone=zone, address="10.10.1.9", root_mib=256)
sent = killed(job, {stage!r}, {moment!r})
sweep.sweep(config)
job.refresh_from_db()
try:
    services.machine_start(actor(), machine("Mail")); shut = ""
except Refused as error:
    shut = error.message
job_go_on(actor(), Job.objects.get(pk=job.pk))
end = carried(job)
up = answers("10.10.1.9", 22, b"SSH")
inside = ssh("10.10.1.9", "cat /root/note; hostname").split()
out = sent, shut, end, up, inside, [n for n in left() if "Mail" in n or "zDominig/" in n], Machine.objects.count()
""",
    )
    sent, shut, end, up, inside, rest, count = found
    assert sent == 9
    assert "half-way" in shut, "nothing else is done with it meanwhile"
    assert end["state"] == "done", end
    assert (up, inside, rest, count) == (True, ["kept", "Post"], [], 1)
    assert len(end["done"]) == len(set(end["done"])), "a step was done twice"


def test_a_change_that_stopped_half_way_is_undone_from_there(box: Box, mail: str):
    found = done(
        box,
        ZONE
        + """
answers("10.10.2.4", 22, b"SSH")
job = machine_change(actor(), machine("Mail"), approved=True, name="Post", zone=zone, address="10.10.1.9")
killed(job, "lvmcreate", "after")
sweep.sweep(config)
job.refresh_from_db()
from hosts.services import job_approve
back = kind_of("machine.change").undo(actor(), job)
work.run(back.pk); back.refresh_from_db(); job_approve(actor(), back, back.digest)
end = carried(back)
out = end, answers("10.10.2.4", 22, b"SSH"), [n for n in left() if "Post" in n], machine("Mail").address
""",
    )
    end, up, rest, address = found
    assert end["state"] == "done", end
    assert (up, rest, address) == (True, [], "10.10.2.4")


def test_a_log_volume_comes_grows_and_goes_with_the_machine_off_in_between(box: Box, mail: str):
    found = done(
        box,
        """
answers("10.10.2.4", 22, b"SSH")
def log():
    answers("10.10.2.4", 22, b"SSH")
    return ssh("10.10.2.4", "grep -c ' /var/log ' /proc/mounts; df -m /var/log | tail -1").split()
none = log()[0]
comes = change("Mail", log_mib=32)
there = log()
grows = change("Mail", log_mib=64)
carried(services.machine_reboot(actor(), machine("Mail")))
more = log()
goes = change("Mail", log_mib=0)
gone = log()[0]
out = none, comes, there, grows, more, goes, gone, [n for n in left() if "Mail-log" in n], machine("Mail").log_mib
""",
    )
    none, comes, there, grows, more, goes, gone, rest, row = found
    assert [each["state"] for each in (comes, grows, goes)] == ["done"] * 3, (comes, grows, goes)
    assert (none, there[0], more[0], gone) == ("0", "1", "1", "0")
    assert int(there[2]) < 34
    assert int(more[2]) > 50
    assert (rest, row) == ([], 0)


def test_what_publishes_it_leads_to_its_new_place_once_the_firewall_is_applied(box: Box, mail: str):
    found = done(
        box,
        ZONE
        + """
from firewall.models import PublishedService
answers("10.10.2.4", 22, b"SSH")
m = machine("Mail")
row = PublishedService.objects.create(host=m.host, name="MailSSH", zone=m.zone, external=m.zone.external, proto="tcp", port=2200, port_last=2200, target=m.address, target_port=22, live=True)
change("Mail", zone=zone)
row.refresh_from_db()
text = "".join(render.files(rows.site_of(m.host)).by_name.values())
out = row.target, row.zone.name, row.live, machine("Mail").address, "10.10.2.4:22" in text, machine("Mail").address + ":22" in text
row.delete()
""",
    )
    target, zone, live, address, old, new = found
    assert (target, zone, live) == (address, "zFulup", False)
    assert (old, new) == (False, True)


def test_less_memory_than_it_uses_is_refused_and_it_runs_on(box: Box, mail: str):
    found = done(
        box,
        """
answers("10.10.2.4", 22, b"SSH")
ssh("10.10.2.4", "(head -c 40000000 /dev/zero | tail -c 39000000 | sleep 600) >/dev/null 2>&1 &")
used = lambda: int(libvirtd.asked(config, "info", 30, lambda link: link.lookupByName("Mail").info()[2])) // 1024
full = until(lambda: used() > 36)
job = machine_change(actor(), machine("Mail"), approved=True, memory_mib=24)
refused = carried(job)
there = domains.look(config, ["Mail"])["Mail"]
alive = ssh("10.10.2.4", "echo alive")
ssh("10.10.2.4", "killall sleep tail head")
until(lambda: used() < 20)
job.refresh_from_db(); job_go_on(actor(), job)
on = carried(job)
out = full, refused, there.memory_mib, alive, on["state"], domains.look(config, ["Mail"])["Mail"].memory_mib, machine("Mail").memory_mib
""",
    )
    full, refused, has, alive, on, now, row = found
    assert full
    assert refused["state"] == "refused"
    assert "24 MB" in refused["message"]
    assert "from its next start" in refused["note"]
    assert (has, alive) == (64, "alive")
    assert (on, now, row) == ("done", 24, 24)
