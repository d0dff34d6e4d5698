"""Why a machine can't be reached: one thing of the host looked at after the other, each with its verdict.

Nothing is changed. A look is short, sees a bounded number of frames, and of those only the machine's own: an owner
may read all that is said here.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

from dom0 import dnsmasq, files, frames, members, network, tap, verdicts
from dom0.errors import CommandFailed, Refused
from dom0.frames import Frame
from dom0.host import HostConfig
from dom0.tap import Seen, Tap
from dom0.verdicts import Verdict, bad, good, unsure

ANSWER_S = 1.5  # a machine on a bridge answers ARP within a millisecond
ASKS_S = 3.0  # how long a machine is listened to that can't be made to ask
DNS_S = 2.0


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What should be so of the machine; `gateway` as "10.10.2.1/24"."""

    name: str
    uuid: str
    vif: str
    mac: str
    address: str
    bridge: str
    gateway: str
    zone: str
    domain: str = ""

    @property
    def network(self) -> IPv4Interface:
        return IPv4Interface(self.gateway)

    @property
    def member_keys(self) -> tuple[str, ...]:
        return tuple(member.key for member in members.machine_member(self.vif, self.mac, self.address))


def wish_of(args: Mapping[str, str]) -> Wish:
    """Of a verb's arguments. Raises KeyError for one that is missing."""
    names = ("name", "uuid", "vif", "mac", "address", "bridge", "gateway", "zone")
    return Wish(**{name: args[name] for name in names}, domain=args.get("domain", ""))


def domain(config: HostConfig, wish: Wish, args: Mapping[str, str]) -> Verdict:
    from dom0 import domains  # here, for the panel imports us too and may have no libvirt

    found = domains.look(config, [wish.name]).get(wish.name)
    if found is None or found.uuid != wish.uuid:
        return bad(f"{wish.name} is not on the host.", "Start it: that defines it anew from its volume.")
    if found.paused:
        return bad(f"{wish.name} is paused: it answers nobody.", "Resume it.")
    if found.running:
        return good(f"{wish.name} runs.")
    if args.get("wanted") == "running":
        return bad(f"{wish.name} is off, though it is meant to run.", "Start it; its console tells why it went down.")
    return bad(f"{wish.name} is off, as wished.", "Start it if it should answer.")


def bridge(config: HostConfig, wish: Wish, args: Mapping[str, str]) -> Verdict:
    return _bridge(wish) or good(f"The bridge {wish.bridge} of zone {wish.zone} is up and has {wish.network.ip}.")


def _bridge(wish: Wish) -> Verdict | None:
    link = network.links((wish.bridge,)).get(wish.bridge)
    mend = f"Operators: mend it with fridu zone apply {wish.zone}."
    if link is None:
        return bad(f"The bridge {wish.bridge} of zone {wish.zone} is not there.", mend)
    if not link.up:
        return bad(f"The bridge {wish.bridge} of zone {wish.zone} is down.", mend)
    if wish.gateway not in link.addresses:
        return bad(f"The bridge {wish.bridge} has no address {wish.gateway}: the zone has no gateway.", mend)
    return None


def vif(config: HostConfig, wish: Wish, args: Mapping[str, str]) -> Verdict:
    return _vif(wish) or good(f"Its interface {wish.vif} is up and in {wish.bridge}.")


def _vif(wish: Wish) -> Verdict | None:
    link = network.links((wish.vif,)).get(wish.vif)
    if link is None:
        return bad(
            f"Its interface {wish.vif} is not on the host.", "Restart the machine; its start makes the interface."
        )
    if link.master != wish.bridge:
        where = f"in {link.master}" if link.master else "in no bridge"
        mend = f"Restart the machine, or as root on the host: ip link set {wish.vif} master {wish.bridge}"
        return bad(f"Its interface {wish.vif} is {where}; it belongs into {wish.bridge}.", mend)
    if not link.up:
        return bad(f"Its interface {wish.vif} is down.", f"Restart the machine, or: ip link set {wish.vif} up")
    return None


def membership(config: HostConfig, wish: Wish, args: Mapping[str, str]) -> Verdict:
    return _membership(wish) or good(f"The firewall knows {wish.vif} with {wish.mac} and {wish.address}.")


