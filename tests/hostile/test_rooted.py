"""Root is let in on volumes dom0 must not mount, whatever their owner, who had root there, made of them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dom0 import checking, marks, rooted
from dom0.errors import Refused

pytestmark = pytest.mark.host

MIB = 1 << 20
OURS = "6f1d7a52-6d4c-4a53-9a3b-0f6a9c1f4e10"
KEYS = "/root/.ssh/authorized_keys"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKx brendan\n"
HASH = "$6$salt$notthehashofanything"
SHADOW = b"daemon:*:19000:0:99999:7:::\nroot:$6$old$old:19000:0:99999:7:::\nbob:\x0c!\x85:19000::::::"
LISTING = """
import hashlib, json, os, sys
found = {}
for folder, folders, files in os.walk("."):
    for path in [folder, *(os.path.join(folder, name) for name in (*folders, *files))]:
        facts = os.lstat(path)
        plain = os.path.isfile(path) and not os.path.islink(path)
        what = hashlib.sha256(open(path, "rb").read()).hexdigest() if plain else ""
        found[path] = [facts.st_mode, facts.st_uid, facts.st_gid, facts.st_nlink if what else 0, what]
json.dump(found, sys.stdout)
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    for folder in ("root", "etc", "var/log"):
        (tree / folder).mkdir(parents=True)
    (tree / "etc/hostname").write_text("WEB-Dom\n")
    (tree / "etc/shadow").write_bytes(SHADOW)
    (tree / "etc/shadow").chmod(0o640)
    os.chown(tree / "etc/shadow", 0, 42)
    return tree


def made(tree: Path, *options: str, kind: str = "ext4") -> Path:
    path = tree.parent / "WEB-Dom-root.img"
    path.unlink(missing_ok=True)
    with open(path, "wb") as file:
        file.truncate(64 * MIB)
        marks.put(file.fileno(), "machine", OURS)
    subprocess.run(["mke2fs", "-q", "-F", "-t", kind, *options, "-d", tree, path], check=True)
    return path


def wishes(**more: Any) -> dict[str, Any]:
    keys = {"path": KEYS, "content": KEY, "mode": "0600", "folder_mode": "0700"}
    return {"machine": OURS, "mark": "m", "files": [keys], "passwords": {"root": HASH}, **more}


def listed(path: Path) -> dict[str, list[Any]]:
    """Everything on it, seen through a mount that only this process has."""
    there = path.parent / "mnt"
    there.mkdir(exist_ok=True)
    script = f'mount -o ro,noload,loop "$0" "$1" && cd "$1" && exec {sys.executable} -c "$2"'
    argv = ("unshare", "-m", "--propagation", "private", "sh", "-c", script, path, there, LISTING)
    found: dict[str, list[Any]] = json.loads(subprocess.run(argv, check=True, capture_output=True).stdout)
    return found


def cat(path: Path, name: str) -> bytes:
    """A file's bytes; debugfs fills up small ones that are kept in the inode."""
    return subprocess.run(["debugfs", "-R", f"cat {name}", path], check=True, capture_output=True).stdout.rstrip(b"\0")


def mark(path: Path, name: str = "tuned") -> str:
    with open(path, "rb") as file:
        return marks.get(file.fileno(), name)


def clean(path: Path) -> bool:
    return subprocess.run(["e2fsck", "-fn", path], check=False, capture_output=True).returncode == 0


def changed(path: Path, before: dict[str, list[Any]]) -> set[str]:
    after = listed(path)
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


WRITTEN = {"./root/.ssh", f".{KEYS}", "./etc/shadow"}


