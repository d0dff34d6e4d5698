"""Filesystems and swap space on volumes: the seed's stage fscreate. What lies there already is never overwritten
unless that was asked for."""

from __future__ import annotations

import os

from dom0 import blocks, marks, runner, volumes
from dom0.errors import Refused
from dom0.host import HostConfig

KINDS = ("ext4", "ext3", "swap")
_SLOW_S = 1800.0
# The volume reads as zeros: nothing to discard, and the tables of inodes may stay as they are until they are used.
_EXT = ("-q", "-F", "-b", "4096", "-m", "1", "-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=1")


def argv(kind: str, path: str, fs_uuid: str) -> tuple[str, ...]:
    """The command that makes it. Raises Refused for a kind nobody knows."""
    if kind not in KINDS:
        raise Refused(f"Nobody knows a filesystem “{kind[:40]}”.", note="Nothing was changed. Use ext4, ext3 or swap.")
    if kind == "swap":
        return ("mkswap", "-U", fs_uuid, path)
    return (f"mkfs.{kind}", *_EXT, "-U", fs_uuid, path)


def create(
    config: HostConfig, *, name: str, machine: str, kind: str, fs_uuid: str, force: bool, anew: str = ""
) -> None:
    """Make a filesystem or swap space of `kind` on all of `machine`'s volume. Raises Refused, CommandFailed, OSError.

    Killed, it is done again: what was half made needs no `force`. Everything else that lies there does. `anew` marks
    it as formatted for that forced wish.
    """
    path = volumes.path_of(config, name)
    command = argv(kind, path, fs_uuid)
    fd = marks.open_marked(path, machine)
    try:
        found = marks.every(fd)
        if not force and "formatting" not in found:
            _refuse_content(path, found.get("root", ""), blocks.content(fd))
        marks.clear(fd, "root", "tuned")
        volumes.blank(config, name, fd)
        marks.put(fd, "formatting", kind)
        runner.run(command, timeout_s=_SLOW_S)
        os.fsync(fd)
        if anew:
            marks.put(fd, "anew", anew)
        marks.clear(fd, "formatting")
    finally:
        os.close(fd)


def _refuse_content(path: str, root: str, content: str) -> None:
    if root:
        raise Refused(
            f"{path} already holds a distribution.",
            note="Nothing was changed. Reinstall the machine, or use fscreate=force: all that is on it is lost then.",
        )
    if content:
        what = {"other": "something that is no ext3, ext4 or swap", "swap": "swap space"}.get(content, content)
        raise Refused(
            f"{path} is already formatted: it holds {what}.",
            note="Nothing was changed. Leave this stage out, or use fscreate=force: all that is on it is lost then.",
        )
