"""The virtual environment in .venv, made by Debian's Python from hash-pinned requirements."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

from demo.layout import Layout, Problem

DEBIANS = "/usr/bin/python3"  # one that every user of the box can run, unlike one below somebody's home


def ensure(layout: Layout, *, requirements: str = "requirements.txt") -> None:
    """Make or complete .venv; at once where it holds exactly these requirements. Raises Problem."""
    folder, pinned = layout.project / ".venv", layout.project / requirements
    assets = layout.project / "deploy" / "assets.txt"
    digest = hashlib.sha256(pinned.read_bytes() + assets.read_bytes()).hexdigest()
    stamp = folder / f"{requirements}.sha256"
    if stamp.exists() and stamp.read_text() == digest and _works(folder):
        return
    if not _works(folder):
        _run(DEBIANS, "-m", "venv", "--clear", str(folder))
    print("Installing the panel's Python libraries into .venv (a minute or two the first time)…", flush=True)
    _run(
        *(str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-input"),
        *("--disable-pip-version-check", "--require-hashes", "-r", str(pinned)),
    )
    _run(str(folder / "bin" / "python"), str(layout.project / "deploy" / "assets.py"))
    stamp.write_text(digest)


def compile_project(layout: Layout) -> None:
    """Byte code for the project's own modules, which the panel's user could not write: seven processes need it."""
    rooms = sorted(path.parent.name for path in layout.project.glob("*/__init__.py"))
    argv = (str(layout.project / ".venv" / "bin" / "python"), "-m", "compileall", "-q", *rooms)
    subprocess.run(argv, cwd=layout.project, capture_output=True, timeout=120, check=False)


def _works(folder: Path) -> bool:
    python = folder / "bin" / "python"
    if not python.exists() or python.resolve() != Path(DEBIANS).resolve():
        return False
    tried = subprocess.run((str(python), "-c", "import pip"), capture_output=True, timeout=60, check=False)
    return tried.returncode == 0


def _run(*argv: str) -> None:
    done = subprocess.run(
        argv,
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
        umask=0o022,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-3:]
        raise Problem(f"The Python libraries can't be installed: {' '.join(said)}")
