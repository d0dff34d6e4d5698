"""A dom0 in a network namespace of its own, with both guards kept running, and revisions to try out on it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from itertools import count
from pathlib import Path

from dom0 import chains, closed, files, loading, policy, trial
from dom0.host import HostConfig, Nic
from dom0.members import TABLE
from tests.host.wire import inside

ROOT = Path(__file__).parents[2]
OLD, NEW, OTHER = "1-aaaaaaaaaaaa", "2-bbbbbbbbbbbb", "3-cccccccccccc"
PANEL = 8000
_numbers = count()

HOST_TOML = """\
name = "ns3100421"
libvirt = "lxc:///system"
volumes = "{folder}/volumes"
state = "{folder}/state"
run = "{folder}/run"
vpn_interface = "tun0"
vpn_address = "10.10.95.38"
vpn_network = "10.10.95.0/24"

[[nic]]
name = "eth0"
addresses = ["91.121.65.140"]
"""


def until(so: Callable[[], bool], seconds: float, what: str = "") -> None:
    """Wait for `so`; AssertionError naming `what` where it doesn't come."""
    deadline = time.monotonic() + seconds
    while not so():
        assert time.monotonic() < deadline, f"after {seconds:g} s still not: {what or so}"
        time.sleep(0.02)


def revision(config: HostConfig, name: str, *, services: int = 60, panel: bool = True) -> dict[str, str]:
    """The files of a revision, like a rendered one; `name` makes each of them another. Without `panel` it's shut."""
    number = int(name.partition("-")[0])
    found = closed.files(config)
    nat = ["*nat", ":fr-dnat - [0:0]", ":fr-snat - [0:0]", ":fr-dn - [0:0]", "-A fr-dnat -d 91.121.65.140/32 -j fr-dn"]
    for port in range(1000, 1000 + services):
        to = f"10.10.{number}.2:{port}"
        nat.append(f"-A fr-dn -p tcp -m tcp --dport {port} -j DNAT --to-destination {to}")
    v4 = (
        found["v4.rules"]
        .partition("*nat")[0]
        .replace(f"-A fr-in {closed.ANSWERS}\n", "-A fr-in -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n")
    )
    v4 = v4.replace("-A fr-fwd -j DROP", f"-A fr-fwd -s 10.10.{number}.0/24 -j ACCEPT\n-A fr-fwd -j DROP")
    v4 = v4.replace("-A fr-in -j DROP", "-A fr-in -m conntrack --ctstate INVALID -j DROP\n-A fr-in -j DROP")
    if not panel:
        v4 = "".join(line for line in v4.splitlines(keepends=True) if f"--dport {PANEL} " not in line)
    v6 = found["v6.rules"].replace(
        "-A fr-in -j DROP",
        f"-A fr-in -p tcp -m tcp --dport {number} -j REJECT --reject-with tcp-reset\n-A fr-in -j DROP",
    )
    extra = f"add chain bridge {TABLE} own{number}\nadd rule bridge {TABLE} own{number} drop\n"
    return {
        **found,
        "v4.rules": v4 + "\n".join([*nat, "COMMIT", ""]),
        "v6.rules": v6,
        "bridge.nft": found["bridge.nft"].replace("fridu closed", f"fridu {number}") + extra,
        "sysctl.conf": found["sysctl.conf"].replace("ip_forward = 0", "ip_forward = 1"),
    }


