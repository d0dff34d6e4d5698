# ruff: noqa: E501 - lines of snippets
"""A machine's life for real: made, reached, stopped, tuned, killed half-way, deleted, in a private dom0."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from demo import daemons, dom0, enter, load, processes, shutdown, tiny
from demo.layout import PYTHON, Layout

pytestmark = pytest.mark.host
ROOT = Path(__file__).parents[2]
STAGES = ["lvmcreate", "fscreate", "installroot", "tuneroot", "updateether", "createvmconf", "start"]


class Box:
    """A dom0 of this test's own; `do` runs a snippet of tests.host.life inside."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    def do(self, code: str, timeout_s: float = 300) -> Any:
        done = subprocess.run(
            enter.inside(self.layout, str(PYTHON), "-m", "tests.host.life"),
            input=code,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env={"PATH": os.environ["PATH"], "HOME": "/root"},
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.rsplit("\n@", 1)[1])

    def up(self) -> None:
        dom0.furnish(self.layout)
        dom0.up(self.layout)
        daemons.start_host(self.layout)


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    box = Box(Layout(name=f"l{os.getpid() % 100000}"))
    dom0.furnish(box.layout)
    load.keys(box.layout)
    key = box.layout.var / "root" / "life-key"
    key.write_text((box.layout.var / "keys" / "owner").read_text())
    key.chmod(0o600)
    images = box.layout.var / "lib" / "images"
    images.mkdir()
    tiny.build(images / "tiny.tar.gz", ROOT / "var" / "cache")
    box.up()
    try:
        public = (box.layout.var / "keys" / "owner.pub").read_text()
        assert box.do(f"out = prepare({public!r})") == "done"
        yield box
    finally:
        shutdown.stop(box.layout)
        subprocess.run(("rm", "-rf", "--one-file-system", str(box.layout.var)), check=True)


@pytest.fixture(autouse=True)
def nothing_left(box: Box) -> Iterator[None]:
    yield
    after = box.do("""
Job.objects.filter(target_kind="machine", state__in=Job.OPEN).update(state="failed")
for m in Machine.objects.all():
    if m.name in domains.look(config, [m.name]):
        domains.stop(config, str(m.uuid), how="usr2", grace_s=0)
    Machine.objects.filter(pk=m.pk).update(deleting=False)
    delete(m.name)
out = left()
""")
    assert after == []


@pytest.fixture
def mail(box: Box) -> str:
    """A running machine, Mail at 10.10.2.4."""
    made = box.do("out = create('Mail', '10.10.2.4')")
    assert made["state"] == "done", made
    return "10.10.2.4"


def test_a_machine_is_made_and_its_owners_key_is_root_in_it(box: Box):
    found = box.do("""
made = create("Mail", "10.10.2.4")
up = answers("10.10.2.4", 22, b"SSH")
said = ssh("10.10.2.4", "id -u; hostname; head -1 /etc/shadow | cut -d: -f2; cut -c11-42 /proc/self/uid_map; ls -A /root/.ssh")
again = carried(services.machine_start(actor(), machine("Mail")))
m = machine("Mail")
out = made, up, said.split(), again["state"], m.observed, m.uid_base, str(m.built_at is not None)
""")
    made, up, said, again, observed, base, built = found
    assert made["state"] == "done", made
    assert list(dict.fromkeys(s for s in made["stages"] if s != "image")) == STAGES
    assert up
    assert said == ["0", "Mail", "*", str(base), "65536", "authorized_keys"]
    assert again == "nothing"
    assert (observed, built) == ("running", "True")


def test_it_stops_starts_and_restarts_and_keeps_what_was_written(box: Box, mail: str):
    states = box.do("""
m, out = machine("Mail"), []
answers(m.address, 22, b"SSH")
ssh(m.address, "echo kept > /root/note; sync; cat /proc/sys/kernel/random/boot_id")
for service in (services.machine_stop, services.machine_stop, services.machine_start, services.machine_reboot):
    job = carried(service(actor(), m))
    m.refresh_from_db()
    out.append((job["state"], m.observed, m.wanted, Path(config.state, "autostart", str(m.uuid)).exists()))
answers(m.address, 22, b"SSH")
out.append(ssh(m.address, "cat /root/note"))
carried(services.machine_stop(actor(), m))
done = subprocess.run(("e2fsck", "-fn", volumes.path_of(config, "Mail-root")), capture_output=True)
out.append(done.returncode)
""")
    assert states == [
        ["done", "stopped", "stopped", False],
        ["nothing", "stopped", "stopped", False],
        ["done", "running", "running", True],
        ["done", "running", "running", True],
        "kept",
        0,
    ]


