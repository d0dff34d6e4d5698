"""OpenVPN on this host, as Fridu meets it: the files that let its clients in, and its management socket.

Certificates, settings and the daemon itself are the host's own; Fridu writes the list and puts out whom it revokes.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dom0 import runner
from dom0.errors import Refused
from dom0.host import HostConfig

PATIENCE_S = 2.0
NO_ADDRESS = "-"  # of a revoked peer whose address another one has now

_NAME = re.compile(r"[a-z][a-z0-9-]{0,38}")
_ADDRESS = re.compile(r"\d{1,3}(\.\d{1,3}){3}")


class _Silent(Exception):
    """The management socket is not named, not there, or does not answer."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """A client that is in: where it comes from, the address it has, since when (unix time)."""

    origin: str
    address: str
    since: int


def sessions(config: HostConfig) -> dict[str, Session] | None:
    """Who is in, by common name; None where OpenVPN doesn't say."""
    try:
        return _parsed(_asked(config, "status 2", "END"))
    except _Silent:
        return None


def _parsed(status: list[str]) -> dict[str, Session]:
    found = {}
    for line in status:
        part = line.split(",")
        # CLIENT_LIST,name,real address,virtual address,virtual v6,in,out,since,since (time_t),… One that was just
        # refused stands there too for a while, without a virtual address.
        if part[0] == "CLIENT_LIST" and len(part) > 8 and part[3] and part[8].isdigit():
            found[part[1]] = Session(origin=part[2], address=part[3], since=int(part[8]))
    return found


def listed(config: HostConfig) -> dict[str, str]:
    """What the client list says, by common name: an address, "disabled", or "" for a file that says neither."""
    folder = Path(config.vpn_clients)
    if not config.vpn_clients or not folder.is_dir():
        return {}
    return {entry.name: _says(entry) for entry in sorted(folder.iterdir()) if not entry.name.startswith(".")}


def _says(path: Path) -> str:
    try:
        lines = path.read_text()[:65536].splitlines() if path.is_file() else []
    except (FileNotFoundError, UnicodeDecodeError):
        return ""
    said = [line.split() for line in lines]
    if ["disable"] in said:
        return "disabled"
    return next((words[1] for words in said if words[:1] == ["ifconfig-push"] and len(words) > 1), "")


def report(config: HostConfig) -> dict[str, Any]:
    """What the panel shows: the list as it stands, and who is in (None where OpenVPN doesn't say)."""
    if not config.vpn_clients and not config.vpn_management:
        return {}
    found = sessions(config)
    clients = None if found is None else {name: vars(session) for name, session in found.items()}
    return {"listed": listed(config), "clients": clients}


def speaking(config: HostConfig, keys: Collection[str]) -> dict[str, str]:
    """Which of those peers ("NAME ADDRESS", or "NAME -") may still speak ("open"), and whose address is shut ("shut").

    Where OpenVPN doesn't say who is in, whoever isn't shut out may be; of a name alone it is "unknown".
    """
    shut, found = _blackholes(), sessions(config)
    out = {}
    for key in keys:
        name, _, address = key.partition(" ")
        if address in shut:
            out[key] = "shut"
        elif found is None:
            out[key] = "unknown" if address == NO_ADDRESS else "open"
        elif name in found:
            out[key] = "open"
    return out


def _blackholes() -> frozenset[str]:
    argv = ("ip", "-json", "-4", "route", "show", "type", "blackhole")
    return frozenset(str(each.get("dst")) for each in json.loads(runner.run(argv).stdout or "[]"))


def put_out(config: HostConfig, args: Mapping[str, str], stdin: str) -> str:
    """End a client's session and forget its flows; where OpenVPN can't be told, its address is shut instead.

    Raises Refused for a name or address that is none.
    """
    name, address = _checked(_NAME, args["name"]), _checked(_ADDRESS, args["address"], NO_ADDRESS)
    try:
        said = _asked(config, f"kill {name}", "SUCCESS:")
    except _Silent as silence:
        if address == NO_ADDRESS:
            raise Refused(
                f"OpenVPN can't be told to end the session of {name}: {silence}",
                note="Name its management socket in host.toml (vpn_management), or restart OpenVPN.",
            ) from silence
        runner.run(("ip", "route", "replace", "blackhole", f"{address}/32"))
        said = [f"{silence} So nothing from or to {address} passes any more."]
    if address != NO_ADDRESS:
        for side in ("--orig-src", "--orig-dst"):
            runner.run(("conntrack", "-D", side, address), ok_codes=(0, 1))
        said.append(f"The flows of {address} are forgotten.")
    return "\n".join(said)


def _checked(pattern: re.Pattern[str], text: str, other: str = "") -> str:
    if text != other and not pattern.fullmatch(text):
        raise Refused(f"{text!r} is no client or address of the VPN.")
    return text


def _asked(config: HostConfig, question: str, last: str) -> list[str]:
    """OpenVPN's lines of answer, up to one that begins with `last`. Raises _Silent."""
    if not config.vpn_management:
        raise _Silent("host.toml names no management socket of OpenVPN.")
    lines = []
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(PATIENCE_S)  # it speaks with one at a time: a second caller waits
            link.connect(config.vpn_management)
            link.sendall(f"{question}\n".encode())
            for raw in link.makefile("rb"):
                line = raw.decode(errors="replace").rstrip("\r\n")
                if line.startswith(">"):  # its greeting, or news nobody asked for
                    continue
                lines.append(line)
                if line.startswith((last, "ERROR:")):
                    return lines
    except OSError as error:
        raise _Silent(f"OpenVPN's management socket {config.vpn_management} does not answer ({error}).") from error
    raise _Silent(f"OpenVPN's management socket {config.vpn_management} hung up.")


VERBS: dict[str, Callable[[HostConfig, Mapping[str, str], str], str]] = {"vpn-out": put_out}
