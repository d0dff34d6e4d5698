"""Install the front-end's scripts of others beside the Python libraries: `.venv/bin/python deploy/assets.py`.

That is xterm.js alone, for machines' consoles. It comes by pip, pinned by digest like the libraries, for a box has pip
and seldom npm. The files' own digests are those of @xterm/xterm 6.0.0, whoever packed them.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PINNED = Path(__file__).with_name("assets.txt")
FILES = {
    "xterm.js": "14903579ff54664cd72f8e8699e6961a6272c21863ec1c3b118cdc8af5d4a972",
    "xterm.css": "854a7c0fb70e8b1a083c16797ab827299fb18744f5ad34f227b48337e33293c6",
}


def target() -> Path:
    """Where they lie; the panel's settings look there."""
    return Path(sys.prefix) / "share" / "fridu" / "assets" / "xterm"


def complete(folder: Path) -> bool:
    return all((folder / name).is_file() and _digest((folder / name).read_bytes()) == FILES[name] for name in FILES)


def install(folder: Path) -> None:
    """Fetch and unpack what is missing. Exits with pip's or our own sentence."""
    if complete(folder):
        return
    with tempfile.TemporaryDirectory() as fetched:
        argv = (sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check")
        options = ("--no-deps", "--only-binary=:all:", "--require-hashes", "--dest", fetched, "-r", str(PINNED))
        if subprocess.run((*argv, *options), check=False).returncode != 0:
            sys.exit("The terminal's script can't be fetched; pip says why. Without it there are no consoles.")
        (package,) = Path(fetched).glob("*.whl")
        found = _taken_out(package)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in found.items():
        new = folder / f"{name}.new"
        new.write_bytes(content)
        new.chmod(0o644)
        new.rename(folder / name)


def _taken_out(package: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(package) as archive:
        found = {}
        for name, digest in FILES.items():
            inside = [path for path in archive.namelist() if path.endswith(f"/{name}")]
            content = archive.read(inside[0]) if inside else b""
            if _digest(content) != digest:
                sys.exit(f"{package.name} holds another {name} than @xterm/xterm 6.0.0; nothing was installed.")
            found[name] = content
    return found


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


if __name__ == "__main__":
    install(target())
