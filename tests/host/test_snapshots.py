# ruff: noqa: E501, F811 - lines of snippets; fixtures are arguments
"""Snapshots and reinstalls for real: kept while it runs, broken, brought back, made anew, killed on the way."""

from __future__ import annotations

import pytest

from tests.host.test_machine_life import Box, box, mail, nothing_left  # noqa: F401 - its dom0 and its machine

pytestmark = pytest.mark.host

BEGIN = """
from datetime import timedelta
from django.utils import timezone
from machines import reinstall_services, snapshot_services
from machines.models import Snapshot
m = machine("Mail")
def take(label="before", **wish):
    return carried(snapshot_services.snapshot_take(actor(), machine("Mail"), label, **wish))
def kept(label="before"):
    return Snapshot.objects.select_related("machine", "image").get(label=label)
def restoring(label="before"):
    return snapshot_services.snapshot_restore(actor(), kept(label), approved=True)
def reinstalling(**wish):
    return reinstall_services.machine_reinstall(actor(), machine("Mail"), approved=True, **wish)
def who():
    row = machine("Mail")
    return row.name, row.address, row.mac, str(row.uuid), row.vif, row.uid_base, row.image.name, row.wanted, row.observed
def file(name):
    return os.path.exists(volumes.path_of(config, name))
"""


def test_the_root_of_a_machine_renamed_since_calls_it_by_its_new_name(box: Box, mail: str):
    found = box.do(
        BEGIN
        + """
from machines.change_services import machine_change
answers(m.address, 22, b"SSH")
ssh(m.address, "echo precious > /root/note; sync")
take()
renamed = carried(machine_change(actor(), machine("Mail"), name="Post", approved=True))
answers(m.address, 22, b"SSH")
between = ssh(m.address, "hostname; rm /root/note; sync")
back = carried(snapshot_services.snapshot_restore(actor(), kept(), approved=True))
answers(m.address, 22, b"SSH")
out = renamed["state"], between, back, ssh(m.address, "hostname; cat /root/note; grep -c Post /etc/hosts; grep -c Mail /etc/hosts; true").split()
"""
    )
    renamed, between, back, inside = found
    assert (renamed, between) == ("done", "Post")
    assert back["state"] == "done", back
    assert inside == ["Post", "precious", "1", "0"]


def test_what_was_broken_after_a_snapshot_comes_back_over_ssh(box: Box, mail: str):
    found = box.do(
        BEGIN
        + """
answers(m.address, 22, b"SSH")
ssh(m.address, "echo precious > /root/note; cp /bin/busybox /root/other")
before = who()
taken = take(expires=timezone.now() + timedelta(days=7), note="before the update")
running = domains.look(config, ["Mail"])["Mail"].running
wrote = ssh(m.address, "echo writable > /root/later; rm /root/note; rm -r /etc/dropbear; sync; ls /root")
back = carried(restoring())
up = answers(m.address, 22, b"SSH")
read = ssh(m.address, "cat /root/note; cmp /bin/busybox /root/other && echo same; ls /root")
again = carried(restoring())  # it stays, and can be brought back as often as wished
up2 = answers(m.address, 22, b"SSH")
check = subprocess.run(("e2fsck", "-fn", volumes.path_of(config, "Mail-root.before")), capture_output=True, text=True)
after = who()
gone = carried(snapshot_services.snapshot_delete(actor(), kept(), approved=True))
out = taken, running, wrote.split(), back, up, read.split(), (again["state"], up2), (check.returncode, check.stdout), before == after, gone["state"], file("Mail-root.before"), Snapshot.objects.count()
"""
    )
    taken, running, wrote, back, up, read, again, check, same, gone, file, rows = found
    assert taken["state"] == "done", taken
    assert running is True
    assert wrote == ["later", "other"]
    assert back["state"] == "done", back
    assert back["stages"].index("stop") < back["stages"].index("restore") < back["stages"].index("start")
    assert up
    assert read == ["precious", "same", "note", "other"]
    assert again == ["done", True]
    assert check[0] == 0, check  # kept while it ran, and yet whole: no journal to replay, nothing to repair
    assert "clean" not in check[1]
    assert same
    assert (gone, file, rows) == ("done", False, 0)


