"""What root may touch on this dom0: /etc/fridu/host.toml, read by the worker, never by the panel."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from dom0.errors import Refused

PATH = "/etc/fridu/host.toml"


@dataclass(frozen=True, kw_only=True)
class Nic:
    name: str
    addresses: tuple[str, ...]
    may_add: tuple[str, ...] = ()  # networks out of which the panel may put further addresses on it


#: A card's, a bridge's, a tunnel's name; or how such names begin.
_LINK = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,14}\+?")
PORTS = ("vpn_port", "panel_port", "admin_ssh_port")


def _nic(data: Any, where: Path) -> Nic:
    """One [[nic]] of the host file; `may_add = true` stands for any address."""
    if not isinstance(data, dict) or not isinstance(data.get("name"), str) or not _LINK.fullmatch(data["name"]):
        raise Refused(f"{where}: a [[nic]] has no card's name.", note='Write for example name = "eth0" below it.')
    allowed = data.get("may_add", False)
    try:
        networks = ("0.0.0.0/0",) if allowed is True else tuple(allowed or ())
        for network in networks:
            IPv4Network(str(network))
    except (ValueError, TypeError) as error:
        raise Refused(
            f"{where}: may_add of {data['name']} names {error}.",
            note='Write may_add = true, or networks: may_add = ["87.98.130.48/28"].',
        ) from error
    try:
        for address in data.get("addresses", ()):
            IPv4Address(str(address))
    except (ValueError, TypeError) as error:
        raise Refused(
            f"{where}: addresses of {data['name']} names {error}.",
            note='Write a list of texts: addresses = ["91.121.65.140"].',
        ) from error
    return Nic(name=data["name"], addresses=tuple(data.get("addresses", ())), may_add=networks)


@dataclass(frozen=True, kw_only=True)
class HostConfig:
    """The host file. Folders are absolute; sizes in MiB."""

    name: str
    libvirt: str  # lxc:///system, xen:///system, qemu:///system
    volumes: str  # folder of image files
    volume_groups: tuple[str, ...] = ()  # LVM's, in which volumes may lie too
    images: str = "/var/lib/fridu/images"
    golden: str = "/var/lib/fridu/golden"
    kernels: str = "/var/lib/fridu/kernels"
    backups: str = "/var/lib/fridu/backups"
    imports: str = "/var/lib/fridu/imports"
    uploads: str = "/var/lib/fridu-panel/uploads"  # the panel's own: archives that came through it
    state: str = "/var/lib/fridu/state"  # rendered files dom0 boots from: firewall, dnsmasq, members
    run: str = "/run/fridu"  # locks, pid files, mounts
    bridge_prefix: str = "xen-br"
    vif_prefix: str = "fr"
    nics: tuple[Nic, ...] = ()
    reserved_memory_mib: int = 256
    vpn_interface: str = ""
    vpn_address: str = ""
    vpn_network: str = ""
    vpn_port: int = 0  # udp, where its server listens on this host; 0: elsewhere, or tcp
    vpn_clients: str = ""  # OpenVPN's client-config-dir, ours to write; "": nobody but the host's admin writes it
    vpn_management: str = ""  # OpenVPN's management socket, a unix socket's path
    panel_port: int = 8000
    admin_ssh_port: int = 22

    @property
    def lxc(self) -> bool:
        return self.libvirt.startswith("lxc:")

    @property
    def xen(self) -> bool:
        return self.libvirt.startswith("xen:")

    def facts(self) -> dict[str, Any]:
        """What the panel may know and choose from."""
        return {
            "libvirt": self.libvirt,
            "nics": [
                {"name": nic.name, "addresses": list(nic.addresses), "may_add": list(nic.may_add)} for nic in self.nics
            ],
            "bridge_prefix": self.bridge_prefix,
            "vif_prefix": self.vif_prefix,
            "volume_groups": list(self.volume_groups),
            "vpn": {
                "interface": self.vpn_interface,
                "address": self.vpn_address,
                "network": self.vpn_network,
                "port": self.vpn_port,
                "clients": self.vpn_clients,
                "management": self.vpn_management,
            },
            "panel_port": self.panel_port,
            "admin_ssh_port": self.admin_ssh_port,
            "reserved_memory_mib": self.reserved_memory_mib,
        }


def file(path: str = "") -> Path:
    """Where the host file is: the argument, $FRIDU_HOST_TOML or /etc/fridu/host.toml."""
    return Path(path or os.environ.get("FRIDU_HOST_TOML", PATH))


def load(path: str = "") -> HostConfig:
    """Read the host file, see `file`.

    Raises Refused with a sentence where it is missing, not TOML, has a key nobody knows or a value no rules can be
    made from, or prefixes that fit more than machines.
    """
    where = file(path)
    try:
        data = tomllib.loads(where.read_text())
    except FileNotFoundError:
        raise Refused(
            f"{where} is missing.", note="Copy deploy/host.toml there and put this host's facts in."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(f"{where} can't be read: {error}.", note="Mend that line.") from error
    found = data.pop("nic", [])
    nics = tuple(_nic(nic, where) for nic in (found if isinstance(found, list) else [found]))
    unknown = sorted(set(data) - set(HostConfig.__dataclass_fields__))
    if unknown:
        raise Refused(f"{where} has unknown keys: {', '.join(unknown)}.", note="See docs/install.md for the keys.")
    if not {"name", "libvirt", "volumes"} <= data.keys():
        raise Refused(f"{where} needs name, libvirt and volumes.", note="See deploy/host.toml.")
    groups = data.pop("volume_groups", [])
    if not isinstance(groups, list) or not all(isinstance(name, str) for name in groups):
        raise Refused(f"{where}: volume_groups is no list of names.", note='Write volume_groups = ["vg0"].')
    config = HostConfig(nics=nics, volume_groups=tuple(groups), **data)
    for said in _unfit(config):
        raise Refused(f"{where}: {said}", note="See deploy/host.toml for a value that works.")
    _refuse_prefixes(config, where)
    return config


def _unfit(config: HostConfig) -> Iterator[str]:
    """Values nobody could load rules from: who closes the host goes by this file, in words that stand in its rules."""
    for field in fields(HostConfig):
        if field.type not in ("int", "str"):  # nics and volume_groups have been looked at
            continue
        value = getattr(config, field.name)
        kind = int if field.type == "int" else str
        if not isinstance(value, kind) or isinstance(value, bool):
            yield f"{field.name} is {value!r}, which is no {'number' if kind is int else 'text'}."
        elif isinstance(value, str) and not value.isprintable():
            yield f"{field.name} is no single line of text."
    for name in PORTS:
        if isinstance(port := getattr(config, name), int) and not (0 if name == "vpn_port" else 1) <= port < 65536:
            yield f"{name} is {port}; ports go from 1 to 65535."
    for name in ("vpn_interface", "bridge_prefix", "vif_prefix"):
        if (value := getattr(config, name)) and not (isinstance(value, str) and _LINK.fullmatch(value)):
            yield f"{name} is {value!r}, which no interface is called."
    for name, read in (("vpn_address", IPv4Address), ("vpn_network", IPv4Network)):
        try:
            if value := getattr(config, name):
                read(value)
        except ValueError as error:
            yield f"{name} can't be it: {error}."


def _refuse_prefixes(config: HostConfig, where: Path) -> None:
    """The rules know bridges and machines' interfaces by how their names begin, and nothing else may begin so."""
    others = (*(nic.name for nic in config.nics), *((config.vpn_interface,) if config.vpn_interface else ()))
    for key, prefix in (("bridge_prefix", config.bridge_prefix), ("vif_prefix", config.vif_prefix)):
        taken = next((name for name in others if name.startswith(prefix)), "")
        if not prefix or taken:
            why = f"{taken} begins with it" if taken else "it is empty"
            raise Refused(
                f"{where}: {key} can't be {prefix!r}: {why}, so rules for machines would hold for {taken or 'all'}.",
                note="Use a beginning that nothing else on the host has, such as xen-br and fr.",
            )
