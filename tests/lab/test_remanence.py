# ruff: noqa: E501 - lines of snippets
"""Nothing of a former owner is ever found: by the plans a machine's jobs run, on real logical volumes."""

from __future__ import annotations

import pytest

from tests.lab.conftest import Lab
from tests.lab.test_lvm_volumes import do

pytestmark = pytest.mark.lab

#: A machine with root, swap and log in vg0, and what runs of its plans here: the volumes' verbs.
BEGIN = """
from dataclasses import replace
from dom0 import execute
from dom0.probe import Scope
from machines import plan, plan_snapshot
from machines.plan_reinstall import plan_reinstall
from machines.specs import ImageSpec, MachineSpec, PlaceSpec, ZoneSpec

MARK = b"THE-FORMER-OWNERS-MAIL"
DIGEST = "5d" * 32

def spec_of(name, uuid, root_mib=64, **more):
    place = PlaceSpec(host="lab", libvirt="xen:///system", volumes=config.volumes, state="/tmp/s", run="/tmp/r", python="python3", project="/opt/fridu")
    zone = ZoneSpec(name="zLab", bridge="lab0", gateway="10.10.9.1", domain="")
    image = ImageSpec(name="bare", archive="bare.tar", digest=DIGEST, family="tiny", min_root_mib=16)
    return MachineSpec(place=place, zone=zone, image=image, name=name, uuid=uuid, address="10.10.9.2", mac="aa:bb:cc:0a:09:02", vif="fr0a0a0902", uid_base=1048576, vcpus=1, memory_mib=128, root_mib=root_mib, volume_group="vg0", **more)

def state_of(spec):
    return probe.probe(config, Scope(volumes=spec.volume_names, room=True))

def run(steps, state):
    for step in steps:
        if getattr(step.action, "verb", "").startswith(("volume-", "fs-create", "root-install")):
            execute.perform(step, config, state, {})
        state = step.after(state)

def golden_root(text):
    Path(config.golden).mkdir(parents=True, exist_ok=True)
    shell(f"rm -rf /tmp/tree && mkdir -p /tmp/tree/etc && echo {text} > /tmp/tree/etc/kept")
    shell(f"rm -f {config.golden}/{DIGEST}.ext4; mkfs.ext4 -q -b 4096 -O metadata_csum_seed -d /tmp/tree {config.golden}/{DIGEST}.ext4 24M")

def removal(spec):
    state = state_of(spec)
    return plan.plan_delete(spec, state).steps, state
"""


@pytest.fixture
def host(lvm: Lab) -> Lab:
    lvm.bring_tree()
    return lvm


def test_a_deleted_machines_bytes_are_nowhere_its_snapshots_included(host: Lab) -> None:
    found = do(
        host,
        BEGIN
        + """
old = spec_of("Old", OTHER, swap_mib=64, log_mib=64)
for volume in old.volumes:
    made(volume.name, volume.size_mib, OTHER)
    fill(volume.name, MARK)
hand("volume-snapshot", name=old.volume, label="thick", machine=OTHER)
fill(old.volume, b"CHANGED-LATER")  # so the mark goes into what the snapshot keeps
hand("volume-snapshot", name=old.volume, label="copy", machine=OTHER, copy="yes")
before, dirty = used_extents(), disk_holds(MARK)
steps, state = removal(old)
order = [dict(step.action.args)["name"].removeprefix("vg0/Old-") for step in steps if step.action.verb == "volume-remove"]
recorded = all(dict(step.action.args)["id"] == state.volumes[dict(step.action.args)["name"]].id for step in steps if step.action.verb == "volume-remove")
run(steps, state)
raw, left = [disk_holds(MARK), disk_holds(b"CHANGED-LATER")], all_there()
again = removal(old)[0]
# The same extents for somebody else: made, grown, and kept.
new = [made("vg0/New-root", 256), made("vg0/New-log", 32)]
hand("volume-grow", name="vg0/New-log", size_mib=200, machine=ME)
hand("volume-snapshot", name="vg0/New-root", label="kept", machine=ME)
names = [*new, "vg0/New-root.kept"]
out = dirty, order, recorded, raw, left, len(again), before <= used_extents(), [holds(name, MARK) or holds(name, b"CHANGED-LATER") for name in names], [zeros(name) for name in names]
""",
    )
    dirty, order, recorded, raw, left, again, same, held, empty = found
    assert dirty is True  # or the rest would prove nothing
    assert order == ["root.copy", "root.thick", "root", "swap", "log"]
    assert recorded is True
    assert (raw, left, again) == ([False, False], [], 0)
    assert same is True
    assert held == [False] * 3
    assert empty == [True] * 3