@pytest.mark.parametrize("options", [(), ("-O", "^metadata_csum,^64bit"), ("-b", "1024"), ("-O", "inline_data")])
def test_it_writes_keys_and_roots_hash_and_nothing_else(options: tuple[str, ...], tree: Path):
    path = made(tree, *options)
    before = listed(path)
    rooted.let_in(str(path), wishes())
    assert changed(path, before) == WRITTEN
    assert clean(path)
    after = listed(path)
    assert after["./root/.ssh"][:3] == [0o40700, 0, 0]
    assert after[f".{KEYS}"][:4] == [0o100600, 0, 0, 1]
    assert after["./etc/shadow"][:4] == [0o100640, 0, 42, 1]
    assert cat(path, KEYS) == KEY.encode()
    first, root, last = cat(path, "/etc/shadow").split(b"\n")
    assert (first, last) == (SHADOW.split(b"\n")[0], SHADOW.split(b"\n")[2])
    assert root.startswith(b"root:" + HASH.encode() + b":")
    assert root.endswith(b":0:99999:7:::")
    assert (mark(path), mark(path, rooted.BEGUN)) == ("m", "")


def test_ext3_too(tree: Path):
    path = made(tree, kind="ext3")
    rooted.let_in(str(path), wishes())
    assert clean(path)
    assert cat(path, KEYS) == KEY.encode()


def test_keys_are_replaced_also_by_none_and_a_strangers_hard_link_keeps_its_file(tree: Path):
    keys = tree / KEYS[1:]
    keys.parent.mkdir(mode=0o777)
    keys.write_text("somebody's\n")
    keys.chmod(0o666)
    os.link(keys, tree / "var/log/theirs")
    os.chown(keys, 1000, 1000)
    path = made(tree)
    rooted.let_in(str(path), wishes(files=[wishes()["files"][0] | {"content": ""}], passwords={}))
    assert cat(path, KEYS) == b""
    assert cat(path, "/var/log/theirs") == b"somebody's\n"
    assert listed(path)[f".{KEYS}"][:4] == [0o100600, 0, 0, 1]
    assert listed(path)["./root/.ssh"][:3] == [0o40700, 0, 0]
    assert clean(path)


@pytest.mark.parametrize("folder", ["root/.ssh", "etc"])
def test_folders_of_thousands_of_entries_are_no_trouble(folder: str, tree: Path):
    (tree / folder).mkdir(exist_ok=True)
    for number in range(5000):
        (tree / folder / f"{number:05}-{'x' * 40}").touch()
    path = made(tree, "-N", "12000")
    subprocess.run(["e2fsck", "-fyD", path], check=False, capture_output=True)  # indexed, as a kernel would have it
    before = listed(path)
    rooted.let_in(str(path), wishes())
    assert changed(path, before) == WRITTEN
    assert clean(path)


def _symlink(tree: Path, name: str, target: str) -> None:
    path = tree / name
    if path.is_dir():
        path.rmdir()
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(target)


def _fifo(tree: Path, name: str) -> None:
    (tree / name).parent.mkdir(exist_ok=True)
    (tree / name).unlink(missing_ok=True)
    os.mkfifo(tree / name)


def _device(tree: Path, name: str) -> None:
    (tree / name).unlink()
    os.mknod(tree / name, 0o20666, os.makedev(1, 5))


def _huge(tree: Path, name: str) -> None:
    (tree / name).parent.mkdir(exist_ok=True)
    with open(tree / name, "wb") as file:
        file.truncate(1 << 40)


def _folder(tree: Path, name: str) -> None:
    (tree / name).mkdir(parents=True)


HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "/root a symlink": (lambda t: _symlink(t, "root", "/etc"), "/root in the machine is a symbolic link"),
    "/root a file": (lambda t: ((t / "root").rmdir(), (t / "root").touch()), "/root in the machine is a file"),
    "no /root": (lambda t: (t / "root").rmdir(), "no folder /root"),
    ".ssh a symlink": (lambda t: _symlink(t, "root/.ssh", "/etc"), r"/root/\.ssh in the machine is a symbolic link"),
    "keys a symlink": (lambda t: _symlink(t, KEYS[1:], "/etc/shadow"), "authorized_keys in the machine is a symbolic"),
    "keys a FIFO": (lambda t: _fifo(t, KEYS[1:]), "authorized_keys in the machine is a FIFO"),
    "keys a folder": (lambda t: _folder(t, KEYS[1:]), "authorized_keys in the machine is a folder"),
    "keys huge": (lambda t: _huge(t, KEYS[1:]), "authorized_keys in the machine is larger than 1 MB"),
    "a symlink where the new file is made": (
        lambda t: _symlink(t, "root/.ssh/.fridu-authorized_keys", "/etc/shadow"), "authorized_keys in the machine is",
    ),
    "/etc a symlink": (lambda t: (shutil.rmtree(t / "etc"), _symlink(t, "etc", "/var")), "/etc in the machine is a s"),
    "shadow a symlink": (lambda t: _symlink(t, "etc/shadow", "/etc/hostname"), "/etc/shadow in the machine is a sym"),
    "shadow a FIFO": (lambda t: _fifo(t, "etc/shadow"), "/etc/shadow in the machine is a FIFO"),
    "shadow a device": (lambda t: _device(t, "etc/shadow"), "/etc/shadow in the machine is a character special"),
    "shadow huge": (lambda t: _huge(t, "etc/shadow"), "/etc/shadow in the machine is larger than 1 MB"),
    "no shadow": (lambda t: (t / "etc/shadow").unlink(), "no /etc/shadow"),
    "shadow without root": (lambda t: (t / "etc/shadow").write_text("bob:*:1:\n\nroot:x\n"), "no line for root"),
}  # fmt: skip


@pytest.mark.parametrize("planted", HOSTILE)
def test_it_refuses_and_writes_nothing_where_there_is(planted: str, tree: Path):
    plant, says = HOSTILE[planted]
    plant(tree)
    path = made(tree)
    before = listed(path) if "huge" not in planted else {}
    with pytest.raises(Refused, match=says) as refused:
        rooted.let_in(str(path), wishes())
    assert "Nothing was changed" in refused.value.note
    assert not before or changed(path, before) == set()
    assert clean(path)
    assert mark(path) == ""


def _superblock(path: Path) -> None:
    with open(path, "r+b") as file:
        file.write(b"\xff" * 8192)


def _inodes(path: Path) -> None:
    for inode in range(2, 12):  # so broken that e2fsck asks a person
        subprocess.run(["debugfs", "-w", "-R", f"clri <{inode}>", path], check=True, capture_output=True)


def _shadow_of_nonsense(path: Path) -> None:
    subprocess.run(["debugfs", "-w", "-R", "sif /etc/shadow mode 0177777", path], check=True, capture_output=True)


@pytest.mark.parametrize("craft", [_superblock, _inodes, _shadow_of_nonsense])
def test_a_crafted_filesystem_is_refused(craft: Callable[[Path], None], tree: Path):
    path = made(tree)
    craft(path)
    with pytest.raises(Refused, match=r"e2fsck can't mend|can't be read|in the machine is|no /etc/shadow"):
        rooted.let_in(str(path), wishes())
    assert mark(path) == ""


def test_a_full_root_is_said_and_keeps_its_shadow(tree: Path):
    path = made(tree)
    with open(tree.parent / "filling", "wb") as file:
        file.write(os.urandom(70 * MIB))
    subprocess.run(["debugfs", "-w", "-R", f"write {tree.parent}/filling f", path], check=True, capture_output=True)
    subprocess.run(["e2fsck", "-fy", path], check=False, capture_output=True)
    with pytest.raises(Refused, match="may be full"):
        rooted.let_in(str(path), wishes(files=[]))
    assert cat(path, "/etc/shadow") == SHADOW
    assert mark(path) == ""


WRITES = 7  # changes by debugfs: the folder, then three for each of the two files


