"""What is written into a fresh root filesystem so that it starts as this machine, by the image's family. Pure.

Which tool sets up the network is looked at in the root itself: a recipe carries `when` or `unless`, a path that must
be there or must not (dom0.tune). Tests start Debian and tiny only. What the others get is read by their readers as
Debian packages them, which then ask DHCP (tests/host/test_readers); wicked's and network-scripts' by a shell alone.
"""

from __future__ import annotations

from typing import Any

from machines.specs import MachineSpec

Wishes = dict[str, list[Any]]
IFUP = "/usr/sbin/ifup"
RESOLVED = "/usr/lib/systemd/systemd-resolved"
SYSTEMD = "/usr/lib/systemd/systemd"
NETPLAN = "/usr/sbin/netplan"
NETWORKMANAGER = "/usr/sbin/NetworkManager"
WICKED = "/etc/sysconfig/network"
SCRIPTS = "/etc/sysconfig/network-scripts"
BUSYBOX_IFUP = "/sbin/ifup"
INTERFACES = "auto lo eth0\niface lo inet loopback\niface eth0 inet dhcp\n"
NETWORKD = "[Match]\nName=eth0\n\n[Network]\nDHCP=ipv4\n"
MULTI_USER = "/etc/systemd/system/multi-user.target.wants"

_SSH_KEYS = "/etc/ssh/ssh_host_*"
_DROPIN = "[Service]\nExecStartPre=\nExecStartPre=/usr/bin/ssh-keygen -A\nExecStartPre=/usr/sbin/sshd -t\n"
_PLAN = "network:\n  version: 2\n  ethernets:\n    eth0:\n      dhcp4: true\n      dhcp6: false\n"
_KEYFILE = (
    "[connection]\nid=eth0\ntype=ethernet\ninterface-name=eth0\n\n[ipv4]\nmethod=auto\n\n[ipv6]\nmethod=disabled\n"
)
_IFCFG = "DEVICE=eth0\nONBOOT=yes\nBOOTPROTO=dhcp\nTYPE=Ethernet\n"
_WICKED = "BOOTPROTO='dhcp4'\nSTARTMODE='auto'\n"
_GRUB_CFG = {
    "any": ["/boot/grub/grub.cfg"],
    "says": "It has no /boot/grub/grub.cfg, so grub will stand at a prompt on its console. Choose boot=host, "
    "or an image with a kernel, its initrd and that file.",
}
_NO_CLOUD = {"path": "/etc/cloud/cloud-init.disabled", "content": "Fridu sets it up.\n", "when": "/etc/cloud"}
#: Whatever else the builder's installer or cloud-init set up; netplan would add it to ours.
_OTHER_PLANS = [f"/etc/netplan/{n}.yaml" for n in ("50-cloud-init", "00-installer-config", "01-netcfg", "10-lxc")]


def recipe(spec: MachineSpec) -> Wishes:
    """What the family needs beyond name, hosts and fstab, as dom0.tune reads it."""
    wishes = _of_the_family(spec)
    if spec.boot.how == "grub":
        wishes["needs"] = [*wishes.get("needs", ()), _GRUB_CFG]
    return wishes


def _of_the_family(spec: MachineSpec) -> Wishes:
    return {
        "tiny": _tiny,
        "debian": _debian,
        "ubuntu": _ubuntu,
        "alpine": _alpine,
        "opensuse": _opensuse,
        "fedora": _fedora,
    }.get(spec.image.family, _other)(spec)


def _tiny(spec: MachineSpec) -> Wishes:
    """Its inittab asks for a lease and makes the host key that is missing."""
    return {"remove": ["/etc/dropbear/*_host_key"]}


def _debian(spec: MachineSpec) -> Wishes:
    """ifupdown where the image has it, otherwise systemd-networkd; new host keys at the first start of ssh."""
    return {
        "files": [
            {"path": "/etc/machine-id", "content": "", "mode": "0444"},
            {"path": "/etc/network/interfaces", "content": INTERFACES},
            {"path": "/etc/systemd/network/10-eth0.network", "content": NETWORKD, "unless": IFUP},
            {"path": "/etc/resolv.conf", "content": _resolv(spec), "unless": RESOLVED},
            {"path": "/etc/systemd/system/ssh.service.d/fridu.conf", "content": _DROPIN},
        ],
        "links": [_networkd_on(IFUP)],
        "remove": [_SSH_KEYS, "/var/lib/dbus/machine-id"],
    }


