"""A root filesystem whose owner wishes the host ill, tuned for real: nothing outside it may change or be read."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dom0 import marks

pytestmark = pytest.mark.host
ROOT = Path(__file__).parents[2]
MACHINE = "6f1d7a52-6d4c-4a53-9a3b-0f6a9c1f4e10"
SHADOW = "root:*:19000:0:99999:7:::\nwww:*:19000:0:99999:7:::\n"
WISHES = {
    "machine": MACHINE,
    "mark": "a/b/c",
    "files": [
        {"path": "/etc/hostname", "content": "Tuned\n"},
        {"path": "/etc/machine-id", "content": "", "mode": "0444"},
        {"path": "/root/.ssh/authorized_keys", "content": "ssh-x\n", "mode": "0600", "folder_mode": "0700"},
    ],
    "links": [{"path": "/etc/systemd/system/wants/n.service", "target": "/lib/n.service"}],
    "remove": ["/etc/ssh/ssh_host_*"],
    "passwords": {"root": "$6$salt$hash"},
}

Plant = Callable[[Path, Path], None]


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A folder of the host's with files worth having, mode and owner to be kept."""
    folder = tmp_path / "victim"
    folder.mkdir(mode=0o755)
    for name in ("shadow", "hostname", "authorized_keys", "ssh_host_key", ".fridu-hostname"):
        (folder / name).write_text("the host's own\n")
        (folder / name).chmod(0o644)
    return folder


def image(tmp_path: Path, victim: Path, plant: Plant) -> Path:
    """A volume of ours with a small root filesystem, then made hostile by `plant(tree, victim)`."""
    tree = tmp_path / "tree"
    for folder in ("etc/ssh", "root", "proc", "lib"):
        (tree / folder).mkdir(parents=True)
    (tree / "etc/shadow").write_text(SHADOW)
    (tree / "etc/shadow").chmod(0o640)
    os.chown(tree / "etc/shadow", 0, 42)
    (tree / "etc/hostname").write_text("before\n")
    (tree / "etc/ssh/ssh_host_rsa_key").write_text("old")
    plant(tree, victim)
    path = tmp_path / "volume.img"
    with open(path, "xb") as file:
        os.truncate(file.fileno(), 16 << 20)
    subprocess.run(("mkfs.ext4", "-q", "-F", "-d", str(tree), str(path)), check=True, timeout=120)
    fd = os.open(path, os.O_RDWR)
    marks.put(fd, "machine", MACHINE)
    os.close(fd)
    return path


def tune(path: Path, wishes: dict[str, object] = WISHES) -> subprocess.CompletedProcess[str]:
    """The product's own process; one that hangs fails the test."""
    argv = (sys.executable, "-sSE", "-m", "dom0.tune", str(path))
    return subprocess.run(argv, input=json.dumps(wishes), capture_output=True, text=True, cwd=ROOT, timeout=120)


def told(path: Path, command: str) -> str:
    """What debugfs says of the filesystem, without mounting it."""
    return subprocess.run(("debugfs", "-R", command, str(path)), capture_output=True, text=True, check=True).stdout


def snapshot(folder: Path) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted([folder, *folder.rglob("*")]):
        facts = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(facts.st_mode) else b""
        found[str(path)] = (facts.st_mode, facts.st_uid, facts.st_gid, facts.st_mtime_ns, content)
    return found


def nothing(tree: Path, victim: Path) -> None:
    """A root as it should be."""


