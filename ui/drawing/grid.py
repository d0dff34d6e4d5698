"""Layout 3: zones as tiles, machines as one mark each, addresses as tabs on a bus. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from ui.drawing import policy
from ui.drawing.parts import MARK, SMALL, Sheet, clip, num, ports_short, width_of
from ui.drawing.site import TROUBLE_FIRST, WORDS, Address, Machine, Service, Site, Zone, trouble_first
from ui.drawing.top import BAND, LEFT, sky

TILE_MIN, GAP, X0 = 250.0, 16.0, 26.0
ABOVE, BELOW = 36.0, 52.0  # in a tile: its name above the marks, its words below
BUS, TAB, TAB_HIGH = 18.0, 30.0, 22.0


@dataclass(frozen=True, kw_only=True)
class Box:
    x: float
    y: float
    w: float
    h: float

    @property
    def per_row(self) -> int:
        return marks_across(self.w)


def marks_across(width: float) -> int:
    """How many marks a tile of that width has side by side."""
    return max(1, int((width - 24) // MARK))


def tile_high(machines: int, per_row: int) -> float:
    return ABOVE + MARK * max(1, -(-machines // per_row)) + BELOW


def tile(sheet: Sheet, zone: Zone, box: Box) -> None:
    """A zone: name, one mark a machine (trouble first), counts and open ports in words."""
    sheet.rect(box.x, box.y, box.w, box.h, zone.look, 10)
    sheet.zone_name(zone, box.x + 14, box.y + 24, box.w * 0.5)
    sheet.text(box.x + box.w - 12, box.y + 24, zone.net, "m s2 q", "end")
    for i, machine in enumerate(trouble_first(zone.machines)):
        _mark(sheet, machine, box.x + 24 + MARK * (i % box.per_row), box.y + 48 + MARK * (i // box.per_row))
    if not zone.machines:
        sheet.text(box.x + 14, box.y + 50, "no zone uses it" if zone.free else "no machine yet", "q s")
    x = box.x + 14
    for state in TROUBLE_FIRST:
        count = sum(m.state == state for m in zone.machines)
        if count:
            said = f"{count} {WORDS[state]}"
            sheet.text(x, box.y + box.h - 30, said, f"s w-{state}")
            x += width_of(said, SMALL) + 12
    _open_ports(sheet, zone, box)


def _mark(sheet: Sheet, machine: Machine, x: float, y: float) -> None:
    inner = sheet.inner()
    inner.rect(x - MARK / 2, y - MARK / 2, MARK, MARK, "n-hit", 4)
    inner.mark(machine.state, x, y, 5)
    sheet.machine(machine, inner)


def _open_ports(sheet: Sheet, zone: Zone, box: Box) -> None:
    once = {(s.proto, s.port): s for m in zone.machines for s in sheet.site.of(m)}
    services: list[Service] = sorted(once.values(), key=lambda s: (s.port, s.proto))
    cut = clip(zone.cut, box.w * 0.5, SMALL)
    room = box.w - 66 - (width_of(cut, SMALL) + 12 if cut else 0)
    said = "open: " + ports_short(services, room) if services else "nothing published"
    sheet.text(box.x + 14, box.y + box.h - 12, said, "q s")
    sheet.text(box.x + box.w - 12, box.y + box.h - 12, cut, "q s", "end")


def grid(site: Site, width: float) -> str:
    """Balanced rows of tiles; fits any number of zones."""
    flat = [(address, zone) for address, zones in site.groups for zone in zones]
    most = max(1, int((width - 20 + GAP) // (TILE_MIN + GAP)))
    rows = -(-len(flat) // most)
    across = -(-len(flat) // rows)
    tile_wide = (width - X0 - (across - 1) * GAP) / across
    high = max(tile_high(len(z.machines), marks_across(tile_wide)) for _, z in flat)
    sheet = Sheet(site, "w")
    _head(sheet, width)
    y = spine = BAND + 40
    for row in (flat[i : i + across] for i in range(0, len(flat), across)):
        last = _row(sheet, row, y, tile_wide, high)
        spine = y + BUS if last else spine
        y += TAB + TAB_HIGH + high
    sheet.path(f"M10 {num(BAND + 40)}V{num(spine)}", "n-trunk")
    end = policy.in_words(sheet, X0, y + 26, width - X0)
    return sheet.svg(width, end - 8, "grid")


def _head(sheet: Sheet, width: float) -> None:
    site = sheet.site
    sky(sheet, width, LEFT)
    sheet.rect(0.5, BAND, width - 1, 40, "n-dom0", 10)
    sheet.pair(14, BAND + 25, ("dom0", "b"), (clip(site.host, LEFT - 50, SMALL), "q s"))
    count = len(site.addresses)
    vpn = f"{site.vpn.iface} {site.vpn.ip} · ".lstrip() if site.vpn.iface else ""
    sheet.text(LEFT + 30, BAND + 25, f"{vpn}{count} external address{'es' * (count != 1)}", "q s")
    said = f"dom0 itself answers on {site.dom0_ports or 'no port'}"
    sheet.text(width - 14, BAND + 25, clip(said, width / 2, SMALL), "q s", "end")
    sheet.line(LEFT - 40, 48, LEFT - 40, BAND)
    sheet.line((LEFT + width) / 2, 48, (LEFT + width) / 2, BAND, "n-trunk")


def _row(sheet: Sheet, row: list[tuple[Address | None, Zone]], y: float, tile_wide: float, high: float) -> float:
    """One row of tiles, their addresses on a bus; returns where the bus ends, 0 without one."""
    end = 0.0
    for i, (address, zone) in enumerate(row):
        x = X0 + i * (tile_wide + GAP)
        said = address.ip if address else "no external address"
        wide = width_of(said, 12, mono=True) + 20 if address else width_of(said, SMALL) + 22
        top = y + TAB
        if address:
            end = x + 14 + wide / 2
            sheet.line(end, y + BUS, end, top, "n-trunk")
        d = f"M{num(x + 14)} {num(top + 22)}v-16a6 6 0 0 1 6 -6h{num(wide - 12)}a6 6 0 0 1 6 6v16z"
        sheet.path(d, "n-addr" if address else "n-noaddr")
        sheet.text(x + 24, top + 15, said, "m s2 b" if address else "q s")
        if address and tile_wide > 260:
            sheet.text(x + 24 + wide, top + 14, clip(address.nic, tile_wide - wide - 30, SMALL), "q s")
        tile(sheet, zone, Box(x=x, y=top + TAB_HIGH, w=tile_wide, h=high))
    if end:
        sheet.path(f"M10 {num(y + BUS)}H{num(end)}", "n-trunk")
    return end
