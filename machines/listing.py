"""The operator's list: filter, trouble first, counted and cut in the database."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.core.paginator import Page, Paginator
from django.db.models import Case, Count, F, IntegerField, Q, QuerySet, Value, When
from django.utils import timezone

from accounts.models import Owner
from hosts.models import Job
from machines import graphs
from machines.models import Machine, MachineQuerySet
from machines.published import Published, published
from machines.states import Rank, Shown, left_trouble, notable_jobs, shown
from ui import words
from zones.models import Zone

PER_PAGE = 25
STATES = {
    "attention": (Rank.TROUBLE, Rank.WAITS),
    "working": (Rank.WORKING,),
    "stopped": (Rank.STOPPED,),
    "running": (Rank.RUNNING,),
}
LABELS = {
    "": "All",
    "attention": "Need attention",
    "running": "Running",
    "stopped": "Stopped",
    "working": "Working",
}


@dataclass(frozen=True, kw_only=True)
class Filter:
    """What the list is narrowed to; anything the browser sends that is not a choice means no narrowing."""

    q: str = ""
    zone: int | None = None
    owner: int | None = None
    state: str = ""
    sort: str = ""

    @classmethod
    def of(cls, query: Any) -> Filter:
        """From a request's query."""
        return cls(
            q=query.get("q", "").strip()[:80],
            zone=_number(query.get("zone", "")),
            owner=_number(query.get("owner", "")),
            state=query.get("state", "") if query.get("state", "") in STATES else "",
            sort="name" if query.get("sort") == "name" else "",
        )

    def narrow(self, machines: MachineQuerySet) -> MachineQuerySet:
        """`machines` by text, zone and owner; not by state, which the counts still need."""
        if self.q:
            in_text = Q(name__icontains=self.q) | Q(address__icontains=self.q) | Q(mac__icontains=self.q)
            machines = machines.filter(in_text | Q(owner__name__icontains=self.q))
        if self.zone is not None:
            machines = machines.filter(zone_id=self.zone)
        if self.owner is not None:
            machines = machines.filter(owner_id=self.owner)
        return machines

    @property
    def narrows(self) -> bool:
        return bool(self.q or self.zone or self.owner or self.state)

    def query(self, **other: str) -> str:
        """The same list as a query string, with `other` instead."""
        wish = {"q": self.q, "zone": self.zone, "owner": self.owner, "state": self.state, "sort": self.sort} | other
        return urlencode({key: value for key, value in wish.items() if value})


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the list."""

    machine: Machine
    shown: Shown
    services: list[Published]

    @property
    def used(self) -> tuple[str, str] | None:
        """What it uses now of its processors and its memory."""
        return graphs.short(self.machine)

    @property
    def ports(self) -> str:
        """The published ports in short: "22, 80, 443 +2"; of several addresses each with its own."""
        several = len({service.address for service in self.services}) > 1
        ports = [f"{service.ports} of {service.address}" if several else service.ports for service in self.services]
        return ", ".join(ports[:3]) + (f" +{len(ports) - 3}" if len(ports) > 3 else "")


@dataclass(frozen=True, kw_only=True)
class Tab:
    """A state to narrow the list to, with how many there are."""

    key: str
    label: str
    count: int
    query: str
    here: bool


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A page of the list with the counts by state."""

    filter: Filter
    page: Page[Row]
    counts: dict[str, int]
    zones: list[tuple[int, str]]
    owners: list[tuple[int, str]]
    elsewhere: str = ""

    @property
    def tabs(self) -> list[Tab]:
        here = self.filter.state
        return [
            Tab(
                key=key,
                label=label,
                count=self.counts[key or "all"],
                query=self.filter.query(state=key),
                here=key == here,
            )
            for key, label in LABELS.items()
        ]

    @property
    def by_name(self) -> str:
        return self.filter.query(sort="name")

    @property
    def by_state(self) -> str:
        return self.filter.query(sort="")

    @property
    def no_match(self) -> str:
        """What to say instead of an empty table."""
        wish = self.filter
        said = f"Nothing matches “{wish.q}”" if wish.q else "No machine"
        if wish.state:
            said += f" under “{LABELS[wish.state]}”"
        if wish.zone:
            said += f" in {dict(self.zones).get(wish.zone, 'that zone')}"
        return said + (f" of {dict(self.owners).get(wish.owner, 'that owner')}" if wish.owner else "")


