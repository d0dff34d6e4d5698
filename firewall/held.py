"""Restrictions and own rules beside what is in force: what holds, what will, what ends with the next apply."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from django.utils import timezone

from firewall import counters, lint, rows, undo
from firewall.models import Counter, CustomRule, ZoneRestriction
from firewall.own_rules import Wanted
from firewall.specs import PLACES, Restriction, Site
from hosts.models import Host
from zones.models import Zone

State = Literal["holds", "new", "ends", "over"]
WORDS: dict[State, tuple[str, str]] = {
    "holds": ("run", "holds"),
    "new": ("wait", "holds when you apply"),
    "ends": ("wait", "ends when you apply"),
    "over": ("wait", "over; goes when you apply"),
}
#: What each place is for, beside its name.
MEANT = {
    "before-input": "what comes to dom0 itself, before the compiled rules",
    "after-input": "what comes to dom0 itself and no rule took",
    "before-output": "what dom0 sends, before the compiled rules",
    "after-output": "what dom0 sends and no rule took",
    "before-forwarding": "what passes to and from machines, before the compiled rules",
    "after-forwarding": "what passes to and from machines and no rule took",
}


@dataclass(frozen=True, kw_only=True)
class Held:
    """A restriction or an own rule as its list shows it; `row` None: still in force though nobody wishes it.

    `was`: how it holds until the next apply, where it is wished otherwise; `undo` leads back to that.
    """

    what: str
    state: State
    name: str = ""
    where: str = ""
    row: ZoneRestriction | CustomRule | None = None
    was: str = ""
    why: str = ""
    remarks: tuple[str, ...] = ()
    counted: str = ""

    @property
    def undo(self) -> str:
        """What the button that leads back to what is in force says; "" where nothing is to be undone."""
        return "Undo" if self.was else "Keep it" if self.row is None else ""

    @property
    def seen(self) -> str:
        """What whoever undoes it has seen of it (`undo.refuse_unseen`)."""
        return undo.seen(self.what, self.was, self.row is None)

    @property
    def mark(self) -> str:
        return WORDS[self.state][0]

    @property
    def word(self) -> str:
        return "changes when you apply" if self.was else WORDS[self.state][1]


@dataclass(frozen=True, kw_only=True)
class Heap:
    """All of one zone, or of one place."""

    title: str
    sub: str
    held: tuple[Held, ...]
    zone: int | None = None


def restrictions(host: Host) -> tuple[Heap, ...]:
    """Every zone with its restrictions (4 queries)."""
    base = rows.site_in(rows.tried_or_live(host).first()).restrictions
    zones = list(Zone.objects.filter(host=host))
    wished = [(row, rows.restriction_of(row)) for row in rows.restrictions(host)]
    specs = {spec for _, spec in wished}
    named = {(r.zone, r.name): says(r) for r in base}
    kept = {(r.zone, r.name) for r in specs}
    met = counters.told(host, kind=Counter.Kind.RESTRICTION)
    return tuple(
        Heap(
            title=zone.name,
            sub=zone.cidr,
            zone=zone.pk,
            held=(
                *(
                    Held(
                        row=row,
                        name=row.name,
                        what=says(spec),
                        state="holds" if spec in base else "new",
                        was=named.get((spec.zone, spec.name), "") if spec not in base else "",
                        counted=met.get((Counter.Kind.RESTRICTION, f"{zone.number}/{row.name}"), ""),
                    )
                    for row, spec in wished
                    if row.zone_id == zone.pk
                ),
                *(
                    Held(name=spec.name, what=says(spec), state="ends")
                    for spec in base
                    if spec.zone == zone.number and spec not in specs and (spec.zone, spec.name) not in kept
                ),
            ),
        )
        for zone in zones
    )


def says(spec: Restriction) -> str:
    """A restriction as a sentence: "drops tcp 25 leaving, only to 10.10.1.0/24"."""
    verb = {"DROP": "drops", "REJECT": "rejects", "ACCEPT": "lets through"}[spec.action]
    way = "leaving" if spec.direction == "out" else "coming in"
    only = f", only {'to' if spec.direction == 'out' else 'from'} {spec.address}" if spec.address else ""
    return f"{verb} {spec.ports} {way}{only}"


def own_rules(host: Host) -> tuple[Heap, ...]:
    """Every place with its rules, in the order in which packets meet them (10 queries)."""
    base = {(rule.place, rule.rule): rule.reason for rule in rows.site_in(rows.tried_or_live(host).first()).custom}
    wished = list(CustomRule.objects.filter(host=host).select_related("author"))
    known = {(row.place, row.rule) for row in wished}
    site = rows.site_of(host) if wished else Site()
    met = counters.told(host, kind=Counter.Kind.CUSTOM) if wished else {}
    return tuple(
        Heap(
            title=place,
            sub=MEANT[place],
            held=(
                *(_own(row, (row.place, row.rule) in base, site, met) for row in wished if row.place == place),
                *(
                    Held(what=rule, why=base[at, rule], state="ends")
                    for at, rule in sorted(base.keys() - known)
                    if at == place
                ),
            ),
        )
        for place in PLACES
    )


def _own(row: CustomRule, holds: bool, site: Site, met: Mapping[tuple[str, str], str]) -> Held:
    over = row.expires is not None and row.expires <= timezone.now()
    state: State = "over" if over else "holds" if holds else "new"
    said = lint.custom_problems(Wanted(place=row.place, rule=row.rule, reason=row.reason).spec, site)
    counted = met.get((Counter.Kind.CUSTOM, f"{row.place}: {row.rule}"), "")
    remarks = tuple(p.sentence for p in said if not p.blocks)
    return Held(row=row, what=row.rule, why=row.reason, state=state, remarks=remarks, counted=counted)
