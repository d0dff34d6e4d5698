"""Dotted lines under the zones: one for each set that reaches each other, one for each single permission. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ui.drawing.parts import SMALL, Sheet, clip, num, safe, width_of
from ui.drawing.site import VPN

STEP = 20.0
Span = tuple[float, float]  # left end and width of a zone


@dataclass(frozen=True, kw_only=True)
class Net:
    """One dotted line: its members, and for a single permission what it is on."""

    members: tuple[str, ...]
    what: str = ""  # "" = all of them reach each other

    @property
    def tips(self) -> tuple[str, ...]:
        return self.members[1:] if self.what else self.members

    @property
    def forms(self) -> list[str]:
        """Its words, from the fullest to the shortest."""
        names = [name or "VPN" for name in self.members]
        if self.what:
            on = "" if self.what == "all" else f" on {self.what}"
            return [f"{names[0]} reaches {names[1]}{on}"]
        rest = f"{len(names) - 1} {'zones' if self.members[0] == VPN else 'others'}"
        return [
            f"{', '.join(names[:-1])} and {names[-1]} reach each other",
            f"{names[0]} and {rest} reach each other",
            "reach each other",
        ]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the lines run: zones' spans, their lower edge, the first line, the VPN's interface."""

    spans: Mapping[str, Span]
    y_zone: float
    y_first: float
    x_vpn: float
    y_vpn: float
    width: float


def lines(sheet: Sheet, place: Place) -> float:
    """Draw them; returns the y below the last."""
    sets, single = sheet.site.talk
    nets = [Net(members=s) for s in sets] + [Net(members=(r.source, r.target), what=r.what) for r in single]
    drops = [[_drop(nets, i, name, place) for name in net.members] for i, net in enumerate(nets)]
    for i, net in enumerate(nets):
        y = place.y_first + STEP * i
        _line(sheet, net, drops[i], y, place)
        _words(sheet, net, drops, i, y, place)
    return place.y_first + STEP * len(nets) + 2


def _drop(nets: list[Net], i: int, name: str, place: Place) -> float:
    # Lower lines drop further left, so that the place right of a drop is free for its words.
    if name == VPN:
        return place.x_vpn
    x, width = place.spans[name]
    lower = sum(name in net.members for net in nets[i + 1 :])
    return x + min(22 + 14 * lower, width - 12)


def _line(sheet: Sheet, net: Net, drops: list[float], y: float, place: Place) -> None:
    for name, x in zip(net.members, drops, strict=True):
        if name == VPN:
            sheet.path(f"M12 {num(place.y_vpn)}H{num(x)}V{num(y)}", "n-pol")
            continue
        sheet.line(x, place.y_zone, x, y, "n-pol")
        if name in net.tips:
            sheet.path(f"M{num(x - 3.5)} {num(place.y_zone + 7)}l3.5 -6l3.5 6z", "n-tip")
    sheet.line(min(drops), y, max(drops), y, "n-pol")


def _words(sheet: Sheet, net: Net, drops: list[list[float]], i: int, y: float, place: Place) -> None:
    """The fullest words that fit: in the widest gap of the line itself, else right of its end."""
    start, end = min(drops[i]), max(drops[i])
    cuts = sorted({x for xs in drops[i:] for x in xs if x >= start})
    gaps = [(p, q) for p, q in zip(cuts, [*cuts[1:], place.width], strict=True) if q <= end or p >= end]
    for said in net.forms:
        fits = [(p, q) for p, q in gaps if q - p >= width_of(said, SMALL) + 28]
        if fits:
            on = [(p, q) for p, q in fits if q <= end]
            p, q = max(on, key=lambda gap: gap[1] - gap[0]) if on else fits[0]
            sheet.text((p + q) / 2 if on else p + 12, y + 4, said, "q s halo", "middle" if on else "")
            return


def in_words(sheet: Sheet, x: float, y: float, room: float) -> float:
    """The sets as sentences, for layouts without lines; returns the y below them."""
    sets, single = sheet.site.talk
    for members in sets[:3]:
        said = Net(members=members).forms[0]
        if width_of(said, SMALL) > room:
            said = Net(members=members).forms[1]
        sheet.text(x, y, clip(said, room, SMALL), "q s")
        y += 18
    more = len(sets[3:]) + len(single)
    if more and sheet.site.policy_href:
        link = sheet.inner()
        link.text(x, y, f"{more} more in the policy grid", "s lk")
        sheet.body.append(f'<a href="{safe(sheet.site.policy_href)}" class="n-a">{link}</a>')
        y += 18
    return y
