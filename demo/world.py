"""Three network namespaces: dom0, the Internet, and somebody's laptop out there, the admin VPN's client. No way out."""

from __future__ import annotations

import subprocess
from pathlib import Path

from demo.layout import (
    DOM0_ADDRESS,
    FAILOVER_ADDRESS,
    GATEWAY,
    INTERNET_HOST,
    VPN_ADDRESS,
    VPN_GATEWAY,
    VPN_UPLINK,
    Layout,
    Problem,
)

NETNS = Path("/run/netns")
OURS = "netns-made"  # in var, for all demos of this clone: /run/netns was not there before the first of them


def _ip(*arguments: str, netns: str = "") -> str:
    argv = ("ip", *(("-n", netns) if netns else ()), *arguments)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    if done.returncode != 0:
        raise Problem(f"The network of the demo can't be laid: {' '.join(argv)} says {done.stderr.strip()}.")
    return done.stdout


def existing(layout: Layout) -> tuple[str, ...]:
    """Those of this demo's namespaces that are there."""
    return tuple(name for name in layout.namespaces if (NETNS / name).exists())


def up(layout: Layout) -> None:
    """Make the namespaces, cables, addresses and routes. Raises Problem; the caller takes down what stands."""
    mark = layout.project / "var" / OURS
    if not _netns_is_mount():
        mark.write_text("mount" if NETNS.exists() else "folder")
    elif not list(NETNS.glob("fridu-*")):
        mark.unlink(missing_ok=True)  # from before a reboot: this one is somebody else's
    for name in layout.namespaces:
        _ip("netns", "add", name)
        _quiet_ipv6(name)
        _ip("link", "set", "lo", "up", netns=name)
    _cable(layout.dom0, "eth0", layout.internet, "eth0")
    _cable(layout.vpn, "eth0", layout.internet, "vpn0")
    # Made here, not by OpenVPN: the address stands, and the panel on it, while OpenVPN restarts.
    _ip("tuntap", "add", "dev", "tun0", "mode", "tun", netns=layout.dom0)
    _ip("link", "set", "tun0", "up", netns=layout.dom0)
    for netns, device, address in (
        (layout.dom0, "eth0", f"{DOM0_ADDRESS}/24"),
        (layout.dom0, "eth0", f"{FAILOVER_ADDRESS}/32"),
        (layout.dom0, "tun0", f"{VPN_ADDRESS}/24"),
        (layout.internet, "eth0", f"{GATEWAY}/24"),
        (layout.internet, "lo", f"{INTERNET_HOST}/32"),
        (layout.internet, "vpn0", f"{VPN_GATEWAY}/24"),
        (layout.vpn, "eth0", f"{VPN_UPLINK}/24"),
    ):
        _ip("addr", "add", address, "dev", device, netns=netns)
    _ip("route", "add", "default", "via", GATEWAY, "src", DOM0_ADDRESS, netns=layout.dom0)
    _ip("route", "add", f"{FAILOVER_ADDRESS}/32", "via", DOM0_ADDRESS, netns=layout.internet)
    _ip("route", "add", "default", "via", VPN_GATEWAY, netns=layout.vpn)
    _forwards(layout.internet)


def down(layout: Layout) -> None:
    """Remove the namespaces (cables and rules go with them) and what `ip netns` itself left."""
    for name in existing(layout):
        _ip("netns", "del", name)
    mark = layout.project / "var" / OURS
    if mark.exists() and not (NETNS.exists() and any(NETNS.iterdir())):
        if _netns_is_mount():
            subprocess.run(("umount", str(NETNS)), check=True, timeout=20)
        if mark.read_text() == "folder" and NETNS.exists():
            NETNS.rmdir()
        mark.unlink()


def _netns_is_mount() -> bool:
    """`ip netns add` mounts the folder onto itself, which os.path.ismount doesn't see: the device is the same."""
    table = Path("/proc/self/mountinfo").read_text().splitlines()
    return any(line.split()[4] == str(NETNS) for line in table)


def _cable(left: str, left_end: str, right: str, right_end: str) -> None:
    # From within `left`: kernels before 6.14 refuse a name that the caller's own namespace, the box's, has already.
    _ip("link", "add", left_end, "type", "veth", "peer", "name", right_end, "netns", right, netns=left)
    _ip("link", "set", left_end, "up", netns=left)
    _ip("link", "set", right_end, "up", netns=right)


def _forwards(netns: str) -> None:
    argv = ("ip", "netns", "exec", netns, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
    subprocess.run(argv, check=True, capture_output=True, timeout=20)


def _quiet_ipv6(netns: str) -> None:
    """IPv6 is not modelled yet, so there is none: a machine's router advertisement would find no ear."""
    closed = (
        "for f in all default; do echo 1 > /proc/sys/net/ipv6/conf/$f/disable_ipv6;"
        " echo 0 > /proc/sys/net/ipv6/conf/$f/accept_ra; done"
    )
    subprocess.run(
        ("ip", "netns", "exec", netns, "sh", "-c", closed),
        check=False,  # a kernel without IPv6 has no such files
        capture_output=True,
        timeout=20,
    )
