"""Revision 0, "closed but SSH": what holds before any revision was confirmed, and when none can be loaded. Pure.

Made from the host file alone, so it needs no database, no panel and no disk. The same chains and files as a
rendered revision. The admin's SSH gets in on every card and over the VPN, the panel answers over the VPN (dom0's own
OpenVPN is let in for that), machines keep their leases; nothing is forwarded, and of what else comes to dom0 only
answers to its own questions are taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dom0.members import INSIDE, KNOWN, TABLE, VIFS, ZNET
from dom0.policy_files import SETTINGS, SITE

if TYPE_CHECKING:
    from dom0.host import HostConfig

NAME = "0"
#: By direction, not by state alone: a connection somebody once opened to dom0 is no answer to dom0.
ANSWERS = "-m conntrack --ctstate RELATED,ESTABLISHED --ctdir REPLY -j ACCEPT"


def files(config: HostConfig) -> dict[str, str]:
    """File name → text, as a revision has them."""
    return {
        "sets.ipset": f"create {ZNET} hash:net,iface -exist\ncreate {INSIDE} hash:net -exist\n",
        "bridge.nft": _bridge(config),
        "v6.rules": _v6(config),
        "v4.rules": _raw(config) + _mangle(config) + _filter(config) + _table("nat", ("fr-dnat", "fr-snat"), ()),
        SETTINGS: _settings(),
        SITE: "{}\n",
    }


def _table(name: str, chains: tuple[str, ...], rules: tuple[str, ...]) -> str:
    policies = (":INPUT DROP [0:0]", ":FORWARD DROP [0:0]", ":OUTPUT ACCEPT [0:0]") if name == "filter" else ()
    lines = [f"*{name}", *policies, *(f":{chain} - [0:0]" for chain in chains), *(f"-A {rule}" for rule in rules)]
    return "\n".join([*lines, "COMMIT", ""])


def _cards(config: HostConfig) -> tuple[str, ...]:
    return tuple(dict.fromkeys(nic.name for nic in config.nics))


def _raw(config: HostConfig) -> str:
    chain, bridges = "fr-antispoof", f"-i {config.bridge_prefix}+"
    rules = [
        f"{chain} {bridges} -m mark ! --mark {KNOWN:#x}/{KNOWN:#x} -j DROP",
        f"{chain} {bridges} -m set --match-set {ZNET} src,src -j RETURN",
        f"{chain} -s 0.0.0.0/32 {bridges} -p udp -m udp --sport 68 --dport 67 -j RETURN",
        f"{chain} {bridges} -j DROP",
    ]
    for card in _cards(config):
        rules += [f"{chain} -i {card} -m set --match-set {INSIDE} {end} -j DROP" for end in ("src", "dst")]
    if config.vpn_interface and config.vpn_network:
        rules.append(f"{chain} ! -s {config.vpn_network} -i {config.vpn_interface} -j DROP")
    return _table("raw", (chain,), tuple(rules))


def _mangle(config: HostConfig) -> str:
    # dnsmasq's answers leave with a checksum that no card fills on the way to a machine; clients drop a wrong one.
    answer = f"-o {config.bridge_prefix}+ -p udp -m udp --sport 67 -j CHECKSUM --checksum-fill"
    return _table("mangle", ("fr-checksum",), (f"fr-checksum {answer}",))


def _filter(config: HostConfig) -> str:
    ssh, panel = (f"-p tcp -m tcp --dport {port}" for port in (config.admin_ssh_port, config.panel_port))
    # Without cards in the host file nobody knows the admin's way in: any but from the machines.
    ways = [f"-i {card} {ssh}" for card in _cards(config)] or [f"! -i {config.bridge_prefix}+ {ssh}"]
    if config.vpn_interface:
        ways += [f"-i {config.vpn_interface} {port}" for port in (ssh, panel)]
    if config.vpn_port:
        # The tunnel itself, without which nobody is on that interface.
        ways += [f"-i {card} -p udp -m udp --dport {config.vpn_port}" for card in _cards(config)]
    rules = (
        f"fr-in {ANSWERS}",
        "fr-in -i lo -j ACCEPT",
        "fr-in -j fr-admin",
        f"fr-in -i {config.bridge_prefix}+ -p udp -m udp --dport 67 -j ACCEPT",
        "fr-in -j DROP",
        "fr-fwd -j DROP",
        *(f"fr-admin {way} -j ACCEPT" for way in ways),
    )
    return _table("filter", ("fr-in", "fr-fwd", "fr-out", "fr-admin"), rules)


def _v6(config: HostConfig) -> str:
    # Neighbour discovery on the cards: without it dom0's own IPv6 questions get no answer.
    found = [f"-i {card} -p ipv6-icmp -m icmp6 --icmpv6-type {kind}" for card in _cards(config) for kind in (135, 136)]
    rules = (
        f"fr-in {ANSWERS}",
        "fr-in -i lo -j ACCEPT",
        *(f"fr-in {what} -j ACCEPT" for what in found),
        "fr-in -j DROP",
        "fr-fwd -j DROP",
    )
    return _table("filter", ("fr-in", "fr-fwd"), rules)


def _bridge(config: HostConfig) -> str:
    """Of a machine only ARP and its DHCP question as itself, and those to dom0 alone."""
    vifs, known = f'"{config.vif_prefix}*"', f"iifname . ether saddr . ip saddr @{VIFS}"
    arp = f"iifname . ether saddr . arp saddr ip @{VIFS} iifname . arp saddr ether . arp saddr ip @{VIFS}"
    chains = {
        "known": "",
        "port": "",
        "in": " { type filter hook prerouting priority -300; policy accept; }",
        "between": " { type filter hook forward priority 0; policy accept; }",
    }
    rules = (
        f"port ether type arp arp htype 1 arp ptype ip {arp} goto known",
        f"port udp sport 68 udp dport 67 {known} goto known",
        "port drop",
        f"known meta mark set meta mark or {KNOWN:#x} accept",
        f"in iifname {vifs} jump port",
        f"between iifname {vifs} drop",
        f'between oifname {vifs} drop comment "fridu closed"',
    )
    lines = [f"add table bridge {TABLE}"]
    lines += [f"add set bridge {TABLE} {VIFS} {{ type ifname . ether_addr . ipv4_addr; }}"]
    lines += [f"add chain bridge {TABLE} {name}{kind}" for name, kind in chains.items()]
    lines += [f"flush chain bridge {TABLE} {name}" for name in chains]
    return "\n".join([*lines, *(f"add rule bridge {TABLE} {rule}" for rule in rules), ""])


def _settings() -> str:
    # Forwarding first: turning it off makes the kernel accept redirects again.
    pairs = [("net.ipv4.ip_forward", "0")]
    pairs += [(f"net.bridge.bridge-nf-call-{what}", "0") for what in ("iptables", "ip6tables", "arptables")]
    for where in ("all", "default"):
        base = f"net.ipv4.conf.{where}"
        pairs += [(f"{base}.{what}", "0") for what in ("accept_redirects", "send_redirects", "accept_source_route")]
        pairs.append((f"{base}.rp_filter", "1"))
    pairs.append(("net.netfilter.nf_conntrack_tcp_loose", "0"))
    return "".join(f"{key} = {value}\n" for key, value in pairs)