def test_the_copy_of_a_running_machine_is_of_one_moment_while_it_writes(box: Box, mail: str):
    found = box.do(
        BEGIN
        + """
answers(m.address, 22, b"SSH")
ssh(m.address, "(i=0; while :; do i=$((i+1)); echo $i > /root/a.new; sync /root/a.new; mv /root/a.new /root/a; cp /root/a /root/b; done) >/dev/null 2>&1 </dev/null & sleep 1")
states = [take(f"at-{n}")["state"] for n in range(3)]
checks = [subprocess.run(("e2fsck", "-fn", volumes.path_of(config, f"Mail-root.at-{n}")), capture_output=True).returncode for n in range(3)]
moving = ssh(m.address, "cat /root/a; sleep 1; cat /root/a").split()
out = states, checks, int(moving[1]) > int(moving[0])
"""
    )
    assert found == [["done"] * 3, [0] * 3, True]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_worker_killed_while_it_takes_one_leaves_the_machine_writing(moment: str, box: Box, mail: str):
    found = box.do(
        BEGIN
        + f"""
answers(m.address, 22, b"SSH")
job = snapshot_services.snapshot_take(actor(), m, "before")
sent = killed(job, "snapshot", {moment!r})
writes = ssh(m.address, "echo on > /root/note; sync; cat /root/note")
end = gone_on(job)
out = sent, writes, end["state"], file("Mail-root.before"), kept().taken_at is not None
"""
    )
    assert found == [9, "on", "done", True, True]


def test_killed_while_the_filesystem_is_held_still_it_is_let_go(box: Box, mail: str):
    found = box.do(
        BEGIN
        + """
from dom0 import blocks
answers(m.address, 22, b"SSH")
job = snapshot_services.snapshot_take(actor(), m, "before")
child = os.fork()
if child == 0:
    django.db.connections.close_all()
    blocks.clone = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    work.run(job.pk)
    os._exit(0)
_, status = os.waitpid(child, 0)
writes = ssh(m.address, "echo on > /root/note; sync; cat /root/note")
end = gone_on(job)
out = os.WTERMSIG(status), writes, file("Mail-root.before"), end["state"]
"""
    )
    assert found == [9, "on", True, "done"]


RESTORE_KILLS = [
    ("stop", "after"),
    ("restore", "before"),
    ("restore", "amid"),
    ("restore", "after"),
    ("start", "before"),
    ("start", "after"),
]


@pytest.mark.parametrize(("stage", "moment"), RESTORE_KILLS)
def test_a_restore_killed_half_way_goes_on_to_its_end(stage: str, moment: str, box: Box, mail: str):
    found = box.do(
        BEGIN
        + f"""
answers(m.address, 22, b"SSH")
ssh(m.address, "echo precious > /root/note; sync")
take()
ssh(m.address, "rm /root/note; sync")
before = who()
job = restoring()
sent = killed(job, {stage!r}, {moment!r})
end = gone_on(job)
answers(m.address, 22, b"SSH")
out = sent, end, ssh(m.address, "cat /root/note"), before == who(), marks.unfinished(dict(vars(volumes.look(config, "Mail-root")))), carried(services.machine_start(actor(), m))["state"]
"""
    )
    sent, end, read, same, unfinished, start = found
    assert sent == 9
    assert end["state"] == "done", end
    assert (read, same, unfinished, start) == ("precious", True, "", "nothing")


