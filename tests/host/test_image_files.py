"""dom0's verbs on real image files, with loop devices and filesystems over them."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from dom0 import blocks, golden, hands, hook, marks, probe, tune, volumes
from dom0.errors import Refused
from dom0.host import HostConfig
from dom0.state import Place, Volume
from dom0.steps import Hand

pytestmark = pytest.mark.host

MIB = 1 << 20
ME, OTHER = "6f1d7a52-6d4c-4a53-9a3b-0f6a9c1f4e10", "0b7e4a52-6d4c-4a53-9a3b-0f6a9c1f4e11"
FS_UUID = "6bb58948-b851-5d95-a5d7-2c467accf5e9"
N = "WEB-Dom-root"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HostConfig:
    monkeypatch.setattr("dom0.volumes_files.PATIENCE_S", 0.2)
    return HostConfig(
        name="files",
        libvirt="test:///default",
        volumes=str(tmp_path / "volumes"),
        golden=str(tmp_path / "golden"),
        run=str(tmp_path / "run"),
    )


@pytest.fixture
def do(config: HostConfig):
    def hand(verb: str, **args: str | int) -> str:
        given = {"machine": ME, **args}
        return hands.do(Hand(verb=verb, args=tuple((key, str(value)) for key, value in given.items())), config)

    return hand


@pytest.fixture
def root(do) -> str:
    """An ext4 of 64 MB."""
    do("volume-create", name=N, size_mib=64)
    do("fs-create", volume=N, type="ext4", fs_uuid=FS_UUID)
    return N


def fact(config: HostConfig, name: str = N) -> Volume:
    found = volumes.look(config, name)
    assert found is not None
    return found


def wrote(config: HostConfig, text: str, name: str = N) -> None:
    """A file in the volume's filesystem, by debugfs: nothing is mounted."""
    path = Path(config.volumes, "text")
    path.write_text(text)
    done = ("debugfs", "-w", "-f", "-", volumes.path_of(config, name))
    subprocess.run(done, input=f"rm note\nwrite {path} note\n", text=True, capture_output=True, check=True)
    path.unlink()


def note(config: HostConfig, name: str = N) -> str:
    argv = ("debugfs", "-R", "cat note", volumes.path_of(config, name))
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("kind", ["ext4", "ext3", "swap"])
def test_a_filesystem_is_made_recognised_and_not_made_twice(do, config: HostConfig, kind: str):
    do("volume-create", name=N, size_mib=64)
    assert fact(config).content == ""
    do("fs-create", volume=N, type=kind, fs_uuid=FS_UUID)
    said = ("blkid", "-p", "-o", "value", "-s", "UUID", "-s", "TYPE", volumes.path_of(config, N))
    assert set(subprocess.run(said, capture_output=True, text=True, check=True).stdout.split()) == {kind, FS_UUID}
    assert (fact(config).content, fact(config).unfinished) == (kind, "")
    with pytest.raises(Refused, match="already formatted"):
        do("fs-create", volume=N, type="ext4", fs_uuid=FS_UUID)
    do("fs-create", volume=N, type="ext4", fs_uuid=FS_UUID, force="yes")
    assert fact(config).content == "ext4"


def test_anything_nobody_knows_counts_as_formatted_too(do, config: HostConfig):
    do("volume-create", name=N, size_mib=1)
    with open(volumes.path_of(config, N), "r+b") as file:
        file.seek(64 << 10)
        file.write(b"_BHRfS_M")
    with pytest.raises(Refused, match="already formatted"):
        do("fs-create", volume=N, type="ext4", fs_uuid=FS_UUID)


def test_what_was_half_formatted_is_formatted_again_without_force(do, config: HostConfig, root: str):
    fd = marks.open_marked(volumes.path_of(config, N), ME)
    marks.put(fd, "formatting", "ext4")
    os.close(fd)
    assert fact(config).unfinished == "formatting"
    do("fs-create", volume=N, type="swap", fs_uuid=FS_UUID)
    assert (fact(config).content, fact(config).unfinished) == ("swap", "")


def test_a_kind_nobody_knows_is_refused(do, config: HostConfig):
    do("volume-create", name=N, size_mib=1)
    with pytest.raises(Refused, match="Nobody knows a filesystem"):
        do("fs-create", volume=N, type="-c", fs_uuid=FS_UUID)


