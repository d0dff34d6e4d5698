"""The same services as other ways of keeping a firewall want them: files written, and the command that applies them.

Each way does the least its users would: publish the services, let zones out by their own address, keep dom0
closed but for SSH, DNS and DHCP. None checks senders, bridges, IPv6 or the way back, as Fridu does.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from firewall.specs import Service, Site

Argv = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way: `write` puts its files into a folder and says what applies them. `largest`: sizes above take minutes."""

    name: str
    write: Callable[[Site, Path], Argv]
    largest: int = 5000
    needs: str = ""  # Debian package
    slow: bool = False  # fewer rounds


def _dnat(service: Service) -> str:
    return f"{service.target}:{service.target_port}"


# bare files


def by_hand(site: Site) -> str:
    """A restore file an expert writes by hand: a chain an address, and what was translated is let through."""
    nat = ["*nat", ":PREROUTING ACCEPT [0:0]", ":OUTPUT ACCEPT [0:0]", ":POSTROUTING ACCEPT [0:0]"]
    nat += [f":dn-{z.number} - [0:0]" for z in site.zones]
    for zone in site.zones:
        nat.append(f"-A PREROUTING -d {zone.external}/32 -j dn-{zone.number}")
        nat.append(f"-A POSTROUTING -s {zone.network} -o {zone.nic} -j SNAT --to-source {zone.external}")
    nat += [one_service(s) for s in site.services]
    rules = [*_closed(), "-A FORWARD -i eth0 -m conntrack --ctstate DNAT -j ACCEPT"]
    rules += [f"-A FORWARD -i {z.bridge} -o {z.nic} -s {z.network} -j ACCEPT" for z in site.zones]
    return "\n".join([*nat, "COMMIT", *rules, "COMMIT", ""])


def one_service(service: Service) -> str:
    """Its line in `by_hand`."""
    port = f"-p tcp --dport {service.port_first}"
    return f"-A dn-{service.zone} {port} -j DNAT --to-destination {_dnat(service)}"


def one_chain(site: Site, zone: int) -> str:
    """Re-declares the chain of one address alone."""
    lines = [one_service(s) for s in site.services if s.zone == zone]
    return "\n".join(["*nat", f":dn-{zone} - [0:0]", *lines, "COMMIT", ""])


