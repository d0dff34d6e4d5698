"""A packet sent for real through a copy of the live rules: does it arrive? The host itself is only read.

The copy is network namespaces of this call alone: dom0 with its cards, bridges and addresses under their names and
the very rules that are loaded now, the one who asks on one side and the one who is asked on the other.
"""

from __future__ import annotations

import ctypes
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

from dom0 import bridge, members, network, runner
from dom0.bridge import Bridge
from dom0.errors import Refused
from dom0.host import HostConfig, Nic

INTERNET, VPN, DOM0 = "internet", "vpn", "dom0"
SOMEBODY = "198.51.100.7"  # RFC 5737: nobody has it
WAIT_S = 2.0  # a copy answers within microseconds, on a busy box within a second
ARRIVED, NOTHING = "It arrived", "Nothing arrived"
CLONE_NEWNET = 0x40000000

#: Kernel settings the way of a packet depends on.
SETTINGS = (
    "net.ipv4.ip_forward",
    "net.ipv4.conf.all.rp_filter",
    "net.bridge.bridge-nf-call-iptables",
    "net.bridge.bridge-nf-call-ip6tables",
    "net.bridge.bridge-nf-call-arptables",
)

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, kw_only=True)
class End:
    """One side of the probe: its address, the interface of dom0 it hangs on ("" = dom0 itself), its MAC."""

    address: str
    interface: str = ""
    mac: str = ""
    master: str = ""  # the bridge its interface is a port of
    gateway: str = ""  # none: dom0 is on its link
    prefix: int = 32
    ours: tuple[str, ...] = ()  # dom0's own addresses on the interface


@dataclass(frozen=True, kw_only=True)
class Asked:
    """`lands`: where the packet comes out if the rules let it: the target, or what it is translated to."""

    proto: str
    target: str
    port: int
    lands: str
    lands_port: int


def probe(config: HostConfig, args: Mapping[str, str], stdin: str = "") -> str:
    """`source` (internet, vpn, dom0 or a machine's address) opens proto:port of `target`; `lands` is ADDRESS:PORT.

    Raises Refused for an end this host does not have.
    """
    lands, _, lands_port = args["lands"].partition(":")
    asked = Asked(
        proto=args["proto"],
        target=str(IPv4Address(args["target"])),
        port=int(args.get("port") or 0),
        lands=str(IPv4Address(lands)),
        lands_port=int(lands_port or 0),
    )
    bridges = _bridges(config)
    source, target = _end(config, bridges, args["source"], asked.target), _end(config, bridges, asked.lands, "")
    with ExitStack() as stack:
        nets = {DOM0: stack.enter_context(runner.own_network())}
        for name, end in (("source", source), ("target", target)):
            nets[name] = stack.enter_context(runner.own_network()) if end.interface else nets[DOM0]
        if target.interface == source.interface:  # it asks for itself, by the way round
            nets["target"] = nets["source"]
        _dom0(config, nets[DOM0], bridges)
        _rules(nets[DOM0])
        _cable(nets[DOM0], nets["source"], source, asked.target)
        if target.interface != source.interface:
            _cable(nets[DOM0], nets["target"], target, "")
        return _send(nets["source"], nets["target"], source, asked)


# who is where


def _bridges(config: HostConfig) -> list[Bridge]:
    return [bridge.read(path.read_text()) for path in sorted(Path(config.state, "zones").glob("[!.]*.json"))]


