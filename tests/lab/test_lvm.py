"""Real volumes, without the hypervisor."""

from __future__ import annotations

import pytest

from tests.lab.conftest import Lab

pytestmark = pytest.mark.lab


def test_a_volume_is_made_found_by_its_tag_and_removed(lvm: Lab) -> None:
    lvm.run("lvcreate -q -y -Wy -Zy -L 64M -n WEB-root --addtag fridu.machine=WEB vg0")
    found = lvm.run("lvs --noheadings -o lv_name,lv_size --units m @fridu.machine=WEB").stdout.split()
    assert found == ["WEB-root", "64.00m"]
    lvm.run("lvremove -q -y vg0/WEB-root")
    assert lvm.run("lvs --noheadings vg0").stdout.strip() == ""


def test_a_volume_grows_and_its_filesystem_with_it(lvm: Lab) -> None:
    lvm.run("lvcreate -q -y -L 64M -n WEB-root vg0 && mkfs.ext4 -q /dev/vg0/WEB-root")
    lvm.run("mount /dev/vg0/WEB-root /mnt && echo kept > /mnt/file")
    lvm.run("lvextend -q -L 128M vg0/WEB-root && resize2fs /dev/vg0/WEB-root")
    blocks = lvm.run("stat -f -c '%b %S' /mnt").stdout.split()
    assert int(blocks[0]) * int(blocks[1]) > 100 << 20
    assert lvm.run("cat /mnt/file").stdout == "kept\n"


def test_a_snapshot_brings_back_what_was_overwritten(lvm: Lab) -> None:
    lvm.run("lvcreate -q -y -L 64M -n WEB-root vg0 && mkfs.ext4 -q /dev/vg0/WEB-root")
    lvm.run("mount /dev/vg0/WEB-root /mnt && echo before > /mnt/file && sync")
    lvm.run("lvcreate -q -y -s -L 32M -n WEB-kept vg0/WEB-root")
    lvm.run("echo after > /mnt/file && umount /mnt && lvconvert -q -y -i 1 --merge vg0/WEB-kept")
    lvm.run("mount /dev/vg0/WEB-root /mnt")
    assert lvm.run("cat /mnt/file").stdout == "before\n"


def test_what_one_test_writes_the_next_does_not_find(lvm: Lab) -> None:
    """Each wakes the same frozen host: an empty group, and nothing of the tests above."""
    assert lvm.run("vgs --noheadings -o vg_name,lv_count").stdout.split() == ["vg0", "0"]
