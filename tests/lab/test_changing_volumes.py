# ruff: noqa: E501, F811 - lines of snippets; a fixture is named like what it is imported as
"""Growing and renaming on real logical volumes: mounted by the kernel, off by programs that are nobody."""

from __future__ import annotations

import pytest

from tests.lab.conftest import Lab
from tests.lab.test_lvm_volumes import do, host  # noqa: F401

pytestmark = pytest.mark.lab

BEGIN = """
from dom0 import growing
from dom0.confined import Root
N, UID = "vg0/WEB-Dom-root", 4063232 + 65534
made(N, 64)
hand("fs-create", volume=N, machine=ME, type="ext4", fs_uuid=FS_UUID)
"""
END = """
for name in (f"vg0/{short}" for short in all_there() if "." not in short):
    hand("volume-remove", name=name, machine=ME, id=fact(name).id)
out += (all_there(),)
"""


def test_a_mounted_filesystem_grows_with_its_logical_volume_and_keeps_what_is_written(host: Lab) -> None:
    found = do(
        host,
        BEGIN
        + """
with tune.mounted(f"/dev/{N}") as tree:
    Root(tree).write("/before", b"before")
    hand("volume-grow", name=N, size_mib=256, machine=ME)
    said = hand("fs-grow", volume=N, machine=ME, online="yes", uid=UID)
    Root(tree).write("/after", os.urandom(MIB // 2))
    room = os.fstatvfs(tree).f_blocks * 4096 // MIB
sound = subprocess.run(("e2fsck", "-fn", f"/dev/{N}"), capture_output=True).returncode
with tune.mounted(f"/dev/{N}") as tree:
    kept = Root(tree).read("/before")[0] == b"before" and len(Root(tree).read("/after")[0]) == MIB // 2
out = said, room, sound, kept, fact(N).filled_bytes // MIB, growing.may_online()
"""
        + END,
    )
    said, room, sound, kept, filled, may, left = found
    assert may, "the lab's root is a whole root"
    assert "256 MB" in said
    assert room > 200
    assert (sound, kept, filled, left) == (0, True, 256, [])


def test_off_it_is_grown_by_nobody_and_its_device_is_roots_again(host: Lab) -> None:
    found = do(
        host,
        BEGIN
        + """
hand("volume-grow", name=N, size_mib=256, machine=ME)
said = hand("fs-grow", volume=N, machine=ME, uid=UID)
device = os.stat(f"/dev/{N}")
sound = subprocess.run(("e2fsck", "-fn", f"/dev/{N}"), capture_output=True).returncode
out = said, device.st_uid, sound, fact(N).filled_bytes // MIB
"""
        + END,
    )
    said, uid, sound, filled, left = found
    assert "256 MB" in said
    assert (uid, sound, filled, left) == (0, 0, 256, [])


def test_a_renamed_volume_takes_its_thick_snapshots_along(host: Lab) -> None:
    found = do(
        host,
        BEGIN
        + """
hand("volume-snapshot", name=N, label="before", machine=ME, size_mib=16)
uuid = fact(N).id
said = hand("volume-rename", name=N, to="vg0/Post-root", machine=ME)
names, origin = all_there(), fact("vg0/Post-root.before").origin
same = fact("vg0/Post-root").id == uuid
taken = hand("volume-create", name="vg0/Mail-root", size_mib=16, machine=OTHER) and hand("volume-rename", name="vg0/Post-root", to="vg0/Mail-root", machine=ME)
hand("volume-remove", name="vg0/Mail-root", machine=OTHER, id=fact("vg0/Mail-root").id)
out = said, names, origin, same, taken
"""
        + END,
    )
    said, names, origin, same, taken, left = found
    assert "is called vg0/Post-root" in said
    assert names == ["Post-root", "Post-root.before"]
    assert (origin, same) == ("vg0/Post-root", True)
    assert "exists already" in taken
    assert left == []