def _closed() -> list[str]:
    return [
        *("*filter", ":INPUT DROP [0:0]", ":FORWARD DROP [0:0]", ":OUTPUT ACCEPT [0:0]"),
        *("-A INPUT -i lo -j ACCEPT", "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"),
        "-A INPUT -i xen-br+ -p udp -m multiport --dports 53,67 -j ACCEPT",
        "-A INPUT -i eth0 -p tcp --dport 22 -j ACCEPT",
        "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    ]


def linear(site: Site) -> str:
    """The old scripts' rules as one restore file: a DNAT and an ACCEPT each, in one long list."""
    nat = ["*nat", ":PREROUTING ACCEPT [0:0]", ":OUTPUT ACCEPT [0:0]", ":POSTROUTING ACCEPT [0:0]"]
    rules = _closed()
    bridges = {z.number: z.bridge for z in site.zones}
    for zone in site.zones:
        nat.append(f"-A POSTROUTING -s {zone.network} -o {zone.nic} -j SNAT --to-source {zone.external}")
        rules.append(f"-A FORWARD -i {zone.bridge} -o {zone.nic} -s {zone.network} -j ACCEPT")
    for s in site.services:
        head = f"-A PREROUTING -i eth0 -d {s.external}/32 -p tcp --dport {s.port_first}"
        nat.append(f"{head} -j DNAT --to-destination {_dnat(s)}")
        way = f"-A FORWARD -i eth0 -o {bridges[s.zone or 0]} -d {s.target}/32"
        rules.append(f"{way} -p tcp --dport {s.target_port} -j ACCEPT")
    return "\n".join([*nat, "COMMIT", *rules, "COMMIT", ""])


def _seed_script(site: Site) -> str:
    lines = ["#!/bin/sh", "for t in filter nat; do iptables -w -t $t -F; iptables -w -t $t -X; done"]
    table = ""
    for line in linear(site).splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith(":"):
            lines.append(f"iptables -w -t {table} -P {line[1:].rpartition(' ')[0]}")
        elif line.startswith("-A"):
            lines.append(f"iptables -w -t {table} {line}")
    return "\n".join([*lines, ""])


def _nft(site: Site) -> str:
    elements = ", ".join(f"{s.external} . tcp . {s.port_first} : {s.target} . {s.target_port}" for s in site.services)
    out = ", ".join(f"{z.network} : {z.external}" for z in site.zones)
    return f"""table ip peer {{}}
delete table ip peer
table ip peer {{
  map published {{ type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; elements = {{ {elements} }} }}
  map out {{ type ipv4_addr : ipv4_addr; flags interval; elements = {{ {out} }} }}
  chain input {{ type filter hook input priority 0; policy drop;
    iif lo accept
    ct state established,related accept
    iifname "xen-br*" udp dport {{ 53, 67 }} accept
    iifname "eth0" tcp dport 22 accept
  }}
  chain forward {{ type filter hook forward priority 0; policy drop;
    ct state established,related accept
    iifname "eth0" ct status dnat accept
    iifname "xen-br*" oifname "eth0" accept
  }}
  chain prerouting {{ type nat hook prerouting priority -100;
    dnat ip to ip daddr . meta l4proto . th dport map @published
  }}
  chain postrouting {{ type nat hook postrouting priority 100;
    oifname "eth0" snat ip to ip saddr map @out
  }}
}}
"""


# firewall managers


def _ferm(site: Site) -> str:
    bridges = {z.number: z.bridge for z in site.zones}
    lines = [
        "table filter {",
        " chain INPUT { policy DROP; interface lo ACCEPT; mod conntrack ctstate (ESTABLISHED RELATED) ACCEPT;",
        "  interface xen-br+ proto udp dport (53 67) ACCEPT; interface eth0 proto tcp dport 22 ACCEPT; }",
        " chain FORWARD { policy DROP; mod conntrack ctstate (ESTABLISHED RELATED) ACCEPT; }",
        "}",
    ]
    for z in site.zones:
        lines.append(f"table filter chain FORWARD interface {z.bridge} outerface eth0 saddr {z.network} ACCEPT;")
        lines.append(f"table nat chain POSTROUTING saddr {z.network} outerface eth0 SNAT to {z.external};")
    for s in site.services:
        enter = f"interface eth0 daddr {s.external} proto tcp dport {s.port_first}"
        lines.append(f"table nat chain PREROUTING {enter} DNAT to '{_dnat(s)}';")
        way = f"interface eth0 outerface {bridges[s.zone or 0]} daddr {s.target} proto tcp dport {s.target_port}"
        lines.append(f"table filter chain FORWARD {way} ACCEPT;")
    return "\n".join([*lines, ""])


_SHOREWALL = {
    "STARTUP_ENABLED": "Yes",
    "IP_FORWARDING": "Keep",
    "LOGFILE": "/dev/null",
    "STARTUP_LOG": "",
    "DISABLE_IPV6": "No",
    "SUBSYSLOCK": "",
    "RESTORE_DEFAULT_ROUTE": "No",
    "CLEAR_TC": "No",
    "TC_ENABLED": "No",
}


def _shorewall(site: Site) -> Iterator[tuple[str, str]]:
    names = {z.number: f"z{z.number}" for z in site.zones}
    conf = Path("/etc/shorewall/shorewall.conf").read_text().splitlines()
    kept = [line for line in conf if line.partition("=")[0] not in _SHOREWALL]
    yield "shorewall.conf", "\n".join([*kept, *(f"{k}={v}" for k, v in _SHOREWALL.items()), ""])
    yield "zones", "fw firewall\nnet ipv4\n" + "".join(f"{name} ipv4\n" for name in names.values())
    cards = "".join(f"{names[z.number]} {z.bridge} routefilter=0\n" for z in site.zones)
    yield "interfaces", f"?FORMAT 2\nnet eth0 routefilter=0\n{cards}"
    out = "".join(f"{name} net ACCEPT\n" for name in names.values())
    yield "policy", f"fw all ACCEPT\n{out}net all DROP\nall all DROP\n"
    yield "snat", "".join(f"SNAT({z.external}) {z.network} eth0\n" for z in site.zones)
    rules = ["?SECTION NEW", "ACCEPT net fw tcp 22", *(f"ACCEPT {n} fw udp 53,67" for n in names.values())]
    for s in site.services:
        rules.append(f"DNAT net {names[s.zone or 0]}:{_dnat(s)} tcp {s.port_first} - {s.external}")
    yield "rules", "\n".join([*rules, ""])


_FIREWALLD = """DefaultZone=outside
CleanupOnExit=yes
CleanupModulesOnExit=no
IPv6_rpfilter=no
IndividualCalls=no
LogDenied=off
FirewallBackend=nftables
FlushAllOnReload=yes
"""


def _firewalld(site: Site) -> Iterator[tuple[str, str]]:
    yield "firewalld.conf", _FIREWALLD
    rules = "".join(
        f'<rule family="ipv4"><destination address="{s.external}"/><forward-port port="{s.port_first}" '
        f'protocol="tcp" to-port="{s.target_port}" to-addr="{s.target}"/></rule>\n'
        for s in site.services
    )
    ssh = '<interface name="eth0"/><port port="22" protocol="tcp"/>'
    yield "zones/outside.xml", f'<?xml version="1.0"?>\n<zone target="DROP">{ssh}\n{rules}</zone>\n'
    for z in site.zones:
        open_ = '<port port="53" protocol="udp"/><port port="67" protocol="udp"/>'
        text = f'<?xml version="1.0"?>\n<zone><interface name="{z.bridge}"/>{open_}</zone>\n'
        yield f"zones/{z.name}.xml", text
        ways = f'<ingress-zone name="{z.name}"/><egress-zone name="outside"/>'
        yield f"policies/{z.name}-out.xml", f'<?xml version="1.0"?>\n<policy target="ACCEPT">{ways}</policy>\n'


# how each is applied


def _file(name: str, text: Callable[[Site], str], *argv: str) -> Callable[[Site, Path], Argv]:
    def write(site: Site, folder: Path) -> Argv:
        path = folder / name
        path.write_text(text(site))
        return (*argv, str(path))

    return write


def _write_shorewall(site: Site, folder: Path) -> Argv:
    conf = folder / "shorewall"
    conf.mkdir(exist_ok=True)
    for name, text in _shorewall(site):
        (conf / name).write_text(text)
    # The first time starts it; from then on a reload compiles and replaces.
    there, where = "/var/lib/shorewall/firewall", shlex.quote(str(conf))
    line = f"if [ -e {there} ]; then shorewall -q reload {where}; else shorewall -q start {where}; fi"
    return ("sh", "-c", line)


def _write_firewalld(site: Site, folder: Path) -> Argv:
    """firewalld reads one folder only; the room it runs in is its own."""
    conf = Path("/etc/firewalld")
    shutil.rmtree(conf, ignore_errors=True)
    for name, text in _firewalld(site):
        path = conf / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return ("firewall-cmd", "--quiet", "--reload")


BARE = Way(name="iptables-restore by hand", write=_file("hand.rules", by_hand, "iptables-restore"))
PEERS = (
    BARE,
    Way(name="iptables-restore, one long list", write=_file("linear.rules", linear, "iptables-restore")),
    Way(name="nft -f with a map", write=_file("map.nft", _nft, "nft", "-f"), needs="nftables"),
    Way(name="ferm", write=_file("all.ferm", _ferm, "ferm"), needs="ferm"),
    Way(name="firewalld --reload", write=_write_firewalld, largest=1000, needs="firewalld"),
    Way(name="shorewall reload", write=_write_shorewall, needs="shorewall", slow=True),
    Way(
        name="the old scripts: one process a rule", write=_file("seed.sh", _seed_script, "sh"), largest=1000, slow=True
    ),
)
