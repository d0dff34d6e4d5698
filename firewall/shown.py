"""What other rooms' pages show of the firewall (ui.registry, machines.published)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, cast

from django.db.models import Q
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.text import capfirst

from accounts.access import may_somewhere
from accounts.models import User
from firewall import held, rows
from firewall.effective import effective
from firewall.models import CustomRule, PublishedService
from firewall.specs import Site
from firewall.trouble import taken_back
from firewall.waiting import waiting
from hosts.models import Host
from machines.models import Machine
from machines.published import Published
from ui import words
from ui.registry import Attention, Found
from zones.models import Zone


class Pair(Protocol):
    """A cell of the policy grid somebody looks at."""

    host: Host
    site: Site
    source: str
    target: str


def published_of(machines: Sequence[Machine], certain: bool = True) -> dict[int, list[Published]]:
    """What is published of each machine (1 query); each row knows whether it is in force, so `certain` is free."""
    by_place = {(m.host_id, m.address): m.pk for m in machines}
    rows = PublishedService.objects.filter(
        host__in={m.host_id for m in machines}, target__in={m.address for m in machines}, external__isnull=False
    ).select_related("external")
    found: dict[int, list[Published]] = {}
    for row in rows:
        pk = by_place.get((row.host_id, row.target or ""))
        if pk is not None and row.external:
            found.setdefault(pk, []).append(
                Published(
                    name=row.name,
                    address=row.external.address,
                    proto=row.get_proto_display(),
                    port=row.port,
                    port_last=row.port_last,
                    target_port=row.target_port,
                    live=row.live,
                )
            )
    return found


def attention(request: HttpRequest) -> Iterator[Attention]:
    """Changes that wait for an apply, but for those a trial that was taken back speaks of."""
    if not may_somewhere(cast(User, request.user), "firewall.apply"):
        return
    for host in Host.objects.all():
        base = rows.tried_or_live(host).values_list("pk", flat=True).first()
        found = waiting(host, base)
        # What was taken back waits too: one thing to do, said once (`trouble`).
        if found.count and taken_back(host) is None:
            yield Attention(
                state="wait",
                title=f"{words.count(found.count, 'firewall change')} not applied",
                text=f"{capfirst(found.first)}{f'; and {found.count - 1} more' if found.count > 1 else ''}.",
                url=f"{reverse('firewall:changes')}?host={host.name}",
                button="Show what changes",
            )


def cell_fragment(request: HttpRequest, pair: Pair) -> str:
    """What a cell of the policy comes to, on its editor (`pair` has host, site, source and target)."""
    found = effective(pair.site, pair.source, pair.target, rows.machine_names(pair.host))
    return render_to_string("firewall/_cell.html", {"effective": found, "target": pair.target}, request=request)


def expired(request: HttpRequest) -> Iterator[Attention]:
    """Own rules whose time is over and which still hold."""
    if not may_somewhere(cast(User, request.user), "firewall.apply"):
        return
    in_force: dict[int, set[tuple[str, str]]] = {}
    for row in CustomRule.objects.filter(expires__lte=timezone.now()).select_related("host"):
        if row.host_id not in in_force:
            live = rows.site_in(rows.live_revision(row.host))
            in_force[row.host_id] = {(rule.place, rule.rule) for rule in live.custom}
        if (row.place, row.rule) in in_force[row.host_id]:
            yield Attention(
                state="wait",
                title=f"An own rule in {row.place} has expired",
                text=f"“{row.rule}” ({row.reason}) still holds; apply to take it out of force.",
                url=f"{reverse('firewall:changes')}?host={row.host.name}",
                button="Show what changes",
            )


def search(request: HttpRequest, words: str) -> Iterator[Found]:
    """Services by name, external address or port."""
    if not may_somewhere(cast(User, request.user), "firewall.view"):
        return
    hit = Q(name__icontains=words) | Q(external__address__contains=words)
    if words.isdigit() and len(words) < 6:
        hit |= Q(port__lte=int(words), port_last__gte=int(words))
    for row in PublishedService.objects.filter(hit).select_related("external")[:10]:
        where = row.external.address if row.external else "dom0"
        yield Found(
            title=row.name,
            sub=f"published {row.get_proto_display()} {row.port} of {where}",
            url=f"{reverse('firewall:services')}?q={row.name}",
        )


def zone_fragment(request: HttpRequest, zone: Zone) -> str:
    """A zone's published services and restrictions, on its page."""
    if not may_somewhere(cast(User, request.user), "firewall.view"):
        return ""
    context = {
        "zone": zone,
        "services": PublishedService.objects.filter(zone=zone).select_related("external"),
        "restrictions": [each for heap in held.restrictions(zone.host) if heap.zone == zone.pk for each in heap.held],
    }
    return render_to_string("firewall/_zone.html", context, request=request)
