"""Lines, boxes, words and marks as SVG text; all of it escaped here and nowhere else. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ui import words
from ui.drawing.site import WORDS, Machine, Service, Site, Zone

SANS, MONO = 0.57, 0.61  # mean width of a character, in em
SMALL, TEXT, NAME = 11.5, 13.0, 13.5
MARK = 24  # the grid's pitch: the smallest target a finger or a shaky hand can hit
_CONTROL = dict.fromkeys(range(32))  # XML 1.0 knows no control characters


def width_of(text: str, size: float = TEXT, *, mono: bool = False) -> float:
    """Pixels `text` takes, estimated."""
    return len(text) * size * (MONO if mono else SANS)


def clip(text: str, room: float, size: float = TEXT, *, mono: bool = False) -> str:
    """`text`, or as much of it as fits `room` pixels, and an ellipsis."""
    if width_of(text, size, mono=mono) <= room:
        return text
    keep = max(1, int(room / (size * (MONO if mono else SANS))) - 1)
    return text[:keep] + "…"


def num(value: float) -> str:
    """A coordinate: one decimal at most, so that the bytes don't depend on the last bit."""
    said = f"{value:.1f}".removesuffix(".0")
    return "0" if said == "-0" else said


def safe(text: str) -> str:
    return escape(str(text).translate(_CONTROL), quote=True)


def ports_short(services: Sequence[Service], room: float, size: float = SMALL) -> str:
    """ "80 → 8080" when alone, else "25, 80, 443" and "+n" for what does not fit `room` pixels."""
    if len(services) == 1 and width_of(services[0].full, size, mono=True) <= room:
        return services[0].full
    left, out = list(dict.fromkeys(s.brief for s in services)), list[str]()
    while left:
        tail = f" +{len(left) - 1}" if len(left) > 1 else ""
        if out and width_of(", ".join([*out, left[0]]) + tail, size, mono=True) > room:
            return ", ".join(out) + f" +{len(left)}"
        out.append(left.pop(0))
    return ", ".join(out)


def ports_long(services: Sequence[Service]) -> str:
    return "; ".join(s.said for s in services)


def say(machine: Machine, services: Sequence[Service]) -> str:
    """A machine as a screen reader says it."""
    said = [machine.name, machine.ip, machine.note or WORDS[machine.state]]
    said += [f"owner {machine.owner}"] if machine.owner else []
    said.append("published: " + ports_long(services) if services else "nothing published")
    return ", ".join(dict.fromkeys(said))


