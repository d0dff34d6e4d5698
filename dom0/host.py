"""What root may touch on this dom0: /etc/fridu/host.toml, read by the worker, never by the panel."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from dom0.errors import Refused

PATH = "/etc/fridu/host.toml"


@dataclass(frozen=True, kw_only=True)
class Nic:
    name: str
    addresses: tuple[str, ...]
    may_add: tuple[str, ...] = ()  # networks out of which the panel may put further addresses on it


def _nic(data: dict[str, Any], where: Path) -> Nic:
    """One [[nic]] of the host file; `may_add = true` stands for any address."""
    allowed = data.get("may_add", False)
    networks = ("0.0.0.0/0",) if allowed is True else tuple(allowed or ())
    try:
        for network in networks:
            IPv4Network(network)
    except ValueError as error:
        raise Refused(
            f"{where}: may_add of {data['name']} names {error}.",
            note='Write may_add = true, or networks: may_add = ["87.98.130.48/28"].',
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

    Raises Refused with a sentence where it is missing, not TOML, has a key nobody knows, or prefixes that fit
    more than machines.
    """
    where = file(path)
    try:
        data = tomllib.loads(where.read_text())
    except FileNotFoundError:
        raise Refused(
            f"{where} is missing.", note="Copy deploy/host.toml there and put this host's facts in."
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise Refused(f"{where} can't be read: {error}.", note="Mend that line.") from error
    nics = tuple(_nic(n, where) for n in data.pop("nic", []))
    unknown = sorted(set(data) - set(HostConfig.__dataclass_fields__))
    if unknown:
        raise Refused(f"{where} has unknown keys: {', '.join(unknown)}.", note="See docs/install.md for the keys.")
    if not {"name", "libvirt", "volumes"} <= data.keys():
        raise Refused(f"{where} needs name, libvirt and volumes.", note="See deploy/host.toml.")
    groups = data.pop("volume_groups", [])
    if not isinstance(groups, list) or not all(isinstance(name, str) for name in groups):
        raise Refused(f"{where}: volume_groups is no list of names.", note='Write volume_groups = ["vg0"].')
    config = HostConfig(nics=nics, volume_groups=tuple(groups), **data)
    _refuse_prefixes(config, where)
    return config


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