def _ubuntu(spec: MachineSpec) -> Wishes:
    """netplan where it is, for whichever of its two renderers is installed; otherwise systemd-networkd."""
    return {
        "files": [
            {"path": "/etc/machine-id", "content": "", "mode": "0444"},
            {"path": "/etc/netplan/90-fridu.yaml", "content": _PLAN, "mode": "0600", "when": NETPLAN},
            {"path": "/etc/systemd/network/10-eth0.network", "content": NETWORKD, "unless": NETPLAN},
            {"path": "/etc/resolv.conf", "content": _resolv(spec), "unless": RESOLVED},
            {"path": "/etc/systemd/system/ssh.service.d/fridu.conf", "content": _DROPIN},
            _NO_CLOUD,
        ],
        "links": [_networkd_on(NETWORKMANAGER)],
        "remove": [_SSH_KEYS, "/var/lib/dbus/machine-id", *_OTHER_PLANS],
        "needs": [_network(NETPLAN, "/usr/lib/systemd/systemd-networkd")],
    }


def _alpine(spec: MachineSpec) -> Wishes:
    """busybox's ifup, begun by OpenRC; its sshd makes the host keys that are missing."""
    on = {"path": "/etc/runlevels/boot/networking", "target": "/etc/init.d/networking"}
    return {
        "files": [
            {"path": "/etc/network/interfaces", "content": INTERFACES},
            {"path": "/etc/resolv.conf", "content": _resolv(spec)},
        ],
        "links": [on],
        "remove": [_SSH_KEYS],
        "needs": [
            _network(BUSYBOX_IFUP),
            {"any": ["/etc/init.d/networking"], "says": "It has no OpenRC, so nothing begins its network."},
        ],
    }


def _opensuse(spec: MachineSpec) -> Wishes:
    """wicked by ifcfg-eth0, NetworkManager by a keyfile: whichever is there; both make missing host keys."""
    return {
        "files": [
            {"path": "/etc/machine-id", "content": "", "mode": "0444"},
            {"path": f"{WICKED}/ifcfg-eth0", "content": _WICKED, "when": WICKED},
            _keyfile(),
            _NO_CLOUD,
        ],
        "remove": [_SSH_KEYS, "/var/lib/dbus/machine-id"],
        "needs": [_network(WICKED, NETWORKMANAGER)],
    }


def _fedora(spec: MachineSpec) -> Wishes:
    """NetworkManager by a keyfile; the older network-scripts by ifcfg-eth0 where they are and it is not."""
    return {
        "files": [
            {"path": "/etc/machine-id", "content": "", "mode": "0444"},
            _keyfile(),
            {"path": f"{SCRIPTS}/ifcfg-eth0", "content": _IFCFG, "when": SCRIPTS, "unless": NETWORKMANAGER},
            _NO_CLOUD,
        ],
        "remove": [_SSH_KEYS, "/var/lib/dbus/machine-id"],
        "needs": [_network(NETWORKMANAGER, SCRIPTS)],
    }


def _other(spec: MachineSpec) -> Wishes:
    """Name, keys and password as everywhere; its network only where a tool is found that Fridu knows."""
    unknown = f"The family of {spec.image.name} is unknown: its SSH host keys are the image's, shared by all its copies"
    return {
        "files": [
            {"path": "/etc/machine-id", "content": "", "mode": "0444", "when": SYSTEMD},
            {"path": "/etc/network/interfaces", "content": INTERFACES, "when": BUSYBOX_IFUP},
            {"path": "/etc/netplan/90-fridu.yaml", "content": _PLAN, "mode": "0600", "when": NETPLAN},
            _keyfile(),
        ],
        "needs": [
            {"any": [], "says": f"{unknown}. Make new ones on its console: ssh-keygen -A."},
            _network(BUSYBOX_IFUP, NETPLAN, NETWORKMANAGER),
        ],
    }


def _keyfile() -> dict[str, str]:
    path = "/etc/NetworkManager/system-connections/eth0.nmconnection"
    return {"path": path, "content": _KEYFILE, "mode": "0600", "when": NETWORKMANAGER}


def _networkd_on(unless: str) -> dict[str, str]:
    unit = "systemd-networkd.service"
    return {"path": f"{MULTI_USER}/{unit}", "target": f"/lib/systemd/system/{unit}", "unless": unless}


def _network(*paths: str) -> dict[str, Any]:
    says = f"Its network could not be set up: it has none of {', '.join(paths)}. Have it ask DHCP on eth0 by itself."
    return {"any": list(paths), "says": says}


def _resolv(spec: MachineSpec) -> str:
    search = f"search {spec.zone.domain}\n" if spec.zone.domain else ""
    return f"nameserver {spec.zone.gateway}\n{search}"