def _end(config: HostConfig, bridges: list[Bridge], who: str, target: str) -> End:
    """Where `who` (a party or an address) hangs on dom0. `target` chooses the card the Internet comes in by."""
    cards = {address: nic.name for nic in config.nics for address in nic.addresses}
    if who == DOM0 or who in cards or who in (config.vpn_address, *(str(_gateway(b).ip) for b in bridges)):
        return End(address=next(iter(cards), "127.0.0.1") if who == DOM0 else who)
    if who == VPN or (config.vpn_network and _is_in(who, config.vpn_network)):
        if not config.vpn_interface or not config.vpn_network:
            raise Refused("This host has no admin VPN.")
        hosts = (str(host) for host in IPv4Network(config.vpn_network).hosts())
        address = next(host for host in hosts if host != config.vpn_address) if who == VPN else who
        here = (f"{config.vpn_address}/32",)
        return End(address=address, interface=_first(config.vpn_interface), gateway=config.vpn_address, ours=here)
    for each in bridges:
        if who != INTERNET and IPv4Address(who) in _gateway(each).network:
            return _machine(each, who)
    if not config.nics:
        raise Refused("This host has no card towards the Internet.", note="Name one in its host.toml.")
    card = next((nic for nic in config.nics if target in nic.addresses), None) or _card_towards(config, who)
    ours = tuple(f"{address}/32" for address in card.addresses)
    return End(address=SOMEBODY if who == INTERNET else who, interface=card.name, ours=ours)


def _card_towards(config: HostConfig, address: str) -> Nic:
    """The card by which the host itself would reach it, now."""
    found = runner.run(("ip", "-json", "route", "get", SOMEBODY if address == INTERNET else address), ok_codes=(0, 2))
    device = next((route.get("dev", "") for route in json.loads(found.stdout or "[]")), "")
    return next((nic for nic in config.nics if nic.name == device), config.nics[0])


def _machine(on: Bridge, address: str) -> End:
    """The machine of that address, by the membership the rules know it by."""
    listed = runner.run(("nft", "-j", "list", "set", "bridge", members.TABLE, members.VIFS), ok_codes=(0, 1)).stdout
    for element in members.found_in_nft(listed):
        vif, mac, ip = element.removeprefix(f"{members.VIFS} ").split(" . ")
        if ip == address:
            gateway = _gateway(on)
            return End(
                address=address,
                interface=vif.strip('"'),
                mac=mac,
                master=on.name,
                gateway=str(gateway.ip),
                prefix=gateway.network.prefixlen,
            )
    raise Refused(f"No machine of this host has {address}, so nothing can be sent from or to it.")


def _gateway(on: Bridge) -> IPv4Interface:
    return IPv4Interface(on.address)


def _first(interface: str) -> str:
    """An interface a pattern such as "tun+" means."""
    return interface.replace("+", "0")


def _is_in(address: str, networks: str) -> bool:
    return address not in (INTERNET, DOM0) and IPv4Address(address) in IPv4Network(networks)


# the copy


def _dom0(config: HostConfig, net: str, bridges: list[Bridge]) -> None:
    lines = ["link set lo up"]
    for each in bridges:
        lines += [f"link add {each.name} type bridge", f"link set {each.name} up"]
        lines.append(f"addr add {each.address} dev {each.name}")
    # Cards no end hangs on have their addresses all the same: rules ask whether an address is dom0's own.
    own = [address for nic in config.nics for address in nic.addresses]
    lines += [f"addr add {address}/32 dev lo" for address in (*own, config.vpn_address) if address]
    _ip(net, lines)
    live = network.sysctls(SETTINGS)
    _in(net, "sysctl", "-q", "-w", *(f"{key}={value}" for key, value in live.items()))


def _rules(net: str) -> None:
    """Everything that is loaded, foreign chains too. The sets first, for the rules name them."""
    _in(net, "ipset", "restore", stdin=_said("ipset", "save"))
    _in(net, "nft", "-f", "-", stdin=_said("nft", "list", "table", "bridge", members.TABLE))
    for program in ("ip6tables", "iptables"):
        _in(net, f"{program}-restore", stdin=_said(f"{program}-save"))


def _said(*argv: str) -> str:
    return runner.run(argv, keep=runner.ALL, ok_codes=(0, 1)).stdout


def _cable(dom0: str, net: str, end: End, target: str) -> None:
    """Hang `end` on its interface of dom0. The Internet is on link, and knows where even private addresses are."""
    if not end.interface:
        return
    mac = f"address {end.mac} " if end.mac else ""
    master = f"master {end.master}" if end.master else ""
    _ip(dom0, [f"link add {end.interface} type veth peer name eth0 {mac}netns {net}"])
    _ip(dom0, [f"link set {end.interface} up {master}", *_ours(end)])
    _ip(net, ["link set lo up", f"addr add {end.address}/{end.prefix} dev eth0", "link set eth0 up"])
    if end.master or end.gateway:
        _ip(net, [f"route add default via {end.gateway}{'' if end.master else ' dev eth0 onlink'}"])
        return
    _ip(net, ["route add default dev eth0"])
    if target:
        shown = json.loads(runner.run(_argv(dom0, "ip", "-json", "link", "show", "dev", end.interface)).stdout)
        _ip(net, [f"neigh replace {target} lladdr {shown[0]['address']} dev eth0"])


