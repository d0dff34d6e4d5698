"""Where a zone's DHCP and DNS live on dom0, how its dnsmasq is started, known again and ended. Pure.

One dnsmasq a zone, one file a machine. Measured on dnsmasq 2.90: new and changed files in the two folders are
taken at once (inotify); a removed one only after SIGHUP.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from dom0.steps import Command, Hand

LEASES = ".leases"
_LEASE = re.compile(
    r"(?P<expires>\d{1,12}) (?P<mac>[0-9a-f]{2}(?::[0-9a-f]{2}){5})"
    r" (?P<address>\d{1,3}(?:\.\d{1,3}){3}) (?P<name>\S+) \S+",
    re.ASCII,
)
_HOSTNAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?", re.ASCII)

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
        """Folder with a file "IP NAME …" for each machine."""
        return f"{self.state}/hosts/{self.zone}"

    @property
    def leases(self) -> str:
        return f"{self.run}/dnsmasq/{self.zone}{LEASES}"

    @property
    def pid(self) -> str:
        return f"{self.run}/dnsmasq/{self.zone}.pid"

    @property
    def argv(self) -> tuple[str, ...]:
        """How the daemon is called; also how it is recognised."""
        return ("dnsmasq", f"--conf-file={self.conf}")


@dataclass(frozen=True, kw_only=True)
class Lease:
    """Who has which address; `expires` in seconds since 1970, 0 for never, `name` as the guest called itself."""

    expires: int
    mac: str
    address: str
    name: str


def leases(text: str, limit: int = 1000) -> tuple[Lease, ...]:
    """The leases of a leases file, at most `limit`.

    A guest chose the names in it: one that is no plain host name is left out, a line that is no lease as well.
    """
    found = (_LEASE.fullmatch(line) for line in text.splitlines()[:limit])
    return tuple(
        Lease(
            expires=int(lease["expires"]),
            mac=lease["mac"],
            address=lease["address"],
            name=lease["name"] if _HOSTNAME.fullmatch(lease["name"]) else "",
        )
        for lease in found
        if lease and all(int(part) < 256 for part in lease["address"].split("."))
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