class Dom0:
    """The namespace `ns`, folders of its own, and processes that are ended with it."""

    def __init__(self) -> None:
        self.ns = f"frg{os.getpid()}x{next(_numbers)}"
        self.folder = Path(tempfile.mkdtemp(prefix="frg-"))
        self.toml = self.folder / "host.toml"
        self.toml.write_text(HOST_TOML.format(folder=self.folder))
        self.config = HostConfig(
            name="ns3100421",
            libvirt="lxc:///system",
            volumes=f"{self.folder}/volumes",
            state=f"{self.folder}/state",
            run=f"{self.folder}/run",
            vpn_interface="tun0",
            vpn_address="10.10.95.38",
            vpn_network="10.10.95.0/24",
            nics=(Nic(name="eth0", addresses=("91.121.65.140",)),),
        )
        self.guards: dict[str, subprocess.Popen[bytes]] = {}
        self.started: list[subprocess.Popen[bytes]] = []
        self.ending = threading.Event()
        self.keeper = threading.Thread(target=self._keep)
        subprocess.run(("ip", "netns", "add", self.ns), check=True)
        subprocess.run(("ip", "-n", self.ns, "link", "set", "lo", "up"), check=True)

    def lay_down(self, name: str, texts: dict[str, str]) -> None:
        """Write a revision's folder, and what is live when it is loaded."""
        for file, text in texts.items():
            files.write_atomic(str(loading.folder(self.config, name) / file), text)

    def load(self, name: str) -> dict[str, str]:
        """Load a revision; what is live then."""
        inside(self.ns, lambda: loading.load(loading.revision(self.config, name)))
        return self.live()

    def live(self) -> dict[str, str]:
        """What is loaded, in a form that is equal exactly when the rules are."""
        found = inside(self.ns, lambda: policy.live(self.config, ("v4", "v6", "bridge")))
        rules = {family: chains.ours(found.get(family, "")) for family in ("v4", "v6")}
        forward = inside(self.ns, lambda: Path("/proc/sys/net/ipv4/ip_forward").read_text().strip())
        return {**rules, "bridge": found.get("bridge", ""), "forward": forward}

    def confirmed(self, name: str) -> None:
        """Note a revision as the one in force, as a confirmation long ago has left it."""
        digest = loading.digest_of(loading.revision(self.config, name))
        past = trial.Pending(revision=name, token=f"{name}-j1", deadline=0, boot="", seconds=60, digest=digest)
        pointer = asdict(past)
        files.write_atomic(f"{self.config.state}/firewall/confirmed", json.dumps(pointer))

    def start(self, *argv: str) -> subprocess.Popen[bytes]:
        """A Python module in the namespace; its words go to `said`."""
        with open(self.folder / "said", "ab") as log:
            process = subprocess.Popen(
                ("nsenter", f"--net=/run/netns/{self.ns}", "--", sys.executable, "-m", *argv),
                cwd=ROOT,
                env={**os.environ, "FRIDU_HOST_TOML": str(self.toml)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.started.append(process)
        return process

    @property
    def said(self) -> str:
        return (self.folder / "said").read_text(errors="replace")

    def guard(self) -> None:
        """Start both guards, wait for their first beats, and keep them running, as a service manager does."""
        for name in ("a", "b"):
            self.guards[name] = self.start("dom0.guard", name)
        self.keeper.start()
        until(lambda: all(self._beat(name) for name in self.guards), 60, f"both guards beat\n{self.said}")

    def _beat(self, name: str) -> str:
        return files.read_text(f"{self.config.run}/guard/{name}") or ""

    def _keep(self) -> None:
        """The watchdog: two seconds without a beat, ten for the first one, as Python may start slowly."""
        heard = dict.fromkeys(self.guards, ("", time.monotonic(), 10.0))
        while not self.ending.wait(0.2):
            for name, process in self.guards.items():
                beat = self._beat(name)
                if process.poll() is not None:
                    self.guards[name] = self.start("dom0.guard", name)
                    heard[name] = (beat, time.monotonic(), 10.0)
                elif beat != heard[name][0]:
                    heard[name] = (beat, time.monotonic(), 2.0)
                elif time.monotonic() - heard[name][1] > heard[name][2]:
                    process.kill()

    def standing(self) -> trial.Standing:
        return trial.read(self.config)

    def settled(self) -> bool:
        """Whether no trial stands and nothing is being taken back."""
        now = self.standing()
        return now.pending is None and not now.returning

    def close(self) -> None:
        self.ending.set()
        if self.keeper.is_alive():
            self.keeper.join()
        for process in self.started:
            process.send_signal(signal.SIGKILL)
            process.wait()
        subprocess.run(("ip", "netns", "del", self.ns), check=True)
        shutil.rmtree(self.folder)


def children(pid: int) -> list[int]:
    """The processes that `pid` has started and that are there still."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []
