# ruff: noqa: E501 - lines of snippets
"""dom0's verbs on real logical volumes: nothing of a former owner is ever found, no stranger's volume touched."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.lab.conftest import Lab
from tests.lab.places import INSIDE

pytestmark = pytest.mark.lab

ROOT, SWAP, LOG = "vg0/WEB-Dom-root", "vg0/WEB-Dom-swap", "vg0/WEB-Dom-log"


@pytest.fixture
def host(lvm: Lab) -> Lab:
    lvm.bring_tree()
    return lvm


def do(host: Lab, code: str) -> Any:
    """What the snippet left in `out` (tests.lab.hands_inside)."""
    line = f"cd {INSIDE} && .venv/bin/python -B -m tests.lab.hands_inside"
    return json.loads(host.run(line, stdin=code.encode(), timeout_s=400).stdout.rsplit("\n@", 1)[1])


def test_root_swap_and_log_are_made_formatted_marked_and_removed_by_their_uuid(host: Lab) -> None:
    found = do(
        host,
        """
names = ("vg0/WEB-Dom-root", "vg0/WEB-Dom-swap", "vg0/WEB-Dom-log")
for name, kind in zip(names, ("ext4", "swap", "ext3")):
    made(name, 30)
    assert zeros(name)
    hand("fs-create", volume=name, machine=ME, type=kind, fs_uuid=FS_UUID)