def _ours(end: End) -> Iterator[str]:
    """dom0's addresses on that interface, and its way to who is behind it."""
    yield from (f"addr add {address} dev {end.interface}" for address in end.ours)
    if not end.master:
        yield f"route replace {end.address} dev {end.interface}"


def _ip(net: str, lines: list[str]) -> None:
    runner.run(_argv(net, "ip", "-batch", "-"), stdin="\n".join(lines) + "\n")


def _in(net: str, *argv: str, stdin: str = "") -> None:
    runner.run(_argv(net, *argv), stdin=stdin, timeout_s=120)


def _argv(net: str, *argv: str) -> tuple[str, ...]:
    return ("nsenter", f"--net={net}", "--", *argv)


# the packet


def _send(source: str, target: str, end: End, asked: Asked) -> str:
    began = time.monotonic()
    seen = {"tcp": _tcp, "udp": _udp, "icmp": _ping}[asked.proto](source, target, end, asked)
    took = (time.monotonic() - began) * 1000
    where = f"{asked.proto} {asked.lands}" + (f":{asked.lands_port}" if asked.lands_port else "")
    if not seen:
        return f"{NOTHING} at {where} within {WAIT_S:g} s."
    return f"{ARRIVED} at {where}, from {seen}, in {took:.1f} ms."


def _tcp(source: str, target: str, end: End, asked: Asked) -> str:
    with _socket(target, socket.SOCK_STREAM) as server, _socket(source, socket.SOCK_STREAM) as client:
        server.bind((asked.lands, asked.lands_port))
        server.listen(1)
        try:
            client.connect((asked.target, asked.port))
            return str(server.accept()[1][0])
        except OSError:  # no answer, or a reset: the rules' business
            return ""


def _udp(source: str, target: str, end: End, asked: Asked) -> str:
    with _socket(target, socket.SOCK_DGRAM) as server, _socket(source, socket.SOCK_DGRAM) as client:
        server.bind((asked.lands, asked.lands_port))
        try:
            client.sendto(b"there?", (asked.target, asked.port))
            seen = server.recvfrom(100)[1]
            server.sendto(b"here", seen)
            client.recv(100)
            return str(seen[0])
        except OSError:
            return ""


def _ping(source: str, target: str, end: End, asked: Asked) -> str:
    """An echo request; the kernel on the other side answers it."""
    request = struct.pack("!BBHHH", 8, 0, 0, 0x4652, 1) + b"fridu?"
    total = sum(struct.unpack(f"!{len(request) // 2}H", request))
    total = (total >> 16) + (total & 0xFFFF)
    request = request[:2] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + request[4:]
    with _socket(source, socket.SOCK_RAW, socket.IPPROTO_ICMP) as client:
        try:
            client.sendto(request, (asked.target, 0))
            while True:
                answer, (address, _) = client.recvfrom(200)
                if answer[20] == 0 and address == asked.target:
                    return end.address
        except OSError:
            return ""


def _socket(net: str, kind: int, proto: int = 0) -> socket.socket:
    """A socket that lives in that namespace: made by a thread that has entered it, and ends."""
    made: list[socket.socket] = []

    def make() -> None:
        with open(net, "rb") as handle:
            if _libc.setns(handle.fileno(), CLONE_NEWNET) == 0:
                made.append(socket.socket(socket.AF_INET, kind, proto))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if not made:
        raise OSError(ctypes.get_errno(), f"no socket in {net}")
    made[0].settimeout(WAIT_S)
    return made[0]


VERBS: Mapping[str, Callable[[HostConfig, Mapping[str, str], str], str]] = {"firewall-probe": probe}
