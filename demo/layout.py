"""Where everything of one demo lies: names, addresses, folders. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
INSIDE = Path("/srv/fridu")  # the project as dom0's processes see it, wherever the clone lies
PYTHON = INSIDE / ".venv" / "bin" / "python"

PANEL_UID = 60990  # in the range Debian leaves to nobody (60578-61183); also the group
PANEL_GID = PANEL_UID
REDIS_UID = PANEL_UID + 1  # in the panel's group, whose members may use the queue

DOM0_ADDRESS = "91.121.65.140"
FAILOVER_ADDRESS = "87.98.130.56"
GATEWAY = "91.121.65.254"
INTERNET_HOST = "198.51.100.7"  # an unrelated host of the Internet
VPN_ADDRESS = "10.10.95.38"
VPN_PEER = "10.10.95.2"
VPN_CLIENT = "fulup-laptop"  # the common name of whom the vpn namespace is
VPN_GATEWAY = "203.0.113.1"  # its way to the Internet
VPN_UPLINK = "203.0.113.7"
PANEL_PORT = 8000  # on the admin network, inside dom0

REDIS_SOCKET = "/run/fridu/redis/redis.sock"
DATABASE = "/var/lib/fridu-panel/fridu.sqlite3"
UPLOADS = "/var/lib/fridu-panel/uploads"  # archives that come through the panel, until a worker takes them
DEFAULT_PORT = 8088  # for the browser, on the box's loopback


class Problem(Exception):
    """Why the demo can't go on: a sentence for a person; what was started has been undone."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One demo. `name` keeps several apart: namespaces, control groups and the state folder derive from it."""

    name: str = "demo"
    project: Path = PROJECT

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9]{0,11}", self.name):
            raise Problem(f"A demo can't be called “{self.name}”: up to 12 small letters and digits, like demo2.")

    @property
    def var(self) -> Path:
        return self.project / "var" / self.name

    @property
    def run(self) -> Path:
        """What lasts until the demo stops: sockets, pid files. Inside it is /run/fridu."""
        return self.var / "run"

    @property
    def log(self) -> Path:
        return self.var / "log"

    @property
    def dom0(self) -> str:
        return f"fridu-{self.name}-dom0"

    @property
    def internet(self) -> str:
        return f"fridu-{self.name}-internet"

    @property
    def vpn(self) -> str:
        return f"fridu-{self.name}-vpn"

    @property
    def namespaces(self) -> tuple[str, str, str]:
        return (self.dom0, self.internet, self.vpn)

    @property
    def cgroup(self) -> str:
        return f"fridu-{self.name}"

    @property
    def control_socket(self) -> Path:
        return self.run / "keeper.sock"

    @property
    def state_file(self) -> Path:
        return self.var / "state.json"

    @property
    def environment(self) -> dict[str, str]:
        """What the panel, the workers and management commands are told inside. Holds no secret."""
        return {
            "FRIDU_SECRET_KEY_FILE": "/var/lib/fridu-panel/secret-key",
            "FRIDU_DATABASE_URL": f"sqlite:///{DATABASE}",
            "FRIDU_BROKER_URL": f"redis+socket://{REDIS_SOCKET}",
            "FRIDU_UPLOADS": UPLOADS,
            "FRIDU_ALLOWED_HOSTS": f"localhost,127.0.0.1,[::1],{VPN_ADDRESS}",
            "PYTHONUNBUFFERED": "1",
        }
