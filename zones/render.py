"""A zone's texts: its dnsmasq configuration, its bridge's MAC and kernel settings. Pure, byte-stable."""

from __future__ import annotations

import hashlib

from dom0.bridge import Bridge
from zones.specs import ZoneSpec

LEASE = "1h"
RESOLV = "/etc/resolv.conf"  # dom0's own; an isolated zone's dnsmasq reads none
V6 = "net.ipv6.conf.all.disable_ipv6"  # a kernel without IPv6 does not have it


def bridge_mac(host: str, zone: str) -> str:
    """The locally administered MAC a zone's bridge gets when it is made.

    It is the mark that the bridge is ours, set in the same moment; and a bridge with a MAC of its own keeps it
    when machines come and go, so their neighbour tables stay right.
    """
    rest = hashlib.sha256(f"fridu bridge {host} {zone}".encode()).hexdigest()[:10]
    return ":".join(("02", *(rest[i : i + 2] for i in range(0, 10, 2))))


def sysctls(bridge: str) -> tuple[tuple[str, str], ...]:
    """Kernel settings of one bridge: no IPv6, no redirects, no source routes, only addresses that belong here.

    IPv6 goes because a machine's router advertisement became dom0's default route.
    """
    return (
        (f"net.ipv6.conf.{bridge}.accept_ra", "0"),
        (f"net.ipv6.conf.{bridge}.disable_ipv6", "1"),
        (f"net.ipv4.conf.{bridge}.accept_redirects", "0"),
        (f"net.ipv4.conf.{bridge}.send_redirects", "0"),
        (f"net.ipv4.conf.{bridge}.accept_source_route", "0"),
        (f"net.ipv4.conf.{bridge}.rp_filter", "1"),
    )


def bridge(spec: ZoneSpec) -> Bridge:
    """The zone's bridge as dom0 makes it, now and at boot."""
    return Bridge(
        name=spec.bridge,
        mac=bridge_mac(spec.host, spec.name),
        address=str(spec.interface),
        sysctls=sysctls(spec.bridge),
        in_kbit=spec.in_kbit,
        out_kbit=spec.out_kbit,
    )


def dnsmasq_conf(spec: ZoneSpec) -> str:
    """The zone's dnsmasq.conf: DHCP for known machines (others: from the lease range alone, where there is one), names
    of the zone, nothing on another interface."""
    lines = [
        f"# Zone {spec.name}, written by Fridu. A change made here is overwritten by the zone's next job.",
        f"interface={spec.bridge}",
        "bind-dynamic",
        "except-interface=lo",
        "user=nobody",
        "group=nogroup",
        f"pid-file={spec.files.pid}",
        f"dhcp-leasefile={spec.files.leases}",
        "dhcp-authoritative",
        f"dhcp-range={spec.network.network_address},static,{spec.network.netmask},{LEASE}",
        f"dhcp-option=option:router,{spec.gateway}",
        f"dhcp-option=option:dns-server,{spec.gateway}",
        f"dhcp-hostsdir={spec.files.ethers}",
        "no-hosts",
        f"hostsdir={spec.files.hosts}",
        "domain-needed",
        "bogus-priv",
        "quiet-dhcp",
    ]
    if spec.lease_first:
        lines.append(f"dhcp-range={spec.lease_first},{spec.lease_last},{spec.network.netmask},{LEASE}")
        # A guest nobody entered gets an address, not the name it asks for.
        lines.append("dhcp-ignore-names=tag:!known")
    if spec.domain:
        lines += [f"domain={spec.domain}", f"local=/{spec.domain}/", "expand-hosts"]
    lines.append("no-resolv" if spec.isolated else f"resolv-file={RESOLV}")
    return "\n".join(lines) + "\n"