def _membership(wish: Wish) -> Verdict | None:
    zone = next(m for m in members.zone_members(wish.bridge, str(wish.network.network)) if m.set == members.ZNET)
    found = network.found_members((*wish.member_keys, zone.key))
    if any(key not in found for key in wish.member_keys):
        says = f"The firewall does not know {wish.vif} with {wish.mac} and {wish.address}: it drops all it sends."
        return bad(says, "Restart the machine, or start it again: that tells the firewall.")
    if zone.key not in found:
        says = f"The firewall does not know that {wish.network.network} is on {wish.bridge}: it drops all of the zone."
        return bad(says, f"Operators: fridu zone apply {wish.zone}.")
    return None


def lease(config: HostConfig, wish: Wish, args: Mapping[str, str]) -> Verdict:
    if IPv4Address(wish.address) not in wish.network.network:
        says = f"{wish.address} is not in {wish.network.network}, the subnet of zone {wish.zone}."
        return bad(says, "Operators: give it an address of the zone, or move it to the zone that has this one.")
    where = _files(config, wish)
    if (files.read_text(f"{where.ethers}/{wish.name}") or "").strip() != f"{wish.mac},{wish.address},{wish.name}":
        says = f"DHCP is not told that {wish.mac} gets {wish.address}."
        return bad(says, "Restart the machine: its start tells DHCP again.")
    held = [one for one in dnsmasq.leases(files.read_text(where.leases) or "") if one.mac == wish.mac]
    if not held:
        return unsure(f"{wish.address} is in the zone and kept for it; it has not asked for it yet.")
    if held[0].address != wish.address:
        says = f"It still has a lease of {held[0].address}."
        return bad(says, f"Have it ask again (restart its network): it gets {wish.address}.")
    return good(f"It has its lease: {wish.address}, in {wish.network.network}.")


def _files(config: HostConfig, wish: Wish) -> dnsmasq.Files:
    return dnsmasq.Files(state=config.state, run=config.run, zone=wish.zone)


def server(config: HostConfig, wish: Wish, args: Mapping[str, str]) -> Verdict:
    return _server(config, wish) or good(f"DHCP and DNS of zone {wish.zone} run and listen at {wish.network.ip}.")


def _server(config: HostConfig, wish: Wish) -> Verdict | None:
    service = dnsmasq.service(wish.zone)
    running = network.services(config, (service,)).get(service)
    mend = f"Operators: fridu zone apply {wish.zone} starts it."
    if running is None:
        return bad(f"dnsmasq of zone {wish.zone} does not run: nobody gives addresses or answers names.", mend)
    if running != dnsmasq.digest(files.read_text(_files(config, wish).conf) or ""):
        return bad(f"dnsmasq of zone {wish.zone} runs with an older configuration.", mend)
    listening = _udp()
    missing = [port for ip, port in ((str(wish.network.ip), 53), (frames.NOTHING, 67)) if (ip, port) not in listening]
    if missing:
        what = " and ".join({53: "names (udp 53)", 67: "addresses (udp 67)"}[port] for port in missing)
        return bad(f"dnsmasq of zone {wish.zone} runs, but does not listen for {what}.", mend)
    return None


def _udp() -> set[tuple[str, int]]:
    """Where udp is listened to: address, port."""
    found = set()
    for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
        address, _, port = line.split()[1].partition(":")
        found.add((str(IPv4Address(struct.pack("=I", int(address, 16)))), int(port, 16)))
    return found


def _in_the_way(config: HostConfig, wish: Wish) -> Verdict | None:
    """What makes it useless to listen for frames."""
    if domain(config, wish, {}).verdict != verdicts.GOOD:
        return unsure(f"Not tried: {wish.name} does not run.")
    first = _bridge(wish) or _vif(wish)
    return unsure(f"Not tried: {first.says[0].lower()}{first.says[1:]}") if first else None


