"""The top of every layout: VPN, Internet and dom0 itself; and the drawing of an empty host. Pure."""

from __future__ import annotations

from ui.drawing.parts import SMALL, Sheet, clip
from ui.drawing.site import Site

LEFT, EDGE = 196.0, 14.0  # the VPN's column; what the dom0 band keeps free at its right end
LEFT_PHONE = 132.0
BAND = 74.0  # where the dom0 band begins


def sky(sheet: Sheet, width: float, left: float, *, traffic: bool = True) -> None:
    """The admin VPN, and the Internet over everything else."""
    site = sheet.site
    sheet.rect(0, 0.5, left, 47, "n-vpn")
    sheet.text(14, 20, "Admin VPN", "b")
    sheet.text(14, 37, clip(site.vpn.note or site.vpn.iface or "none", left - 24, SMALL), "q s")
    sheet.rect(left + 14, 0.5, width - left - 14.5, 47, "n-inet")
    sheet.text(left + 30, 29, "Internet", "b")
    if traffic:
        sheet.text(width - 16, 29, site.traffic, "q s", "end")


def dom0_left(sheet: Sheet, left: float, y_head: float, y: float) -> None:
    """The host's name, the VPN's interface and what dom0 itself answers: the left column of the dom0 band."""
    site = sheet.site
    sheet.pair(14, y_head, ("dom0", "b"), (clip(site.host, left - 70, SMALL), "q s"))
    sheet.line(left - 40, 48, left - 40, y)
    sheet.rect(12, y, left - 24, 24, "n-box", 6)
    sheet.text(22, y + 16, clip(site.vpn.iface or "no VPN", 60, SMALL), "s")
    sheet.text(left - 22, y + 16, site.vpn.ip, "m s2", "end")
    inner = sheet.inner()
    inner.rect(12.5, y + 30, left - 25, 20, "n-port", 10)
    inner.text(left / 2, y + 44, clip(site.dom0_ports or "no port", left - 40, SMALL, mono=True), "m s2", "middle")
    sheet.titled("dom0 itself answers on: " + (site.dom0_ports or "no port"), inner)


def blank(site: Site, width: float) -> str:
    """A host with no address and no zone."""
    wide = width >= 600
    left = LEFT if wide else LEFT_PHONE
    sheet = Sheet(site)
    sky(sheet, width, left, traffic=wide)
    sheet.line(left - 40, 48, left - 40, BAND)
    sheet.line((left + width) / 2, 48, (left + width) / 2, BAND, "n-trunk")
    sheet.rect(0.5, BAND, width - 1, 40, "n-dom0", 10)
    sheet.pair(14, BAND + 25, ("dom0", "b"), (clip(site.host, width - 80, SMALL), "q s"))
    sheet.rect(0.5, 134, width - 1, 70, "n-zone n-iso", 10)
    sheet.text(width / 2, 174, "No address and no zone yet.", "q", "middle")
    return sheet.svg(width, 206, "blank" if wide else "stack")
