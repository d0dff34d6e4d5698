"""The hands' small parts on real files and processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dom0 import files, host, runner
from dom0.errors import CommandFailed, Refused
from dom0.plan import Draft
from dom0.state import State
from dom0.steps import Command, Drop, Hand, Put, Step, WriteFile, secret


def _ended(pid: int, seconds: float = 10) -> bool:
    """Whether process `pid` is gone, or dead and not yet buried, within `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


def test_a_step_says_exactly_what_runs_and_hides_secrets():
    shown = Command(argv=("chpasswd", "-e"), stdin=f"root:{secret('root')}\n").shown
    assert shown == "chpasswd -e <<'END'\nroot:****\nEND"
    assert Hand(verb="mark", args=(("path", "a b"),)).shown == "fridu-hand mark 'path=a b'"


def test_a_plans_digest_changes_with_any_byte_that_would_run():
    def digest(text: str) -> str:
        draft = Draft(State())
        draft.do(Step(stage="updateether", title="Write", action=WriteFile(path="/x", content=text)))
        return draft.plan().digest

    assert digest("a") == digest("a") != digest("b")


def test_effects_make_the_predicted_state():
    step = Step(
        stage="s",
        title="t",
        action=WriteFile(path="/x", content="1"),
        effect=(Put(room="files", key="/x", value="1"), Drop(room="files", key="/y")),
    )
    after = step.after(State().having("files", "/y", "2"))
    assert dict(after.files) == {"/x": "1"}


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "ethers"
    files.write_atomic(str(path), "first", 0o640)

    def broken(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="No space"):
        files.write_atomic(str(path), "second")
    assert path.read_text() == "first"
    assert [p.name for p in tmp_path.iterdir()] == ["ethers"]
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_lock_is_free_again_when_its_process_is_killed(tmp_path: Path):
    path = str(tmp_path / "lock")
    code = f"from dom0 import files\nwith files.lock({path!r}):\n    print('held', flush=True)\n    input()"
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with files.lock(path, wait=False) as free:
        assert not free
    holder.kill()
    holder.wait()
    with files.lock(path, wait=False) as free:
        assert free


@pytest.mark.host
def test_a_command_that_fails_says_which_and_how():
    with pytest.raises(CommandFailed, match="ls ended with code 2") as failure:
        runner.run(("ls", "/nowhere"))
    assert failure.value.argv == ("ls", "/nowhere")
    with pytest.raises(CommandFailed, match="ended with code 127"):
        runner.run(("no-such-program",))


@pytest.mark.host
def test_a_command_out_of_time_is_ended_with_its_children(tmp_path: Path):
    mark = tmp_path / "pid"
    begun = time.monotonic()
    with pytest.raises(CommandFailed, match="ran out of time"):
        runner.run(("sh", "-c", f"sleep 60 & echo $! > {mark}; wait"), timeout_s=0.5)
    assert time.monotonic() - begun < 10
    child = int(mark.read_text())
    assert _ended(child)


@pytest.mark.host
def test_a_command_dies_with_its_worker(tmp_path: Path):
    mark = tmp_path / "pid"
    code = f"from dom0 import runner\nrunner.run(('sh', '-c', 'echo $$ > {mark}; exec sleep 60'))"
    worker = subprocess.Popen([sys.executable, "-c", code])
    end = time.monotonic() + 10
    while not (mark.exists() and mark.read_text().strip()) and time.monotonic() < end:
        time.sleep(0.02)
    child = int(mark.read_text())
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    assert _ended(child)


def test_the_host_file_is_refused_with_a_sentence(tmp_path: Path):
    path = tmp_path / "host.toml"
    with pytest.raises(Refused, match="is missing"):
        host.load(str(path))
    path.write_text("name = ")
    with pytest.raises(Refused, match="can't be read"):
        host.load(str(path))
    path.write_text('name="a"\nlibvirt="lxc:///system"\nvolumes="/v"\ncolour="red"\n')
    with pytest.raises(Refused, match="unknown keys: colour"):
        host.load(str(path))
    good = 'name="a"\nlibvirt="lxc:///system"\nvolumes="/v"\n'
    for line, said in (
        ('bridge_prefix=""\n', "bridge_prefix can't be '': it is empty"),
        ('volume_groups="vg0"\n', "volume_groups is no list of names"),
        ('vif_prefix="et"\n[[nic]]\nname="eth0"\n', "vif_prefix can't be 'et': eth0 begins with it"),
    ):
        path.write_text(good + line)
        with pytest.raises(Refused, match=said):
            host.load(str(path))
    path.write_text(good + 'volume_groups=["vg0", "SATA-160GA"]\n')
    assert host.load(str(path)).facts()["volume_groups"] == ["vg0", "SATA-160GA"]
