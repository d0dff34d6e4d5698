"""Run a command inside dom0: `python3 -m demo.enter [--name NAME] COMMAND…`."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import NoReturn

from demo import processes
from demo.layout import INSIDE, Layout, Problem


def inside(layout: Layout, *argv: str, uid: int = 0) -> tuple[str, ...]:
    """The command line that runs `argv` in dom0's namespaces, there in the project's folder. Raises Problem."""
    keeper = processes.recorded(layout).get("keeper")
    if keeper is None:
        raise Problem(f"The demo “{layout.name}” is not running; bin/demo starts it.")
    identity = (f"--setuid={uid}", f"--setgid={uid}") if uid else ()
    spaces = ("--mount", "--net", "--pid", "--uts", "--ipc", "--cgroup")
    return ("nsenter", f"--target={keeper.pid}", *spaces, *identity, f"--wdns={INSIDE}", "--", *argv)


def run(layout: Layout, *argv: str, uid: int = 0, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    """Run `argv` in dom0 to its end. Raises Problem quoting what it said where it fails."""
    clean = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "HOME": "/" if uid else "/root"}
    done = subprocess.run(
        inside(layout, *argv, uid=uid),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**clean, **layout.environment},
        timeout=timeout_s,
        check=False,
    )
    if done.returncode != 0:
        said = "\n".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-4:])
        raise Problem(f"{' '.join(argv[:3])} failed inside dom0: {said}")
    return done


def become(layout: Layout, argv: tuple[str, ...]) -> NoReturn:
    """Become what `inside` gave. The demo's people are others than the box's: whom sudo names is nobody there."""
    environ = {name: value for name, value in os.environ.items() if name != "SUDO_USER"}
    os.execvpe(argv[0], argv, {**environ, **layout.environment})  # noqa: S606


def main(arguments: list[str]) -> None:
    name = "demo"
    if arguments[:1] == ["--name"]:
        name, arguments = arguments[1], arguments[2:]
    layout = Layout(name=name)
    argv = inside(layout, *(arguments or ["/bin/bash"]))
    become(layout, argv)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Problem as problem:
        sys.exit(str(problem))
