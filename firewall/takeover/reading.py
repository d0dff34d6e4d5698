"""Several files of one box, read together: which machines it has, where each belongs, what does not fit. Pure.

Each file is known by its content, whatever it is called. Nothing is run, nothing is guessed: what two files say
differently is told, and the machine left out until somebody mended it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address

from firewall.findings import Finding, Severity
from firewall.specs import Site, Zone
from firewall.takeover import box, drawing, guest
from firewall.takeover.box import Bridge, EtherEntry, HostEntry, Setting
from firewall.takeover.content import Kind, sort_out
from firewall.takeover.guest import Card, Guest

_MACHINE = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,30}")


@dataclass(frozen=True, kw_only=True)
class Told:
    """What is said about a line of a file."""

    file: str
    finding: Finding


@dataclass(frozen=True, kw_only=True)
class Found:
    """A machine of the box that can be kept. `mac` is "" where no file gives one; `line` is the first that names it."""

    name: str
    address: str
    mac: str
    zone: str
    file: str
    line: int
    guest: Guest | None = None
    known: bool = False  # the panel has this very entry


@dataclass(frozen=True, kw_only=True)
class Known:
    """What the panel has already: its machines and kept entries, by name in small letters."""

    address: str
    mac: str = ""


@dataclass(frozen=True, kw_only=True)
class Takeover:
    """What the files come to: `files` with what each is, machines, bridges no zone has, defaults, findings."""

    files: tuple[tuple[str, Kind], ...] = ()
    rules: tuple[tuple[str, str], ...] = ()
    machines: tuple[Found, ...] = ()
    bridges: tuple[Bridge, ...] = ()
    settings: tuple[Setting, ...] = ()
    told: tuple[Told, ...] = ()

    @property
    def of_a_box(self) -> bool:
        """Whether there is more than rule files."""
        return any(kind not in ("rules", "unknown") for _, kind in self.files)


def read(
    files: Sequence[tuple[str, str]], site: Site, *, known: Mapping[str, Known] | None = None, vif_prefix: str = "fr"
) -> Takeover:
    """Read the files of one box against the zones of `site`.

    `known` are the machines and kept entries the panel has; `vif_prefix` starts the interfaces its rules know.
    """
    reading = _Reading(site=site, known=dict(known or {}), prefix=vif_prefix)
    sorted_out = sort_out(files)
    for name, text, kind in sorted_out:
        reading.take(name, text, kind)
    machines = reading.machines()
    return Takeover(
        files=tuple((name, kind) for name, _, kind in sorted_out),
        rules=tuple((name, text) for name, text, kind in sorted_out if kind == "rules"),
        machines=machines,
        bridges=reading.new_bridges(),
        settings=tuple(reading.settings),
        told=tuple(sorted(reading.told, key=lambda t: (t.file, t.finding.line))),
    )


def vif_of(address: str, prefix: str) -> str:
    """The interface's name under which the rules know the machine at `address`."""
    return f"{prefix}{IPv4Address(address).packed.hex()}"