def test_a_volume_in_use_grows_under_whoever_uses_it(do, config: HostConfig, root: str):
    with hook.Loop(volumes.path_of(config, N)) as device:
        do("volume-grow", name=N, size_mib=128)
        with open(device, "rb") as opened:
            assert opened.seek(0, os.SEEK_END) == 128 * MIB
        subprocess.run(("resize2fs", device), capture_output=True, check=True)
    with open(volumes.path_of(config, N), "rb") as file:
        assert blocks.filled(file.fileno()) == 128 * MIB
    with pytest.raises(Refused, match="would be less"):
        do("volume-grow", name=N, size_mib=64)


def test_a_volume_shrinks_only_by_force_unused_and_never_into_what_lies_on_it(do, config: HostConfig, root: str):
    do("volume-grow", name=N, size_mib=128)
    with pytest.raises(Refused, match="may lose") as refused:
        do("volume-shrink", name=N, size_mib=96)
    assert "force=yes" in refused.value.note
    with pytest.raises(Refused, match="would cut it off"):
        do("volume-shrink", name=N, size_mib=63, force="yes")
    with hook.Loop(volumes.path_of(config, N)), pytest.raises(Refused, match="still in use"):
        do("volume-shrink", name=N, size_mib=96, force="yes")
    do("volume-shrink", name=N, size_mib=96, force="yes")
    assert fact(config).size_bytes == 96 * MIB


@pytest.mark.parametrize("verb", ["volume-remove", "volume-wipe", "volume-snapshot"])
def test_a_volume_in_use_is_neither_removed_wiped_nor_copied(do, config: HostConfig, root: str, verb: str):
    with hook.Loop(volumes.path_of(config, N)), pytest.raises(Refused, match="still in use"):
        do(verb, name=N, label="x")
    assert fact(config).content == "ext4"


def test_a_volume_is_removed_only_as_the_one_that_was_recorded(do, config: HostConfig, root: str):
    recorded = fact(config).id
    assert recorded == f"inode:{Path(volumes.path_of(config, N)).stat().st_ino}"
    for wrong, says in (({"id": "inode:1"}, "not the volume that was meant"), ({"machine": OTHER}, "belongs to")):
        with pytest.raises(Refused, match=says):
            do("volume-remove", name=N, **wrong)
    do("volume-remove", name=N, id=recorded)
    assert list(Path(config.volumes).iterdir()) == []
    with pytest.raises(Refused, match="There is no volume"):
        do("volume-remove", name=N, id=recorded)


def test_a_wiped_volume_stays_empty_and_ours(do, config: HostConfig, root: str):
    do("volume-wipe", name=N)
    found = fact(config)
    assert (found.content, found.machine, found.unfinished, found.size_bytes) == ("", ME, "", 64 * MIB)
    assert Path(volumes.path_of(config, N)).stat().st_blocks == 0


def test_a_wipe_that_was_begun_keeps_everybody_else_off_and_goes_on(do, config: HostConfig, root: str):
    fd = marks.open_marked(volumes.path_of(config, N), ME)
    marks.put(fd, "wiping", "0")
    os.close(fd)
    for verb in ("volume-grow", "volume-snapshot", "fs-create"):
        with pytest.raises(Refused, match="wiping it was begun"):
            do(verb, name=N, volume=N, label="x", size_mib=128, fs_uuid=FS_UUID, force="yes")
    do("volume-remove", name=N)
    assert volumes.look(config, N) is None


@pytest.mark.parametrize("copy", ["yes", "no"])
def test_a_snapshot_brings_back_content_and_marks_as_often_as_wished(do, config: HostConfig, root: str, copy: str):
    fd = marks.open_marked(volumes.path_of(config, N), ME)
    marks.put(fd, "root", "5d:1")
    os.close(fd)
    wrote(config, "before\n")
    do("volume-snapshot", name=N, label="s1", copy=copy)
    kept = fact(config, f"{N}.s1")
    assert (kept.origin, kept.root, kept.machine) == (N, "5d:1", ME)
    id = fact(config).id
    for change in ("after\n", "again\n"):
        wrote(config, change)
        assert note(config) == change
        fd = marks.open_marked(volumes.path_of(config, N), ME)
        marks.put(fd, "root", "5d:2")
        os.close(fd)
        do("volume-snapshot-restore", name=N, label="s1")
        assert note(config) == "before\n"
        assert (fact(config).root, fact(config).unfinished, fact(config).id) == ("5d:1", "", id)
    with pytest.raises(Refused, match="is there already"):
        do("volume-snapshot", name=N, label="s1", copy=copy)
    do("volume-remove", name=N)  # and what was kept of it
    assert list(Path(config.volumes).iterdir()) == []


