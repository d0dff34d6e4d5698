"""dom0's own files: whole or not at all, and nothing left of a writer who was killed."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from dom0 import files


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def killed_while_writing(path: Path) -> None:
    child = os.fork()
    if child == 0:
        os.fsync = lambda fd: time.sleep(60)  # type: ignore[assignment]
        files.write_atomic(str(path), "half")
        os._exit(1)
    while not any(name.startswith(f".{path.name}.{child}-") for name in names(path.parent)):
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def test_what_a_killed_writer_left_goes_with_the_next_write_and_with_the_file(tmp_path):
    path = tmp_path / "Mail"
    for finish in (lambda: files.write_atomic(str(path), "whole"), lambda: files.remove(str(path))):
        killed_while_writing(path)
        assert names(tmp_path)
        finish()
        assert names(tmp_path) == (["Mail"] if path.exists() else [])
    assert not path.exists()


def test_what_somebody_writes_just_now_and_files_that_are_called_alike_stay(tmp_path):
    alive, alike = f".Mail.{os.getpid()}-00112233", ".Mail.x.999999-00112233"
    for name in (alive, alike, ".Mail.note"):
        (tmp_path / name).write_text("")
    files.write_atomic(str(tmp_path / "Mail"), "whole")
    assert names(tmp_path) == sorted([alive, alike, ".Mail.note", "Mail"])