@dataclass
class _Reading:
    site: Site
    known: dict[str, Known]
    prefix: str
    told: list[Told] = field(default_factory=list)
    hosts: list[tuple[str, HostEntry]] = field(default_factory=list)
    ethers: list[tuple[str, EtherEntry]] = field(default_factory=list)
    guests: list[Guest] = field(default_factory=list)
    bridges: list[tuple[str, Bridge]] = field(default_factory=list)
    settings: list[Setting] = field(default_factory=list)

    def say(self, file: str, line: int, severity: Severity, sentence: str) -> None:
        self.told.append(Told(file=file, finding=Finding(line=line, severity=severity, sentence=sentence)))

    def take(self, file: str, text: str, kind: Kind) -> None:
        findings: Iterable[Finding] = ()
        if kind == "hosts":
            entries, findings = box.hosts(text)
            self.hosts += [(file, entry) for entry in entries]
        elif kind == "ethers":
            macs, findings = box.ethers(text)
            self.ethers += [(file, entry) for entry in macs]
        elif kind == "xend":
            made, findings = box.bridges(text)
            self.bridges += [(file, bridge) for bridge in made]
        elif kind == "config":
            settings, findings = box.settings(text)
            self.settings += settings
        elif kind == "guest":
            one, findings = guest.read(file, text)
            self.guests += [one] if one else []
        elif kind == "drawing":
            findings = drawing.compare(text, self.site)
        elif kind == "unknown":
            sentence = "Nothing in it is known here; it is left alone."
            findings = (Finding(line=1, severity=Severity.ERROR, sentence=sentence),)
        self.told += [Told(file=file, finding=finding) for finding in findings]

    def new_bridges(self) -> tuple[Bridge, ...]:
        """Bridges that no zone has yet; one that carries another subnet than its zone is told."""
        zones = {z.bridge: z for z in self.site.zones}
        out: dict[str, Bridge] = {}
        for file, bridge in self.bridges:
            zone = zones.get(bridge.name)
            if zone is None:
                out.setdefault(bridge.name, bridge)
            elif (zone.network, zone.gateway) != (bridge.network, bridge.gateway):
                sentence = (
                    f"{bridge.name} carries {bridge.network} ({bridge.gateway}) here, but {zone.network} "
                    f"({zone.gateway}) as zone {zone.name}."
                )
                self.say(file, bridge.line, Severity.ERROR, sentence)
        return tuple(out.values())

    def machines(self) -> tuple[Found, ...]:
        """Every machine that can be kept, one a name; why another can't is told."""
        mac_of = self.macs()
        guests = self.by_name()
        found: dict[str, Found] = {}
        for file, entry in self.hosts:
            named = next((g for n in entry.names if (g := guests.get(n.lower()))), None)
            name = named.name if named else entry.names[0]
            zone = self.zone_for(file, entry, name, bool(named) or any(n.lower() in mac_of for n in entry.names))
            if zone is None:
                continue
            mac = next((mac_of[n.lower()] for n in (*entry.names, entry.address) if n.lower() in mac_of), "")
            self.keep(found, file, entry.line, name, entry.address, zone, mac, named)
        for one in guests.values():
            if one.name.lower() not in found:
                self.without_host_entry(found, one, mac_of)
        self.stray_ethers(found)
        return tuple(self.once(found))

    def by_name(self) -> dict[str, Guest]:
        out: dict[str, Guest] = {}
        for one in self.guests:
            if one.name.lower() in out:
                other = out[one.name.lower()].file
                self.say(
                    one.file, one.line, Severity.ERROR, f"{one.name} is described by {other} too; that one counts."
                )
                continue
            out[one.name.lower()] = one
        return out

    def macs(self) -> dict[str, str]:
        """MACs of /etc/ethers by name or address in small letters; the first counts."""
        out: dict[str, str] = {}
        for file, entry in self.ethers:
            if entry.who.lower() in out and out[entry.who.lower()] != entry.mac:
                sentence = f"{entry.who} has {out[entry.who.lower()]} by a line above; that one counts."
                self.say(file, entry.line, Severity.ERROR, sentence)
            out.setdefault(entry.who.lower(), entry.mac)
        return out

    def zone_for(self, file: str, entry: HostEntry, name: str, wanted: bool) -> Zone | None:
        """The zone of an entry of /etc/hosts; None, and told, where it is no machine of a zone."""
        zone = self.site.zone_of(entry.address)
        if zone is None:
            if wanted:
                self.say(
                    file,
                    entry.line,
                    Severity.ERROR,
                    f"{name} has {entry.address}, which is in no zone: {self.zones_said()}. It is left out; "
                    "make the zone first, or mend the address.",
                )
            elif IPv4Address(entry.address).is_private:
                self.say(
                    file, entry.line, Severity.INFO, f"{entry.address} ({name}) is in no zone; not a machine here."
                )
            return None
        if entry.address == zone.gateway:
            self.say(file, entry.line, Severity.INFO, f"{entry.address} ({name}) is dom0 itself in {zone.name}.")
            return None
        return zone

    def zones_said(self) -> str:
        return ", ".join(f"{z.name} {z.network}" for z in self.site.zones) or "there is none yet"

    def without_host_entry(self, found: dict[str, Found], one: Guest, mac_of: Mapping[str, str]) -> None:
        """A guest /etc/hosts does not name: its own file may say the address."""
        address = next((c.ip for c in one.cards if c.ip), "")
        zone = self.site.zone_of(address) if _is_address(address) else None
        if zone is None:
            self.say(
                one.file,
                one.line,
                Severity.ERROR,
                f"{one.name} has no entry in /etc/hosts"
                + (f", and its {address} is in no zone" if address else "")
                + f": nobody knows its address. {self.would_fit(one, address)}Add the line “ADDRESS {one.name}” "
                "and read the files again.",
            )
            return
        self.keep(found, one.file, one.line, one.name, address, zone, mac_of.get(one.name.lower(), ""), one)

    def would_fit(self, one: Guest, address: str) -> str:
        """An address in the network of the guest's bridge, with the last number it has now."""
        zone = next((z for z in self.site.zones for c in one.cards[:1] if z.bridge == c.bridge), None)
        if zone is None or not _is_address(address):
            return ""
        fits = f"{zone.network.split('/')[0].rpartition('.')[0]}.{address.rpartition('.')[2]}"
        return f"Its bridge {zone.bridge} carries {zone.network}: {fits} would fit. "

    def keep(
        self,
        found: dict[str, Found],
        file: str,
        line: int,
        name: str,
        address: str,
        zone: Zone,
        mac: str,
        one: Guest | None,
    ) -> None:
        """Note a machine, unless what the files say of it does not fit together."""
        card = one.cards[0] if one and one.cards else None
        if not _MACHINE.fullmatch(name):
            better = re.sub(r"[^A-Za-z0-9-]", "-", name).strip("-")[:31]
            sentence = f"{name[:40]} can't be a machine's name here: letters, digits and hyphens. {better} would do."
            self.say(file, line, Severity.ERROR, sentence)
            return
        if card and one and not self.fits(one, card, address, zone):
            return
        mac = self.mac(file, line, name, mac, one, card)
        if name.lower() in found:
            sentence = f"{name} has {found[name.lower()].address} by a line above; that one counts."
            self.say(file, line, Severity.ERROR, sentence)
            return
        found[name.lower()] = Found(
            name=name, address=address, mac=mac, zone=zone.name, file=file, line=line, guest=one
        )

    def fits(self, one: Guest, card: Card, address: str, zone: Zone) -> bool:
        """Whether the guest's bridge is that of its address; what else is odd about its cards is told."""
        if len(one.cards) > 1:
            sentence = f"{one.name} has {len(one.cards)} cards; only the first is kept, machines here have one."
            self.say(one.file, card.line, Severity.WARNING, sentence)
        wanted = vif_of(address, self.prefix)
        if card.vif != wanted:
            had = f"vifname={card.vif}" if card.vif else "no vifname"
            self.say(
                one.file,
                card.line,
                Severity.WARNING,
                f"{one.name} has {had}; the rules let through only {self.prefix}… interfaces they know. Before they "
                f"are applied, write vifname={wanted} and start it again.",
            )
        if not card.bridge or card.bridge == zone.bridge:
            return True
        there = next((z for z in self.site.zones if z.bridge == card.bridge), None)
        said = f"{card.bridge} carries {there.network} ({there.name})" if there else f"no zone has {card.bridge}"
        self.say(
            one.file,
            card.line,
            Severity.ERROR,
            f"{one.name} is on {card.bridge}, its address {address} is in {zone.network} of {zone.name} on "
            f"{zone.bridge}; {said}. It would get no lease and reach nobody, so it is left out.",
        )
        return False

    def mac(self, file: str, line: int, name: str, mac: str, one: Guest | None, card: Card | None) -> str:
        """The machine's MAC: its own file's before /etc/ethers'."""
        own = box.normal_mac(card.mac) if card and box.MAC.fullmatch(card.mac) else ""
        if own and mac and own != mac and one and card:
            sentence = f"{name} starts with {own}, /etc/ethers says {mac}; its own file counts."
            self.say(one.file, card.line, Severity.WARNING, sentence)
        if not own and one and card:
            self.say(
                one.file,
                card.line,
                Severity.WARNING,
                f"{name} gives no MAC, so Xen draws another at every start."
                + (f" Write mac={mac}." if mac else " It gets no lease until one is written."),
            )
        if not own and not mac and not one:
            sentence = f"{name} is in /etc/hosts but not in /etc/ethers: without a MAC it gets no lease."
            self.say(file, line, Severity.WARNING, f"{sentence} Its name and address are kept.")
        return own or mac

    def stray_ethers(self, found: Mapping[str, Found]) -> None:
        kept = {*found, *(f.address for f in found.values())}
        told = {n.lower() for _, entry in self.hosts for n in (*entry.names, entry.address)}
        guests = {g.name.lower() for g in self.guests}
        for file, entry in self.ethers:
            who = entry.who.lower()
            if who not in kept | told | guests:
                self.say(
                    file,
                    entry.line,
                    Severity.WARNING,
                    f"{entry.mac} belongs to {entry.who}, which no line of /etc/hosts and no guest names: it has no "
                    "address. Left out.",
                )

    def once(self, found: Mapping[str, Found]) -> Iterable[Found]:
        """Without those whose MAC or address another has, and those the panel has otherwise."""
        macs: dict[str, str] = {k.mac: name for name, k in self.known.items() if k.mac}
        addresses: dict[str, str] = {k.address: name for name, k in self.known.items()}
        for key, each in found.items():
            mine = self.known.get(key)
            if mine and mine.address == each.address:
                yield replace(each, known=True)
                continue
            if mine:
                sentence = f"The panel has {each.name} at {mine.address}, the files at {each.address}. Left out."
                self.say(each.file, each.line, Severity.ERROR, sentence)
                continue
            holder = addresses.get(each.address) or (each.mac and macs.get(each.mac)) or ""
            if holder:
                what = each.address if each.address in addresses else each.mac
                sentence = (
                    f"{each.name} has {what}, which is {holder}'s already. It is left out; give it one of its own."
                )
                self.say(each.file, each.line, Severity.ERROR, sentence)
                continue
            addresses[each.address] = each.name
            if each.mac:
                macs[each.mac] = each.name
            yield each


def _is_address(text: str) -> bool:
    try:
        IPv4Address(text)
    except ValueError:
        return False
    return True