def listing(all_machines: MachineQuerySet, wish: Filter, number: str | None) -> Listing:
    """The page `number` of those `machines` that `wish` leaves. Five queries, however many machines there are."""
    jobs = notable_jobs()
    machines = wish.narrow(all_machines)
    ranked = machines.annotate(rank=rank_case(jobs))
    counts = _counts(ranked)
    if wish.state:
        ranked = ranked.filter(rank__in=STATES[wish.state])
    order = ("name",) if wish.sort == "name" else ("rank", "name")
    ranked = graphs.with_used(ranked).select_related("zone", "owner", "host").order_by(*order, "pk")
    paginator = _Counted(ranked, PER_PAGE, total=counts[wish.state or "all"])
    page = paginator.get_page(number)
    page.object_list = _rows(list(page.object_list), jobs)
    zones, owners = _choices()
    elsewhere = "" if page.object_list else _elsewhere(all_machines, wish)
    return Listing(filter=wish, page=page, counts=counts, zones=zones, owners=owners, elsewhere=elsewhere)


def _elsewhere(machines: MachineQuerySet, wish: Filter) -> str:
    """Where the searched text does match, if the other filters hide it."""
    if not wish.q or not (wish.zone or wish.owner or wish.state):
        return ""
    there = Filter(q=wish.q).narrow(machines).count()
    return f"{words.count(there, 'machine matches', 'machines match')} “{wish.q}” elsewhere." if there else ""


class _Counted(Paginator):  # type: ignore[type-arg]
    """A paginator that is told the total, which the counts by state know already."""

    def __init__(self, rows: QuerySet[Machine], per_page: int, *, total: int) -> None:
        super().__init__(rows, per_page)
        self.total = total

    @property
    def count(self) -> int:
        return self.total


def rank_case(jobs: dict[int, Job]) -> Case:
    """`machines.states.shown(…).rank` as SQL, so that the database sorts and counts by it."""
    waits = [pk for pk, job in jobs.items() if job.state == Job.State.PLANNED]
    works = [pk for pk, job in jobs.items() if job.is_open and job.state != Job.State.PLANNED]
    wrong = [pk for pk, job in jobs.items() if not job.is_open and left_trouble(job)]
    seen = Machine.Observed
    drifted = Q(observed__in=(seen.RUNNING, seen.STOPPED, seen.PAUSED)) & ~Q(observed=F("wanted"))
    trouble = Q(pk__in=wrong) | Q(observed__in=(seen.MISSING, seen.CRASHED)) | Q(built_at=None) | drifted
    return Case(
        When(pk__in=waits, then=Value(int(Rank.WAITS))),
        When(pk__in=works, then=Value(int(Rank.WORKING))),
        When(trouble, then=Value(int(Rank.TROUBLE))),
        When(observed=seen.RUNNING, then=Value(int(Rank.RUNNING))),
        default=Value(int(Rank.STOPPED)),
        output_field=IntegerField(),
    )


def _counts(ranked: QuerySet[Machine]) -> dict[str, int]:
    wanted = {state: Count("pk", filter=Q(rank__in=ranks)) for state, ranks in STATES.items()}
    return ranked.aggregate(all=Count("pk"), **wanted)


def _rows(machines: Collection[Machine], jobs: dict[int, Job]) -> list[Row]:
    now, machines = timezone.now(), list(machines)
    services = published(machines)
    return [Row(machine=m, shown=shown(m, jobs.get(m.pk), now), services=services[m.pk]) for m in machines]


def _choices() -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
    """Zones and owners to choose from, in one query."""
    zones = Zone.objects.annotate(what=Value("zone")).values_list("what", "pk", "name").order_by()
    owners = Owner.objects.annotate(what=Value("owner")).values_list("what", "pk", "name").order_by()
    found = list(zones.union(owners, all=True).order_by("name"))
    return [(pk, name) for what, pk, name in found if what == "zone"], [
        (pk, name) for what, pk, name in found if what == "owner"
    ]