def test_a_restore_that_was_killed_keeps_the_machine_off_and_is_done_again(
    do, config: HostConfig, root: str, monkeypatch: pytest.MonkeyPatch
):
    wrote(config, "before\n")
    do("volume-snapshot", name=N, label="s1")

    def die(*_: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(blocks, "clone", lambda *_: False)
        patch.setattr(blocks, "copy_extents", die)
        with pytest.raises(KeyboardInterrupt):
            do("volume-snapshot-restore", name=N, label="s1")
    assert fact(config).unfinished == "restoring"
    with pytest.raises(Refused, match="restoring it was begun"):
        do("volume-grow", name=N, size_mib=128)
    do("volume-snapshot-restore", name=N, label="s1")
    assert (fact(config).unfinished, note(config)) == ("", "before\n")


@pytest.mark.parametrize("label", ["", "../x", "a/b", "A", "x" * 21])
def test_a_snapshots_name_is_no_path(do, config: HostConfig, root: str, label: str):
    with pytest.raises(Refused, match="can't be a snapshot's name"):
        do("volume-snapshot", name=N, label=label)


def test_a_volume_larger_than_the_disk_is_refused_before_it_is_there(do, config: HostConfig):
    with pytest.raises(Refused, match="not enough space"):
        do("volume-create", name=N, size_mib=1 << 29)
    assert volumes.look(config, N) is None


@pytest.mark.parametrize("name", ["vg0/x", "/etc/x", "../x", ".x", "", "a b", "-x"])
def test_a_volumes_name_is_no_path_and_its_group_one_the_host_file_names(do, config: HostConfig, name: str):
    with pytest.raises(Refused):
        do("volume-create", name=name, size_mib=1)


def test_a_root_makes_way_for_a_later_generation_or_force_only(do, config: HostConfig, tmp_path: Path):
    digest = "5d" * 32
    Path(config.golden).mkdir()
    path = Path(golden.path_of(config, digest))
    with open(path, "xb") as file:
        os.truncate(file.fileno(), 16 * MIB)
    make = ("mkfs.ext4", "-q", "-b", "4096", "-O", "metadata_csum_seed", str(path))
    subprocess.run(make, check=True)
    do("volume-create", name=N, size_mib=64)
    wish = {"image": digest, "volume": N, "fs_uuid": FS_UUID}
    do("root-install", generation=1, **wish)
    assert fact(config).root == f"{digest}:1"
    with pytest.raises(Refused, match="already holds a distribution"):
        do("root-install", generation=1, **wish)
    with pytest.raises(Refused, match="already holds a distribution"):
        do("fs-create", volume=N, fs_uuid=FS_UUID)
    do("root-install", generation=2, **wish)
    do("root-install", generation=2, force="yes", **wish)
    assert fact(config).root == f"{digest}:2"


def test_a_host_without_volume_groups_starts_no_process_to_look(
    config: HostConfig, root: str, monkeypatch: pytest.MonkeyPatch
):
    def never(*_: object, **__: object) -> None:
        raise AssertionError("a process")

    monkeypatch.setattr("dom0.runner.run", never)
    state = probe.probe(replace(config, volume_groups=()), probe.Scope(volumes=(N, "none"), room=True))
    assert list(state.volumes) == [N]
    assert (dict(state.places), state.free_bytes > 0) == ({}, True)
    assert tune.loop_over(Path(volumes.path_of(config, N)).stat()) == ""


@pytest.mark.parametrize("copy", ["yes", "no"])
def test_a_snapshot_leaves_room_for_what_else_lies_there_and_grows(
    config: HostConfig, do, root: str, monkeypatch: pytest.MonkeyPatch, copy: str
):
    """An owner chooses when; other machines' files are sparse, and their writes fail once the folder is full."""
    takes = Path(volumes.path_of(config, root)).stat().st_blocks * 512
    room = Place(name="", size_bytes=100 * takes, free_bytes=5 * takes + takes // 2)
    monkeypatch.setattr("dom0.volumes_files.place", lambda config: room)
    with pytest.raises(Refused, match="left free for what must grow"):
        do("volume-snapshot", name=root, label="before", copy=copy)
    assert volumes.look(config, f"{root}.before") is None
    room = replace(room, free_bytes=6 * takes + MIB)
    do("volume-snapshot", name=root, label="before", copy=copy)
