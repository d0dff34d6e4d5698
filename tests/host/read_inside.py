"""`python -m tests.host.read_inside FOLDER < WISH`: a tree of another family, tuned, then read by its own programs.

Runs in namespaces of its own (see test_readers), with a Debian that holds the readers of all families unpacked in
FOLDER/base. WISH, as JSON: `files` and `links` that make the tree the family's, `without` paths that it lacks, `tune`
wishes by family, `begin` shell commands that may run on, `ask` shell commands by name. Prints what was found, as JSON.
eth0 is the end of a cable to a DHCP server that knows one machine. Nothing here outlives this process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from dom0 import families, tune
from dom0.confined import Root

MAC, ADDRESS, GATEWAY = "aa:bb:cc:0a:02:02", "10.10.2.2", "10.10.2.1"
PATIENCE_S = 25.0


def run(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout


def rooted(folder: Path) -> Path:
    """The base with a layer of its own on top."""
    run("mount", "-t", "tmpfs", "layers", str(folder / "layers"))
    upper, work, root = (folder / "layers" / name for name in ("upper", "work", "root"))
    for each in (upper, work, root):
        each.mkdir()
    run("mount", "-t", "overlay", "tree", "-o", f"lowerdir={folder}/base,upperdir={upper},workdir={work}", str(root))
    return root


def made(root: Path, wish: dict[str, Any]) -> None:
    for path in wish["without"]:
        (root / path).unlink()
    for path, content in wish["files"].items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).unlink(missing_ok=True)
        (root / path).write_text(content)
        (root / path).chmod(0o755)
    for path, target in wish["links"].items():
        (root / path).unlink(missing_ok=True)
        (root / path).symlink_to(target)


def tuned(root: Path, wishes: dict[str, Any]) -> tuple[str, list[str]]:
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        family = families.look(Root(fd))["family"]
        return family, tune.write(Root(fd), wishes[family])
    finally:
        os.close(fd)


def started(root: Path) -> None:
    """What a kernel and an init give a system: its filesystems, devices, name, and eth0 with its cable."""
    run("mount", "-t", "proc", "proc", str(root / "proc"))
    run("mount", "-t", "sysfs", "-o", "ro", "sysfs", str(root / "sys"))  # read-only: a container, where no udev is
    for name in ("run", "tmp"):
        run("mount", "-t", "tmpfs", name, str(root / name))
    for name in ("null", "zero", "random", "urandom"):
        (root / "dev" / name).touch()
        run("mount", "--bind", f"/dev/{name}", str(root / "dev" / name))
    for name in ("run/dbus", "run/network", "run/systemd/netif", "var/lib/dhcp"):
        (root / name).mkdir(parents=True, exist_ok=True)
    run("chroot", str(root), "chown", "systemd-network:", "/run/systemd/netif")
    run("hostname", "--file", str(root / "etc/hostname"))
    cabled()


def cabled() -> None:
    """Both ends are this process' own: with /proc of another process namespace, a number would name a stranger's."""
    assert Path("/proc/self").readlink() == Path(str(os.getpid()))
    holder = subprocess.Popen(("unshare", "--net", "sh", "-c", "echo there; exec sleep 600"), stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    there = ("nsenter", f"--net=/proc/{holder.pid}/ns/net")
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "eth0", "address", MAC, "type", "veth", "peer", "name", "up0", "netns", str(holder.pid))
    run(*there, "ip", "addr", "add", f"{GATEWAY}/24", "dev", "up0")
    run(*there, "ip", "link", "set", "up0", "up")
    served = ("--conf-file=/dev/null", "--port=0", "--interface=up0", "--dhcp-range=10.10.2.0,static,255.255.255.0,600")
    known = (f"--dhcp-host={MAC},{ADDRESS}", f"--dhcp-option=option:router,{GATEWAY}", "--leasefile-ro", "--user=root")
    known = (*known, f"--dhcp-option=option:dns-server,{GATEWAY}", "--pid-file=", "--no-ping")
    subprocess.Popen(
        (*there, "dnsmasq", "--keep-in-foreground", "--log-facility=/dev/null", *served, *known, "--bind-interfaces")
    )


def asked(root: Path, command: str) -> str:
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "container": "lxc"}
    argv = ("chroot", str(root), "/bin/sh", "-c", command)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=90, env=environment)
    return (done.stdout + done.stderr).strip()


def addressed() -> list[str]:
    """eth0's IPv4 addresses and the way out, as the kernel has them, once there are both or patience ended."""
    until = time.monotonic() + PATIENCE_S
    while True:
        facts = json.loads(run("ip", "-j", "-4", "addr", "show", "dev", "eth0"))
        addresses = [f"{a['local']}/{a['prefixlen']}" for fact in facts for a in fact["addr_info"]]
        ways = [way.get("gateway", "") for way in json.loads(run("ip", "-j", "-4", "route", "show", "default"))]
        if (addresses and ways) or time.monotonic() > until:
            return [*addresses, *ways]
        time.sleep(0.1)


def main() -> None:
    folder, wish = Path(sys.argv[1]), json.load(sys.stdin)
    root = rooted(folder)
    made(root, wish)
    family, lacking = tuned(root, wish["tune"])
    started(root)
    log = folder / "log"
    with log.open("w") as out:
        for command in wish["begin"]:
            environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "container": "lxc"}
            argv = ("chroot", str(root), "/bin/sh", "-c", command)
            subprocess.Popen(argv, stdout=out, stderr=out, env=environment)
    found = {
        "family": family,
        "lacking": lacking,
        "address": addressed() if wish["begin"] else [],
        "asked": {name: asked(root, command) for name, command in wish["ask"].items()},
        "log": log.read_text()[-4000:],
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
