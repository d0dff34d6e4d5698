"""Into a running host: commands by SSH over one kept connection, and our tree."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.lab.emulator import Running, ended
from tests.lab.places import INSIDE, KEY, PROJECT, Problem

#: What is no part of the project, or has to stay as it is inside.
LEFT = {".git", ".venv", "var", "static-built", "__pycache__"}
OPTIONS = (
    *("-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"),
    *("-o", "LogLevel=ERROR", "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=8"),
    # one connection for all: emulated, each new one costs two seconds. The path is short, being relative.
    *("-o", "ControlMaster=auto", "-o", "ControlPath=ssh.sock", "-o", "ControlPersist=600"),
)


@dataclass(frozen=True, kw_only=True)
class Said:
    """How a command inside ended."""

    command: str
    code: int
    stdout: str
    stderr: str


def argv(host: Running, command: str = "", *, connect_s: int = 60, tty: bool = False) -> tuple[str, ...]:
    """The command line that runs `command` as root of `host`; to be run in the host's own folder."""
    where = ("-p", str(host.ports["ssh"]), "-i", str(KEY), "-o", f"ConnectTimeout={connect_s}")
    return (*("ssh", *OPTIONS, *where, *(("-t",) if tty else ()), "root@127.0.0.1"), *((command,) if command else ()))


def run(host: Running, command: str, *, stdin: bytes = b"", timeout_s: float = 120, check: bool = True) -> Said:
    """Run a shell line as root inside. Raises Problem where it fails or takes too long."""
    try:
        done = subprocess.run(argv(host, command), input=stdin, capture_output=True, timeout=timeout_s, cwd=host.folder)
    except subprocess.TimeoutExpired as error:
        raise Problem(f"On {host.name}, `{command}` took more than {timeout_s:.0f} s. {ended(host)}") from error
    out, err = (stream.decode(errors="replace") for stream in (done.stdout, done.stderr))
    if check and done.returncode != 0:
        last = " / ".join((err.strip() or out.strip()).splitlines()[-6:])
        raise Problem(f"On {host.name}, `{command}` ended with {done.returncode}: {last}")
    return Said(command=command, code=done.returncode, stdout=out, stderr=err)


def wait(host: Running, *, patience_s: float) -> float:
    """Wait until root is let in, with the clock set to this box's; the seconds it took. Raises Problem."""
    began = time.monotonic()
    while True:
        tried = subprocess.run(
            argv(host, f"date -s @{time.time() + 0.5:.0f}", connect_s=20),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=host.folder,
            timeout=120,
        )
        if tried.returncode == 0:
            return time.monotonic() - began
        if not host.alive() or time.monotonic() - began > patience_s:
            raise Problem(f"{host.name} lets nobody in: {tried.stderr.strip()[-200:]} {ended(host)}")
        time.sleep(0.1)


def until(host: Running, command: str, *, patience_s: float, said: str = "") -> Said:
    """Ask again and again until `command` succeeds, and says `said` where that is given. Raises Problem."""
    deadline = time.monotonic() + patience_s
    while True:
        last = run(host, command, check=False, timeout_s=max(30.0, patience_s))
        if last.code == 0 and said in last.stdout:
            return last
        if time.monotonic() > deadline:
            raise Problem(f"On {host.name}, `{command}` never came true: {(last.stdout + last.stderr).strip()[-400:]}")
        time.sleep(0.2)


def bring_tree(host: Running) -> None:
    """Put the project as it is now into the host, beside the libraries that lie there already."""
    stays = "! -name .venv ! -name var"
    clear = f"mkdir -p {INSIDE} && cd {INSIDE} && find . -mindepth 1 -maxdepth 1 {stays} -exec rm -rf {{}} +"
    run(host, f"{clear} && tar -xzf - --no-same-owner", stdin=_packed(), timeout_s=300)


def _packed() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as tar:
        for top in sorted(PROJECT.iterdir()):
            if top.name not in LEFT:
                tar.add(top, top.name, filter=_wanted)
    return out.getvalue()


def tree_digest() -> str:
    """Changes when what `bring_tree` puts into a host does."""
    found = hashlib.sha256()
    with tarfile.open(fileobj=io.BytesIO(_packed())) as tar:
        for member in tar:
            file = tar.extractfile(member)
            found.update(repr((member.name, member.mode, member.linkname, file.read() if file else b"")).encode())
    return found.hexdigest()


def _wanted(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    name = Path(member.name).name
    if name in LEFT or name.endswith((".pyc", "_cache")):
        return None
    member.uid = member.gid = 0
    return member


def shell(host: Running, command: str) -> int:
    """A command, or a shell for the person at this terminal; its exit status."""
    tty = os.isatty(0) and os.isatty(1)
    return subprocess.run(argv(host, command, tty=tty), cwd=host.folder).returncode