@pytest.mark.parametrize("power", ["running", "stopped"])
def test_keys_and_a_one_time_password_are_set_on_a_machine_that_is(power: str, box: Box, mail: str):
    found = box.do(f"""
m = machine("Mail")
answers(m.address, 22, b"SSH")
if {power!r} == "stopped":
    carried(services.machine_stop(actor(), m))
password, job = services.machine_password(actor(), m)
first = carried(job)
other = SSHKey.objects.create(user=User.objects.get(), name="other", line="ssh-ed25519 AAAAOTHER", fingerprint="SHA256:2")
both = carried(services.machine_key(actor(), m, list(SSHKey.objects.all())))
if {power!r} == "stopped":
    carried(services.machine_start(actor(), m))
answers(m.address, 22, b"SSH")
seen = ssh(m.address, "head -1 /etc/shadow; cat /root/.ssh/authorized_keys; ls -ln /root/.ssh/authorized_keys")
from machines.passwords import hashed
theirs = seen.split(":")[1]
none = carried(services.machine_key(actor(), m, [other]))
shut = ssh(m.address, "true")
again = carried(services.machine_key(actor(), m, [other]))
other.delete()
out = (first["state"], both["state"], hashed(password, theirs.split("$")[2]) == theirs, seen, none["state"], shut, again["state"],
       password in str(list(Job.objects.values()) + list(Entry.objects.values())), theirs in str(list(Entry.objects.values())))
""")
    first, both, opens, seen, none, shut, again, password_kept, hash_logged = found
    assert (first, both, none, again) == ("done", "done", "done", "done"), "asked for again, written again"
    assert opens
    assert "ssh-ed25519 AAAAOTHER" in seen
    assert "-rw-------" in seen
    assert "Permission denied" in shut
    assert not password_kept
    assert not hash_logged


KILLS = [
    ("image", "before"),
    ("lvmcreate", "before"),
    ("lvmcreate", "after"),
    ("installroot", "before"),
    ("installroot", "amid"),
    ("installroot", "after"),
    ("tuneroot", "after"),
    ("updateether", "after"),
    ("createvmconf", "after"),
    ("start", "before"),
    ("start", "after"),
]


@pytest.mark.parametrize(("stage", "moment"), KILLS)
def test_a_worker_killed_half_way_leaves_a_job_that_goes_on(stage: str, moment: str, box: Box):
    found = box.do(f"""
if {stage!r} == "image":
    Path(golden.path_of(config, Image.objects.get(name="tiny").digest)).unlink()
job = asked("Mail", "10.10.2.4")
sent = killed(job, {stage!r}, {moment!r})
end = gone_on(job)
out = sent, end, answers("10.10.2.4", 2525, b"220 Mail"), left()
""")
    sent, end, up, left = found
    assert sent == 9
    assert end["swept"]["state"] == "failed"
    assert f"killed during {stage}" in end["swept"]["message"]
    assert end["state"] == "done", end
    assert len(end["done"]) == len(set(end["done"])), "a step was done twice"
    assert set(end["swept"]["done"]) <= set(end["done"])
    assert up
    assert sorted(
        Path(each).name for each in left if "/" in each and not {"machines", "autostart"} & set(Path(each).parts)
    ) == [
        "Mail",
        "Mail",
        "Mail-root.img",
        "machine-Mail.nft",
    ]


@pytest.mark.parametrize(
    ("stage", "moment"),
    [("stop", "after"), ("createvmconf", "after"), ("updateether", "after"), ("lvmcreate", "after")],
)
def test_a_deletion_killed_half_way_goes_on_to_its_end(stage: str, moment: str, box: Box, mail: str):
    found = box.do(f"""
job = services.machine_delete(actor(), machine("Mail"), approved=True)
sent = killed(job, {stage!r}, {moment!r})
deleting = machine("Mail").deleting
end = gone_on(job)
out = sent, deleting, end, left(), Machine.objects.count()
""")
    sent, deleting, end, left, count = found
    assert (sent, deleting) == (9, True)
    assert end["state"] == "done", end
    assert left == []
    assert count == 0


