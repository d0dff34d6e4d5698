"""Layout 2: zones as columns, machines as rows, ports in the row. Pure."""

from __future__ import annotations

from ui.drawing import policy
from ui.drawing.parts import SMALL, TEXT, Sheet, clip, ports_short
from ui.drawing.site import Machine, Site, Zone
from ui.drawing.top import BAND, EDGE, LEFT, dom0_left, sky

GAP, PAD, ROW = 20.0, 12.0, 27.0
ZONE_MIN, ZONE_MAX, MOST = 190.0, 300.0, 12
ADDRESS_HIGH = 42.0


def rows(site: Site, width: float) -> str | None:
    """The drawing, or None where a zone would get less than 190 px or has more than 12 machines."""
    zones = site.columns
    x0 = 34 if site.has_isolated else LEFT + 14
    zone_wide = (width - EDGE - x0 - (len(zones) - 1) * GAP) / len(zones)
    most = max(len(z.machines) for z in zones)
    if zone_wide < ZONE_MIN or most > MOST:
        return None
    zone_wide = min(zone_wide, ZONE_MAX)
    at = {z.name: x0 + i * (zone_wide + GAP) for i, z in enumerate(zones)}
    return _draw(site, width, zone_wide, at, most)


def _draw(site: Site, width: float, zone_wide: float, at: dict[str, float], most: int) -> str:
    sheet = Sheet(site, "w")
    y_addr = BAND + 34
    y_end = y_addr + ADDRESS_HIGH + 18
    y_zone, high = y_end + 34, 60 + ROW * most + 8
    sky(sheet, width, LEFT)
    sheet.rect(0.5, BAND, width - 1, y_end - BAND, "n-dom0", 10)
    dom0_left(sheet, LEFT, BAND + 22, y_addr)
    _addresses(sheet, at, zone_wide, y_addr, y_zone)
    below = y_zone + high
    spans = {name: (x, zone_wide) for name, x in at.items()}
    place = policy.Place(spans=spans, y_zone=below, y_first=below + 24, x_vpn=6, y_vpn=y_addr + 12, width=width)
    height = policy.lines(sheet, place)
    for zone in site.columns:
        _zone(sheet, zone, at[zone.name], y_zone, zone_wide, high)
    return sheet.svg(width, height, "rows")


def _addresses(sheet: Sheet, at: dict[str, float], zone_wide: float, y_addr: float, y_zone: float) -> None:
    for address, zones in sheet.site.groups:
        if address is None:
            continue
        left, right = at[zones[0].name], at[zones[-1].name] + zone_wide
        sheet.line((left + right) / 2, 48, (left + right) / 2, y_addr, "n-trunk")
        sheet.rect(left, y_addr, right - left, ADDRESS_HIGH, "n-addr", 6)
        sheet.text(left + 14, y_addr + 26, address.ip, "m b l")
        if right - left > 200:
            sheet.text(right - 12, y_addr + 26, clip(address.nic, right - left - 160, SMALL), "q s", "end")
        for zone in zones:
            middle = at[zone.name] + zone_wide / 2
            sheet.line(middle, y_addr + ADDRESS_HIGH, middle, y_zone, "n-wire")


def _zone(sheet: Sheet, zone: Zone, x: float, y: float, width: float, high: float) -> None:
    sheet.rect(x, y, width, high, zone.look, 10)
    sheet.zone_name(zone, x + 14, y + 23, width * 0.6)
    sheet.text(x + width - 12, y + 23, clip(zone.bridge, width * 0.35, SMALL), "q s", "end")
    sheet.text(x + 14, y + 41, zone.net, "m s2 q")
    said = zone.cut or ("no zone uses it" if zone.free else "" if zone.ext else "isolated")
    sheet.text(x + width - 12, y + 41, clip(said, width / 2 - 10, SMALL), "q s", "end")
    sheet.line(x + PAD, y + 51, x + width - PAD, y + 51, "n-bridge")
    for i, machine in enumerate(zone.machines):
        _row(sheet, machine, x, y + 58 + ROW * i, width)


def _row(sheet: Sheet, machine: Machine, x: float, y: float, width: float) -> None:
    services = sheet.site.of(machine)
    inner = sheet.inner()
    inner.rect(x + 4, y, width - 8, 26, "n-row", 5)
    inner.mark(machine.state, x + 18, y + 13)
    inner.text(x + 30, y + 17.5, clip(machine.name, width * 0.4, TEXT))
    if services:
        inner.text(x + width - 12, y + 17.5, ports_short(services, width * 0.36), "m s2", "end")
    else:
        inner.text(x + width - 12, y + 17.5, "." + machine.ip.split(".")[-1], "m s2 q", "end")
    sheet.machine(machine, inner)
