"""Archives of root filesystems, from anybody: decompressed by a process that may do nothing, unpacked by one that
can't leave its folder (dom0.unpack). What is refused is refused before dom0 has taken anything of it over."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dom0 import runner
from dom0.errors import CommandFailed, Refused

MIB = 1 << 20
PROJECT = str(Path(__file__).resolve().parents[1])
TIMEOUT_S = 1800.0
#: What decompresses it, by the first bytes of the file: its name may say anything.
DECOMPRESSORS = {
    b"\x1f\x8b": ("gzip", "-dc"),
    b"\xfd7zXZ\x00": ("xz", "-dc", "--memlimit-decompress=256MiB"),
    b"\x28\xb5\x2f\xfd": ("zstd", "-dcq", "--memory=256MB"),
    b"BZh": ("bzip2", "-dc"),
}
PLAIN = ("cat",)
_TAR_MAGIC = 257  # where a tar that is not compressed says "ustar"
#: Decompressing is C code over a stranger's bytes: nobody's, without privileges.
_NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs", "--inh-caps=-all")
_DROPPED = ("setpriv", "--no-new-privs", "--inh-caps=-all")
_CAPABILITIES = "-all,+chown,+dac_override,+fowner,+fsetid,+mknod,+setfcap"
_BOUNDS = ("prlimit", f"--as={1 << 30}", f"--cpu={int(TIMEOUT_S)}", "--core=0")
CONFINED = (*_NOBODY, *_BOUNDS)  # before the argv of a program that only reads stdin and writes stdout


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much an archive may hold: more is a bomb or a mistake.

    `size_bytes` counts files at their full length, holes included; `ratio` is what decompressing may make of a byte,
    once more than `free_bytes` came out; `path` is in bytes, `depth` in folders.
    """

    entries: int = 500_000
    size_bytes: int = 32 << 30
    ratio: int = 100
    free_bytes: int = 64 << 20
    path: int = 1024
    depth: int = 128


@dataclass(frozen=True, kw_only=True)
class Unpacked:
    """What an archive turned out to hold; `left_out`: extended attributes by namespace, how many."""

    entries: int
    size_bytes: int
    left_out: dict[str, int]
    family: str
    distribution: str
    version: str
    tools: tuple[str, ...]
    kernels: tuple[str, ...]


def unpack(archive: str, tree: Path, *, devices: bool = False, limits: Limits | None = None) -> Unpacked:
    """Unpack `archive` (tar, plain or by gzip, xz, zstd, bzip2) into the new folder `tree`, owners and modes kept.

    `devices`: whether device nodes may come along. The folder above must be closed to others, for setuid files are
    kept. Raises Refused naming the entry that is against the rules, for a damaged archive too; OSError.
    """
    limits = limits or Limits()
    tree.mkdir(mode=0o755)
    sink = (*_DROPPED, f"--bounding-set={_CAPABILITIES}", *_BOUNDS, "env", f"--chdir={PROJECT}")
    wishes = json.dumps(_wishes(archive, tree, limits, devices))
    argv = (*sink, sys.executable, "-sSE", "-m", "dom0.unpack", str(tree), wishes)
    try:
        result = runner.pipe((*CONFINED, *decompressor(archive)), argv, path=archive, timeout_s=TIMEOUT_S)
    except CommandFailed as error:
        raise _refused(archive, error) from error
    found = json.loads(result.stdout)
    return Unpacked(**{**found, "tools": tuple(found["tools"]), "kernels": tuple(found["kernels"])})


def decompressor(archive: str) -> tuple[str, ...]:
    """What unpacks that file from stdin to stdout, by its first bytes. Raises Refused for no archive, OSError."""
    with open(archive, "rb") as file:
        head = file.read(512)
    for magic, argv in DECOMPRESSORS.items():
        if head.startswith(magic):
            return argv
    if head[_TAR_MAGIC : _TAR_MAGIC + 5] == b"ustar":
        return PLAIN
    raise Refused(
        f"{archive} is no archive Fridu can read.",
        note="Nothing was changed. Use a tar archive, plain or compressed by gzip, xz, zstd or bzip2.",
    )


def _wishes(archive: str, tree: Path, limits: Limits, devices: bool) -> dict[str, Any]:
    """The limits as dom0.unpack reads them: never more than half of what is free, for a filesystem is made of it."""
    room = shutil.disk_usage(tree).free // 2
    stream = max(limits.free_bytes, Path(archive).stat().st_size * limits.ratio)
    size = min(limits.size_bytes, room)
    return {**asdict(limits), "size_bytes": size, "stream_bytes": stream, "devices": devices}


def _refused(archive: str, error: CommandFailed) -> Refused:
    """What either process said, as a sentence about the archive."""
    lines = error.stderr.strip().splitlines()
    if error.argv[0] == "setpriv" and "dom0.unpack" in error.argv and error.code == 1 and lines:
        says = lines[-1] if lines[-1][0] == "“" else f"It {lines[-1]}"
    elif error.code is None:
        says = f"It is not unpacked after {TIMEOUT_S / 60:g} minutes"
    else:
        says = f"It can't be decompressed ({lines[-1][:200] if lines else error})"
    return Refused(
        f"{archive} is refused: {says}.",
        note="Nothing was changed. Build the archive again from a plain root filesystem, with tar --numeric-owner.",
    )
