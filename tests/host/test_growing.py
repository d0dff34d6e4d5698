"""A filesystem takes all of its volume: mounted, by the kernel; off, by programs that own nothing else. Renaming."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

import pytest

from dom0 import growing, hands, hook, tune, volumes
from dom0.confined import Root
from dom0.errors import Refused
from dom0.host import HostConfig
from dom0.state import Volume
from dom0.steps import Hand

pytestmark = pytest.mark.host

MIB = 1 << 20
ME, OTHER = "6f1d7a52-6d4c-4a53-9a3b-0f6a9c1f4e10", "0b7e4a52-6d4c-4a53-9a3b-0f6a9c1f4e11"
FS_UUID = "6bb58948-b851-5d95-a5d7-2c467accf5e9"
UID = 4_063_232 + 65_534
N = "WEB-Dom-root"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HostConfig:
    monkeypatch.setattr("dom0.volumes_files.PATIENCE_S", 0.2)
    monkeypatch.setattr("dom0.growing.PATIENCE_S", 0.2)
    return HostConfig(
        name="files", libvirt="test:///default", volumes=str(tmp_path / "volumes"), run=str(tmp_path / "run")
    )


@pytest.fixture
def do(config: HostConfig):
    def hand(verb: str, **args: str | int) -> str:
        given = {"machine": ME, **args}
        return hands.do(Hand(verb=verb, args=tuple((key, str(value)) for key, value in given.items())), config)

    return hand


@pytest.fixture(params=["ext4", "ext3"])
def root(do, request: pytest.FixtureRequest) -> str:
    """A filesystem of 64 MB on a volume that has 256."""
    do("volume-create", name=N, size_mib=64)
    do("fs-create", volume=N, type=request.param, fs_uuid=FS_UUID)
    do("volume-grow", name=N, size_mib=256)
    return N


def fact(config: HostConfig, name: str = N) -> Volume:
    found = volumes.look(config, name)
    assert found is not None
    return found


def sound(config: HostConfig) -> bool:
    path = volumes.path_of(config, N)
    return subprocess.run(("e2fsck", "-fn", path), capture_output=True, check=False).returncode == 0


def test_off_it_is_grown_by_programs_that_are_nobody(config: HostConfig, do, root: str, monkeypatch):
    assert fact(config).filled_bytes == 64 * MIB
    seen: list[tuple[str, ...]] = []
    run = growing.runner.run
    monkeypatch.setattr(growing.runner, "run", lambda argv, **more: (seen.append(argv), run(argv, **more))[1])

    do("fs-grow", volume=N, uid=UID)

    assert fact(config).filled_bytes == 256 * MIB
    assert sound(config)
    assert Path(volumes.path_of(config, N)).stat().st_uid == os.getuid(), "it is root's again"
    assert [argv[0] for argv in seen] == ["setpriv", "setpriv"]
    assert all(f"--reuid={UID}" in argv and "--no-new-privs" in argv for argv in seen)


def test_done_again_it_changes_nothing(config: HostConfig, do, root: str):
    do("fs-grow", volume=N, uid=UID)
    assert "256 MB" in do("fs-grow", volume=N, uid=UID)
    assert sound(config)


def test_mounted_it_grows_while_somebody_writes(config: HostConfig, do, root: str):
    path = volumes.path_of(config, N)
    with hook.Loop(path) as device, tune.mounted(device) as tree:
        written, stop = [0], threading.Event()

        def write() -> None:
            while not stop.is_set():
                Root(tree).write(f"/n{written[0] % 50}", os.urandom(1 << 16))
                written[0] += 1

        writer = threading.Thread(target=write)
        writer.start()
        try:
            grown = growing_said(do)
        finally:
            stop.set()
            writer.join()
        assert written[0] > 0
        # Root in a container may lack the capability the kernel asks for; then it is refused, whole.
        assert grown == growing.may_online()
        assert fact(config).filled_bytes == (256 if grown else 64) * MIB, "the device says it at once"
        assert (os.fstatvfs(tree).f_blocks * 4096 > 200 * MIB) == grown
    assert sound(config)


def growing_said(do) -> bool:
    try:
        return "has 256 MB" in do("fs-grow", volume=N, online="yes", uid=UID)
    except Refused as error:
        return "may not grow a mounted filesystem" not in error.message


def test_a_volume_that_grows_while_in_use_is_seen_by_its_device(config: HostConfig, do, root: str):
    with hook.Loop(volumes.path_of(config, N)) as device, tune.mounted(device):
        do("volume-grow", name=N, size_mib=384)
        with open(device, "rb") as file:
            assert file.seek(0, os.SEEK_END) == 384 * MIB
    do("fs-grow", volume=N, uid=UID)
    assert fact(config).filled_bytes == 384 * MIB


def test_a_crafted_filesystem_is_refused_by_a_sentence_and_dom0_keeps_its_volume(config: HostConfig, do, root: str):
    path = Path(volumes.path_of(config, N))
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(1 << 20))  # descriptors and tables; the superblock still says what it is
    with pytest.raises(Refused, match="needs a repair by hand"):
        do("fs-grow", volume=N, uid=UID)
    assert path.stat().st_uid == os.getuid()


@pytest.mark.parametrize("uid", [0, 33, 99_999])
def test_it_never_runs_as_a_user_the_host_may_have(do, root: str, uid: int):
    with pytest.raises(Refused, match="may be somebody"):
        do("fs-grow", volume=N, uid=uid)


def test_another_machines_volume_and_a_used_one_are_refused(config: HostConfig, do, root: str):
    with pytest.raises(Refused, match="belongs to machine"):
        do("fs-grow", volume=N, uid=UID, machine=OTHER)
    with hook.Loop(volumes.path_of(config, N)), pytest.raises(Refused, match="still in use"):
        do("fs-grow", volume=N, uid=UID)


def test_a_volume_gets_another_name_with_its_snapshots(config: HostConfig, do, root: str):
    do("volume-snapshot", name=N, label="before", copy="yes")
    do("volume-rename", name=N, to="Post-root")

    assert volumes.look(config, N) is None
    assert fact(config, "Post-root").machine == ME
    assert fact(config, "Post-root.before").origin == "Post-root"
    assert sorted(path.name for path in Path(config.volumes).iterdir()) == ["Post-root.before.img", "Post-root.img"]


def test_renaming_goes_on_where_it_was_killed(config: HostConfig, do, root: str, monkeypatch: pytest.MonkeyPatch):
    do("volume-snapshot", name=N, label="before", copy="yes")
    unlink, left = Path.unlink, [2]

    def dies(self: Path, missing_ok: bool = False) -> None:
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        unlink(self, missing_ok)

    for survives in (1, 2):
        left[0] = survives
        monkeypatch.setattr(Path, "unlink", dies)
        with pytest.raises(KeyboardInterrupt):
            do("volume-rename", name=N, to="Post-root")
        monkeypatch.undo()
    monkeypatch.setattr("dom0.volumes_files.PATIENCE_S", 0.2)
    do("volume-rename", name=N, to="Post-root")
    assert sorted(path.name for path in Path(config.volumes).iterdir()) == ["Post-root.before.img", "Post-root.img"]
    assert fact(config, "Post-root.before").origin == "Post-root"


def test_a_name_that_is_taken_or_elsewhere_and_a_volume_in_use_are_refused(config: HostConfig, do, root: str):
    do("volume-create", name="Post-root", size_mib=16, machine=OTHER)
    with pytest.raises(Refused, match="is there already"):
        do("volume-rename", name=N, to="Post-root")
    with pytest.raises(Refused, match="lies elsewhere"):
        do("volume-rename", name=N, to="vg0/Post-root")
    with hook.Loop(volumes.path_of(config, N)), pytest.raises(Refused, match="still in use"):
        do("volume-rename", name=N, to="Mail-root")
    assert fact(config).machine == ME
    assert fact(config, "Post-root").machine == OTHER
