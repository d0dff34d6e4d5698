"""`bin/lab`: hosts of the lab up, down, into one, and its tests."""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import NoReturn

from demo import packages, venv
from demo.layout import Layout, Problem
from tests import prepare
from tests.lab import emulator, freezing, reach
from tests.lab.emulator import Running
from tests.lab.places import PROJECT
from tests.lab.tiers import TIERS

#: Beyond what the tests need. None of them brings a service.
NEEDED = {
    "e2fsprogs": "the hosts' disks",
    "lz4": "unpacks kernels, packs frozen hosts",
    "mmdebstrap": "makes the hosts of Debian packages",
    "openssh-client": "the way into a host",
    "qemu-system-x86": "runs the hosts",
    "qemu-utils": "the hosts' disks",
    "util-linux": "namespaces for the build",
    "zstd": "unpacks kernels",
}


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bin/lab",
        description="Real hosts under software emulation: made of Debian packages once, frozen, woken in seconds. "
        "They have no way out, and nothing of this box's network is touched. Needs root.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    up = verbs.add_parser("up", help="wake a host and put this tree into it")
    up.add_argument("tier", nargs="?", choices=TIERS, default="xen", help=_tiers())
    down = verbs.add_parser("down", help="end a host, or all; what was written there is lost")
    down.add_argument("tier", nargs="?", choices=TIERS)
    ssh = verbs.add_parser("ssh", help="a shell in a host, or one command")
    ssh.add_argument("tier", nargs="?", default="", help="needed where several run")
    ssh.add_argument("command", nargs=argparse.REMAINDER)
    verbs.add_parser("status", help="what runs, what is made")
    verbs.add_parser("test", help="the lab's tests; further words go to pytest")
    wish, words = parser.parse_known_args(argv)
    if words and wish.verb != "test":
        parser.error(f"unrecognized arguments: {' '.join(words)}")
    wish.words = words
    return wish


def main(argv: list[str]) -> int:
    wish = arguments(argv)
    try:
        if os.geteuid() != 0:
            raise Problem("The lab makes images with other users' files in them, which only root may: sudo bin/lab")
        return _do(wish)
    except Problem as problem:
        print(f"bin/lab: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bin/lab: Ended as asked.", file=sys.stderr)
        return 130


def _do(wish: argparse.Namespace) -> int:
    match wish.verb:
        case "up":
            return _up(wish.tier)
        case "down":
            return _down(wish.tier)
        case "ssh":
            return _ssh(wish.tier, wish.command)
        case "test":
            return _test(wish.words)
        case _:
            return _status()


def _tiers() -> str:
    return "; ".join(f"{tier.name}: {tier.says}" for tier in TIERS.values())


def _prepare(*, for_tests: bool = False) -> None:
    """Packages and libraries, as the demo and the tests install theirs. Raises Problem."""
    needed = {**packages.NEEDED, **NEEDED, **(prepare.NEEDED if for_tests else {})}
    packages.install(yes=False, needed=needed)
    venv.ensure(Layout(), requirements="requirements-dev.txt" if for_tests else "requirements.txt")


def _up(name: str) -> int:
    if any(host.name == name for host in emulator.recorded()):
        print(f"{name} runs already; its tree is made the same as this one.")
        reach.bring_tree(_running(name))
        return 0
    _prepare()
    freezing.ensure(name)
    began = time.monotonic()
    host = freezing.restore(name)
    awake = time.monotonic() - began
    reach.bring_tree(host)
    print(f"{name} is awake after {awake:.1f} s, and holds this tree after {time.monotonic() - began:.1f} s.")
    print(_words(host))
    return 0


def _down(name: str | None) -> int:
    ended = [host.name for host in emulator.recorded() if name in (None, host.tier) and emulator.stop(host.name)]
    print(f"Ended: {', '.join(ended)}." if ended else "Nothing of the lab was running.")
    return 0


def _ssh(name: str, command: list[str]) -> int:
    if name and name not in TIERS:
        name, command = "", [name, *command]
    return reach.shell(_running(name), " ".join(command))


def _running(name: str) -> Running:
    """The host of that tier; the only one where none is named. Raises Problem."""
    hosts = [host for host in emulator.recorded() if name in ("", host.name)]
    if len(hosts) == 1:
        return hosts[0]
    if hosts:
        raise Problem(f"Several hosts run: {', '.join(host.name for host in hosts)}. Say which: bin/lab ssh xen")
    raise Problem(f"{name or 'No host of the lab'} is not running; start it: bin/lab up {name or 'xen'}")


def _status() -> int:
    hosts = {host.name: host for host in emulator.recorded()}
    for tier in TIERS.values():
        if tier.name in hosts:
            print(_words(hosts.pop(tier.name)))
        else:
            print(f"{tier.name:9} {freezing.state_of(tier.name)}")
    for host in hosts.values():
        print(_words(host))
    return 0


def _words(host: Running) -> str:
    ports = ", ".join(f"{name} 127.0.0.1:{port}" for name, port in host.ports.items())
    return f"{host.name:9} runs (process {host.process.pid}): {ports}. A shell: bin/lab ssh {host.tier}"


def _test(words: list[str]) -> NoReturn:
    """This process becomes pytest: who ends it ends the tests, and their hosts with them."""
    _prepare(for_tests=True)
    python = str(PROJECT / ".venv" / "bin" / "python")
    env = {**os.environ, "FRIDU_BROKER_URL": "memory://", "PYTHONDONTWRITEBYTECODE": "1"}
    where = () if any(word.startswith("tests/") for word in words) else ("tests/lab",)
    os.chdir(PROJECT)
    os.execve(python, (python, "-m", "pytest", "-m", "lab", *where, *words), env)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
