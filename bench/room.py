"""A throwaway box for benchmarks: own root (an overlay of the real one), network, processes. Nothing outside changes.

Packages of peers are downloaded by the box's own apt, and unpacked inside only: no service of theirs is ever
installed, let alone started, on the box itself.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
DEBS = PROJECT / "var" / "bench" / "debs"


def download(packages: Iterable[str]) -> None:
    """Fetch what is missing of the packages and of what they need. Raises CalledProcessError."""
    (DEBS / "partial").mkdir(parents=True, exist_ok=True)
    argv = ("apt-get", "install", "--download-only", "--yes", "--no-install-recommends", "-qq")
    subprocess.run((*argv, "-o", f"Dir::Cache::archives={DEBS}", *packages), check=True, stdout=subprocess.DEVNULL)


def enter(module: str, *arguments: str) -> int:
    """Run `python -m MODULE --inside ARGUMENTS` in a fresh room; its exit code."""
    shell = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--propagation", "private")
    with tempfile.TemporaryDirectory(prefix="fridu-bench-") as folder:
        argv = (*shell, sys.executable, "-m", "bench.room", folder, sys.executable, "-m", module, "--inside")
        return subprocess.run((*argv, *arguments), cwd=PROJECT, check=False).returncode


def become(folder: Path, argv: list[str]) -> None:
    """Make the room below `folder` and become the program in it."""
    _run("mount", "-t", "tmpfs", "room", str(folder))
    parts = {name: folder / name for name in ("upper", "work", "root")}
    for part in parts.values():
        part.mkdir()
    layers = f"lowerdir=/,upperdir={parts['upper']},workdir={parts['work']}"
    root = parts["root"]
    _run("mount", "-t", "overlay", "overlay", "-o", layers, str(root))
    for deb in sorted(DEBS.glob("*.deb")):
        content = subprocess.run(("dpkg-deb", "--fsys-tarfile", str(deb)), check=True, stdout=subprocess.PIPE).stdout
        # dpkg --extract would put a folder in the place of the link /bin.
        subprocess.run(("tar", "-x", "--keep-directory-symlink", "-C", str(root)), input=content, check=True)
    for name in ("dev", "sys"):
        _run("mount", "--rbind", f"/{name}", str(root / name))
    _run("mount", "-t", "proc", "proc", str(root / "proc"))
    for name in ("run", "tmp"):
        _run("mount", "-t", "tmpfs", name, str(root / name))
    here = root / PROJECT.relative_to("/")
    here.mkdir(parents=True, exist_ok=True)
    _run("mount", "--bind", str(PROJECT), str(here))
    os.chroot(root)
    os.chdir(PROJECT)
    _run("mount", "-t", "sysfs", "sysfs", "/sys")  # that of this network
    os.execv(argv[0], argv)


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True)


if __name__ == "__main__":
    become(Path(sys.argv[1]), sys.argv[2:])