@pytest.mark.parametrize("last", range(1, WRITES + 1))
def test_killed_after_any_of_its_writes_it_goes_on(last: int, tree: Path, monkeypatch: pytest.MonkeyPatch):
    path = made(tree)
    before = listed(path)
    assert _killed_after(path, last, monkeypatch)
    assert mark(path) == ""
    assert b"root:" in cat(path, "/etc/shadow")
    rooted.let_in(str(path), wishes())
    assert changed(path, before) == WRITTEN
    assert clean(path)


def test_no_write_is_left_out_of_that(tree: Path, monkeypatch: pytest.MonkeyPatch):
    assert not _killed_after(made(tree), WRITES + 1, monkeypatch)


def _killed_after(path: Path, last: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether it came as far as its write number `last`, after which it is killed."""
    child = os.fork()
    if child == 0:
        change, done = rooted.Filesystem.change, 0

        def dies(*args: Any, **more: Any) -> None:
            nonlocal done
            change(*args, **more)
            done += 1
            if done == last:
                os.kill(os.getpid(), signal.SIGKILL)

        monkeypatch.setattr(rooted.Filesystem, "change", dies)
        rooted.let_in(str(path), wishes())
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def test_what_a_killed_debugfs_left_torn_is_mended_where_it_was_ours_and_refused_elsewhere(tree: Path):
    (tree / "etc/.fridu-shadow").write_bytes(SHADOW)
    path = made(tree)
    subprocess.run(["debugfs", "-w", "-R", "unlink /etc/shadow", path], check=True, capture_output=True)
    with pytest.raises(Refused, match="e2fsck can't mend"):
        rooted.let_in(str(path), wishes())
    with open(path, "r+b") as file:
        marks.put(file.fileno(), rooted.BEGUN, "yes")
    rooted.let_in(str(path), wishes())
    assert cat(path, "/etc/shadow").startswith(SHADOW.split(b"\n")[0] + b"\nroot:" + HASH.encode())
    assert mark(path, rooted.BEGUN) == ""
    assert clean(path)


def test_a_volume_in_use_and_a_strangers_are_left_alone(tree: Path):
    path = made(tree)
    code = "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); input()"
    argv = (sys.executable, "-c", code, path)
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(Refused, match="is in use"):
            rooted.let_in(str(path), wishes())
        holder.communicate(b"\n")
    with pytest.raises(Refused, match="belongs to"):
        rooted.let_in(str(path), wishes(machine="another"))


@pytest.fixture
def spied(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    confined, seen = checking.confined, []

    def spy(*args: Any, **more: Any) -> tuple[int, bytes]:
        seen.append(args)
        return confined(*args, **more)

    monkeypatch.setattr(checking, "confined", spy)
    return seen


def test_the_hash_stands_in_no_command_line_and_what_writes_has_no_privileges(
    tree: Path, spied: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str]
):
    path = made(tree)
    rooted.let_in(str(path), wishes())
    assert spied
    assert not [argv for _, argv, *_ in spied if any(HASH in word for word in argv)]
    assert HASH not in "".join(capsys.readouterr())
    device = spied[0][0]
    _, said = checking.confined(device, ("/bin/cat", "/proc/self/status", "/proc/self/net/dev"))
    status = said.decode()
    assert f"Uid:\t{checking.user_of(device)}" in status
    assert "NoNewPrivs:\t1" in status
    assert "CapEff:\t0000000000000000" in status
    assert "eth0" not in status


def test_as_a_program_it_reads_what_to_write_and_says_one_sentence(tree: Path):
    path = made(tree)
    argv = (sys.executable, "-sSE", "-m", "dom0.rooted", str(path))
    done = subprocess.run(argv, input=json.dumps(wishes()), text=True, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert mark(path) == "m"
    subprocess.run(["debugfs", "-w", "-R", "rm /etc/shadow", path], check=True, capture_output=True)
    done = subprocess.run(argv, input=json.dumps(wishes()), text=True, capture_output=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("The machine has no /etc/shadow. Nothing was changed.")