def test_a_restore_called_off_or_refused_at_once_leaves_the_machine_as_it_was_and_may_go_on(box: Box, mail: str):
    found = box.do(
        BEGIN
        + """
take()
was = machine("Mail").root_generation
job = snapshot_services.snapshot_restore(actor(), kept())
work.run(job.pk)
from hosts.services import job_cancel
job_cancel(actor(), Job.objects.get(pk=job.pk))
called_off = machine("Mail").root_generation
path = volumes.path_of(config, "Mail-root.before")
os.rename(path, path + ".away")
lost = carried(restoring())
refused = machine("Mail").root_generation
start = carried(services.machine_start(actor(), m))["state"]
os.rename(path + ".away", path)
job_go_on(actor(), Job.objects.filter(kind="snapshot.restore").first())
on = carried(Job.objects.filter(kind="snapshot.restore").first())
out = was, called_off, lost, refused, start, on["state"], machine("Mail").root_generation
"""
    )
    was, called_off, lost, refused, start, on, now = found
    assert (was, called_off, refused) == (1, 1, 1)
    assert lost["state"] == "refused"
    assert "Mail-root.before is missing" in lost["message"]
    assert start == "nothing"
    assert (on, now) == ("done", 2)


def test_a_reinstall_keeps_who_it_is_and_leaves_nothing_of_what_was_on_it(box: Box, mail: str):
    found = box.do(
        BEGIN
        + """
answers(m.address, 22, b"SSH")
host_key = ssh(m.address, "cat /etc/dropbear/*host_key | md5sum; echo SECRET-OF-OLD-ROOT > /root/note; sync")
before = who()
lease = sorted(left())
take()
began = time.monotonic()
job = reinstalling()
end = carried(job)
up = answers(m.address, 22, b"SSH")
took = time.monotonic() - began
read = ssh(m.address, "ls -A /root; hostname; ip -4 addr show eth0 | grep -c 10.10.2.4; cat /sys/class/net/eth0/address")
key_now = ssh(m.address, "cat /etc/dropbear/*host_key | md5sum")
raw = b"SECRET-OF-OLD-ROOT" in Path(volumes.path_of(config, "Mail-root")).read_bytes()
stays = b"SECRET-OF-OLD-ROOT" in Path(volumes.path_of(config, "Mail-root.before")).read_bytes()
same_files = sorted(f for f in left() if "before" not in f) == lease
back = carried(restoring())
answers(m.address, 22, b"SSH")
note = ssh(m.address, "cat /root/note")
out = end, up, took, read.split(), host_key.split()[0] != key_now.split()[0], raw, stays, same_files, before == who(), back["state"], note, m.mac
"""
    )
    end, up, took, read, new_key, raw, stays, files, same, back, note, mac = found
    assert end["state"] == "done", end
    assert up
    assert took < 60
    assert read == [".ssh", "Mail", "1", mac]
    assert new_key
    assert raw is False
    assert stays is True
    assert files
    assert same
    assert (back, note) == ("done", "SECRET-OF-OLD-ROOT")


def test_another_image_and_a_one_time_password_and_back_to_a_snapshot_of_the_first(box: Box, mail: str):
    found = box.do(
        BEGIN
        + """
import io, tarfile
from machines.passwords import hashed, one_time
path = Path(config.images, "second.tar.gz")
with tarfile.open(Path(config.images, "tiny.tar.gz")) as tiny, tarfile.open(path, "w:gz") as out_file:
    for member in tiny:
        out_file.addfile(member, tiny.extractfile(member) if member.isreg() else None)
    note = tarfile.TarInfo("./etc/second"); note.size = 4
    out_file.addfile(note, io.BytesIO(b"yes\\n"))
image = image_of("second.tar.gz", "second")
answers(m.address, 22, b"SSH")
take()
password, root_hash = one_time()
end = carried(reinstalling(image=image, root_hash=root_hash))
answers(m.address, 22, b"SSH")
seen = ssh(m.address, "cat /etc/second; head -1 /etc/shadow").split()
theirs = seen[1].split(":")[1]
opens = hashed(password, theirs.split("$")[2]) == theirs
now = who()[6]
from machines import image_services
try:
    image_services.image_delete(actor(), Image.objects.get(name="tiny"))
    needed = ""
except Exception as error:
    needed = str(error)
back = carried(restoring())
answers(m.address, 22, b"SSH")
out = end["state"], seen[0], opens, now, needed, back["state"], ssh(m.address, "ls /etc/second 2>&1 | wc -l; head -1 /etc/shadow").split(), who()[6]
"""
    )
    end, second, opens, now, needed, back, was, image = found
    assert (end, second, opens, now, back, image) == ("done", "yes", True, "second", "done", "tiny")
    assert "tiny is still needed by machine Mail" in needed
    assert was[1].startswith("root:*:")