facts = [(f.size_bytes // MIB, f.machine == ME, f.content, f.unfinished) for f in map(fact, names)]
kinds = [shell(f"blkid -p -o value -s TYPE -s UUID /dev/{name}").split() for name in names]
again = [hand("fs-create", volume=names[0], machine=ME, type="ext4", fs_uuid=FS_UUID)]
again += [hand("volume-create", name=names[0], size_mib=30, machine=ME)]
forced = hand("fs-create", volume=names[0], machine=ME, type="ext3", fs_uuid=FS_UUID, force="yes"), fact(names[0]).content
wrong = [hand("volume-remove", name=names[0], machine=ME, id=fact(names[1]).id)]
wrong += [hand("volume-remove", name=names[0], machine=OTHER, id=fact(names[0]).id)]
stay = len(all_there())
for name in names:
    hand("volume-remove", name=name, machine=ME, id=fact(name).id)
out = facts, kinds, again, forced, wrong, stay, all_there()
""",
    )
    facts, kinds, again, forced, wrong, stay, left = found
    assert facts == [[32, True, "ext4", ""], [32, True, "swap", ""], [32, True, "ext3", ""]]
    assert {kind for kind, _ in (sorted(each, key=len) for each in kinds)} == {"ext4", "swap", "ext3"}
    assert "already formatted" in again[0]
    assert "exists already" in again[1]
    assert forced[1] == "ext3"
    assert "not the volume that was meant" in wrong[0]
    assert "belongs to machine" in wrong[1]
    assert (stay, left) == (3, [])


def test_a_golden_root_on_extents_full_of_old_bytes_is_whole_grown_and_tuned(host: Lab) -> None:
    found = do(
        host,
        """
N, digest = made("vg0/Old-root", 128, OTHER), "5d" * 32
fill(N, b"SECRET-OF-OLD")
shell("lvremove -qqy vg0/Old-root")  # by hand: nobody zeroed it
Path(config.golden).mkdir(parents=True)
shell(f"mkdir -p /tmp/tree/etc && echo root:*:1:0:::::: > /tmp/tree/etc/shadow && echo kept > /tmp/tree/etc/kept")
shell(f"mkfs.ext4 -q -b 4096 -O metadata_csum_seed -d /tmp/tree {config.golden}/{digest}.ext4 40M")
N = made("vg0/WEB-Dom-root", 128)
args = dict(image=digest, volume=N, machine=ME, fs_uuid=FS_UUID)
hand("root-install", generation=1, **args)
whole = shell(f"e2fsck -fn /dev/{N} >/dev/null 2>&1; echo $?").strip()
tuned = hand("root-tune", json.dumps({"machine": ME, "mark": "a/b/c", "files": [{"path": "/etc/hostname", "content": "WEB"}]}), volume=N)
f = fact(N)
again = hand("root-install", generation=1, **args), hand("fs-create", volume=N, machine=ME, type="ext4", fs_uuid=FS_UUID)
read = shell(f"mount /dev/{N} /mnt && cat /mnt/etc/hostname /mnt/etc/kept && df -m --output=size /mnt | tail -1; umount /mnt").split()
secret = holds(N, b"SECRET-OF-OLD")
later = hand("root-install", generation=2, **args), fact(N).root.endswith(":2")
out = whole, tuned, (f.root.endswith(":1"), f.tuned), again, read, secret, later
""",
    )
    whole, tuned, marks, again, read, secret, later = found
    assert whole == "0"
    assert "is tuned" in tuned
    assert marks == [True, "a/b/c"]
    assert all("already holds a distribution" in said for said in again)
    assert read[0] == "WEBkept"  # hostname has no line's end
    assert int(read[-1]) > 100
    assert secret is False
    assert later[1] is True


def test_what_was_all_over_a_volume_is_nowhere_on_volumes_made_or_grown_later_in_its_extents(host: Lab) -> None:
    found = do(
        host,
        """
MARK = b"THE-FORMER-OWNERS-MAIL"
names = [made(f"vg0/Old-{kind}", 64, OTHER) for kind in ("root", "swap", "log")]
before = used_extents()
for name in names:
    fill(name, MARK)
for name in names:
    hand("volume-remove", name=name, machine=OTHER, id=fact(name).id)
raw = disk_holds(MARK)
new = [made("vg0/New-root", 96), made("vg0/New-log", 32)]
hand("volume-grow", name="vg0/New-log", size_mib=96, machine=ME)
same = before <= used_extents()
clean = [holds(name, MARK) for name in new], [zeros(name) for name in new]
# and bytes of a volume that was removed behind our back
shell("lvcreate -qqy -L 128M -n foreign vg0"); fill_foreign = open("/dev/vg0/foreign", "wb", buffering=0)
for _ in range(128): fill_foreign.write((MARK * (MIB // len(MARK) + 1))[:MIB])
os.fsync(fill_foreign.fileno()); fill_foreign.close(); shell("lvremove -qqy vg0/foreign")
dirty = disk_holds(MARK)
hand("volume-grow", name="vg0/New-log", size_mib=160, machine=ME)
new.append(made("vg0/Next-root", 64))
out = raw, same, clean, dirty, [holds(name, MARK) for name in new], fact("vg0/New-log").size_bytes // MIB, all_there()
""",
    )
    raw, same, clean, dirty, later, size, there = found
    assert raw is False
    assert same is True
    assert clean == [[False, False], [True, True]]
    assert dirty is True  # or the rest would prove nothing
    assert later == [False, False, False]
    assert size == 160
    assert there == ["New-log", "New-root", "Next-root"]


def test_a_wipe_killed_half_way_frees_nothing_and_goes_on_where_it_was(host: Lab) -> None:
    found = do(
        host,
        """
N, MARK = made("vg0/WEB-Dom-root", 256), b"STILL-SECRET"
fill(N, MARK)
id, extents = fact(N).id, used_extents()
first = killed("volume-remove", 2, name=N, machine=ME, id=id)
kept = used_extents() == extents, fact(N).id == id, holds(N, MARK)
refused = [hand(verb, name=N, machine=ME, size_mib=300, label="x") for verb in ("volume-grow", "volume-snapshot")]
refused.append(hand("root-install", image="5d" * 32, volume=N, machine=ME, fs_uuid=FS_UUID, generation=1))
said, places = zeroed_from("volume-remove", name=N, machine=ME, id=id)
out = first, kept, refused, said, places, all_there(), disk_holds(MARK)
""",
    )
    first, kept, refused, said, places, left, secret = found
    assert first == [9, "wiping"]
    assert kept == [True, True, True]
    assert all("wiping it was begun and never finished" in each for each in refused)
    assert "zeroed and removed" in said
    assert places == [128, 192]  # of 64 MiB each, the first two were done
    assert (left, secret) == ([], False)


def test_a_volume_whose_making_was_killed_is_finished_zeros_and_nobody_elses(host: Lab) -> None:
    found = do(
        host,
        """
MARK = b"OLD-OLD-OLD"
fill(made("vg0/Old-root", 256, OTHER), MARK)
shell("lvremove -qqy vg0/Old-root")
first = killed("volume-create", 1, name="vg0/WEB-Dom-root", size_mib=256, machine=ME)
others = hand("volume-create", name="vg0/WEB-Dom-root", size_mib=256, machine=OTHER)
said, places = zeroed_from("volume-create", name="vg0/WEB-Dom-root", size_mib=256, machine=ME)
out = first, others, places, zeros("vg0/WEB-Dom-root"), fact("vg0/WEB-Dom-root").unfinished
""",
    )
    first, others, places, empty, unfinished = found
    assert first == [9, "zeroing"]
    assert "exists already" in others
    assert places == [64, 128, 192]
    assert (empty, unfinished) == (True, "")


def test_a_snapshot_brings_everything_back_stays_and_leaves_nothing_when_removed(host: Lab) -> None:
    found = do(
        host,
        """
N = made("vg0/WEB-Dom-root", 64)
hand("fs-create", volume=N, machine=ME, type="ext4", fs_uuid=FS_UUID)
shell(f"mount /dev/{N} /mnt && echo before > /mnt/file")
thick = hand("volume-snapshot", name=N, label="thick", machine=ME)  # in use
used = hand("volume-snapshot", name=N, label="copy", machine=ME, copy="yes")
shell("umount /mnt")
copied = hand("volume-snapshot", name=N, label="copy", machine=ME, copy="yes")
shell(f"mount /dev/{N} /mnt && echo after > /mnt/file && dd if=/dev/urandom of=/mnt/more bs=1M count=20 2>/dev/null")
busy = hand("volume-snapshot-restore", name=N, label="thick", machine=ME)
shell("umount /mnt")
read = []
for label in ("thick", "copy"):
    hand("volume-snapshot-restore", name=N, label=label, machine=ME)
    read.append(shell(f"e2fsck -fp /dev/{N} >&2; mount /dev/{N} /mnt && cat /mnt/file && echo broken > /mnt/file; ls /mnt; umount /mnt").split())
grow = hand("volume-grow", name=N, size_mib=96, machine=ME)
there = all_there()
MARK = b"ONLY-THE-SNAPSHOT-KNOWS"
hand("volume-remove", name=f"{N}.copy", machine=ME)
fill(N, MARK, start_mib=40)
hand("volume-snapshot", name=N, label="later", machine=ME)
fill(N, b"other", start_mib=40)  # what was there goes into the snapshot
kept = holds(f"{N}.later", MARK)
hand("volume-remove", name=f"{N}.later", machine=ME, id=fact(f"{N}.later").id)
forgotten = disk_holds(MARK)
hand("volume-remove", name=N, machine=ME)
out = thick, used, copied, busy, read, grow, there, kept, forgotten, all_there()
""",
    )
    thick, used, copied, busy, read, grow, there, kept, forgotten, left = found
    assert "is kept as" in thick
    assert "is still in use" in used
    assert "is kept as" in copied
    assert "is still in use" in busy
    assert read == [["before", "file", "lost+found"]] * 2
    assert "while it has the snapshot" in grow
    assert there == ["WEB-Dom-root", "WEB-Dom-root.copy", "WEB-Dom-root.thick"]
    assert kept is True
    assert forgotten is False
    assert left == []


def test_a_snapshot_that_ran_full_says_so_and_one_that_would_fill_the_group_is_refused(host: Lab) -> None:
    found = do(
        host,
        """
N = made("vg0/WEB-Dom-root", 64)
hand("volume-snapshot", name=N, label="small", machine=ME, size_mib=4)
fill(N, b"much", start_mib=32); shell("sync; udevadm settle")
full = hand("volume-snapshot-restore", name=N, label="small", machine=ME)
hand("volume-remove", name=f"{N}.small", machine=ME)
free = probe.probe(config, probe.Scope(room=True)).places["vg0"].free_bytes
shell(f"lvcreate -qqy -Wn -Zn -l 97%VG -n foreign vg0")
guard = hand("volume-snapshot", name=N, label="next", machine=ME), hand("volume-snapshot", name=N, label="next", machine=ME, copy="yes")
room = hand("volume-create", name="vg0/Big-root", size_mib=4096, machine=ME)
grow = hand("volume-grow", name=N, size_mib=4096, machine=ME)
missing = hand("volume-create", name="vgmissing/WEB-Dom-root", size_mib=16, machine=ME)
unnamed = hand("volume-create", name="vgother/WEB-Dom-root", size_mib=16, machine=ME)
places = dict(probe.probe(config, probe.Scope(room=True)).places)
out = full, guard, room, grow, missing, unnamed, list(places), places["vg0"].free_bytes < free, all_there()
""",
    )
    full, guard, room, grow, missing, unnamed, places, less, there = found
    assert "ran full" in full
    assert all("not enough space" in said and "left free" in said for said in guard)
    assert "not enough space" in room
    assert "not enough space" in grow
    assert "volume group vgmissing is missing" in missing
    assert "names no volume group “vgother”" in unnamed
    assert (places, less) == (["vg0"], True)
    assert there == ["WEB-Dom-root", "foreign"]


def test_a_strangers_volume_of_the_same_name_is_never_touched(host: Lab) -> None:
    found = do(
        host,
        """
shell("lvcreate -qqy -L 32M -n WEB-Dom-root vg0 && mkfs.ext4 -q /dev/vg0/WEB-Dom-root")
before, N = shell("sha256sum /dev/vg0/WEB-Dom-root; lvs --noheadings -o lv_uuid,lv_tags,lv_size vg0"), "vg0/WEB-Dom-root"
more = dict(name=N, volume=N, machine=ME, size_mib=48, force="yes", label="x", image="5d" * 32, fs_uuid=FS_UUID, generation=9)
verbs = ("volume-create", "volume-grow", "volume-shrink", "volume-wipe", "volume-remove", "volume-snapshot")
verbs += ("volume-snapshot-restore", "fs-create", "root-install")
said = [hand(verb, **more) for verb in verbs]
tuned = hand("root-tune", json.dumps({"machine": ME, "mark": "x"}), volume=N)
out = [*said, tuned], before == shell("sha256sum /dev/vg0/WEB-Dom-root; lvs --noheadings -o lv_uuid,lv_tags,lv_size vg0"), all_there()
""",
    )
    said, same, there = found
    assert all(each.startswith("refused: ") for each in said), said
    assert same is True
    assert there == ["WEB-Dom-root"]


def test_a_volume_a_guest_had_is_zeroed_again_before_it_is_formatted(host: Lab) -> None:
    """Made and zeroed, handed over unformatted, written to: what it holds then is not taken for zeros."""
    found = do(
        host,
        """
N, MARK = made("vg0/WEB-Dom-swap", 32), b"WRITTEN-BY-THE-GUEST"
known = fact(N).blank
hand("volume-hand-over", name=N, machine=ME)
handed = fact(N).blank
fill(N, MARK, start_mib=8)
hand("fs-create", volume=N, machine=ME, type="swap", fs_uuid=FS_UUID, anew="2", force="yes")
f = fact(N)
out = known, handed, f.blank, f.anew, f.content, disk_holds(MARK)
""",
    )
    assert found == [True, False, False, "2", "swap", False]


def test_a_volume_shrinks_only_by_force_never_into_its_filesystem_and_frees_zeros(host: Lab) -> None:
    found = do(
        host,
        """
N, MARK = made("vg0/WEB-Dom-root", 128), b"AT-THE-END"
shell(f"mkfs.ext4 -q -b 4096 /dev/{N} 64M")
fill(N, MARK, start_mib=100)
mild = hand("volume-shrink", name=N, size_mib=96, machine=ME)
into = hand("volume-shrink", name=N, size_mib=32, machine=ME, force="yes")
first = killed("volume-shrink", 0, name=N, machine=ME, size_mib=72, force="yes"), fact(N).size_bytes // MIB
done = hand("volume-shrink", name=N, size_mib=72, machine=ME, force="yes")
f = fact(N)
fsck = shell(f"e2fsck -fn /dev/{N} >/dev/null 2>&1; echo $?").strip()
out = mild, into, first, done, f.size_bytes // MIB, f.unfinished, fsck, disk_holds(MARK)
""",
    )
    mild, into, first, done, size, unfinished, fsck, secret = found
    assert "force=yes" in mild
    assert "would cut it off" in into
    assert first == [[9, "shrinking"], 128]
    assert "has 72 MB" in done
    assert (size, unfinished, fsck, secret) == (72, "", "0", False)