class Sheet:
    """Collects SVG elements in drawing order."""

    def __init__(self, site: Site, ids: str = "") -> None:
        self.site, self.ids = site, ids
        self.body: list[str] = []

    def __str__(self) -> str:
        return "".join(self.body)

    def inner(self) -> Sheet:
        """An empty sheet, for what goes inside a link or a group."""
        return Sheet(self.site, self.ids)

    def text(self, x: float, y: float, said: str, look: str = "", anchor: str = "") -> None:
        if said:
            cls = f' class="{look}"' if look else ""
            at = f' text-anchor="{anchor}"' if anchor else ""
            self.body.append(f'<text x="{num(x)}" y="{num(y)}"{cls}{at}>{safe(said)}</text>')

    def pair(self, x: float, y: float, strong: tuple[str, str], weak: tuple[str, str]) -> None:
        """Two texts, each with its class, the second right behind the first however wide the font is."""
        head = f'<tspan class="{strong[1]}">{safe(strong[0])}</tspan>'
        tail = f'<tspan class="{weak[1]}" dx="10">{safe(weak[0])}</tspan>' if weak[0] else ""
        self.body.append(f'<text x="{num(x)}" y="{num(y)}">{head}{tail}</text>')

    def rect(self, x: float, y: float, w: float, h: float, look: str, r: float = 8) -> None:
        size = f'x="{num(x)}" y="{num(y)}" width="{num(w)}" height="{num(h)}"'
        self.body.append(f'<rect class="{look}" {size} rx="{num(r)}"/>')

    def path(self, d: str, look: str) -> None:
        self.body.append(f'<path class="{look}" d="{d}"/>')

    def line(self, x1: float, y1: float, x2: float, y2: float, look: str = "n-line") -> None:
        self.path(f"M{num(x1)} {num(y1)}L{num(x2)} {num(y2)}", look)

    def circle(self, x: float, y: float, r: float, look: str) -> None:
        self.body.append(f'<circle class="{look}" cx="{num(x)}" cy="{num(y)}" r="{num(r)}"/>')

    def mark(self, state: str, x: float, y: float, r: float = 4.5) -> None:
        """State as a shape, so that it never depends on colour alone."""
        if state == "run":
            self.circle(x, y, r, "k-run")
        elif state == "off":
            self.rect(x - r + 0.75, y - r + 0.75, 2 * r - 1.5, 2 * r - 1.5, "k-off", 0)
        elif state == "busy":
            self.circle(x, y, r - 0.75, "k-busy")
            self.path(f"M{num(x)} {num(y - r)}a{num(r)} {num(r)} 0 0 1 0 {num(2 * r)}z", "k-half")
        elif state == "bad":
            self.path(f"M{num(x)} {num(y - r - 0.5)}l{num(r + 1)} {num(2 * r)}h{num(-2 * r - 2)}z", "k-bad")
        elif state == "wait":
            self.path(
                f"M{num(x)} {num(y - r - 0.5)}l{num(r + 0.5)} {num(r + 0.5)}l{num(-r - 0.5)} {num(r + 0.5)}"
                f"l{num(-r - 0.5)} {num(-r - 0.5)}z",
                "k-wait",
            )
        else:
            self.circle(x, y, r - 0.5, "k-old" if state == "old" else "k-miss")

    def titled(self, title: str, inner: Sheet) -> None:
        self.body.append(f"<g><title>{safe(title)}</title>{inner}</g>")

    def pill(self, x: float, y: float, services: Sequence[Service], room: float, look: str) -> None:
        """Published ports on their connector, centred on `x`."""
        said = ports_short(services, room - 16)
        width, inner = width_of(said, SMALL, mono=True) + 16, self.inner()
        waits = " n-ppend" if any(s.pending for s in services) else ""
        inner.rect(x - width / 2, y, width, 22, look + waits, 11)
        inner.text(x, y + 15, said, "m s2", "middle")
        self.titled(ports_long(services), inner)

    def machine(self, machine: Machine, inner: Sheet) -> None:
        """`inner` as a link to the machine, said in full."""
        said = safe(say(machine, self.site.of(machine)))
        if not machine.href:
            self.body.append(f'<g role="img" aria-label="{said}"><title>{said}</title>{inner}</g>')
            return
        own = f' id="{safe(self.ids)}-m{safe(machine.key)}"' if machine.key else ""
        self.body.append(
            f'<a href="{safe(machine.href)}"{own} aria-label="{said}" class="n-a"><title>{said}</title>{inner}</a>'
        )

    def zone_name(self, zone: Zone, x: float, y: float, room: float) -> None:
        inner = self.inner()
        inner.text(x, y, clip(zone.shown, room, NAME), "b zn")
        if zone.free or not zone.href:
            self.body += inner.body
        else:
            own = f'id="{safe(self.ids)}-z{safe(zone.name)}"'
            self.body.append(
                f'<a href="{safe(zone.href)}" {own} class="n-a" aria-label="Zone {safe(zone.name)}">{inner}</a>'
            )

    def svg(self, width: float, height: float, kind: str) -> str:
        """The whole drawing."""
        zones, machines = len(self.site.zones), sum(m.state != "none" for z in self.site.zones for m in z.machines)
        counted = f"{words.count(zones, 'zone')}, {words.count(machines, 'machine')}"
        label = f"Network of {self.site.host}: {counted}. The list below says the same in words."
        size = f'viewBox="0 0 {num(width)} {num(height)}" width="{num(width)}" height="{num(height)}"'
        body = "\n".join(self.body)
        return f'<svg class="net net-{kind}" {size} role="group" aria-label="{safe(label)}">\n{body}\n</svg>'
