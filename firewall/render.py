"""Rules → the files of a revision, byte for byte the same for the same site. Pure.

Four files, applied in this order: `sets.ipset`, `bridge.nft`, `v6.rules`, `v4.rules` (raw, mangle, filter,
nat in itself); then the sysctls, forwarding last. They name the membership sets and never fill them.
"""

from __future__ import annotations

import difflib
import hashlib
import shlex
from dataclasses import dataclass

from dom0.chains import JUMPS
from dom0.members import INSIDE, KNOWN, TABLE, VIFS, ZNET
from firewall import rules
from firewall.rule import Rule, Table
from firewall.specs import Site

SETS, BRIDGE, V6, V4 = "sets.ipset", "bridge.nft", "v6.rules", "v4.rules"


@dataclass(frozen=True, kw_only=True)
class Files:
    """The rendered policy of one revision."""

    sets: str
    bridge: str
    v6: str
    v4: str
    sysctls: tuple[tuple[str, str], ...]

    @property
    def by_name(self) -> dict[str, str]:
        """File name → content, in the order they are applied."""
        lines = "".join(f"{key} = {value}\n" for key, value in self.sysctls)
        return {SETS: self.sets, BRIDGE: self.bridge, V6: self.v6, V4: self.v4, "sysctl.conf": lines}


def files(site: Site) -> Files:
    """Render every file of the site's policy."""
    return Files(sets=sets(), bridge=bridge(site), v6=v6(site), v4=v4(site), sysctls=sysctls(site))


def v4(site: Site) -> str:
    """The file for `iptables-restore --noflush`: our chains only, no jumps (`dom0.chains.splice` adds them)."""
    return "".join(_table(table) for table in rules.tables(site))


def v6(site: Site) -> str:
    """IPv6 is closed, the admin's ssh too: nothing in, nothing through, nothing to a zone.

    Only answers to what dom0 itself asked on its cards come in, and neighbour discovery there: without it dom0's own
    questions would get no answer. No router speaks to us (its advertisement could make a machine our default route).
    """
    bridges = f"{site.bridge_prefix}+"
    rules = [("fr-in", "-i lo -j ACCEPT"), ("fr-in", f"-i {bridges} -j DROP")]
    # By direction: an IPv6 connection somebody once opened to dom0, before any of our rules, is no answer.
    rules.append(("fr-in", "-m conntrack --ctstate RELATED,ESTABLISHED --ctdir REPLY -j ACCEPT"))
    for nic in site.nics:
        for kind in (135, 136):
            rules.append(("fr-in", f"-i {nic} -p ipv6-icmp -m icmp6 --icmpv6-type {kind} -j ACCEPT"))
    rules += [("fr-in", "-j DROP"), ("fr-fwd", "-j DROP"), ("fr-out", f"-o {bridges} -j DROP")]
    return _table(
        Table(
            name="filter",
            chains=("fr-in", "fr-fwd", "fr-out"),
            rules=tuple(Rule(chain=chain, args=args) for chain, args in rules),
            policies=(("INPUT", "DROP"), ("FORWARD", "DROP"), ("OUTPUT", "ACCEPT")),
        )
    )


def _table(table: Table) -> str:
    lines = [f"*{table.name}"]
    lines += [f":{chain} {policy} [0:0]" for chain, policy in table.policies]
    lines += [f":{chain} - [0:0]" for chain in table.chains]
    lines += [f"-A {rule.chain} {rule.args}" for rule in table.rules]
    return "\n".join([*lines, "COMMIT", ""])


def sets() -> str:
    """Text for `ipset restore` that makes sure the sets exist; filling them is not the policy's business."""
    return f"create {ZNET} hash:net,iface -exist\ncreate {INSIDE} hash:net -exist\n"


def bridge(site: Site) -> str:
    """Text for `nft -f`: every frame of a vif comes from that vif's machine as itself.

    Judged before the bridge learns the sender's MAC, so a neighbour's place in the forwarding table
    can't be taken either (dom0.bridge sees to the link-local frames, which pass no hook). A DHCP client hears
    whoever sends to its port, from whichever: no machine may. Everything but ARP and IPv4 is dropped: no VLAN
    tags, no router advertisements. What passed carries a mark; a port that is no vif of ours gets none, reaches
    no vif of ours, and raw drops what comes from it. (Not every kernel can match the bridge's own name here.)
    """
    vifs, known = f'"{site.vif_prefix}*"', f"iifname . ether saddr . ip saddr @{VIFS}"
    arp = f"iifname . ether saddr . arp saddr ip @{VIFS} iifname . arp saddr ether . arp saddr ip @{VIFS}"
    rows = (
        # Looked at raw: nft takes a tagged frame of IPv4 for IPv4, and would leave out a question it thinks answered.
        "port @ll,96,16 != { 0x0800, 0x0806 } drop",
        f"port ether type arp arp htype 1 arp ptype ip {arp} goto known",
        "port udp sport 67 drop",
        "port udp dport 68 drop",
        f"port ip saddr 0.0.0.0 udp sport 68 udp dport 67 {known} goto known",
        f"port meta l4proto != 255 ip saddr != 0.0.0.0 {known} goto known",
        "port drop",
        f"known meta mark set meta mark or {KNOWN:#x} accept",
        f"in iifname {vifs} jump port",
    )
    between = (f"between iifname {vifs} oifname != {vifs} drop", f"between iifname != {vifs} oifname {vifs} drop")
    chains = {
        "known": "",
        "port": "",
        "in": " { type filter hook prerouting priority -300; policy accept; }",
        "between": " { type filter hook forward priority 0; policy accept; }",
    }
    lines = [f"add table bridge {TABLE}"]
    lines += [f"add set bridge {TABLE} {VIFS} {{ type ifname . ether_addr . ipv4_addr; }}"]
    lines += [f"add chain bridge {TABLE} {name}{kind}" for name, kind in chains.items()]
    lines += [f"flush chain bridge {TABLE} {name}" for name in chains]
    lines += [f"add rule bridge {TABLE} {row}" for row in (*rows, *between)]
    # nft prints rules in other words than it reads them: what is loaded is known by this digest.
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
    return "\n".join(lines) + f' comment "fridu {digest}"\n'