def arp(config: HostConfig, wish: Wish, args: Mapping[str, str]) -> Verdict:
    if blocked := _in_the_way(config, wish):
        return blocked
    try:
        with Tap(wish.bridge) as on_bridge, Tap(wish.vif) as on_vif:
            on_bridge.send(frames.who_has(on_bridge.mac, str(wish.network.ip), wish.address))
            seen = tap.listen((on_bridge, on_vif), ANSWER_S, lambda seen: _arrived(wish, seen))
    except OSError as error:
        return unsure(f"Could not listen on {wish.vif}: {error.strerror}.")
    return _arp_says(wish, seen)


def _arrived(wish: Wish, seen: list[Seen]) -> bool:
    return any(s.interface == wish.bridge and not s.sent and _claims(wish, s.frame) for s in seen)


def _claims(wish: Wish, frame: Frame) -> bool:
    return frame.what in ("is-at", "who-has") and frame.sender == wish.address


def _arp_says(wish: Wish, seen: list[Seen]) -> Verdict:
    own = [s.frame for s in seen if s.interface == wish.vif and not s.sent]
    lines = _lines(own)
    if stranger := next((f.source for f in own if f.source != wish.mac), ""):
        return _wrong_mac(wish, stranger, lines)
    if _arrived(wish, seen):
        return good(f"It answers: {wish.address} is at {wish.mac}.", seen=lines)
    if any(_claims(wish, frame) for frame in own):
        says = f"It answers on {wish.vif}, and the answer does not arrive in {wish.bridge}: the firewall drops it."
        return bad(says, "Restart the machine: its start tells the firewall what it is.", seen=lines)
    if other := next((f.sender for f in own if f.sender not in ("", frames.NOTHING, wish.address)), ""):
        says = f"It calls itself {other}; the panel gave it {wish.address}, and the firewall drops everything else."
        return bad(says, "Inside, let eth0 get its address by DHCP.", seen=lines)
    if (files.read_text(f"/sys/class/net/{wish.vif}/carrier") or "").strip() == "0":
        return bad("Its network card is switched off inside.", "Use its console: ip link set eth0 up, then DHCP.")
    if not any(s.interface == wish.vif and s.sent for s in seen):
        return bad(f"The question who has {wish.address} does not even leave by {wish.vif}.", "Restart the machine.")
    says = f"Nobody answers for {wish.address}: its network is down inside, or it has not got an address."
    return bad(says, "Use its console: ip address; then have eth0 ask for an address by DHCP.", seen=lines)


def _wrong_mac(wish: Wish, found: str, lines: tuple[str, ...]) -> Verdict:
    says = (
        f"Inside, its interface has the MAC {found}; the panel gave it {wish.mac}, and the firewall drops all others."
    )
    do = f"Inside: ip link set eth0 address {wish.mac}, and take out what sets another one; or restart the machine."
    return bad(says, do, seen=lines)


def _lines(found: list[Frame]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(frame.text for frame in found))


def dhcp(config: HostConfig, wish: Wish, args: Mapping[str, str]) -> Verdict:
    """On lxc the question is put from inside, as the machine would; elsewhere the machine is waited for."""
    if blocked := _in_the_way(config, wish):
        return blocked
    net = _inside(config, wish)
    try:
        with Tap(wish.bridge) as on_bridge, Tap(wish.vif) as on_vif:
            if net and (trouble := _asked_inside(wish, net)):
                return trouble
            seen = tap.listen((on_bridge, on_vif), ANSWER_S if net else ASKS_S, lambda seen: _offered(wish, seen))
    except OSError as error:
        return unsure(f"Could not listen on {wish.vif}: {error.strerror}.")
    return _dhcp_says(config, wish, seen)


def _inside(config: HostConfig, wish: Wish) -> str:
    """The machine's network namespace; "" where it has none we could ask from."""
    from dom0 import domains

    return domains.network_inside(config, wish.uuid) if config.lxc else ""


def _asked_inside(wish: Wish, net: str) -> Verdict | None:
    try:
        with Tap("eth0", net) as inside:
            inside.send(frames.discover(inside.mac, int.from_bytes(os.urandom(4))))
    except FileNotFoundError:
        return unsure(f"{wish.name} went away meanwhile.")
    except OSError as error:
        says = f"Its eth0 can't send anything: {error.strerror}."
        return bad(says, "Use its console: ip link set eth0 up, and have it ask for an address by DHCP.")
    return None


