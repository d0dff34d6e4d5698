"""Layout 1: every machine a card, every published port a labelled connector. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from ui.drawing import policy
from ui.drawing.parts import NAME, SMALL, Sheet, clip, num, width_of
from ui.drawing.site import WORDS, Machine, Service, Site, Zone
from ui.drawing.top import BAND, EDGE, LEFT, dom0_left, sky

GAP, PAD, BETWEEN = 20.0, 12.0, 10.0  # between zones, inside one, between its machines
CARD_MIN, CARD_MAX, CARD_HIGH = 148.0, 236.0, 76.0
LANE = 14.0
LANES_MOST = 6  # more dashed connectors than this are a thicket: rows say it better
ADDRESS_HIGH = 42.0


@dataclass(frozen=True, kw_only=True)
class Wire:
    """A connector from an address to a machine: at `x`, with `room` pixels for its label."""

    addr: str
    machine: str
    x: float
    room: float
    cross: bool  # from another zone's address
    services: tuple[Service, ...]


def cards(site: Site, width: float) -> str | None:
    """The drawing, or None where a card would get less than 148 px or the connectors would tangle."""
    layout = Cards(site, width)
    if layout.card < CARD_MIN or len(layout.lanes) > LANES_MOST:
        return None
    return layout.draw()


class Cards:
    """Positions, all from the site and the width."""

    def __init__(self, site: Site, width: float) -> None:
        self.site, self.width = site, width
        self.sheet = Sheet(site, "w")
        self.x0 = 34 if site.has_isolated else LEFT + 14
        zones = site.columns
        count = sum(max(1, len(z.machines)) for z in zones)
        fixed = sum(2 * PAD + (max(1, len(z.machines)) - 1) * BETWEEN for z in zones) + (len(zones) - 1) * GAP
        room = width - EDGE - self.x0 - fixed
        self.card = min(CARD_MAX, room / count)
        spare = room - count * self.card
        gaps = len(zones) - 1
        self.gap = GAP + min(44, spare / max(1, gaps)) if gaps else GAP
        self.x0 += max(0, spare - (self.gap - GAP) * gaps) / 2

    @cached_property
    def spans(self) -> dict[str, tuple[float, float]]:
        """Left end and width of each zone, by name."""
        x, spans = self.x0, {}
        for zone in self.site.columns:
            k = max(1, len(zone.machines))
            spans[zone.name] = (x, 2 * PAD + k * self.card + (k - 1) * BETWEEN)
            x += spans[zone.name][1] + self.gap
        return spans

    @cached_property
    def at(self) -> dict[str, float]:
        """Left end of each machine's card, by name."""
        return {
            m.name: self.spans[z.name][0] + PAD + i * (self.card + BETWEEN)
            for z in self.site.columns
            for i, m in enumerate(z.machines)
        }

    @cached_property
    def bars(self) -> dict[str, tuple[float, float]]:
        """Left and right end of each address, spanning exactly its zones."""
        return {
            address.ip: (self.spans[zones[0].name][0], sum(self.spans[zones[-1].name]))
            for address, zones in self.site.groups
            if address
        }

    @cached_property
    def wires(self) -> list[Wire]:
        return [wire for z in self.site.columns for m in z.machines for wire in self._wires(z, m)]

    def _wires(self, zone: Zone, machine: Machine) -> list[Wire]:
        services = self.site.of(machine)
        addrs = sorted({s.addr for s in services if s.addr in self.bars}, key=lambda a: (a != zone.ext, a))
        share = self.card / (len(addrs) + 1)
        return [
            Wire(
                addr=addr,
                machine=machine.name,
                x=self.at[machine.name] + share * i,
                room=share - 6 if len(addrs) > 1 else self.card - 8,
                cross=addr != zone.ext,
                services=tuple(s for s in services if s.addr == addr),
            )
            for i, addr in enumerate(addrs, start=1)
        ]

    @cached_property
    def lanes(self) -> list[Wire]:
        """The dashed connectors, each in a lane of its own."""
        return [w for w in self.wires if w.cross]

    # The rows, from above.
    y_addr = BAND + 34
    y_band_end = y_addr + ADDRESS_HIGH + 18
    y_lane = y_band_end + 16

    @property
    def y_pill(self) -> float:
        return self.y_lane + LANE * len(self.lanes)

    @property
    def y_zone(self) -> float:
        return self.y_pill + 22 + 18

    @property
    def y_card(self) -> float:
        return self.y_zone + 34

    @property
    def y_bridge(self) -> float:
        return self.y_card + CARD_HIGH + 16

    @property
    def zone_high(self) -> float:
        return self.y_bridge + 46 - self.y_zone

    def draw(self) -> str:
        sky(self.sheet, self.width, LEFT)
        self.sheet.rect(0.5, BAND, self.width - 1, self.y_band_end - BAND, "n-dom0", 10)
        dom0_left(self.sheet, LEFT, BAND + 22, self.y_addr)
        self._addresses()
        below = self.y_zone + self.zone_high
        place = policy.Place(
            spans=self.spans, y_zone=below, y_first=below + 24, x_vpn=6, y_vpn=self.y_addr + 12, width=self.width
        )
        height = policy.lines(self.sheet, place)  # first, so that zones and cards lie on top
        for zone in self.site.columns:
            x, width = self.spans[zone.name]
            self.sheet.rect(x, self.y_zone, width, self.zone_high, zone.look, 10)
        self._connectors()
        for zone in self.site.columns:
            self._zone(zone)
        return self.sheet.svg(self.width, height, "cards")

    def _addresses(self) -> None:
        for address, zones in self.site.groups:
            if address is None:
                x, width = self.spans[zones[0].name]
                said = "⊘ no way in from the Internet"
                self.sheet.text(x + width / 2, self.y_pill + 15, clip(said, width + 30, SMALL), "q s", "middle")
                continue
            left, right = self.bars[address.ip]
            count = sum(s.addr == address.ip for s in self.site.services)
            self.sheet.line((left + right) / 2, 48, (left + right) / 2, self.y_addr, "n-trunk")
            self.sheet.rect(left, self.y_addr, right - left, ADDRESS_HIGH, "n-addr", 6)
            nic = clip(address.nic, right - left - 32 - width_of(address.ip, 14, mono=True), SMALL)
            self.sheet.pair(left + 14, self.y_addr + 26, (address.ip, "m b l"), (nic, "q s"))
            if right - left > 300:
                said = f"{count} port{'s' * (count != 1)} published"
                self.sheet.text(right - 14, self.y_addr + 26, said, "q s", "end")

    def _connectors(self) -> None:
        """Over the zones, under the machines; where lines cross, the lower one has a gap."""
        foot = self.y_addr + ADDRESS_HIGH
        for i, wire in enumerate(self.lanes):
            left, right = self.bars[wire.addr]
            start = left + 18 + 12 * i if wire.x < left else right - 18 - 12 * i
            lane = self.y_lane + LANE * i - 2
            d = f"M{num(start)} {num(foot)}V{num(lane)}H{num(wire.x)}V{num(self.y_card)}"
            self.sheet.path(d, "n-under")
            self.sheet.path(d, "n-wire n-cross")
        for wire in self.wires:
            if not wire.cross:
                self.sheet.line(wire.x, foot, wire.x, self.y_card, "n-under")
                self.sheet.line(wire.x, foot, wire.x, self.y_card, "n-wire")
        for wire in self.wires:
            look = "n-port n-pcross" if wire.cross else "n-port"
            self.sheet.pill(wire.x, self.y_pill, wire.services, wire.room, look)

    def _zone(self, zone: Zone) -> None:
        x, width = self.spans[zone.name]
        room = self.card / 2 - 8 if zone.machines else width - 24
        self.sheet.zone_name(zone, x + PAD + 2, self.y_zone + 22, room)
        if not zone.free:
            self.sheet.line(x + PAD, self.y_bridge, x + width - PAD, self.y_bridge, "n-bridge")
        net = clip(f"{zone.bridge}  {zone.net}".strip(), width - 24, SMALL, mono=True)
        self.sheet.text(x + PAD + 2, self.y_bridge + 20, net, "m s2")
        tail = f"{zone.outside} · {zone.cut}" if zone.cut else zone.outside
        self.sheet.text(x + PAD + 2, self.y_bridge + 36, clip(tail, width - 24, SMALL), "q s")
        if not zone.machines and not zone.free:
            self.sheet.text(x + width / 2, self.y_card + CARD_HIGH / 2, "no machine yet", "q s", "middle")
        for machine in zone.machines:
            self._machine(machine)

    def _machine(self, machine: Machine) -> None:
        x, y, width = self.at[machine.name], self.y_card, self.card
        self.sheet.line(x + width / 2, y + CARD_HIGH, x + width / 2, self.y_bridge, "n-stem")
        inner = self.sheet.inner()
        inner.rect(x, y, width, CARD_HIGH, f"n-mach n-{machine.state}", 8)
        inner.mark(machine.state, x + 16, y + 21)
        inner.text(x + 28, y + 25.5, clip(machine.name, width - 40, NAME), "b")
        inner.text(x + 12, y + 46, machine.ip, "m s2")
        note = machine.note or ("" if machine.state == "run" else WORDS[machine.state])
        owner = clip(machine.owner, width - 30 if not note else width / 2 - 8, SMALL)
        inner.text(x + 12, y + 64, owner, "q s")
        room = width - 34 - width_of(owner, SMALL)
        inner.text(x + width - 12, y + 64, clip(note, room, SMALL), f"s w-{machine.state}", "end")
        self.sheet.machine(machine, inner)