def bridge_rules(text: str) -> str:
    """The rules of the file `text`, one a line, without the command."""
    head = f"add rule bridge {TABLE} "
    return "".join(f"{line.removeprefix(head)}\n" for line in text.splitlines() if line.startswith(head))


def bridge_loaded(text: str, listing: str) -> bool:
    """Whether `nft -t list table bridge fridu` shows the file `text`: its digest and as many rules."""
    digest = text[text.rindex("fridu ") :].split('"')[0]
    heads = ("table", "set", "chain", "type", "}")
    shown = [line for line in listing.splitlines() if line.strip() and not line.strip().startswith(heads)]
    return digest in listing and len(shown) == text.count("add rule ")


def sysctls(site: Site) -> tuple[tuple[str, str], ...]:
    """Kernel settings in their order; ip_forward comes last, after a closed rule set is loaded.

    The bridge-nf-call ones exist only while br_netfilter is loaded: absent is as good as 0.
    """
    out = [(f"net.bridge.bridge-nf-call-{what}", "0") for what in ("iptables", "ip6tables", "arptables")]
    for where in ("all", "default"):
        base = f"net.ipv4.conf.{where}"
        out += [(f"{base}.accept_redirects", "0"), (f"{base}.send_redirects", "0")]
        out += [(f"{base}.accept_source_route", "0"), (f"{base}.rp_filter", "1")]
    for zone in site.zones:
        out += [(f"net.ipv6.conf.{zone.bridge}.accept_ra", "0")]
        out += [(f"net.ipv6.conf.{zone.bridge}.disable_ipv6", "1")]
        out += [(f"net.ipv4.conf.{zone.bridge}.send_redirects", "0")]
    # An ended connection stays in the table for two minutes otherwise: a machine's rate times that is its share.
    out += [("net.netfilter.nf_conntrack_tcp_timeout_time_wait", "30")]
    # A flow that was cut must not come back by a packet from its middle.
    out += [("net.netfilter.nf_conntrack_tcp_loose", "0"), ("net.ipv4.ip_forward", "1")]
    return tuple(out)


def commands(site: Site) -> tuple[str, ...]:
    """The policy as commands to type by hand: what the seed's `dump` showed."""
    out = [f"ipset {line}" for line in sets().splitlines()]
    out += [f"nft {shlex.quote(line)}" for line in bridge(site).splitlines()]
    for program, text in (("ip6tables", v6(site)), ("iptables", v4(site))):
        out += _table_commands(program, text)
    out += [f"sysctl -w {key}={value}" for key, value in sysctls(site)]
    return tuple(out)


def _table_commands(program: str, text: str) -> list[str]:
    out: list[str] = []
    table, chains = "", list[str]()
    for line in text.splitlines():
        if line.startswith("*"):
            table, chains = line[1:], []
        elif line.startswith(":fr-"):
            chains.append(line[1:].split()[0])
            out.append(f"{program} -t {table} -N {chains[-1]}")
        elif line.startswith(":"):
            out.append(f"{program} -t {table} -P {' '.join(line[1:].split()[:2])}")
        elif line.startswith("-"):
            out.append(f"{program} -t {table} {line}")
        else:
            jumps = [(c, r) for c, r in JUMPS[table] if r.split()[-1] in chains]
            out += [f"{program} -t {table} -I {chain} {rule}" for chain, rule in jumps]
    return out


def raw_difference(before: Files | None, after: Files, *, context: int = 2) -> tuple[str, ...]:
    """Unified difference of the files, line by line, without line ends; empty when nothing differs."""
    old = before.by_name if before else {}
    out: list[str] = []
    for name, text in after.by_name.items():
        was = old.get(name, "").splitlines()
        out += difflib.unified_diff(was, text.splitlines(), name, name, lineterm="", n=context)
    return tuple(out)
