"""The network drawing: a site as plain data in, SVG text out. Pure.

The same site and width give the same bytes. Nothing is measured in a browser; text is clipped by an estimate of its
width and stands in full in a <title>. Colours, fonts and strokes come from classes in fridu.css.

Reading rule: from above comes what the Internet may enter; the thick bar below the machines is the bridge; below the
zones is who may talk to whom.
"""

from __future__ import annotations

from ui.drawing.cards import cards
from ui.drawing.grid import grid
from ui.drawing.rows import rows
from ui.drawing.site import Address, Machine, Reach, Service, Site, Vpn, Zone
from ui.drawing.stack import stack
from ui.drawing.top import blank

__all__ = ["PHONE", "WIDE", "Address", "Machine", "Reach", "Service", "Site", "Vpn", "Zone", "draw"]

WIDE, PHONE = 1272, 358
COLUMN_BELOW = 600


def draw(site: Site, width: int) -> str:
    """The most detailed layout that fits `width` pixels.

    cards: every machine a card, every published port a labelled connector; rows: zones as columns, machines as rows;
    grid: zones as tiles, machines as one mark each; below 600 px all in one column.
    """
    if not site.groups:
        return blank(site, width)
    if width < COLUMN_BELOW:
        return stack(site, width)
    return cards(site, width) or rows(site, width) or grid(site, width)