REINSTALL_KILLS = [
    ("stop", "before"),
    ("stop", "after"),
    ("installroot", "before"),
    ("installroot", "amid"),
    ("installroot", "after"),
    ("tuneroot", "before"),
    ("tuneroot", "after"),
    ("start", "before"),
    ("start", "after"),
]


@pytest.mark.parametrize(("stage", "moment"), REINSTALL_KILLS)
def test_a_reinstall_killed_half_way_goes_on_to_its_end(stage: str, moment: str, box: Box, mail: str):
    found = box.do(
        BEGIN
        + f"""
answers(m.address, 22, b"SSH")
ssh(m.address, "echo old > /root/note; sync")
before, lease = who(), sorted(left())
job = reinstalling()
sent = killed(job, {stage!r}, {moment!r})
sweep.sweep(config)
half = told(job)
start = ""
try:
    start = carried(services.machine_start(actor(), machine("Mail")))["state"]
except Exception as error:
    start = str(error)
job_go_on(actor(), Job.objects.get(pk=job.pk))
end = carried(job)
up = answers(m.address, 22, b"SSH")
out = sent, half, start, end, up, ssh(m.address, "ls -A /root"), before == who(), sorted(left()) == lease
"""
    )
    sent, half, start, end, up, read, same, files = found
    assert sent == 9
    assert half["state"] == "failed"
    assert end["state"] == "done", end
    assert up
    assert (read, same, files) == (".ssh", True, True)
    if stage == "installroot" and moment in ("before", "amid"):
        assert start == "refused"


def test_one_that_was_to_expire_is_gone_after_the_next_round_and_the_others_stay(box: Box, mail: str):
    found = box.do(
        BEGIN
        + """
take("old", expires=timezone.now() + timedelta(days=1))
take("young", expires=timezone.now() + timedelta(days=1))
take("kept")
Snapshot.objects.filter(label="old").update(expires=timezone.now() - timedelta(minutes=1))
watch.look(config)
job = Job.objects.filter(kind="snapshot.expire").get()
watch.look(config)
end = carried(job)
out = end["state"], Job.objects.filter(kind="snapshot.expire").count(), sorted(Snapshot.objects.values_list("label", flat=True)), file("Mail-root.old"), file("Mail-root.young"), job.actor.username, job.reason, domains.look(config, ["Mail"])["Mail"].running
"""
    )
    assert found[:5] == ["done", 1, ["kept", "young"], False, True]
    assert found[5] == "fulup"
    assert "expired" in found[6]
    assert found[7] is True


def test_a_deletion_takes_the_snapshots_along_and_says_so(box: Box, mail: str):
    found = box.do(
        BEGIN
        + """
take("one")
take("two")
end = delete("Mail")
lost = [s.destroys for s in Job.objects.filter(kind="machine.delete").first().steps.all() if s.destroys]
out = end["state"], lost, left(), Snapshot.objects.count()
"""
    )
    assert found[0] == "done"
    assert [text.split(" (")[0] for text in found[1]] == [
        "All that is on Mail-root.one",
        "All that is on Mail-root.two",
        "All that is on Mail-root",
    ]
    assert found[2:] == [[], 0]
