"""The phone's drawing: everything in one column. Pure."""

from __future__ import annotations

from ui.drawing import policy
from ui.drawing.grid import Box, marks_across, tile, tile_high
from ui.drawing.parts import NAME, SMALL, Sheet, clip, num, ports_short
from ui.drawing.site import WORDS, Machine, Site, Zone
from ui.drawing.top import LEFT_PHONE as LEFT
from ui.drawing.top import sky

X, HEAD, ROW = 24.0, 62.0, 46.0
BAND_END = 116.0
MARKS_ABOVE = 30  # with more machines than this each is one mark


def stack(site: Site, width: float) -> str:
    """Addresses under each other, their zones under them."""
    sheet = Sheet(site, "s")
    dense = sum(len(z.machines) for z in site.zones) > MARKS_ABOVE
    body = sheet.inner()
    y = spine = BAND_END
    for address, zones in site.groups:
        y += 16
        if address:
            body.rect(X, y, width - X - 0.5, 34, "n-addr", 6)
            body.text(36, y + 22, address.ip, "m b l")
            body.text(width - 14, y + 22, clip(address.nic, width / 2 - 30, SMALL), "q s", "end")
            body.path(f"M10 {num(y + 17)}H24", "n-trunk")
            spine, y = y + 17, y + 34
        else:
            body.text(36, y + 12, "⊘ no way in from the Internet", "q s")
            y += 12
        for zone in zones:
            y = _zone(body, zone, y + 8, width, dense=dense)
    sheet.path(f"M10 {num(BAND_END)}V{num(spine)}", "n-trunk")
    _head(sheet, width)
    sheet.body += body.body
    end = policy.in_words(sheet, X, y + 24, width - X - 4)
    return sheet.svg(width, end - 8, "stack")


def _head(sheet: Sheet, width: float) -> None:
    sky(sheet, width, LEFT, traffic=False)
    sheet.line(LEFT / 2, 48, LEFT / 2, HEAD)
    sheet.line((LEFT + width) / 2, 48, (LEFT + width) / 2, HEAD, "n-trunk")
    sheet.rect(0.5, HEAD, width - 1, 54, "n-dom0", 10)
    sheet.pair(14, 84, ("dom0", "b"), (clip(sheet.site.host, width - 80, SMALL), "q s"))
    said = f"dom0 itself answers on {sheet.site.dom0_ports or 'no port'}"
    sheet.text(14, 104, clip(said, width - 28, SMALL), "q s")


def _zone(sheet: Sheet, zone: Zone, y: float, width: float, *, dense: bool) -> float:
    """One zone; returns the y below it."""
    wide = width - X - 0.5
    if dense:
        box = Box(x=X, y=y, w=wide, h=tile_high(len(zone.machines), marks_across(wide)))
        tile(sheet, zone, box)
        return y + box.h
    high = 62 + ROW * max(1, len(zone.machines)) - 2
    sheet.rect(X, y, wide, high, zone.look, 10)
    sheet.zone_name(zone, 36, y + 23, width * 0.5)
    sheet.text(width - 14, y + 23, zone.net, "m s2 q", "end")
    tail = f"{zone.outside} · {zone.cut}" if zone.cut else zone.outside
    sheet.text(36, y + 40, clip(tail, width - 60, SMALL), "q s")
    sheet.line(36, y + 50, width - 14, y + 50, "n-bridge")
    if not zone.machines and not zone.free:
        sheet.text(36, y + 80, "no machine yet", "q s")
    for i, machine in enumerate(zone.machines):
        _row(sheet, machine, y + 56 + ROW * i, width)
    return y + high


def _row(sheet: Sheet, machine: Machine, y: float, width: float) -> None:
    services = sheet.site.of(machine)
    inner = sheet.inner()
    inner.rect(28, y, width - 32.5, 44, "n-row", 6)
    inner.mark(machine.state, 42, y + 16)
    inner.text(54, y + 20, clip(machine.name, width * 0.42, NAME), "b")
    inner.text(54, y + 36, machine.ip, "m s2 q")
    if services:
        inner.text(width - 14, y + 20, ports_short(services, width * 0.34), "m s2", "end")
    state = "" if machine.state == "run" else machine.note or WORDS[machine.state]
    said = ", ".join(part for part in (machine.owner, state) if part)
    inner.text(width - 14, y + 36, clip(said, width * 0.4, SMALL), "q s", "end")
    sheet.machine(machine, inner)