def replaced(path: str, target: Callable[[Path], str]) -> Plant:
    """Puts a symbolic link in place of `path`."""

    def plant(tree: Path, victim: Path) -> None:
        place = tree / path
        if place.is_dir() and not place.is_symlink():
            place.rename(place.with_name(f"real-{place.name}"))
        else:
            place.unlink(missing_ok=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(target(victim))

    return plant


def upwards(victim: Path) -> str:
    return "../" * 40 + str(victim).lstrip("/")


LINKS: dict[str, Plant] = {
    "shadow is an absolute link to the host's": replaced("etc/shadow", lambda v: str(v / "shadow")),
    "shadow is a relative link out of the root": replaced("etc/shadow", lambda v: upwards(v) + "/shadow"),
    "hostname is a link to the host's": replaced("etc/hostname", lambda v: str(v / "hostname")),
    "etc is a link out of the root": replaced("etc", upwards),
    "root's .ssh is a link to the host's": replaced("root/.ssh", str),
    "root's home is a link to the host's": replaced("root", upwards),
    "the folder of host keys is a link to the host's": replaced("etc/ssh", str),
    "the temporary name is a link to the host's": replaced("etc/.fridu-hostname", lambda v: str(v / "hostname")),
    "etc leads through a magic link": replaced("etc", lambda v: f"/proc/self/root{v}"),
    "shadow leads through an open file of ours": replaced("etc/shadow", lambda v: "/proc/self/fd/0"),
}


@pytest.mark.parametrize("name", LINKS)
def test_a_planted_link_never_leads_out_of_the_root(name: str, tmp_path: Path, victim: Path):
    path = image(tmp_path, victim, LINKS[name])
    before = snapshot(victim)
    done = tune(path)
    assert snapshot(victim) == before
    assert "Traceback" not in done.stderr
    assert "the host's own" not in told(path, "cat /etc/shadow") + told(path, "cat /etc/hostname")


def fifo(place: str) -> Plant:
    def plant(tree: Path, victim: Path) -> None:
        (tree / place).unlink(missing_ok=True)
        (tree / place).parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(tree / place)

    return plant


def device(tree: Path, victim: Path) -> None:
    (tree / "etc/shadow").unlink()
    os.mknod(tree / "etc/shadow", stat.S_IFCHR | 0o600, os.makedev(1, 5))  # /dev/zero: an endless file


def huge(tree: Path, victim: Path) -> None:
    os.truncate(tree / "etc/shadow", 5 << 30)


def listening(tree: Path, victim: Path) -> None:
    (tree / "etc/shadow").unlink()
    with socket.socket(socket.AF_UNIX) as link:
        here = os.open(tree / "etc", os.O_PATH)
        link.bind(f"/proc/self/fd/{here}/shadow")
        os.close(here)


@pytest.mark.parametrize("plant", [fifo("etc/shadow"), device, huge, listening])
def test_a_shadow_file_that_is_no_ordinary_one_is_named_not_waited_for(plant: Plant, tmp_path: Path, victim: Path):
    path = image(tmp_path, victim, plant)
    done = tune(path)
    assert done.returncode == 1
    assert "/etc/shadow" in done.stderr
    assert "Traceback" not in done.stderr
    assert volumes_mark(path) == ""


@pytest.mark.parametrize(
    "place", ["etc/hostname", "etc/machine-id", "root/.ssh/authorized_keys", "etc/.fridu-hostname"]
)
def test_a_fifo_in_the_way_of_a_file_is_replaced(place: str, tmp_path: Path, victim: Path):
    path = image(tmp_path, victim, fifo(place))
    done = tune(path)
    assert done.returncode == 0, done.stderr
    assert told(path, "cat /etc/hostname") == "Tuned\n"
    assert told(path, "cat /root/.ssh/authorized_keys") == "ssh-x\n"
    assert "Type: regular" in told(path, "stat /etc/machine-id")


@pytest.mark.parametrize("place", ["etc/hostname", "root/.ssh/authorized_keys", "etc/.fridu-hostname"])
def test_a_folder_in_the_way_of_a_file_is_named(place: str, tmp_path: Path, victim: Path):
    path = image(tmp_path, victim, lambda tree, _: (tree / place).unlink(missing_ok=True) or make(tree / place / "x"))
    done = tune(path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.strip()
    assert volumes_mark(path) == ""


def make(folder: Path) -> None:
    folder.mkdir(parents=True)


def test_a_file_in_the_way_of_a_folder_is_named(tmp_path: Path, victim: Path):
    path = image(tmp_path, victim, lambda tree, _: (tree / "root/.ssh").write_text("no folder") and None)
    done = tune(path)
    assert done.returncode == 1
    assert "/root/.ssh" in done.stderr or "root/.ssh" in done.stderr


def test_an_etc_that_links_to_itself_is_named(tmp_path: Path, victim: Path):
    path = image(tmp_path, victim, replaced("etc", lambda v: "etc"))
    done = tune(path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_a_full_filesystem_is_said_and_leaves_the_old_file(tmp_path: Path, victim: Path):
    path = image(tmp_path, victim, nothing)
    room = {"path": "/etc/filler", "content": "x" * (64 << 20)}
    done = tune(path, {**WISHES, "files": [room, *WISHES["files"]]})
    assert done.returncode == 1
    assert "No space left" in done.stderr
    assert told(path, "cat /etc/hostname") == "before\n"


# As it should be


def volumes_mark(path: Path) -> str:
    try:
        return os.getxattr(path, "user.fridu.tuned").decode()
    except OSError:
        return ""


def test_an_ordinary_root_is_tuned_with_owners_and_modes_as_they_must_be(tmp_path: Path, victim: Path):
    path = image(tmp_path, victim, nothing)
    done = tune(path)
    assert done.returncode == 0, done.stderr
    assert told(path, "cat /etc/hostname") == "Tuned\n"
    shadow = told(path, "cat /etc/shadow").splitlines()
    assert shadow[0].startswith("root:$6$salt$hash:")
    assert shadow[1] == "www:*:19000:0:99999:7:::"
    facts = told(path, "stat /etc/shadow")
    assert "Mode:  0640" in facts
    assert "Group:    42" in facts
    assert "Mode:  0600" in told(path, "stat /root/.ssh/authorized_keys")
    assert "Mode:  0700" in told(path, "stat /root/.ssh")
    assert "ssh_host" not in told(path, "ls /etc/ssh")
    assert "/lib/n.service" in told(path, "stat /etc/systemd/system/wants/n.service")
    assert ".fridu" not in told(path, "ls /etc")
    assert volumes_mark(path) == "a/b/c"
    check = subprocess.run(("e2fsck", "-fn", str(path)), capture_output=True, text=True)
    assert check.returncode == 0, check.stdout


def test_tuning_twice_gives_the_same_filesystem(tmp_path: Path, victim: Path):
    path = image(tmp_path, victim, nothing)
    assert [tune(path).returncode, tune(path).returncode] == [0, 0]
    assert told(path, "cat /root/.ssh/authorized_keys") == "ssh-x\n"


def test_a_file_is_left_out_where_what_makes_it_needless_is_there(tmp_path: Path, victim: Path):
    path = image(tmp_path, victim, nothing)
    files = [{"path": "/etc/a", "content": "a", "unless": "/etc/hostname"}, {"path": "/etc/b", "content": "b"}]
    assert tune(path, {"machine": MACHINE, "mark": "m", "files": files}).returncode == 0
    names = told(path, "ls /etc").split()
    assert "b" in names
    assert "a" not in names


def test_a_volume_of_another_machine_is_not_opened(tmp_path: Path, victim: Path):
    path = image(tmp_path, victim, nothing)
    done = tune(path, {**WISHES, "machine": "another"})
    assert done.returncode == 1
    assert "belongs to machine 6f1d7a52" in done.stderr
    assert told(path, "cat /etc/hostname") == "before\n"


def test_no_loop_device_and_no_mount_is_left(tmp_path: Path, victim: Path):
    path = image(tmp_path, victim, nothing)
    tune(path)
    loops = subprocess.run(("losetup", "--list", "--noheadings", "-O", "BACK-FILE"), capture_output=True, text=True)
    assert str(path) not in loops.stdout
    assert str(path) not in Path("/proc/mounts").read_text()