def test_a_reinstalled_root_holds_nothing_of_before_and_the_snapshot_brings_it_back(host: Lab) -> None:
    found = do(
        host,
        BEGIN
        + """
golden_root("from-the-image")
web = spec_of("WEB-Dom", ME)
made(web.volume, 64)
args = dict(image=DIGEST, volume=web.volume, machine=ME, fs_uuid=FS_UUID)
hand("root-install", generation=1, **args)
marks_of = lambda: (fact(web.volume).root.rpartition(":")[2], fact(web.volume).unfinished)
shell(f"mount /dev/{web.volume} /mnt && for i in 1 2 3 4 5 6 7 8 9; do yes {MARK.decode()} | head -c 1M > /mnt/mail$i; done; umount /mnt")
hand("volume-snapshot", name=web.volume, label="small", machine=ME, size_mib=16)
small = fact(f"{web.volume}.small").room_bytes >> 20
again = replace(web, root_generation=2)
full = plan_snapshot.room_for_all(again, state_of(again)) >> 20
state = state_of(again)
from dom0.plan import Draft
draft = Draft(state)
plan_snapshot.whole(again, draft)
run(draft.plan().steps, state)
wide = fact(f"{web.volume}.small").room_bytes >> 20
hand("root-install", generation=2, **args)
clean, installed = holds(web.volume, MARK), marks_of()
e2fsck = shell(f"e2fsck -fn /dev/{web.volume} >/dev/null 2>&1; echo $?").strip()
valid = fact(f"{web.volume}.small").percent
back = replace(web, root_generation=3)
hand("volume-snapshot-restore", name=web.volume, label="small", machine=ME, generation=3)
read = shell(f"mount /dev/{web.volume} /mnt && head -c 22 /mnt/mail9; umount /mnt")
restored = marks_of()
hand("volume-remove", name=f"{web.volume}.small", machine=ME, id=fact(f"{web.volume}.small").id)
hand("root-install", generation=4, **args)
out = small, full, wide, clean, installed, e2fsck, valid, read, restored, disk_holds(MARK), all_there()
""",
    )
    small, full, wide, clean, installed, e2fsck, valid, read, restored, raw, there = found
    assert (small, full, wide) == (16, 68, 68)  # LVM gives no more than can ever be needed
    assert clean is False
    assert installed == ["2", ""]
    assert e2fsck == "0"
    assert 50 < valid < 100
    assert read == "THE-FORMER-OWNERS-MAIL"
    assert restored == ["3", ""]
    assert raw is False
    assert there == ["WEB-Dom-root"]


def test_a_snapshot_goes_while_its_machine_writes_and_leaves_nothing(host: Lab) -> None:
    found = do(
        host,
        BEGIN
        + """
N = made("vg0/WEB-Dom-root", 64)
hand("fs-create", volume=N, machine=ME, type="ext4", fs_uuid=FS_UUID)
shell(f"mount /dev/{N} /mnt && yes {MARK.decode()} | head -c 8M > /mnt/mail && sync")
taken = hand("volume-snapshot", name=N, label="kept", machine=ME, size_mib=16)  # in use
whole = shell(f"e2fsck -fn /dev/{N}.kept >/dev/null 2>&1; echo $?").strip()
shell("shred -n1 -z /mnt/mail && rm /mnt/mail && echo now > /mnt/now && sync")
there, percent = holds(f"{N}.kept", MARK), fact(f"{N}.kept").percent
wider = hand("volume-grow", name=f"{N}.kept", size_mib=32, machine=ME)  # in use too
less, still = fact(f"{N}.kept").percent, holds(f"{N}.kept", MARK)
watched = dict(volumes.snapshots(config))[f"{N}.kept"]
gone = hand("volume-remove", name=f"{N}.kept", machine=ME, id=fact(f"{N}.kept").id)
shell("echo writes > /mnt/later && sync")
read = shell("cat /mnt/now /mnt/later; umount /mnt").split()
fsck = shell(f"e2fsck -fn /dev/{N} >/dev/null 2>&1; echo $?").strip()
out = taken, whole, there, percent, wider, less, still, (watched.percent, watched.room_bytes >> 20), gone, read, fsck, disk_holds(MARK), all_there()
""",
    )
    taken, whole, there, percent, wider, less, still, watched, gone, read, fsck, raw, left = found
    assert "is kept as" in taken
    assert whole == "0"  # the device mapper held the mounted filesystem still: nothing to repair, nothing to replay
    assert there is True
    assert "has 32 MB" in wider
    assert 0 < less < percent
    assert still is True
    assert watched == [less, 32]
    assert "zeroed and removed" in gone
    assert (read, fsck) == (["now", "writes"], "0")
    assert raw is False
    assert left == ["WEB-Dom-root"]


def test_a_deletion_killed_amid_its_snapshot_frees_nothing_and_goes_on(host: Lab) -> None:
    found = do(
        host,
        BEGIN
        + """
web = spec_of("WEB-Dom", ME, root_mib=192)
N = made(web.volume, 192)
fill(N, MARK)
hand("volume-snapshot", name=N, label="kept", machine=ME)
fill(N, b"CHANGED-LATER")
extents, ids = used_extents(), {name: fact(name).id for name in (N, f"{N}.kept")}
first = killed("volume-remove", 1, name=f"{N}.kept", machine=ME, id=ids[f"{N}.kept"])
kept = used_extents() == extents, fact(f"{N}.kept").id == ids[f"{N}.kept"], disk_holds(MARK)
steps, state = removal(web)
run(steps, state)
out = first, kept, [dict(s.action.args)["name"] for s in steps if s.action.verb == "volume-remove"], disk_holds(MARK), disk_holds(b"CHANGED-LATER"), all_there()
""",
    )
    first, kept, names, mark, later, left = found
    assert first == [9, "wiping"]
    assert kept == [True, True, True]
    assert names == ["vg0/WEB-Dom-root.kept", "vg0/WEB-Dom-root"]
    assert (mark, later, left) == (False, False, [])


def test_what_a_root_loses_by_shrinking_and_gets_by_growing_again_is_zeros(host: Lab) -> None:
    found = do(
        host,
        BEGIN
        + """
N = made("vg0/WEB-Dom-root", 128)
shell(f"mkfs.ext4 -q -b 4096 /dev/{N} 64M")
fill(N, MARK, start_mib=80)
hand("volume-shrink", name=N, size_mib=72, machine=ME, force="yes")
raw = disk_holds(MARK)
other = made("vg0/Other-root", 32, OTHER)
hand("volume-grow", name=N, size_mib=128, machine=ME)
out = raw, zeros(other), holds(N, MARK), holds(other, MARK)
""",
    )
    assert found == [False, True, False, False]