def _offered(wish: Wish, seen: list[Seen]) -> bool:
    return any(s.interface == wish.vif and s.sent and _offer(wish, s.frame) for s in seen)


def _offer(wish: Wish, frame: Frame) -> bool:
    return frame.what in ("OFFER", "ACK") and frame.about == wish.mac


def _dhcp_says(config: HostConfig, wish: Wish, seen: list[Seen]) -> Verdict:
    own = [s for s in seen if s.interface == wish.vif or s.frame.about == wish.mac]
    asked = [s.frame for s in own if s.interface == wish.vif and not s.sent and s.frame.what in ("DISCOVER", "REQUEST")]
    offers = [s.frame for s in own if s.sent and _offer(wish, s.frame)]
    lines = _lines([s.frame for s in own])
    if stranger := next((f.source for f in asked if f.source != wish.mac), ""):
        return _wrong_mac(wish, stranger, lines)
    if _offered(wish, own):
        if offers[0].address != wish.address:
            says = f"DHCP offers it {offers[0].address} instead of {wish.address}."
            return bad(says, "Restart the machine: its start tells DHCP its address again.", seen=lines)
        return good(f"Its question for an address is answered: {wish.address}.", seen=lines)
    if offers:
        says = f"DHCP offers {offers[0].address} on {wish.bridge}, and the offer does not reach {wish.vif}."
        return bad(says, "Operators: apply the firewall again; see drift on the firewall's page.", seen=lines)
    if not asked:
        return unsure(f"It did not ask for an address within {ASKS_S:g} s; that is usual while it has one.", seen=lines)
    if cause := _membership(wish) or _server(config, wish):
        return bad(f"It asks for an address and gets no offer. {cause.says}", cause.do, seen=lines)
    says = (
        "It asks for an address and gets no offer, though DHCP runs and knows it: the firewall may drop its question."
    )
    return bad(says, "Operators: see what differs on the firewall's page, and apply it again.", seen=lines)


def dns(config: HostConfig, wish: Wish, args: Mapping[str, str]) -> Verdict:
    from dom0.names import ask

    full = f"{wish.name}.{wish.domain}" if wish.domain else wish.name
    if trouble := _bridge(wish):
        return unsure(f"Not tried: {trouble.says[0].lower()}{trouble.says[1:]}")
    try:
        found = ask(str(wish.network.ip), full, DNS_S)
    except OSError:
        mend = f"Operators: fridu zone apply {wish.zone}."
        return bad(f"The zone's DNS at {wish.network.ip} does not answer.", mend)
    if found == wish.address:
        return good(f"The zone's DNS says that {full} is {wish.address}.")
    said = f"is {found}" if found else "is nobody"
    return bad(f"The zone's DNS says that {full} {said}; it should be {wish.address}.", "Restart the machine.")


Look = Callable[[HostConfig, Wish, Mapping[str, str]], Verdict]
LOOKS: dict[str, Look] = {
    "domain": domain,
    "bridge": bridge,
    "vif": vif,
    "membership": membership,
    "lease": lease,
    "server": server,
    "arp": arp,
    "dhcp": dhcp,
    "dns": dns,
}


def look(config: HostConfig, args: Mapping[str, str], stdin: str = "") -> str:
    """The verdict about `look=` of the machine the other arguments describe. Raises Refused for one nobody knows."""
    from dom0 import doctor_ways

    looks = {**LOOKS, **doctor_ways.LOOKS}
    if args["look"] not in looks:
        raise Refused(f"Nobody knows how to look at {args['look']}.", note=f"Use one of {', '.join(looks)}.")
    began = time.monotonic()
    try:
        found = looks[args["look"]](config, wish_of(args), args)
    except (CommandFailed, OSError):  # what the tool said is the host's own business
        found = unsure("The host could not look.", "Operators: fridu doctor looks at the host itself.")
    return f"{found.text}\nseen: looked for {time.monotonic() - began:.2f} s"


VERBS: dict[str, Callable[[HostConfig, Mapping[str, str], str], str]] = {"doctor-look": look}
