"""Where a zone's DHCP and DNS live on dom0, and what is put there for a machine. Pure.

One dnsmasq a zone, one file a machine. Measured on dnsmasq 2.90: new and changed files in the two folders are
taken at once (inotify); a removed one only after a reread, and the lease of a former MAC keeps its address from
a successor for an hour. So `reread` also drops the leases of machines that have no file any more.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from dom0.steps import Command, Hand, WriteFile

#: Environment variable by which a running dnsmasq says which configuration it was started with.
MARK = "FRIDU_CONF"


@dataclass(frozen=True, kw_only=True)
class Files:
    """Paths of one zone's dnsmasq; `state` and `run` are the folders of that name in the host file."""

    state: str
    run: str
    zone: str

    @property
    def conf(self) -> str:
        return f"{self.state}/dnsmasq/{self.zone}.conf"

    @property
    def ethers(self) -> str:
        """Folder with a file "MAC,IP,NAME" for each machine."""
        return f"{self.state}/ethers/{self.zone}"

    @property
    def hosts(self) -> str:
        """Folder with a file "IP NAME" for each machine."""
        return f"{self.state}/hosts/{self.zone}"

    @property
    def leases(self) -> str:
        return f"{self.run}/dnsmasq/{self.zone}.leases"

    @property
    def pid(self) -> str:
        return f"{self.run}/dnsmasq/{self.zone}.pid"

    @property
    def argv(self) -> tuple[str, ...]:
        """How the daemon is called; also how it is recognised."""
        return ("dnsmasq", f"--conf-file={self.conf}")


def machine_files(files: Files, *, name: str, mac: str, ip: str) -> tuple[WriteFile, WriteFile]:
    """The two files that give a machine its address and its name."""
    return (
        WriteFile(path=f"{files.ethers}/{name}", content=f"{mac},{ip},{name}\n"),
        WriteFile(path=f"{files.hosts}/{name}", content=f"{ip} {name}\n"),
    )


def service(zone: str) -> str:
    """The daemon's key in `State.services`."""
    return f"dnsmasq:{zone}"


def digest(conf: str) -> str:
    """What tells one configuration from another."""
    return hashlib.sha256(conf.encode()).hexdigest()[:16]


def start(files: Files, conf: str) -> Command:
    """Start the zone's dnsmasq, marked with the configuration it reads."""
    return Command(argv=("env", f"{MARK}={digest(conf)}", *files.argv), timeout_s=20)


def stop(zone: str) -> Hand:
    """End the zone's dnsmasq and wait until it is gone."""
    return Hand(verb="dnsmasq-stop", args=(("zone", zone),))


def reread(zone: str) -> Hand:
    """Have the zone's dnsmasq read its folders again and forget leases of machines that are gone."""
    return Hand(verb="dnsmasq-reread", args=(("zone", zone),))