def test_deleting_leaves_nothing_but_the_log(box: Box, mail: str):
    found = box.do("""
end = delete("Mail")
last = Entry.objects.filter(action="machine.delete").order_by("-seq").first()
out = end, left(), Machine.objects.count(), last.outcome, last.object_text, len(last.data["commands"])
""")
    end, left, count, outcome, text, commands = found
    assert end["state"] == "done", end
    assert left == []
    assert (count, outcome, text) == (0, "done", "Mail")
    assert commands >= 6


def test_a_machine_made_anew_at_the_same_address_gets_it(box: Box, mail: str):
    assert (
        box.do("answers('10.10.2.4', 22, b'SSH'); delete('Mail'); out = create('Other', '10.10.2.4')")["state"]
        == "done"
    )
    assert box.do("out = answers('10.10.2.4', 2525, b'220 Other')")


def test_a_volume_of_that_name_that_is_not_ours_is_left_alone(box: Box):
    found = box.do("""
path = Path(volumes.path_of(config, "Mail-root"))
path.parent.mkdir(exist_ok=True)
path.write_bytes(b"somebody else's")
made = create("Mail", "10.10.2.4")
gone = delete("Mail")
out = made, gone["state"], path.read_text(), Machine.objects.count()
path.unlink()
""")
    made, gone, content, count = found
    assert made["state"] == "refused"
    assert "Mail-root" in made["message"]
    assert made["done"] == []
    assert (gone, content, count) == ("nothing", "somebody else's", 0)


def test_a_domain_of_that_name_that_is_not_ours_is_left_alone(box: Box):
    found = box.do("""
xml = "<domain type='lxc'><name>Mail</name><memory>65536</memory><os><type>exe</type><init>/bin/true</init></os></domain>"
domains.define(config, xml, autostart=False)
before = domains.look(config, ["Mail"])
made = create("Mail", "10.10.2.4")
delete("Mail")
out = made, domains.look(config, ["Mail"]) == before
domains.undefine(config, before["Mail"].uuid)
""")
    made, same = found
    assert made["state"] == "refused"
    assert "another machine called Mail" in made["message"]
    assert made["done"] == []
    assert same


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        ("broken.write_bytes(broken.read_bytes()[:100_000])", "can't be decompressed"),
        ("broken.write_bytes(b'no archive at all')", "is no archive Fridu can read"),
        ("digest = '0' * 64", "digest"),
        ("digest = '1' * 64; broken.unlink()", "missing"),
    ],
)
def test_a_corrupt_archive_is_refused_and_nothing_is_made(spoil: str, says: str, box: Box):
    found = box.do(f"""
broken, digest = Path(config.images, "broken.tar.gz"), ""
broken.write_bytes(Path(config.images, "tiny.tar.gz").read_bytes())
{spoil}
image = image_of("broken.tar.gz", "broken", digest)
made = create("Mail", "10.10.2.4", image=image)
out = made, left(), delete("Mail")["state"], Machine.objects.count()
image.delete()
broken.unlink(missing_ok=True)
""")
    made, left, gone, count = found
    assert made["state"] == "refused"
    assert says in made["message"]
    assert "broken.tar.gz" in made["message"]
    assert made["done"] == []
    assert left == []
    assert (gone, count) == ("nothing", 0)


def test_a_root_that_turns_out_too_small_is_refused_before_there_is_a_volume(box: Box):
    found = box.do("""
import io, tarfile
path = Path(config.images, "larger.tar.gz")
with tarfile.open(Path(config.images, "tiny.tar.gz")) as tiny, tarfile.open(path, "w:gz") as out_file:
    for member in tiny:
        out_file.addfile(member, tiny.extractfile(member) if member.isreg() else None)
    noise = tarfile.TarInfo("./noise")
    noise.size = 30 << 20
    out_file.addfile(noise, io.BytesIO(os.urandom(noise.size)))
image = image_of("larger.tar.gz", "larger")
Image.objects.filter(pk=image.pk).update(min_root_mib=16)
image.refresh_from_db()
first = create("Mail", "10.10.2.4", image=image, root_mib=24)
deleted = delete("Mail")
second = create("Mail", "10.10.2.4", image=image, root_mib=24)
out = first, deleted["state"], second, delete("Mail")["state"]
image.delete()
path.unlink()
""")
    first, deleted, second, gone = found
    assert (first["state"], deleted, second["state"], gone) == ("refused", "nothing", "refused", "nothing")
    assert "The image needs a root of" in first["message"]
    assert first["note"].startswith("No volume was made.")
    assert "larger needs a root of" in second["message"]  # known by now, so said before anything is made
    assert second["done"] == []


def test_a_removed_volume_leaves_no_former_owners_bytes(box: Box, mail: str):
    found = box.do("""
path = volumes.path_of(config, "Mail-root")
fd = os.open(path, os.O_RDONLY)
before = os.lseek(fd, 0, os.SEEK_DATA)
delete("Mail")
try:
    out = before, os.lseek(fd, 0, os.SEEK_DATA)
except OSError as error:
    out = before, error.strerror
""")
    assert found == [0, "No such device or address"]  # one hole from its beginning to its end


def test_a_machine_stopped_the_moment_it_is_started_is_asked_until_it_hears(box: Box):
    found = box.do("""
create("Mail", "10.10.2.4")
job = carried(services.machine_reboot(actor(), machine("Mail")))
job = carried(services.machine_stop(actor(), machine("Mail")))
out = job["state"], job["output"]
""")
    assert found[0] == "done", found
    assert "powered off by itself" in found[1]


def test_a_machine_that_takes_too_long_is_ended_by_force(box: Box, mail: str):
    found = box.do("""
answers("10.10.2.4", 22, b"SSH")
uuid = str(machine("Mail").uuid)
out = domains.stop(config, uuid, how="usr2", grace_s=0.3), domains.look(config, ["Mail"])["Mail"].running
""")
    assert "ended by force" in found[0]
    assert found[1] is False


def test_a_machine_whose_domain_vanished_is_missing_and_start_brings_it_back(box: Box, mail: str):
    found = box.do("""
m, out = machine("Mail"), []
carried(services.machine_stop(actor(), m))
domains.undefine(config, str(m.uuid))
watch.look(config); out.append(machine("Mail").observed)
out.append(carried(services.machine_start(actor(), m))["state"])
watch.look(config); out.append(machine("Mail").observed)
out.append(answers(m.address, 2525, b"220 Mail"))
""")
    assert found == ["missing", "done", "running", True]


def test_a_filesystem_that_needs_a_person_is_said_in_words_when_it_is_started(box: Box, mail: str):
    found = box.do("""
m = machine("Mail")
carried(services.machine_stop(actor(), m))
path = volumes.path_of(config, "Mail-root")
with open(path, "r+b") as file:  # the root folder's inode and more, in the first inode table
    content = file.read(8 << 20)
    for place in range(1 << 16, 1 << 20, 4096):
        file.seek(place)
        file.write(os.urandom(4096))
job = carried(services.machine_start(actor(), m))
out = job["state"], job["message"]
""")
    assert found[0] == "refused"
    assert "needs a repair by hand (e2fsck" in found[1]


def test_after_dom0_restarts_a_running_machine_comes_back_and_a_stopped_one_stays_off(box: Box, mail: str):
    box.do("""
create("Off", "10.10.2.5")
carried(services.machine_stop(actor(), machine("Off")))
""")
    shutdown.stop(box.layout)
    box.up()
    assert "libvirtd" in processes.recorded(box.layout)
    found = box.do("""
up = answers("10.10.2.4", 2525, b"220 Mail")
watch.look(config)
out = up, machine("Mail").observed, machine("Off").observed
""")
    assert found == [True, "running", "stopped"]


def test_a_hand_can_be_used_by_hand(box: Box):
    found = box.do("""
def by_hand(*argv):
    done = subprocess.run(("/srv/fridu/bin/fridu-hand", *argv), capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return done.returncode, (done.stdout + done.stderr).strip()
made = by_hand("volume-create", "name=x-root", "size_mib=1", "machine=m")
twice = by_hand("volume-create", "name=x-root", "size_mib=1", "machine=m")
other = by_hand("volume-remove", "name=x-root", "machine=n")
gone = by_hand("volume-remove", "name=x-root", "machine=m")
out = made, twice, other, gone, by_hand("volume-create"), by_hand("fly"), by_hand()
""")
    codes = [code for code, _ in found]
    says = [said for _, said in found]
    assert codes == [0, 1, 1, 0, 1, 1, 1]
    assert "is there already" in says[1]
    assert "belongs to machine m" in says[2]
    assert "needs name=" in says[4]
    assert "volume-create" in says[5]
